package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/store"
)

// publishing holds the behaviours of Create, Seal, Publish and Discard.
var publishing = []behaviour{
	{"seal then publish", func(s *suite) {
		body := text(250_000)
		p := s.seal("out/part-00000", body)
		if p.Key != "out/part-00000" || p.Size != int64(len(body)) || p.SHA256 != sha(body) {
			s.Errorf("Seal = %+v, want size %d and SHA-256 %s", p, len(body), sha(body))
		}
		o := s.publish(p)
		s.want("out/part-00000", body)
		s.same("Publish", o, s.stat("out/part-00000"))
		if got, err := s.read("out/part-00000", o.ETag, 5, 10); err != nil || got != body[5:15] {
			s.Errorf("Open with the etag of Publish = %q, %v", got, err)
		}
	}},
	{"nothing is visible before publish", func(s *suite) {
		w := s.create("out/a")
		if w.Handle().Key != "out/a" || w.Handle().ID == "" {
			s.Errorf("Handle = %+v, want the key and an id", w.Handle())
		}
		s.wantGone("out/a")
		if _, err := w.Write([]byte(text(100_000))); err != nil {
			s.Fatal(err)
		}
		s.wantGone("out/a")
		p, err := w.Seal(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		s.wantGone("out/a")
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q before Publish, want nothing", got)
		}
		s.publish(p)
		if got := s.list("", ""); !slices.Equal(got, []store.Key{"out/a"}) {
			s.Errorf("List = %q after Publish, want out/a alone", got)
		}
	}},
	{"a pending object does not disturb the published one", func(s *suite) {
		s.put("k", "old")
		p := s.seal("k", "new")
		s.want("k", "old")
		s.publish(p)
		s.want("k", "new")
	}},
	{"empty pending object", func(s *suite) {
		p := s.seal("k", "")
		if p.Size != 0 || p.SHA256 != sha("") {
			s.Errorf("Seal = %+v, want size 0", p)
		}
		o := s.publish(p)
		s.want("k", "")
		s.same("Publish", o, s.stat("k"))
		s.publish(p)
	}},
	{"large object", func(s *suite) {
		n := s.opts.Large
		if n == 0 {
			n = 20 << 20
		}
		body := text(n)
		p := s.seal("large", body)
		o := s.publish(p)
		if o.Size != int64(n) {
			s.Errorf("Size = %d, want %d", o.Size, n)
		}
		got, err := s.read("large", o.ETag, 0, -1)
		if err != nil || sha(got) != p.SHA256 {
			s.Errorf("object of %d bytes reads as %d, %v, with another content", n, len(got), err)
		}
	}},
	{"copies of objects, if the driver makes such", func(s *suite) {
		w, err := s.b.Create(s.ctx, "all", nil)
		if err != nil {
			s.Fatal(err)
		}
		c, ok := w.(store.Copier)
		if !ok {
			if err := w.Abort(s.ctx); err != nil {
				s.Error(err)
			}
			return
		}
		want := ""
		for i, n := range []int{0, 100, 9 << 20, 3, 14 << 20, 1} {
			key := store.Key(fmt.Sprintf("a dir/+%d %%/ü", i))
			body := text(n + i)[i:]
			o := s.publish(s.seal(key, body))
			if err := c.Copy(s.ctx, o); err != nil {
				s.Fatalf("Copy of %d bytes: %v", n, err)
			}
			if i == 3 {
				if _, err := io.WriteString(w, "written"); err != nil {
					s.Fatal(err)
				}
				body += "written"
			}
			want += body
		}
		p, err := w.Seal(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		if p.Size != int64(len(want)) || p.SHA256 != "" {
			s.Errorf("Seal = size %d, SHA-256 %q, want %d and none", p.Size, p.SHA256, len(want))
		}
		s.publish(p)
		if got, err := s.read("all", "", 0, -1); err != nil || sha(got) != sha(want) {
			s.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
		o := s.stat("a dir/+2 %/ü")
		s.put(o.Key, "another")
		if w, err = s.b.Create(s.ctx, "all", nil); err != nil {
			s.Fatal(err)
		}
		if err := w.(store.Copier).Copy(s.ctx, o); !errors.Is(err, store.ErrChanged) {
			s.Errorf("Copy of an older version: got %v, want ErrChanged", err)
		}
		if err := w.Abort(s.ctx); err != nil {
			s.Error(err)
		}
	}},
	{"publish twice", func(s *suite) {
		p := s.seal("k", "hello")
		first := s.publish(p)
		s.same("second Publish", s.publish(p), first)
		s.want("k", "hello")
	}},
	{"publish at once from many", func(s *suite) {
		p := s.seal("k", text(50_000))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.b.Publish(s.ctx, p); err != nil {
					s.Errorf("Publish: %v", err)
				}
			})
		}
		wg.Wait()
		s.want("k", text(50_000))
	}},
	{"publish after reopening, from plain data", func(s *suite) {
		data, err := json.Marshal(s.seal("k", "hello"))
		if err != nil {
			s.Fatal(err)
		}
		s.reopen()
		var p store.Pending
		if err := json.Unmarshal(data, &p); err != nil {
			s.Fatal(err)
		}
		o := s.publish(p)
		s.want("k", "hello")
		s.reopen()
		s.same("Publish after another reopening", s.publish(p), o)
	}},
	{"discard after reopening, from plain data", func(s *suite) {
		data, err := json.Marshal(s.create("k").Handle())
		if err != nil {
			s.Fatal(err)
		}
		p := s.seal("l", "hello")
		s.reopen()
		var h store.Handle
		if err := json.Unmarshal(data, &h); err != nil {
			s.Fatal(err)
		}
		s.discard(h)
		s.discard(p.Handle)
		if _, err := s.b.Publish(s.ctx, p); !errors.Is(err, store.ErrNotExist) {
			s.Errorf("Publish after Discard = %v, want ErrNotExist", err)
		}
		s.wantGone("l")
	}},
	{"discard a sealed object", func(s *suite) {
		s.put("k", "old")
		p := s.seal("k", "new")
		s.discard(p.Handle)
		s.discard(p.Handle)
		s.want("k", "old")
		if o, err := s.b.Publish(s.ctx, p); err == nil {
			s.Errorf("Publish after Discard = %+v, want an error", o)
		}
		s.want("k", "old")
	}},
	{"discard after publish touches nothing", func(s *suite) {
		p := s.seal("k", "hello")
		s.publish(p)
		s.discard(p.Handle)
		s.want("k", "hello")
		s.publish(p)
	}},
	{"discard of an unknown handle is no error", func(s *suite) {
		w := s.create("k")
		if err := w.Abort(s.ctx); err != nil {
			s.Fatal(err)
		}
		s.discard(w.Handle())
	}},
	{"discard of a strange handle touches nothing", func(s *suite) {
		s.put("k", "hello")
		s.put("other", "hello")
		for _, id := range []string{"", "x", "../k", "../../other", "/etc/passwd", "a/b", ".", "..", "k\x00"} {
			s.b.Discard(s.ctx, store.Handle{Key: "k", ID: id}) // an error is allowed
		}
		s.want("k", "hello")
		s.want("other", "hello")
	}},
	{"publish of a strange handle is an error", func(s *suite) {
		s.put("k", "hello")
		for _, id := range []string{"", "x", "../k", "../../other", "/etc/passwd", "..", "k\x00"} {
			if o, err := s.b.Publish(s.ctx, store.Pending{Handle: store.Handle{Key: "new", ID: id}}); err == nil {
				s.Errorf("Publish(id %q) = %+v, want an error", id, o)
			}
		}
		s.wantGone("new")
	}},
	{"abort leaves nothing", func(s *suite) {
		w := s.create("a/k")
		if _, err := w.Write([]byte(text(1000))); err != nil {
			s.Fatal(err)
		}
		if err := w.Abort(s.ctx); err != nil {
			s.Fatal(err)
		}
		if err := w.Abort(s.ctx); err != nil {
			s.Errorf("second Abort: %v", err)
		}
		s.wantGone("a/k")
		if _, err := w.Seal(s.ctx); err == nil {
			s.Error("Seal after Abort succeeded")
		}
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q, want nothing", got)
		}
	}},
	{"abort after seal does nothing", func(s *suite) {
		w := s.create("k")
		if _, err := w.Write([]byte("hello")); err != nil {
			s.Fatal(err)
		}
		p, err := w.Seal(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		if err := w.Abort(s.ctx); err != nil {
			s.Fatal(err)
		}
		s.publish(p)
		s.want("k", "hello")
	}},
	{"write after seal is an error", func(s *suite) {
		w := s.create("k")
		if _, err := w.Seal(s.ctx); err != nil {
			s.Fatal(err)
		}
		if n, err := w.Write([]byte("x")); err == nil || n != 0 {
			s.Errorf("Write after Seal = %d, %v, want an error", n, err)
		}
	}},
	{"writers of one key do not meet", func(s *suite) {
		const n = 6
		var mu sync.Mutex
		pendings := map[string]store.Pending{}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				body := strings.Repeat(string(rune('a'+i)), 10_000)
				p := s.seal("k", body)
				mu.Lock()
				pendings[p.ID] = p
				mu.Unlock()
				if p.SHA256 != sha(body) {
					s.Errorf("writer %d sealed another content", i)
				}
			})
		}
		wg.Wait()
		if len(pendings) != n {
			s.Fatalf("%d handles for %d writers", len(pendings), n)
		}
		s.wantGone("k")
		first := true
		for _, p := range pendings {
			if first {
				s.publish(p)
				got, err := s.read("k", "", 0, -1)
				if err != nil || sha(got) != p.SHA256 {
					s.Errorf("published object reads as %.20q, %v", got, err)
				}
				first = false
				continue
			}
			s.discard(p.Handle)
		}
		if got, err := s.read("k", "", 0, -1); err != nil || len(got) != 10_000 {
			s.Errorf("object after the losers are gone: %d bytes, %v", len(got), err)
		}
	}},
	{"publish of a replaced object is not reported as ours", func(s *suite) {
		p := s.seal("k", "mine")
		s.publish(p)
		s.put("k", "theirs")
		if o, err := s.b.Publish(s.ctx, p); err == nil {
			s.Errorf("Publish = %+v for an object that somebody replaced, want an error", o)
		}
		s.want("k", "theirs")
	}},
	{"write does not keep the caller's slice", func(s *suite) {
		w := s.create("k")
		p := []byte("hello ")
		for range 3 {
			if n, err := w.Write(p); err != nil || n != len(p) {
				s.Fatalf("Write = %d, %v", n, err)
			}
			copy(p, "world ")
		}
		pending, err := w.Seal(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		s.publish(pending)
		s.want("k", "hello world world ")
	}},
	{"errors of publish name the object", func(s *suite) {
		p := s.seal("some/where", "x")
		s.discard(p.Handle)
		_, err := s.b.Publish(s.ctx, p)
		s.names("Publish", err, "some/where")
	}},
}
