package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spawnerCaps are the capabilities that a runner keeps in its user namespace to run native guests under another uid: become
// it, kill what it left, limit it, and remove its files.
const spawnerCaps = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL | 1<<unix.CAP_SYS_RESOURCE |
	1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_CHOWN

// become changes the user and group of threads, which keep their permitted capabilities.
func become(on threads, id int) error {
	if err := on(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := on(unix.SYS_SETGROUPS, 0, 0, 0); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	n := uintptr(id)
	if err := on(unix.SYS_SETRESGID, n, n, n); err != nil {
		return fmt.Errorf("become group %d: %w", id, err)
	}
	if err := on(unix.SYS_SETRESUID, n, n, n); err != nil {
		return fmt.Errorf("become user %d: %w", id, err)
	}
	// The kernel forgets it with the user.
	return on(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
}

// gainNoPrivileges takes from threads the ways to privileges that they do not have: no program that they execute has more.
func gainNoPrivileges(on threads) error {
	if err := on(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// keepCaps leaves threads these capabilities, also in a program that they execute. They have gained no others.
func keepCaps(on threads, caps uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, data [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for i := range data {
		word := uint32(caps>>(32*i)) & have[i].Permitted
		data[i] = unix.CapUserData{Effective: word, Permitted: word, Inheritable: word}
	}
	err := on(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	for c := range uintptr(64) {
		if caps&(1<<c) == 0 || have[c/32].Permitted&(1<<(c%32)) == 0 { // in a container, root may lack some itself
			continue
		}
		if err := on(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c); err != nil {
			return fmt.Errorf("keep capability %d: %w", c, err)
		}
	}
	return nil
}

// passNoCaps makes what the calling thread starts under another uid start without capabilities.
func passNoCaps() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for i := range data {
		data[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("inheritable capabilities: %w", err)
	}
	return nil
}
