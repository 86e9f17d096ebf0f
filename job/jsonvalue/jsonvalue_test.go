package jsonvalue_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job/jsonvalue"
)

type mail struct {
	From string   `json:"from"`
	To   []string `json:"to,omitempty"`
}

func TestErrors(t *testing.T) {
	c, err := guest.CodecOf[jsonvalue.Of[mail]]()
	if err != nil || c.Type != guest.JSON {
		t.Fatalf("got %v, %v; want json", c.Type, err)
	}
	if v, err := c.Decode([]byte(`{"from":1}`)); err == nil {
		t.Errorf("got %+v from a number", v)
	}
	f, err := guest.CodecOf[jsonvalue.Of[func()]]()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := f.Append(nil, jsonvalue.Of[func()]{}); err == nil {
		t.Errorf("a function is encoded as %s", p)
	}
}

func Example() {
	c, _ := guest.CodecOf[jsonvalue.Of[mail]]()
	enc, _ := c.Append(nil, jsonvalue.Of[mail]{V: mail{From: "anna", To: []string{"ben"}}})
	fmt.Printf("%s\n", enc)
	back, err := c.Decode(enc)
	fmt.Println(back.V.To, err)
	// Output:
	// {"from":"anna","to":["ben"]}
	// [ben] <nil>
}
