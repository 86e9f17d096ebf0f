package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// A URI names a bucket and which of its objects are meant: a prefix, or a glob over whole keys.
//
//	s3://bucket/2026/            every key that starts with "2026/"
//	s3://bucket/2026/*/a?.eml    keys that the glob matches from end to end
//	swift://container/2026/      the same in a container of Swift
//	file:///srv/mail             the directory is the bucket
//	file:///srv/mail/*/a.eml     the directory before the first metacharacter is the bucket
//	file:///srv/mail/a.eml       one object, if that is a file
//	mem:name/prefix              a bucket in memory, for tests
//
// Nothing is percent-decoded. A backslash before a metacharacter (* ? [ { \) makes it an ordinary one.
type URI struct {
	Scheme string
	Bucket string // S3: the bucket's name; Swift: the container's; file: the directory, absolute; mem: the bucket's name
	Prefix Key    // what every key meant starts with (the literal part before the first metacharacter of Glob)
	Glob   string // "" or a pattern over whole keys, anchored at both ends; see [CompileGlob]
	Exact  bool   // only the object whose key is Prefix is meant; set by drivers, see [Opener]
}

// ParseURI reads a URI. A text that begins with "/", "./" or "../", and "." and "..", is a local path: a file URI,
// made absolute by the working directory. Newlines, NUL, and ".." within a URI are refused.
func ParseURI(s string) (URI, error) {
	u, err := parseURI(s)
	if err != nil {
		return URI{}, err
	}
	if u.Glob != "" {
		if _, err := compile(u.Glob); err != nil {
			return URI{}, fmt.Errorf("%s: %w", quote(s), err)
		}
	}
	return u, nil
}

