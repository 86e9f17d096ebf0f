package sandbox

import (
	"strings"
	"testing"
)

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("a", 600) + strings.Repeat("b", 600)
	for _, tt := range []struct{ log, want string }{
		{"", ""},
		{"one\ntwo\n", "one\ntwo"},
		{"bad \xff byte", "bad  byte"},
		{long, long[:512] + "…" + long[len(long)-512:]},
		{"fatal error: runtime: cannot allocate memory\n\nruntime stack:\nruntime.throw()\n\ngoroutine 1 [running]:\n", "fatal error: runtime: cannot allocate memory"},
		{"panic: ouch\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: ouch\n\ngoroutine 1 [running]:\nmain.main()"},
	} {
		if got := excerpt(tt.log); got != tt.want {
			t.Errorf("%.60q: got %q, want %q", tt.log, got, tt.want)
		}
	}
}
