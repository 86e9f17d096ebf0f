package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	maps.Copy(attacks, kernelAttacks)
	maps.Copy(attacks, outsideAttacks)
}

// attack tries something that must not work. It prints a line in capitals for what did, and "done".
func attack(verb string, args []string) bool {
	f, ok := attacks[verb]
	if ok {
		f(args)
		fmt.Println("done")
	}
	return ok
}

// denied reports a system call that worked.
func denied(name string, nr uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	if r, _, errno := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno == 0 {
		fmt.Println("WORKED", name, r)
	}
}

func text(s string) uintptr {
	p, _ := syscall.BytePtrFromString(s)
	keep = append(keep, p)
	return uintptr(unsafe.Pointer(p))
}

var keep []*byte

var attacks = map[string]func(args []string){
	"forkbomb": func([]string) {
		for range 10000 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Path = "/program/guest"
			cmd.Args = []string{"guest", "sleep", "1h"}
			if err := cmd.Start(); err != nil {
				break
			}
		}
	},
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGXCPU)
		for {
			time.Sleep(time.Second)
		}
	},
	"threads": func([]string) {
		for range 8 {
			go verbs["loop"](nil)
		}
		verbs["loop"](nil)
	},
	"stop": func([]string) { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) },
	"fill": func([]string) {
		b := make([]byte, 1<<20)
		total := 0
		for i := 0; ; i++ {
			f, err := os.Create(fmt.Sprintf("f%d", i%8))
			if err != nil {
				break
			}
			n := 0
			for n < 64<<20 {
				m, err := f.Write(b)
				n += m
				if err != nil {
					break
				}
			}
			total += n
			f.Close()
			if n < 64<<20 {
				break
			}
		}
		if total > 80<<20 {
			fmt.Println("FILLED", total)
		}
	},
	"inodes": func([]string) {
		n := 0
		for ; n < 100000; n++ {
			if os.Mkdir(fmt.Sprintf("d%d", n), 0) != nil {
				break
			}
		}
		_ = os.Chmod(".", 0)
		if n > 10000 {
			fmt.Println("INODES", n)
		}
	},
	"deep": func([]string) {
		for range 1000 {
			if os.Mkdir("deeper", 0o700) != nil || os.Chdir("deeper") != nil {
				break
			}
		}
	},
	"shared": func([]string) {
		b, err := syscall.Mmap(-1, 0, 2<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_SHARED)
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("TOUCHED 2 GiB")
	},
	"core": func([]string) {
		raise("a core file", 4, 1<<20) // RLIMIT_CORE
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Second)
	},
}
