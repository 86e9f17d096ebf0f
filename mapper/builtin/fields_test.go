package builtin

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/mapper"
)

// printed takes the text of a mapper.
type printed struct{ strings.Builder }

func (p *printed) Text(b []byte) error      { p.Write(b); return nil }
func (p *printed) Record(_, _ []byte) error { panic("no records are emitted") }
func (p *printed) Count(_ string, _ int64)  {}

func TestFields(t *testing.T) {
	tests := []struct {
		params         map[string]string
		in, want, fail string
	}{
		{nil, "a\tb\tc\nd\te\r\n\nf", "a\tb\tc\nd\te\nf\n", ""},
		{nil, "a\\t\tb", "a\\t\tb\n", ""},
		{map[string]string{"key": "0", "value": "2,1"}, "a\t5\tx\n", "\t5\ta\n", ""},
		{map[string]string{"key": "0"}, "a\tb", "\ta\tb\n", ""},
		{map[string]string{"separator": ",", "key": "2"}, "a\tx,b\\,c\n", "b\\\\\ta\\tx\tc\n", ""},
		{map[string]string{"value": "3"}, "a\tb\tc\nd\te\n", "", "line 2: no field 3 of 2"},
	}
	for _, tt := range tests {
		p, ok := Lookup("fields")
		if !ok {
			t.Fatal("no such builtin")
		}
		m, err := p.New(tt.params)
		if err != nil {
			t.Fatal(err)
		}
		var out printed
		err = m.Map(&mapper.Object{Body: strings.NewReader(tt.in)}, &out)
		if tt.fail != "" {
			if err == nil || err.Error() != tt.fail {
				t.Errorf("%v of %q: got error %v, want %s", tt.params, tt.in, err, tt.fail)
			}
			continue
		}
		if err != nil || out.String() != tt.want {
			t.Errorf("%v of %q: got %q, %v; want %q", tt.params, tt.in, out.String(), err, tt.want)
		}
	}
	for _, params := range []map[string]string{{"key": "-1"}, {"value": "1,,2"}, {"separator": "ab"}, {"value": "0"}, {"x": "y"}} {
		if _, err := newFielder(params); err == nil {
			t.Errorf("%v: accepted", params)
		}
	}
	// More than is passed on together.
	var out printed
	m, _ := newFielder(nil)
	in := strings.Repeat("key\tvalue\n", 10_000)
	if err := m.Map(&mapper.Object{Body: strings.NewReader(in)}, &out); err != nil || out.String() != in {
		t.Errorf("got %d bytes, %v; want %d", out.Len(), err, len(in))
	}
}