func parseURI(s string) (URI, error) {
	switch {
	case s == "":
		return URI{}, errors.New("empty URI")
	case len(s) > maxURI:
		return URI{}, fmt.Errorf("URI of %d bytes: more than %d", len(s), maxURI)
	case strings.ContainsAny(s, "\x00\r\n"):
		return URI{}, fmt.Errorf("%s: a URI cannot hold newlines or NUL", quote(s))
	case s[0] == '/' || s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../"):
		return parsePath(s)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || strings.IndexFunc(scheme, notSchemeChar) >= 0 {
		return URI{}, fmt.Errorf("%s: neither a URI like s3://bucket/prefix nor a path like ./dir", quote(s))
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	if hasDotDot(rest) {
		return URI{}, fmt.Errorf(`%s: ".." cannot stand in a URI`, quote(s))
	}
	if u.Scheme == "file" {
		path, ok := strings.CutPrefix(rest, "//")
		path, _ = strings.CutPrefix(path, "localhost")
		if !ok || !strings.HasPrefix(path, "/") {
			return URI{}, fmt.Errorf("%s: a file URI is file:///absolute/path", quote(s))
		}
		return splitPath(path)
	}
	if u.Scheme != "mem" {
		if rest, ok = strings.CutPrefix(rest, "//"); !ok {
			return URI{}, fmt.Errorf("%s: %q is missing after the scheme", quote(s), "//")
		}
	}
	bucket, pattern, _ := strings.Cut(rest, "/")
	if err := checkBucket(u.Scheme, bucket); err != nil {
		return URI{}, err
	}
	u.Bucket = bucket
	u.Prefix, u.Glob = splitPattern(pattern)
	return u, nil
}

// maxURI is generous: a scheme, a bucket or directory, and a pattern for a key of 1,024 bytes.
const maxURI = 8192

func notSchemeChar(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

// checkBucket's errors do not repeat the name: what stands there may be a misplaced password.
func checkBucket(scheme, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s URI without a bucket", scheme)
	case name == "." || len(name) > 255:
		return fmt.Errorf("%s URI with an impossible bucket name", scheme)
	case strings.ContainsAny(name, `*?[]{}\`):
		return fmt.Errorf("%s URI with a pattern in its bucket name", scheme)
	}
	for _, r := range name {
		ok := !unicode.IsControl(r) && r != '@' && r != unicode.ReplacementChar
		if scheme == "s3" {
			ok = r == '.' || r == '-' || r == '_' || !notSchemeChar(r)
		}
		if !ok {
			return fmt.Errorf("%s URI with a character in its bucket name that none has", scheme)
		}
	}
	return nil
}

func hasDotDot(path string) bool {
	for seg := range strings.SplitSeq(path, "/") {
		if seg == ".." {
			return true
		}
	}
	return false
}

// parsePath makes a file URI of a local path as people type it: relative ones begin at the working directory, whose
// own name is taken literally.
func parsePath(s string) (URI, error) {
	segs := []string{}
	if s[0] != '/' {
		wd, err := os.Getwd()
		if err != nil {
			return URI{}, fmt.Errorf("%s: %w", quote(s), err)
		}
		segs = strings.Split(strings.Trim(escape(wd), "/"), "/")
	}
	for seg := range strings.SplitSeq(s, "/") {
		switch {
		case seg == "" || seg == ".":
		case seg != "..":
			segs = append(segs, seg)
		case len(segs) > 0:
			if _, live := literal(segs[len(segs)-1]); live {
				return URI{}, fmt.Errorf(`%s: ".." cannot follow a pattern`, quote(s))
			}
			segs = segs[:len(segs)-1]
		}
	}
	return splitPath("/" + strings.Join(segs, "/"))
}

// splitPath makes a file URI of an absolute path pattern: the directory before the first segment with a metacharacter
// is the bucket.
func splitPath(pattern string) (URI, error) {
	u := URI{Scheme: "file"}
	segs := strings.Split(pattern, "/")
	var dir []string
	for i, seg := range segs {
		if n := len(seg) - len(strings.TrimRight(seg, `\`)); n%2 == 1 && i < len(segs)-1 {
			return URI{}, fmt.Errorf(`%s: "\" cannot stand before "/"`, quote(pattern))
		}
		lit, live := literal(seg)
		if live {
			u.Prefix, u.Glob = splitPattern(strings.Join(segs[i:], "/"))
			break
		}
		if lit == ".." {
			return URI{}, fmt.Errorf(`%s: ".." cannot stand in a URI`, quote(pattern))
		}
		dir = append(dir, lit)
	}
	u.Bucket = filepath.Clean("/" + strings.Join(dir, "/"))
	return u, nil
}

// splitPattern tells the literal start of a pattern from the pattern. A pattern without live metacharacters is all
// prefix, and no glob.
func splitPattern(pattern string) (Key, string) {
	lit, live := literal(pattern)
	if !live {
		return Key(lit), ""
	}
	return Key(lit), pattern
}

// literal returns the unescaped text of pattern up to its first live metacharacter, and whether there is one.
// A trailing backslash counts as live: only the compiler of patterns refuses it.
func literal(pattern string) (string, bool) {
	if !strings.ContainsAny(pattern, meta) {
		return pattern, false
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[', '{':
			return b.String(), true
		case '\\':
			if i++; i == len(pattern) {
				return b.String(), true
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), false
}

const meta = `*?[{\`

// escape returns a pattern that means s and nothing else.
func escape(s string) string {
	if !strings.ContainsAny(s, meta) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(meta, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// String returns the text that ParseURI reads as u. For an Exact URI it reads as a prefix (or a file), as its
// user gave it.
func (u URI) String() string {
	pattern := u.Glob
	if pattern == "" {
		pattern = escape(string(u.Prefix))
		if u.Scheme == "file" && !u.Exact && pattern != "" && !strings.HasSuffix(pattern, "/") {
			pattern += "**"
		}
	}
	bucket := u.Bucket
	switch u.Scheme {
	case "file":
		bucket = "//" + escape(strings.TrimSuffix(bucket, "/"))
	case "mem":
	default:
		bucket = "//" + bucket
	}
	if pattern == "" && (u.Scheme == "mem" || u.Scheme == "file" && u.Bucket != "/") {
		return u.Scheme + ":" + bucket
	}
	return u.Scheme + ":" + bucket + "/" + pattern
}

// Match reports whether the object under k is meant. To ask for many keys, use [URI.Matcher].
func (u URI) Match(k Key) bool {
	m, err := u.Matcher()
	return err == nil && m(k)
}

// Matcher returns Match as a function that is quick for many keys and may be called concurrently. The error is that
// of a malformed Glob, which ParseURI does not let pass.
func (u URI) Matcher() (func(Key) bool, error) {
	switch {
	case u.Exact:
		return func(k Key) bool { return k == u.Prefix }, nil
	case u.Glob == "":
		return func(k Key) bool { return strings.HasPrefix(string(k), string(u.Prefix)) }, nil
	}
	g, err := CompileGlob(u.Glob)
	if err != nil {
		return nil, err
	}
	return func(k Key) bool { return g.Match(string(k)) }, nil
}

// Base returns the start of every key meant that people are not shown, because they named it themselves: the prefix
// up to and including its last "/". What follows Base in a key is never empty for a single object, and the same
// whether the user wrote s3://mail/2026/ or s3://mail/2026/*.eml; keys under s3://mail/2026/0 show as "01/a.eml", "02/b.eml".
func (u URI) Base() Key {
	return u.Prefix[:strings.LastIndexByte(string(u.Prefix), '/')+1]
}

// Name returns how errors name the object under key: as a URI, with quotes where the key holds control characters or
// is not UTF-8.
func Name(scheme, bucket string, key Key) string {
	name := scheme + "://" + bucket + "/" + string(key)
	if scheme == "mem" {
		name = "mem:" + bucket + "/" + string(key)
	}
	return quote(name)
}

// quote returns s as it is if it is fit to be shown, else in Go's quotes.
func quote(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(s)
		}
	}
	return s
}
