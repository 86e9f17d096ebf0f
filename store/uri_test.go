package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	tests := []struct {
		in   string
		want URI
	}{
		{"s3://b", URI{Scheme: "s3", Bucket: "b"}},
		{"s3://b/", URI{Scheme: "s3", Bucket: "b"}},
		{"S3://b/x", URI{Scheme: "s3", Bucket: "b", Prefix: "x"}},
		{"s3://b//x", URI{Scheme: "s3", Bucket: "b", Prefix: "/x"}},
		{"s3://b/2026/", URI{Scheme: "s3", Bucket: "b", Prefix: "2026/"}},
		{"s3://b/2026/*/a?.eml", URI{Scheme: "s3", Bucket: "b", Prefix: "2026/", Glob: "2026/*/a?.eml"}},
		{`s3://b/a\[1].eml`, URI{Scheme: "s3", Bucket: "b", Prefix: "a[1].eml"}},
		{`s3://b/a\[1]*`, URI{Scheme: "s3", Bucket: "b", Prefix: "a[1]", Glob: `a\[1]*`}},
		{"s3://b/a%20b+c d", URI{Scheme: "s3", Bucket: "b", Prefix: "a%20b+c d"}},
		{"swift://my mail/x", URI{Scheme: "swift", Bucket: "my mail", Prefix: "x"}},
		{"mem:b", URI{Scheme: "mem", Bucket: "b"}},
		{"mem:b/p/", URI{Scheme: "mem", Bucket: "b", Prefix: "p/"}},
		{"file:///srv/mail", URI{Scheme: "file", Bucket: "/srv/mail"}},
		{"file:///srv/mail/", URI{Scheme: "file", Bucket: "/srv/mail"}},
		{"file://localhost/srv", URI{Scheme: "file", Bucket: "/srv"}},
		{"file:///", URI{Scheme: "file", Bucket: "/"}},
		{"file:///*", URI{Scheme: "file", Bucket: "/", Glob: "*"}},
		{"file:///srv/ma*/a.eml", URI{Scheme: "file", Bucket: "/srv", Prefix: "ma", Glob: "ma*/a.eml"}},
		{`file:///srv/\*/a`, URI{Scheme: "file", Bucket: "/srv/*/a"}},
		{"/srv//mail/./x", URI{Scheme: "file", Bucket: "/srv/mail/x"}},
		{"/srv/mail/../x", URI{Scheme: "file", Bucket: "/srv/x"}},
		{"/../x", URI{Scheme: "file", Bucket: "/x"}},
		{"/srv/{a/b,c}/d", URI{Scheme: "file", Bucket: "/srv", Glob: "{a/b,c}/d"}},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseURI(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
			continue
		}
		again, err := ParseURI(got.String())
		if err != nil || again != got {
			t.Errorf("ParseURI(%q) of %q = %+v, %v, want %+v", got.String(), tt.in, again, err, got)
		}
	}
}

