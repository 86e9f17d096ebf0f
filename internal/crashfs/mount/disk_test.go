package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A script is done to a disk by words: "d/f=text" writes, "+" makes a directory, ">" renames, "-" removes, "!" syncs.
func (d *disk) do(words string) {
	for word := range strings.FieldsSeq(words) {
		switch path := word[1:]; word[0] {
		case '+':
			dir, name := d.find(path)
			d.name(change{dir.id, name, d.make(syscall.S_IFDIR).id})
		case '-':
			dir, name := d.find(path)
			d.name(change{dir.id, name, 0})
		case '>':
			from, to, _ := strings.Cut(path, ",")
			a, x := d.find(from)
			b, y := d.find(to)
			d.name(change{a.id, x, 0}, change{b.id, y, a.entries[x]})
		case '!':
			if path == "." {
				d.syncDir(d.inodes[rootID])
				continue
			}
			dir, name := d.find(path)
			if n := d.inodes[dir.entries[name]]; n.isDir() {
				d.syncDir(n)
			} else {
				d.sync(n)
			}
		default:
			path, text, _ := strings.Cut(word, "=")
			dir, name := d.find(path)
			n := d.inodes[dir.entries[name]]
			if n == nil {
				n = d.make(syscall.S_IFREG)
				d.name(change{dir.id, name, n.id})
			}
			n.write(write{int64(len(n.now.data)), []byte(text)})
		}
	}
}

// find returns the directory of a path, and the name there.
func (d *disk) find(path string) (*inode, string) {
	dir := d.inodes[rootID]
	for {
		first, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, first
		}
		dir, path = d.inodes[dir.entries[first]], rest
	}
}

// show returns all files with what is in them.
func (d *disk) show(dir *inode, path string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(dir.entries)) {
		n := d.inodes[dir.entries[name]]
		if n.isDir() {
			fmt.Fprintf(&b, "%s%s/ %s", path, name, d.show(n, path+name+"/"))
		} else {
			fmt.Fprintf(&b, "%s%s=%s ", path, name, strings.ReplaceAll(string(n.now.data), "\x00", "0"))
		}
	}
	return b.String()
}

// Each script leaves, after a loss of power, one of what is listed, and each of them at some time.
func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		script, strict string
		want           []string
	}{
		{script: "a=x", want: []string{"", "a= ", "a=x "}},
		{script: "a=x !a", want: []string{"a=x "}},
		{script: "a=x !a a=y", want: []string{"a=x ", "a=xy "}},
		{script: "a=x !.", want: []string{"a= ", "a=x "}},
		{script: "+d d/a=x !d/a", want: []string{"d/ d/a=x "}},
		{script: "+d +d/e d/e/a=x !d/e", want: []string{"d/ d/e/ d/e/a= ", "d/ d/e/ d/e/a=x "}},
		{script: "t=x !t >t,a", want: []string{"t=x ", "a=x "}},
		{script: "t=x !t >t,a !.", want: []string{"a=x "}},
		{script: "t=x !t >t,a !a", want: []string{"t=x ", "a=x "}},
		{script: "t=x >t,a !a", want: []string{"a=x "}},
		{script: "a=x !a t=y !t >t,a", want: []string{"a=x t=y ", "a=y "}},
		{script: "a=x !a t=y >t,a !.", want: []string{"a= ", "a=y "}},
		{script: "+d t=x !t >t,d/a !d", want: []string{"d/ d/a=x "}},
		{script: "a=x !a -a", want: []string{"", "a=x "}},
		{script: "a=x !a -a !.", want: []string{""}},
		{script: "a=x b=y !b", want: []string{"b=y ", "a= b=y ", "a=x b=y "}},
		{script: "a=x b=y", want: []string{"", "a= ", "a=x ", "a= b= ", "a=x b=y ", "a=x b= ", "a= b=y "}},
	} {
		seen := map[string]bool{}
		for seed := range uint64(2000) {
			d := newDisk(false)
			d.do(tt.script)
			d.crash(rand.New(rand.NewPCG(seed, 0)))
			seen[d.show(d.inodes[rootID], "")] = true
		}
		slices.Sort(tt.want)
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.script, got, tt.want)
		}
	}
}

// Where a sync of a file leaves its name to its directory, that must be synced, and those above it.
func TestStrict(t *testing.T) {
	for script, want := range map[string]string{
		"a=x !a":                 "",
		"a=x !a !.":              "a=x ",
		"+d d/a=x !d/a !d":       "",
		"+d !. d/a=x !d/a !d":    "d/ d/a=x ",
		"t=x !t >t,a":            "",
		"+d !. t=x !t >t,d/a !d": "d/ d/a=x ",
	} {
		seen := map[string]bool{}
		for seed := range uint64(200) {
			d := newDisk(true)
			d.do(script)
			d.crash(rand.New(rand.NewPCG(seed, 0)))
			seen[d.show(d.inodes[rootID], "")] = true
		}
		if !seen[want] || (strings.HasSuffix(want, " ") && len(seen) != 1) {
			t.Errorf("%s: got %v, want %q", script, seen, want)
		}
	}
}

// Of a large write any pages may be missing, of the last one any sectors.
func TestTornWrites(t *testing.T) {
	body := strings.Repeat("x", 3*page+100)
	seen := map[string]bool{}
	for seed := range uint64(500) {
		d := newDisk(false)
		d.do("a= !a a=" + body)
		d.crash(rand.New(rand.NewPCG(seed, 0)))
		n := d.inodes[d.inodes[rootID].entries["a"]]
		var shape strings.Builder
		for piece := range slices.Chunk(n.now.data, page) {
			switch zeros := strings.Count(string(piece), "\x00"); {
			case zeros == len(piece):
				shape.WriteByte('0')
			case zeros == 0:
				shape.WriteByte('x')
			default:
				t.Fatalf("seed %d: a page has %d zeros", seed, zeros)
			}
		}
		if len(n.now.data)%sector != 0 {
			shape.WriteByte('.')
		}
		seen[shape.String()] = true
	}
	for _, want := range []string{"", "x", "xx", "xxx", "xxxx.", "0x", "00x", "x0x", "000x."} {
		if !seen[want] {
			t.Errorf("never %q: %v", want, seen)
		}
	}
}
