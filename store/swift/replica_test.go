package swift

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/swift/replica"
	"github.com/millrace/millrace/store/swift/ring"
)

// What lies on a node's disk is the object, for plain objects of whatever name; where it is not, that is told.
func (s *cluster) replicas(t *testing.T) {
	ctx := t.Context()
	etc := filepath.Join(s.c.Dir, "etc")
	conf, err := ring.OpenConf(etc)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ring.Open(filepath.Join(etc, "object.ring.gz"))
	if err != nil {
		t.Fatal(err)
	}
	policy, _ := conf.Policy("")
	n := &replica.Node{Devices: s.c.Devices(0), Addresses: s.c.Nodes, Conf: conf, Ring: r, Policy: policy}
	b := s.small(t)
	body := numbers(900)
	keys := []store.Key{"a", "a b+c%20/ü", "日本語.eml", "a\nb\x01\x7f", "/a//b/", "~'\"<&>", "é", "ÿ\u0080"}
	for _, key := range keys {
		o, err := b.Put(ctx, key, body)
		if err != nil {
			t.Fatal(err)
		}
		f, err := n.Open("AUTH_test", b.name, string(key), o.ETag)
		if err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, body) || f.Size != o.Size {
			t.Errorf("%q: got %d bytes, %v, want %d", key, len(got), err, len(body))
		}
		f.Close()
	}
	o := publish(t, b, seal(t, b, "small", body))
	if f, err := n.Open("AUTH_test", b.name, "small", o.ETag); err != nil {
		t.Errorf("an object published whole: %v", err)
	} else {
		f.Close()
	}
	is := func(key, etag string, want replica.Reason) {
		t.Helper()
		if _, err := n.Open("AUTH_test", b.name, key, etag); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %q", key, err, want)
		}
	}
	large := publish(t, b, seal(t, b, "large", numbers(2500)))
	is("large", large.ETag, replica.Manifest)
	is("a", "00000000000000000000000000000000", replica.OtherVersion)
	is("nothing", o.ETag, replica.NotHere)
	post := &request{method: http.MethodPost, container: b.name, key: "small"}
	post.set("X-Delete-After", "1000")
	post.set("X-Object-Meta-Color", "red")
	if _, err := b.head(ctx, post); err != nil {
		t.Fatal(err)
	}
	if f, err := n.Open("AUTH_test", b.name, "small", o.ETag); err != nil {
		t.Errorf("an object whose metadata were changed: %v", err)
	} else {
		f.Close()
	}
	post.set("X-Object-Manifest", b.name+"/none")
	if _, err := b.head(ctx, post); err != nil {
		t.Fatal(err)
	}
	is("small", o.ETag, replica.Manifest)
	if err := b.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	is("a", o.ETag, replica.NotHere)

	d, err := b.Disks(ctx, etc, s.c.Devices(0), s.c.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for o, err := range b.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed++
		f, err := d.Open(o)
		switch o.Key {
		case "large":
			if !errors.Is(err, replica.Manifest) {
				t.Errorf("%s: got %v, want %q", o.Key, err, replica.Manifest)
			}
			continue
		case "small":
			if !errors.Is(err, replica.Manifest) {
				t.Errorf("%s: got %v, want %q", o.Key, err, replica.Manifest)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q, as listed: %v", o.Key, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%q, as listed: got %d bytes, %v, want %d", o.Key, len(got), err, len(body))
		}
		f.Close()
		o.Size++
		if _, err := d.Open(o); !errors.Is(err, replica.OtherVersion) {
			t.Errorf("%q of another size: got %v, want %q", o.Key, err, replica.OtherVersion)
		}
	}
	if listed != len(keys)+1 { // without "a", with "small" and "large"
		t.Errorf("%d objects listed, want %d", listed, len(keys)+1)
	}
	if _, err := b.Disks(ctx, "endpoints", s.c.Devices(0), s.c.Nodes); err == nil {
		t.Error("disks without rings: no error")
	}
}