func TestParseURIRelative(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd [1] *dir")
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	tests := []struct {
		in   string
		want URI
	}{
		{".", URI{Scheme: "file", Bucket: dir}},
		{"./", URI{Scheme: "file", Bucket: dir}},
		{"./in", URI{Scheme: "file", Bucket: dir + "/in"}},
		{"..", URI{Scheme: "file", Bucket: filepath.Dir(dir)}},
		{"../x/../y", URI{Scheme: "file", Bucket: filepath.Dir(dir) + "/y"}},
		{"./in/**/*.eml", URI{Scheme: "file", Bucket: dir + "/in", Glob: "**/*.eml"}},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseURI(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "empty URI"},
		{"mail", "neither a URI"},
		{":x", "neither a URI"},
		{"s3:b/x", "is missing after the scheme"},
		{"s3://", "without a bucket"},
		{"s3:///x", "without a bucket"},
		{"mem:", "without a bucket"},
		{"s3://../x", `".." cannot`},
		{"s3://b/../x", `".." cannot`},
		{"s3://b/x/..", `".." cannot`},
		{`file:///a/\.\./b`, `".." cannot`},
		{"s3://b\n/x", "newlines"},
		{"s3://b/x\ny", "newlines"},
		{"s3://b/x\x00", "newlines or NUL"},
		{"s3://m*/x", "pattern in its bucket"},
		{"s3://key:secret@b/x", "character in its bucket name"},
		{"s3://b c/x", "character in its bucket name"},
		{"s3://" + strings.Repeat("b", 256), "impossible bucket name"},
		{"file://srv/x", "file:///absolute/path"},
		{"file:x", "file:///absolute/path"},
		{"/a*/../b", "cannot follow a pattern"},
		{"s3://b/[a", `"[" without "]"`},
		{"s3://b/{a,b", `"{" without "}"`},
		{`s3://b/a\`, `ends in "\"`},
		{"s3://b/" + strings.Repeat("x", maxURI), "URI of"},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseURI(%q) = %+v, %v, want an error with %q", tt.in, got, err, tt.want)
			continue
		}
		if strings.ContainsAny(err.Error(), "\n\x00") || strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseURI(%q): error %q holds a newline or a secret", tt.in, err)
		}
	}
}

func TestURIBaseAndMatch(t *testing.T) {
	tests := []struct {
		uri        string
		key        Key
		base       Key
		match      bool
		exact      bool
		exactMatch bool
	}{
		{uri: "s3://b/2026/", key: "2026/a.eml", base: "2026/", match: true},
		{uri: "s3://b/2026/ma", key: "2026/mail/x", base: "2026/", match: true},
		{uri: "s3://b/2026/ma", key: "2026/x", base: "2026/"},
		{uri: "s3://b/2026/ma", key: "2026/ma", base: "2026/", match: true, exact: true, exactMatch: true},
		{uri: "s3://b/2026/ma", key: "2026/ma2", base: "2026/", match: true, exact: true},
		{uri: "s3://b/2026/*.eml", key: "2026/x.eml", base: "2026/", match: true},
		{uri: "s3://b/2026/*.eml", key: "2026/y/x.eml", base: "2026/"},
		{uri: "mem:b", key: "anything", base: "", match: true},
	}
	for _, tt := range tests {
		u, err := ParseURI(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Base(); got != tt.base {
			t.Errorf("%s: Base() = %q, want %q", u, got, tt.base)
		}
		if got := u.Match(tt.key); got != tt.match {
			t.Errorf("%s: Match(%q) = %v, want %v", u, tt.key, got, tt.match)
		}
		if tt.exact {
			u.Exact = true
			if got := u.Match(tt.key); got != tt.exactMatch {
				t.Errorf("%s, exact: Match(%q) = %v, want %v", u, tt.key, got, tt.exactMatch)
			}
		}
	}
}

func TestName(t *testing.T) {
	tests := []struct {
		scheme string
		key    Key
		want   string
	}{
		{"s3", "2026/é.eml", "s3://b/2026/é.eml"},
		{"mem", "x", "mem:b/x"},
		{"s3", "a\nb", `"s3://b/a\nb"`},
		{"s3", "a\xffb", `"s3://b/a\xffb"`},
		{"s3", "a\u202eb", `"s3://b/a\u202eb"`},
	}
	for _, tt := range tests {
		if got := Name(tt.scheme, "b", tt.key); got != tt.want {
			t.Errorf("Name(%q, b, %q) = %s, want %s", tt.scheme, tt.key, got, tt.want)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"s3://b/2026/*", "file:///a/{b,c}/[d-e]", "./x", "mem:b/x", `s3://b/\*`, "/a/../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("ParseURI(%q): error is not one line: %q", s, err)
			}
			return
		}
		again, err := ParseURI(u.String())
		if err != nil || again != u {
			t.Errorf("ParseURI(%q) = %+v; ParseURI(%q) = %+v, %v", s, u, u.String(), again, err)
		}
		if !strings.HasPrefix(string(u.Prefix), string(u.Base())) {
			t.Errorf("%+v: Base() = %q", u, u.Base())
		}
	})
}
