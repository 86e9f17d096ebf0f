package server_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store/mem"
)

// parts returns what lies in a bucket, part after part.
func parts(t *testing.T, m *mem.Store, bucket string) (all string) {
	t.Helper()
	b := m.Bucket(bucket)
	for o, err := range b.List(t.Context(), "part-", "") {
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.Open(t.Context(), o.Key, "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	return all
}

// Objects are mapped on the nodes where they lie, and what comes out is the same bytes wherever that is.
func TestWhere(t *testing.T) {
	const n = 240
	m := mails(t, n)
	var rules []locate.Rule
	for _, s := range []string{"mem:in/mails/=node-1", "mem:in/mails/0001=node-2,node-3", "mem:in/mails/0010=node-2", "mem:in/mails/0012=node-3,nobody", "mem:in/mails/0020=nobody", "mem:in/mails/0022=*"} {
		r, err := locate.ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	for name, j := range map[string]*job.Job{"lines": lines(nil), "words": words(nil)} {
		var want string
		for i, where := range []*locate.Config{nil, {Rules: rules}} {
			c := newCluster(t, m, j)
			c.Where = where
			c.Server("server-1")
			c.Agents(3, 1)
			client := c.Client("me")
			out := fmt.Sprintf("%s-%d", name, i)
			spec := &job.Spec{Inputs: []string{"mem:in/mails/"}, Output: "mem:" + out, Program: inProcess, Split: 7}
			if name == "words" {
				spec.Reducers = 2
			}
			submitted, err := client.Submit(soon(t), spec, nil)
			s := end(t, submitted, err, "")
			got := parts(t, m, out)
			if where == nil {
				want = got
			} else if got != want {
				t.Errorf("%s: %d bytes, %d where nobody knows where objects lie, or in another order", name, len(got), len(want))
			}
			in := s.Result.Counters.Input
			// A node that is slow to ask loses tasks to others.
			if (in.Placed > 0) != (where != nil) || (in.Near > 0) != (where != nil) || s.Result.Counters.Objects != n {
				t.Errorf("%s: %d objects, %+v", name, s.Result.Counters.Objects, in)
			}
			if name == "words" {
				continue
			}
			for _, sorted := range []bool{false, true} {
				var printed bytes.Buffer
				submitted, err := client.Submit(soon(t), &job.Spec{Inputs: spec.Inputs, Program: inProcess, Split: 7}, &server.SubmitOptions{Stdout: &printed, Sorted: sorted})
				end(t, submitted, err, "")
				if text := printed.String(); sorted && text != got || strings.Count(text, "\n") != n {
					t.Errorf("printed, sorted %t: %d lines", sorted, strings.Count(text, "\n"))
				}
			}
		}
	}
}
