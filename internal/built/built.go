// Package built builds programs of the source tree that are modules of their own, for tests, benchmarks and demonstrations: what they import is no
// part of Millrace.
package built

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program returns the path of the executable of the module in dir, such as bench/gateway: bin/NAME-DIGEST in the source tree, the digest being
// that of its sources. It is built if need be, which may take a minute. It must be called from within the source tree.
func Program(ctx context.Context, dir string) (string, error) {
	bin, err := program(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", dir, err)
	}
	return bin, nil
}

func program(ctx context.Context, dir string) (string, error) {
	root, err := sourceTree(dir)
	if err != nil {
		return "", err
	}
	src := filepath.Join(root, dir)
	names, err := filepath.Glob(filepath.Join(src, "*"))
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(digest, "%s %d\n%s", filepath.Base(name), len(text), text)
	}
	bin := filepath.Join(root, "bin", filepath.Base(dir)+"-"+hex.EncodeToString(digest.Sum(nil))[:12])
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", err
	}
	// Several tests may build at once: each into a name of its own, and the last rename stays.
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", tmp, ".")
	cmd.Dir = src
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return bin, os.Rename(tmp, bin)
}

// sourceTree finds the directory above the working directory that holds the module.
func sourceTree(dir string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for root := wd; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return root, nil
		}
		if root == filepath.Dir(root) {
			return "", fmt.Errorf("%s is not in the source tree: no %s above it", wd, dir)
		}
	}
}
