package mailgen

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestOrderDoesNotMatter(t *testing.T) {
	const n = 300
	g := New(7, nil)
	type made struct {
		key  string
		body []byte
	}
	want := make([]made, n)
	for i := range want {
		want[i].key, want[i].body = g.Mail(i)
	}
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			g := New(7, &Options{})
			for i := n - 1 - w; i >= 0; i -= 3 {
				key, body := g.Mail(i)
				if key != want[i].key || !bytes.Equal(body, want[i].body) {
					t.Errorf("mail %d differs when made in another order", i)
				}
			}
		})
	}
	wg.Wait()
	if _, other := New(8, nil).Mail(0); bytes.Equal(other, want[0].body) {
		t.Error("seeds 7 and 8 make the same mail 0")
	}
}

func TestTruth(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 200
	}
	for _, opts := range []*Options{nil, {Invoices: 0.5, Odd: 0.2}, {Invoices: -1, Odd: -1, Domains: 3}} {
		g := New(42, opts)
		var truth Truth
		read := Truth{Domains: map[string]int64{}}
		phrase := regexp.MustCompile(`(?i)invoice (\d+)`)
		for i := range n {
			body := g.Append(nil, i, &truth)
			key := g.Key(i)
			read.Mails++
			read.Bytes += int64(len(body))
			for k, line := range bytes.Split(body, []byte("\n")) {
				for _, m := range phrase.FindAllSubmatch(line, -1) {
					number, _ := strconv.Atoi(string(m[1]))
					read.Invoices = append(read.Invoices, Invoice{i, key, k + 1, number})
				}
			}
			msg, err := mail.ReadMessage(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("mail %d: %v", i, err)
			}
			from, err := msg.Header.AddressList("From")
			if err != nil || len(from) != 1 {
				t.Fatalf("mail %d: From %q: %v", i, msg.Header.Get("From"), err)
			}
			_, domain, _ := strings.Cut(from[0].Address, "@")
			read.Domains[domain]++
			at, err := msg.Header.Date()
			if want := at.Format("2006/01/02/") + fmt.Sprintf("%06d.eml", i); err != nil || key != want {
				t.Fatalf("mail %d: key %q, want %q (%v)", i, key, want, err)
			}
		}
		if truth.Mails != read.Mails || truth.Bytes != read.Bytes || !maps.Equal(truth.Domains, read.Domains) {
			t.Errorf("%+v: got %d mails, %d bytes, %d domains; read %d, %d, %d", opts,
				truth.Mails, truth.Bytes, len(truth.Domains), read.Mails, read.Bytes, len(read.Domains))
		}
		if !slices.Equal(truth.Invoices, read.Invoices) {
			t.Errorf("%+v: %d invoices stated, %d read", opts, len(truth.Invoices), len(read.Invoices))
		}
		if opts == nil && (len(truth.Invoices) < n/100 || len(truth.Domains) < n/20) {
			t.Errorf("only %d invoices and %d domains", len(truth.Invoices), len(truth.Domains))
		}
		if opts != nil && opts.Invoices < 0 && len(truth.Invoices) != 0 {
			t.Errorf("%d invoices where none were asked", len(truth.Invoices))
		}
	}
}

func TestMeanSize(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a mean takes thousands of mails")
	}
	for _, mean := range []int{2000, 3500, 10000} {
		g := New(1, &Options{Mean: mean})
		var truth Truth
		var buf []byte
		for i := range 6000 {
			buf = g.Append(buf[:0], i, &truth)
		}
		got := float64(truth.Bytes) / float64(truth.Mails)
		if got < 0.93*float64(mean) || got > 1.07*float64(mean) {
			t.Errorf("mean of %.0f bytes, want %d", got, mean)
		}
	}
}

func TestVariety(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: shares take thousands of mails")
	}
	g := New(3, &Options{Odd: 0.02})
	counts := map[string]int{}
	const n = 8000
	for i := range n {
		_, b := g.Mail(i)
		head, body, _ := strings.Cut(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n\n")
		for _, s := range []string{"multipart/alternative", "multipart/mixed", "quoted-printable", "iso-8859-1", "Subject: =?utf-8?q?"} {
			if strings.Contains(head, s) {
				counts[s]++
			}
		}
		if bytes.Contains(b, []byte("\r\n")) {
			counts["crlf"]++
		}
		if body == "" {
			counts["empty"]++
		}
		if len(b) > 16<<10 && !strings.Contains(body, "\n") {
			counts["huge line"]++
		}
		if strings.Contains(body, "\x00") {
			counts["binary"]++
		}
	}
	want := map[string]float64{"multipart/alternative": .3, "multipart/mixed": .175, "quoted-printable": .1, "iso-8859-1": .03,
		"Subject: =?utf-8?q?": .08, "crlf": .5, "empty": .02 / 3, "huge line": .02 / 3, "binary": .02 / 3}
	for s, w := range want {
		if got := float64(counts[s]) / n; got < 0.6*w || got > 1.5*w {
			t.Errorf("%s: share %.4f, want about %.4f", s, got, w)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	g := New(5, nil)
	got, err := g.Write(dir, 101)
	if err != nil {
		t.Fatal(err)
	}
	var want Truth
	for i := range 101 {
		body := g.Append(nil, i, &want)
		if b, err := os.ReadFile(filepath.Join(dir, g.Key(i))); err != nil || !bytes.Equal(b, body) {
			t.Fatalf("mail %d: file differs (%v)", i, err)
		}
	}
	if got.Mails != want.Mails || got.Bytes != want.Bytes || !slices.Equal(got.Invoices, want.Invoices) || !maps.Equal(got.Domains, want.Domains) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	files := 0
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			files++
		}
		return nil
	})
	if files != 101 {
		t.Errorf("%d files, want 101", files)
	}
}

func ExampleGenerator_Mail() {
	key, body := New(1, nil).Mail(123)
	msg, _ := mail.ReadMessage(bytes.NewReader(body))
	fmt.Println(key, msg.Header.Get("Date"))
	// Output: 2026/04/09/000123.eml Thu, 09 Apr 2026 02:40:09 +0000
}

func BenchmarkAppend(b *testing.B) {
	g := New(1, nil)
	var t Truth
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf = g.Append(buf[:0], i, &t)
	}
	b.SetBytes(t.Bytes / int64(t.Mails))
	b.ReportMetric(float64(t.Mails)/b.Elapsed().Seconds(), "mails/s")
}
