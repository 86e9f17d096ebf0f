package ring

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/answers.py
var answers string

// What is read of rings that Swift makes is what Swift reads of them: for 12,000 names, three policies, whole and partial replicas,
// with holes and without.
func TestAgainstSwift(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Swift's ring builder")
	}
	python, err := exec.LookPath("/usr/bin/python3")
	if err == nil {
		err = exec.CommandContext(t.Context(), python, "-c", "import swift.common.ring").Run()
	}
	if err != nil {
		t.Skipf("Swift's modules for Python are not installed (scripts/deps installs them): %v", err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	conf := "[swift-hash]\nswift_hash_path_prefix = be fore\nswift_hash_path_suffix: after=x\n" +
		"[storage-policy:0]\nname = gold\n# default = no\n[storage-policy:1]\nname = silver\ndefault = yes\n[storage-policy:2]\nname = ec\npolicy_type = erasure_coding\n" +
		"ec_type = liberasurecode_rs_vand\nec_num_data_fragments = 4\nec_num_parity_fragments = 2\n"
	write(t, dir, "swift.conf", []byte(conf))
	var names [][3]string
	for i := range 4000 {
		names = append(names, [3]string{fmt.Sprintf("AUTH_%x", rnd.Uint32()), fmt.Sprintf("c %d ü", i%7), strings.Repeat("ö/ ", rnd.IntN(3)) + fmt.Sprint(rnd.Uint64())})
	}
	text, err := json.Marshal(map[string]any{"seed": seed % 1000, "names": names})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "names.json", text)
	write(t, dir, "answers.py", []byte(answers))
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(dir, "answers.py"), dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]struct {
		Part  uint32   `json:"part"`
		Nodes []Device `json:"nodes"`
	}
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	c, err := OpenConf(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := c.Policy(""); p.Name != "silver" || p.Index != 1 {
		t.Errorf("default policy: got %+v, want silver", p)
	}
	if p, _ := c.Policy("EC"); p.Type != "erasure_coding" || p.File() != "object-2.ring.gz" {
		t.Errorf("policy EC: got %+v", p)
	}
	partial := 0
	for _, p := range c.Policies {
		r, err := Open(filepath.Join(dir, p.File()))
		if err != nil {
			t.Fatal(err)
		}
		if len(want[p.Name]) != len(names) {
			t.Fatalf("%d answers for %s", len(want[p.Name]), p.Name)
		}
		for i, w := range want[p.Name] {
			part := r.Partition(c.Hash(names[i][0], names[i][1], names[i][2]))
			got := []Device{}
			for _, d := range r.Replicas(nil, part) {
				got = append(got, *d)
			}
			if part != w.Part || !reflect.DeepEqual(got, w.Nodes) {
				t.Fatalf("%s %q: got partition %d, %+v, want %d, %+v", p.Name, names[i], part, got, w.Part, w.Nodes)
			}
			if len(got) == 2 {
				partial++
			}
		}
	}
	if partial == 0 {
		t.Error("no partition has a replica less than others")
	}
}

func write(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

var devices = []*Device{
	{ID: 0, Region: 1, Zone: 1, IP: "10.0.0.1", Port: 6200, Device: "a"}, nil,
	{ID: 2, Region: 1, Zone: 2, IP: "10.0.0.2", Port: 6200, Device: "b"}, {ID: 3, Region: 1, Zone: 3, IP: "fe80::1", Port: 6200, Device: "c"},
}

// table is three replicas of four partitions: with holes, a device that does not exist, one device twice, a short last row.
var table = []uint64{0, 2, 3, 0, 2, hole, 1, 0, 3, 77, 2}

var inTable = [][]string{{"a", "b", "c"}, {"b"}, {"c", "b"}, {"a"}}

// encode1 and encode2 write table as rings.
func encode1(order binary.ByteOrder, name string) []byte {
	b := []byte("R1NG\x00\x01")
	text, _ := json.Marshal(map[string]any{"devs": devices, "part_shift": 30, "replica_count": 3, "byteorder": name, "version": 7})
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	for _, d := range table {
		var two [2]byte
		order.PutUint16(two[:], uint16(d))
		b = append(b, two[:]...)
	}
	return b
}

func encode2(width int) []byte {
	b := []byte("R1NG\x00\x02")
	index := map[string][]any{}
	section := func(name string, body []byte) int {
		at := len(b)
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(body))), body...)
		index[name] = []any{at, at, len(b), len(b), "none", ""}
		return at
	}
	meta, _ := json.Marshal(map[string]any{"part_shift": 30, "dev_id_bytes": width, "version": 7})
	section("swift/ring/metadata", meta)
	list, _ := json.Marshal(devices)
	section("swift/ring/devices", list)
	var rows []byte
	for _, d := range table {
		if d == hole {
			d = 1<<64 - 1
		}
		rows = append(rows, binary.BigEndian.AppendUint64(nil, d)[8-width:]...)
	}
	section("swift/ring/assignments", rows)
	text, _ := json.Marshal(index)
	at := section("swift/index", text)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	return binary.BigEndian.AppendUint64(b, uint64(at))
}

