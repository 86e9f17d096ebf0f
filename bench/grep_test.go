package bench

import "testing"

// BenchmarkGrep searches mails in files: millrace beside ripgrep, which must print the same lines.
func BenchmarkGrep(b *testing.B) {
	need(b, "rg")
	p := built(b)
	dir, size := mails(b)
	for _, tt := range []struct{ name, pattern string }{
		{"literal", `invoice`},
		{"regexp", `invoice [0-9]{3}7\b|From: .*@[a-z]+\.org`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			contest(b, size, true,
				contender{"millrace", command(dir, nil, p.millrace, "grep", "--progress", "none", tt.pattern, ".")},
				contender{"ripgrep", command(dir, nil, "rg", "-a", "-n", "--no-heading", "--no-ignore", "--hidden", "--color", "never", "-e", tt.pattern, "./")},
			)
		})
	}
}

// BenchmarkStart is a whole process that searches one small object.
func BenchmarkStart(b *testing.B) {
	p := built(b)
	dir := b.TempDir()
	writeFile(b, dir+"/a.txt", "one\ntwo\n")
	contest(b, 0, true, contender{"millrace", command(dir, nil, p.millrace, "grep", "--progress", "none", "two", ".")})
}
