package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if IsChild() {
		if err := Enter(); err != nil {
			os.Exit(1)
		}
		os.Exit(child(os.Args[1:]))
	}
	if os.Getenv(parentEnv) != "" {
		parent()
	}
	goleak.VerifyTestMain(m)
}

// parentEnv makes this process a parent that starts a jail, says its pid and waits to be killed.
const parentEnv = "SANDBOX_TEST_PARENT"

func parent() {
	p, err := Start(&Config{Args: []string{"sleep"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.Pid())
	p.Wait()
	os.Exit(0)
}

// child does in the jail as its arguments say.
func child(args []string) int {
	if len(args) == 0 {
		return 0
	}
	switch args[0] {
	case "exit":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return 99
		}
		return n
	case "say":
		fmt.Fprint(os.Stderr, strings.Repeat(args[1], 10000))
	case "sleep":
		time.Sleep(time.Hour)
	case "eat":
		var keep [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			keep = append(keep, b)
			_ = keep
		}
	case "look":
		return look()
	case "rehearse":
		if err := Rehearse(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "channel":
		f := os.NewFile(3, "channel")
		if _, err := f.WriteString("hello"); err != nil {
			return 1
		}
	}
	return 0
}

// look tells on stderr what of the machine can be seen, in words that must not appear.
func look() int {
	for _, name := range []string{"/etc/passwd", "/proc/self/status", "/usr/bin/env", "/dev/null", "/sys"} {
		if _, err := os.ReadFile(name); err == nil {
			fmt.Fprintln(os.Stderr, "READ", name)
		}
	}
	if err := os.WriteFile("/x", nil, 0o666); err == nil {
		fmt.Fprintln(os.Stderr, "WROTE /x")
	}
	if _, err := net.Dial("udp", "127.0.0.1:53"); err == nil {
		fmt.Fprintln(os.Stderr, "SOCKET")
	}
	if _, err := os.StartProcess("/bin/true", nil, &os.ProcAttr{}); err == nil {
		fmt.Fprintln(os.Stderr, "STARTED")
	}
	for fd := 3; fd < 1024; fd++ {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != 0 { // what is left has no type: the runtime's poller
			fmt.Fprintf(os.Stderr, "DESCRIPTOR %d %o\n", fd, st.Mode)
		}
	}
	if len(os.Environ()) > 0 {
		fmt.Fprintln(os.Stderr, "ENVIRONMENT", os.Environ())
	}
	return 0
}
