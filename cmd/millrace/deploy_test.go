package main

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// parse reads a command line as run does, and runs nothing.
func parse(args ...string) error {
	_, err := newParser(io.Discard, io.Discard).Parse(args)
	return err
}

// TestDeployed reads the command lines that are in deploy: all their flags are known.
func TestDeployed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/kubernetes/millrace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for dec := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, args := range argsOf(&doc) {
			n++
			if err := parse(args...); err != nil {
				t.Errorf("millrace %q: %v", args, err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d command lines of pods, want those of all containers", n)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/millrace (.*)$`)
	for name, config := range map[string]string{"millrace-serve.service": "serve.yaml", "millrace-agent.service": "agent.yaml"} {
		unit, err := os.ReadFile("../../deploy/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		m := start.FindStringSubmatch(string(unit))
		if m == nil {
			t.Errorf("%s starts no millrace", name)
			continue
		}
		args := strings.Fields(strings.ReplaceAll(m[1], "/etc/millrace/"+config, "../../deploy/systemd/"+config))
		if err := parse(args...); err != nil {
			t.Errorf("%s: millrace %q: %v", name, args, err)
		}
	}
}

// argsOf returns the values of all fields of that name.
func argsOf(n *yaml.Node) (all [][]string) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "args" {
			var args []string
			if c.Decode(&args) == nil {
				all = append(all, args)
			}
			continue
		}
		all = append(all, argsOf(c)...)
	}
	return all
}
