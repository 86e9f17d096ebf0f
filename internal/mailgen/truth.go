package mailgen

// A Truth is what mails hold, counted while they were made. The zero value is an empty one. It is not safe for
// concurrent use: give each goroutine its own and add them up.
type Truth struct {
	Mails    int
	Bytes    int64
	Domains  map[string]int64 // mails by the domain of their From header
	Invoices []Invoice        // lines with the planted phrase, in the order in which mails were made
}

// An Invoice is a line that holds the planted phrase, which it does once.
type Invoice struct {
	Mail   int    // number of the mail
	Key    string // its key
	Line   int    // number of the line, counted from 1
	Number int    // four digits
}

// Add adds u to t.
func (t *Truth) Add(u *Truth) {
	t.Mails += u.Mails
	t.Bytes += u.Bytes
	t.Invoices = append(t.Invoices, u.Invoices...)
	for d, n := range u.Domains {
		t.domain(d, n)
	}
}

func (t *Truth) domain(d string, n int64) {
	if t.Domains == nil {
		t.Domains = make(map[string]int64)
	}
	t.Domains[d] += n
}
