// Package sandbox is the wall around code that nobody has to trust: a jail for the process ([Start], [Enter]) and
// engines inside it ([OpenWasm], [OpenNative]). It knows streams, limits and programs; never jobs or buckets.
//
// # Threat model
//
// The guest is hostile: it wants to read what is on the machine, write to it, reach the network, see other guests or what ran before it, or take
// so much that others suffer. The kernel, the processor and this program are trusted. What a guest answers on its stdout is a claim, for
// the caller to check. Guests of one job are not defended against each other beyond fresh state for each run; guests of
// two jobs are in two jails.
//
// # Two walls
//
// The jail is a child process, built in this order, each layer enough by itself against most of what a guest can try:
//
//	userns     user, mount, pid, ipc, uts, net and cgroup namespaces: nothing to see, nobody to signal, no network. The root is an empty
//	           read-only directory. The uid means nothing outside; root's jails use ids that nobody else has. When the first process dies,
//	           the kernel kills all others, and it dies with its parent.
//	cgroup     memory and number of processes of the whole tree (version 1 or 2). Not for ordinary users without delegation: then
//	           RLIMIT_DATA and the engine's own cap hold the memory.
//	uid        native guests run under another uid than their runner.
//	landlock   no file can be opened, native guests excepted: the system's programs, their work directory; no TCP; signals and abstract sockets
//	           only among themselves.
//	seccomp    a short list of system calls. Runners of wasm can neither open a file nor start a process nor make a socket. Native
//	           guests can do the first two.
//
// Beside them: no capabilities, no_new_privs, no environment, no descriptors but those given, resource limits (no core files, no locked memory,
// size of files), not dumpable. A layer that is missing is an error, [LayerError], unless it was given up by name. A millrace that is linked
// dynamically needs the system's libraries in its jail, read-only; link it statically (CGO_ENABLED=0) and there is nothing.
//
// The engine is the second wall. For wasm it is wazero, behind our own check of the module: no files but its channels, no sockets, a clock that stands still, randomness from a
// seed, memory up to a cap. Each run begins from a snapshot of the first one: memory, globals, stack and host are as they were before the
// guest read anything (see OpenWasm). For native programs it is the kernel: a thread that is fenced in starts them.
//
// # What ends a run
//
// Limits of wall clock, CPU, output and memory end a run with an error that names the limit. From inside, that is the polite try: a module is
// stopped at its next call or turn of a loop, which may be far away (a long fill of memory), and it holds up Go's garbage collector until then. The caller
// of Start owns the deadline: it sends [Process.Kill] a moment after the limit.
package sandbox