func TestFormats(t *testing.T) {
	for name, raw := range map[string][]byte{
		"1 little": encode1(binary.LittleEndian, "little"), "1 big": encode1(binary.BigEndian, "big"), "2, 2 bytes": encode2(2), "2, 4 bytes": encode2(4), "2, 8 bytes": encode2(8),
	} {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(raw)
		w.Close()
		r, err := Read(&z)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for part, want := range inTable {
			got := []string{}
			for _, d := range r.Replicas(nil, uint32(part)) {
				got = append(got, d.Device)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: partition %d: got %q, want %q", name, part, got, want)
			}
		}
		if part := r.Partition(Hash{0xc0}); part != 3 {
			t.Errorf("%s: partition %d, want 3", name, part)
		}
		if n := len(r.Devices()); n != 3 {
			t.Errorf("%s: %d devices, want 3", name, n)
		}
	}
}

// Every beginning of a ring, and what else is none, is refused.
func TestRefused(t *testing.T) {
	for _, raw := range [][]byte{encode1(binary.LittleEndian, "little"), encode2(2)} {
		for n := range raw {
			// A last replica of fewer partitions is a ring of version 1 as well.
			if _, err := parse(raw[:n]); err == nil && (raw[5] == 2 || n <= len(raw)-2*3) {
				t.Fatalf("version %d cut at %d of %d bytes is read", raw[5], n, len(raw))
			}
		}
	}
	for name, z := range map[string]string{"empty": "", "not compressed": "R1NG\x00\x01", "half": "\x1f\x8b\x08"} {
		if _, err := Read(strings.NewReader(z)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	for _, raw := range []string{"R1NG\x00\x03", "\x80\x02}q\x01(U\x04devsq\x02", "R1NG\x00\x01\xff\xff\xff\xff{}"} {
		if _, err := parse([]byte(raw)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %v, want ErrFormat", raw, err)
		}
	}
}

func TestConfRefused(t *testing.T) {
	for _, text := range []string{"", "[swift-hash]\n", "[swift-hash]\nswift_hash_path_suffix =\n", "[storage-policy:x]\n", "[storage-policy:-1]\n"} {
		if c, err := ParseConf(strings.NewReader(text)); err == nil {
			t.Errorf("%q: got %+v, want an error", text, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode1(binary.LittleEndian, "little"))
	f.Add(encode2(2))
	f.Add(encode2(8))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parse(raw)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("parse = %v, want ErrFormat", err)
			}
			return
		}
		for _, part := range []uint32{0, 1, r.Partition(Hash{0xff, 0xff, 0xff, 0xff}), 1<<32 - 1} {
			if n := len(r.Replicas(nil, part)); n > maxRows {
				t.Errorf("partition %d has %d replicas", part, n)
			}
		}
	})
}

func FuzzParseConf(f *testing.F) {
	f.Add("[swift-hash]\nswift_hash_path_prefix = a\n[storage-policy:1]\nname = x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseConf(strings.NewReader(text)); err == nil {
			c.Hash("a", "c", "o")
			c.Policy("")
		}
	})
}

func BenchmarkLocate(b *testing.B) {
	r, err := parse(encode1(binary.LittleEndian, "little"))
	if err != nil {
		b.Fatal(err)
	}
	c := &Conf{Suffix: []byte("suffix")}
	var devices []*Device
	b.ReportAllocs()
	for b.Loop() {
		devices = r.Replicas(devices[:0], r.Partition(c.Hash("AUTH_test", "mail", "2026/01/02/000123.eml")))
	}
}
