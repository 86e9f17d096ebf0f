package jobfile

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
)

const groups = `
name: frequent words
inputs: ["s3://mail/"]
output: s3://out/words
groups:
  look:
    program: ./look
    limits: {records: 9}
  count:
    program: {engine: wasm, name: counter, path: ./count.wasm, args: [-v]}
    params: {lower: "true"}
    members: 4
    ok_exit: [0, 1]
    limits: {memory: 64MiB, wall: 5m, cpu: 1m, output: 1GiB, reads: 5, read_bytes: 1MiB, writes: 6, log: 1KiB, log_lines: 7}
  report:
    program: ./report
channels:
  word: {from: look, to: count, limits: {bytes: 1MiB, calls: 1000}}
  total: {from: count, to: report}
`

func TestParseGroups(t *testing.T) {
	got, err := Parse("job.yaml", []byte(groups))
	if err != nil {
		t.Fatal(err)
	}
	want := &job.Spec{
		Name: "frequent words", Inputs: []string{"s3://mail/"}, Output: "s3://out/words",
		Groups: map[string]job.Group{
			"look": {Program: job.Program{Path: "./look"}, Limits: job.Limits{Records: 9}},
			"count": {
				Program: job.Program{Engine: job.Wasm, Name: "counter", Path: "./count.wasm", Args: []string{"-v"}},
				Params:  map[string]string{"lower": "true"}, Members: 4, OKExit: []int{0, 1},
				Limits: job.Limits{Memory: 64 << 20, Wall: 5 * time.Minute, CPU: time.Minute, Output: 1 << 30,
					Reads: 5, ReadBytes: 1 << 20, Writes: 6, Log: 1 << 10, LogLines: 7},
			},
			"report": {Program: job.Program{Path: "./report"}},
		},
		Channels: map[string]job.Channel{
			"word":  {From: "look", To: "count", Limits: job.ChannelLimits{Bytes: 1 << 20, Calls: 1000}},
			"total": {From: "count", To: "report"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := Validate(got); err != nil {
		t.Error(err)
	}
	for group, is := range map[string][2]bool{"look": {true, false}, "count": {}, "report": {false, true}} {
		if got.Maps(group) != is[0] || got.Writes(group) != is[1] {
			t.Errorf("%s maps: %t, writes: %t; want %v", group, got.Maps(group), got.Writes(group), is)
		}
	}
}

func TestGroupErrors(t *testing.T) {
	const two = "groups:\n  a: {program: ./a}\n  b: {program: ./b, members: 3}\n"
	tests := []struct{ name, text, want string }{
		{"unknown field", two + "channels:\n  c: {from: a, too: b}", `job.yaml:5:16: unknown field "channels.c.too" (did you mean to?)`},
		{"unknown group", two + "channels:\n  c: {from: a, to: d}", `job.yaml:5:20: channels.c.to: there is no group "d"`},
		{"misspelt group", "groups:\n  count: {program: ./a}\nchannels:\n  c: {from: cuont, to: count}", `job.yaml:4:13: channels.c.from: there is no group "cuont" (did you mean count?)`},
		{"no end", two + "channels:\n  c: {from: a}", `job.yaml:5:3: channels.c: it does not say to which group`},
		{"a cycle", two + "channels:\n  x: {from: a, to: b}\n  y: {from: b, to: a}", `job.yaml:6:3: channels.y: a cycle: a → b → a`},
		{"a cycle behind others", "groups:\n  a: {program: a}\n  b: {program: b}\n  c: {program: c}\nchannels:\n  x: {from: a, to: b}\n  y: {from: b, to: c}\n  z: {from: c, to: b}",
			`job.yaml:8:3: channels.z: a cycle: b → c → b`},
		{"itself", two + "channels:\n  x: {from: b, to: b}", `job.yaml:5:3: channels.x: a cycle: b → b`},
		{"two of a name", two + "channels:\n  x: {from: a, to: b}\n  x: {from: a, to: b}", `job.yaml:6:3: field "x" is given twice, first in line 5`},
		{"two groups of a name", "groups:\n  a: {program: ./a}\n  a: {program: ./b}", `job.yaml:3:3: field "a" is given twice, first in line 2`},
		{"a name", "groups:\n  A/B: {program: ./a}", `job.yaml:2:3: groups.A/B: "A/B": names are of at most 32 small letters`},
		{"a channel's name", two + "channels:\n  x.1: {from: a, to: b}", `job.yaml:5:3: channels.x.1: "x.1": names are`},
		{"no program", "groups:\n  a: {members: 2}", "job.yaml:2:3: groups.a: no program given"},
		{"a builtin", "groups:\n  a: {program: {engine: builtin, name: grep}}", "groups.a.program: a builtin knows no channels"},
		{"negative members", "groups:\n  a: {program: ./a, members: -1}", "job.yaml:2:30: groups.a.members: -1 is not between 1 and 64"},
		{"many members", "groups:\n  a: {program: ./a, members: 40}\n  b: {program: ./b, members: 40}", "job.yaml:3:3: groups.b: more than 64 members in all groups"},
		{"a limit", "groups:\n  a: {program: ./a, limits: {wall: -1s}}", "job.yaml:2:36: groups.a.limits.wall: -1s is negative"},
		{"a limit of sorting", "groups:\n  a: {program: ./a, limits: {spill: 1GiB}}", "groups.a.limits.spill: groups do not sort"},
		{"a limit of mapping", "groups:\n  a: {program: ./a}\n  b: {program: ./b, limits: {records: 1}}\nchannels:\n  x: {from: a, to: b}", "job.yaml:3:39: groups.b.limits.records: of a group that does not map"},
		{"a channel's limit", two + "channels:\n  x: {from: a, to: b, limits: {calls: -1}}", "channels.x.limits: negative"},
		{"channels alone", "channels:\n  x: {from: a, to: b}", "job.yaml:2:3: channels: there are no groups to join"},
		{"a program beside", "program: ./x\n" + two, "job.yaml:1:10: program: each group has its own"},
		{"a reducer beside", "reducer: sum\n" + two, "job.yaml:1:10: reducer: groups reduce by programs"},
		{"limits beside", "limits: {wall: 1s}\n" + two, "job.yaml:1:9: limits: each group has its own"},
		{"a format beside", "format: parquet\n" + two, "job.yaml:1:9: format: the output of groups is what they print"},
	}
	var pairs strings.Builder
	pairs.WriteString("groups:\n  a: {program: ./a, members: 32}\n  b: {program: ./b, members: 32}\nchannels:\n")
	for i := range 2 {
		fmt.Fprintf(&pairs, "  c%d: {from: a, to: b}\n", i)
	}
	tests = append(tests, struct{ name, text, want string }{"many pairs", pairs.String(), "job.yaml:6:3: channels.c1: channels join more than 1024 pairs of members"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("job.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
