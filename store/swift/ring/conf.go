package ring

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Hash is where the ring is entered, and the name of an object's directory on its devices.
type Hash [md5.Size]byte

// A Conf is what swift.conf says.
type Conf struct {
	Prefix, Suffix []byte   // of names that are hashed
	Policies       []Policy // those that are named, in the order of the file; none means that there is one, of index 0
}

// A Policy is a storage policy.
type Policy struct {
	Index   int
	Name    string
	Type    string // "replication", "erasure_coding"
	Default bool
}

// maxConf bounds swift.conf.
const maxConf = 1 << 20

// ParseConf reads swift.conf.
func ParseConf(from io.Reader) (*Conf, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxConf+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConf {
		return nil, fmt.Errorf("swift.conf of more than %d bytes", maxConf)
	}
	c := &Conf{}
	name := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxConf)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			if name = strings.TrimSpace(line[1 : len(line)-1]); strings.HasPrefix(name, "storage-policy:") {
				i, err := strconv.Atoi(strings.TrimPrefix(name, "storage-policy:"))
				if err != nil || i < 0 {
					return nil, fmt.Errorf("swift.conf: [%.60s] has no index", name)
				}
				c.Policies = append(c.Policies, Policy{Index: i, Type: "replication"})
			}
			continue
		}
		at := strings.IndexAny(line, "=:")
		if at < 0 {
			continue
		}
		c.set(name, strings.ToLower(strings.TrimSpace(line[:at])), strings.TrimSpace(line[at+1:]))
	}
	if len(c.Prefix) == 0 && len(c.Suffix) == 0 {
		return nil, errors.New("swift.conf has neither swift_hash_path_prefix nor swift_hash_path_suffix")
	}
	return c, lines.Err()
}

func (c *Conf) set(section, key, value string) {
	switch {
	case section == "swift-hash" && key == "swift_hash_path_prefix":
		c.Prefix = []byte(value)
	case section == "swift-hash" && key == "swift_hash_path_suffix":
		c.Suffix = []byte(value)
	case strings.HasPrefix(section, "storage-policy:"):
		p := &c.Policies[len(c.Policies)-1]
		switch key {
		case "name":
			p.Name = value
		case "policy_type":
			p.Type = value
		case "default":
			p.Default = strings.EqualFold(value, "yes") || strings.EqualFold(value, "true") || value == "1"
		}
	}
}

// OpenConf reads swift.conf in a directory.
func OpenConf(dir string) (*Conf, error) {
	f, err := os.Open(filepath.Join(dir, "swift.conf"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseConf(f)
}

// Hash returns the hash of an object's name.
func (c *Conf) Hash(account, container, object string) Hash {
	b := make([]byte, 0, 256)
	b = append(b, c.Prefix...)
	for _, s := range []string{account, container, object} {
		b = append(append(b, '/'), s...)
	}
	return md5.Sum(append(b, c.Suffix...))
}

// Policy returns the policy of that name, in whatever case, or the default one for "".
func (c *Conf) Policy(name string) (Policy, bool) {
	for _, p := range c.Policies {
		if name == "" && (p.Default || len(c.Policies) == 1) || name != "" && strings.EqualFold(p.Name, name) {
			return p, true
		}
	}
	if name == "" || len(c.Policies) == 0 {
		return Policy{Name: name, Type: "replication"}, true
	}
	return Policy{}, false
}

// File returns the name of the file of a policy's ring.
func (p Policy) File() string {
	if p.Index == 0 {
		return "object.ring.gz"
	}
	return fmt.Sprintf("object-%d.ring.gz", p.Index)
}
