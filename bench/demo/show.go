package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/job"
)

// A show runs millrace's commands and checks what they print.
type show struct {
	ctx      context.Context
	millrace string
}

// grep searches for the planted phrase.
func (s *show) grep(truth *mailgen.Truth) error {
	out, err := s.run(true, "grep", `invoice \d+`, "s3://mail/")
	if err != nil {
		return err
	}
	if err := checkGrep(out, truth.Invoices); err != nil {
		return fmt.Errorf("grep: %w", err)
	}
	head(os.Stdout, out, 5)
	fmt.Printf("Checked: these are the %d lines that were planted.\n\n", len(truth.Invoices))
	return nil
}

// senders counts mails by the domain of their sender.
func (s *show) senders(truth *mailgen.Truth) error {
	const output = "s3://results/senders/"
	if _, err := s.run(true, "run", "./examples/senders", "-i", "s3://mail/", "-o", output, "-r", "2"); err != nil {
		return err
	}
	text, err := s.run(false, "store", "cat", output+"_manifest.json")
	if err != nil {
		return err
	}
	var manifest job.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	var out []byte
	for _, part := range manifest.Parts {
		text, err := s.run(false, "store", "cat", output+part.Key)
		if err != nil {
			return err
		}
		fmt.Printf("%s%s: %d records\n", output, part.Key, part.Records)
		out = append(out, text...)
	}
	counts, err := parseCounts(out)
	if err != nil {
		return fmt.Errorf("senders: %w", err)
	}
	if err := checkCounts(counts, truth.Domains); err != nil {
		return fmt.Errorf("senders: %w", err)
	}
	fmt.Println("\nThe domains with the most mail:")
	for _, domain := range top(counts, 5) {
		fmt.Printf("%8d  %s\n", counts[domain], domain)
	}
	fmt.Printf("Checked: the counts of all %d domains are right.\n\n", len(counts))
	return nil
}

// run runs millrace with args to its end and returns what it printed. With loud, the command is shown, and its
// progress goes to the terminal.
func (s *show) run(loud bool, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(s.ctx, s.millrace, args...)
	// Interrupted once, millrace ends by itself; its own children end with it.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if loud {
		fmt.Printf("$ millrace %s\n", quote(args))
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("millrace %s: %w %s", quote(args), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// quote writes args as one would type them.
func quote(args []string) string {
	words := slices.Clone(args)
	for i, w := range words {
		if strings.ContainsAny(w, ` \*?'"$`) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// head prints the first n lines of out and how many follow.
func head(w io.Writer, out []byte, n int) {
	lines := bytes.SplitAfter(out, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i, line := range lines {
		if i == n {
			fmt.Fprintf(w, "… and %d more lines\n", len(lines)-n)
			return
		}
		_, _ = w.Write(line)
	}
}

// checkGrep compares lines of grep with what was planted: KEY:LINE:…invoice NUMBER….
func checkGrep(out []byte, want []mailgen.Invoice) error {
	missing := make(map[string]string, len(want))
	for _, in := range want {
		missing[in.Key+":"+strconv.Itoa(in.Line)] = fmt.Sprintf("invoice %04d", in.Number)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) < 3 {
			return fmt.Errorf("printed %q", line)
		}
		place := fields[0] + ":" + fields[1]
		text, ok := missing[place]
		if !ok || !strings.Contains(fields[2], text) {
			return fmt.Errorf("printed %q, which was not planted", line)
		}
		delete(missing, place)
	}
	for place, text := range missing {
		return fmt.Errorf("did not print %d lines, one of them %s with %q", len(missing), place, text)
	}
	return nil
}

// parseCounts reads lines of KEY TAB NUMBER.
func parseCounts(out []byte) (map[string]int64, error) {
	counts := make(map[string]int64)
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a key and a number", line)
		}
		if _, twice := counts[key]; twice {
			return nil, fmt.Errorf("%q stands there twice", key)
		}
		counts[key] = n
	}
	return counts, nil
}

func checkCounts(got, want map[string]int64) error {
	var faults []error
	for key, n := range want {
		if got[key] != n {
			faults = append(faults, fmt.Errorf("%s: got %d, want %d", key, got[key], n))
		}
	}
	for key, n := range got {
		if _, ok := want[key]; !ok {
			faults = append(faults, fmt.Errorf("%s: got %d, want none", key, n))
		}
	}
	if len(faults) > 3 {
		faults = append(faults[:3], fmt.Errorf("and %d more", len(faults)-3))
	}
	return errors.Join(faults...)
}

// top returns the n keys with the highest counts, highest first.
func top(counts map[string]int64, n int) []string {
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if counts[a] != counts[b] {
			return int(counts[b] - counts[a])
		}
		return strings.Compare(a, b)
	})
	return keys[:min(n, len(keys))]
}
