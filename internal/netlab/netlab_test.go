package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listen has a host say back what it is sent, by UDP and TCP.
func listen(t *testing.T, h *Host) {
	t.Helper()
	var l net.Listener
	if err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", h.Address(7))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

// udp is a socket of a host.
func udp(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	if err := h.Do(func() (err error) {
		c, err = net.ListenPacket("udp", h.Address(7))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo asks a host from another.
func echo(from, to *Host, n int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", to.Address(7))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go c.Write(make([]byte, n))
	_, err = io.ReadFull(c, make([]byte, n))
	return err
}

const (
	long  = 30 * time.Second       // for what should happen
	short = 250 * time.Millisecond // for what must not
)

func TestWires(t *testing.T) {
	l := New(t, 3)
	a, b, c := l.Hosts[0], l.Hosts[1], l.Hosts[2]
	for _, h := range l.Hosts {
		listen(t, h)
	}
	reach := func(from, to *Host, want bool) {
		t.Helper()
		patience := long
		if !want {
			patience = short
		}
		if err := echo(from, to, 1000, patience); (err == nil) != want {
			t.Errorf("from %s to %s: %v, want it to work: %t", from.IP, to.IP, err, want)
		}
	}
	reach(a, b, true)
	conn, err := net.Dial("tcp", a.Forward(b.Address(7)))
	if err == nil {
		_, err = conn.Write([]byte("word"))
	}
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 4))
		conn.Close()
	}
	if err != nil {
		t.Errorf("by a forwarded connection: %v", err)
	}
	b.Unplug(true)
	reach(a, b, false)
	reach(b, c, false)
	reach(a, c, true)
	b.Unplug(false)
	reach(a, b, true)
	a.Part(b, true)
	reach(a, b, false)
	reach(a, c, true)
	reach(b, c, true)
	a.Part(b, false)
	reach(b, a, true)
	began := time.Now()
	a.Slow(800)
	if err := echo(b, a, 100_000, long); err != nil || time.Since(began) < 500*time.Millisecond {
		t.Errorf("100 kB at 800 kbit/s took %v: %v", time.Since(began), err)
	}
	a.Slow(0)
	reach(b, a, true)
	// This machine's own network has nothing of it.
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if strings.HasPrefix(x.String(), "10.77.0.") {
			t.Errorf("%v is an address of this machine", x)
		}
	}
}

func TestOneWay(t *testing.T) {
	l := New(t, 2)
	a, b := l.Hosts[0], l.Hosts[1]
	socket := map[*Host]net.PacketConn{a: udp(t, a), b: udp(t, b)}
	// get reports whether something that from sends is got.
	get := func(from, to *Host, patience time.Duration) bool {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); {
			_, _ = socket[from].WriteTo([]byte{1}, socket[to].LocalAddr())
			socket[to].SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _, err := socket[to].ReadFrom(make([]byte, 1))
			if err == nil {
				return true
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		return false
	}
	if !get(a, b, long) || !get(b, a, long) {
		t.Fatal("they do not reach each other")
	}
	a.Deafen(b, true)
	socket[b].SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // what is still there
	for {
		if _, _, err := socket[b].ReadFrom(make([]byte, 1)); err != nil {
			break
		}
	}
	if get(a, b, short) || !get(b, a, long) {
		t.Error("the one way is open, or the other is not")
	}
	a.Deafen(b, false)
	if !get(a, b, long) {
		t.Error("the way is not open again")
	}
}

func TestDisk(t *testing.T) {
	l := New(t, 1)
	dir := t.TempDir()
	fill := func(mib string) error {
		out, err := l.Hosts[0].Command(t.Context(), "dd", "if=/dev/zero", "of="+filepath.Join(dir, "f"), "bs=1M", "count="+mib).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "No space left") {
			t.Fatalf("%v: %s", err, out)
		}
		return err
	}
	l.Hosts[0].Disk(dir, 2)
	if fill("1") != nil || fill("3") == nil {
		t.Error("2 MiB do not hold 1, or hold 3")
	}
	l.Hosts[0].Disk(dir, 4)
	if fill("3") != nil {
		t.Error("4 MiB do not hold 3")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("others see %v, %v", left, err)
	}
}

// A test that is killed leaves no host and no process.
func TestKilled(t *testing.T) {
	if os.Getenv("NETLAB_STAY") != "" {
		h := New(t, 1).Hosts[0]
		cmd := h.Command(t.Context(), "sleep", "9876")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Println(h.hold.cmd.Process.Pid, cmd.Process.Pid)
		select {}
	}
	New(t, 0) // or the test is skipped
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "NETLAB_STAY=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	if _, err := fmt.Fscan(out, &pids[0], &pids[1]); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range pids {
		for end := time.Now().Add(long); running(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d is there", pid)
			}
		}
	}
}

// running reports whether a process does anything: nobody may have asked yet how it ended.
func running(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}
