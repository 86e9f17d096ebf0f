package guest

import "strings"

// A Description is what a guest says about itself, before it maps anything.
type Description struct {
	ABI     string
	MapOnly bool // emits text; the other fields mean nothing
	Key     Type // of records
	Acc     Type // of the values of mapped records
	Result  Type // of the values of reduced records
	// Stock names the reducer that the runner can do without the guest (see package reducer); "" means that only
	// the guest can reduce, and that nobody else combines.
	Stock string
	// Partitions is set if the guest says which partition a record belongs to: see [CutPartition].
	Partitions bool
}

// maxDescription bounds the text of a description.
const maxDescription = 1024

// String returns the text of d: the ABI on the first line, then a field on each line, as in "key string".
func (d Description) String() string {
	if d.MapOnly {
		return d.ABI + "\nmaponly\n"
	}
	s := d.ABI + "\nkey " + d.Key.String() + "\nacc " + d.Acc.String() + "\nresult " + d.Result.String() + "\n"
	if d.Stock != "" {
		s += "stock " + d.Stock + "\n"
	}
	if d.Partitions {
		s += "partitions own\n"
	}
	return s
}

// ParseDescription reads what a guest printed in mode Describe. Unknown, missing and repeated fields are errors, and so is
// another ABI than ours.
func ParseDescription(p []byte) (Description, error) {
	if len(p) > maxDescription {
		return Description{}, protocolError("description is too long")
	}
	text, ok := strings.CutSuffix(string(p), "\n")
	if !ok {
		return Description{}, protocolError("description is cut short")
	}
	lines := strings.Split(text, "\n")
	d := Description{ABI: lines[0]}
	if d.ABI != ABI {
		return Description{}, protocolError("program speaks another version than " + ABI)
	}
	if len(lines) == 2 && lines[1] == "maponly" {
		d.MapOnly = true
		return d, nil
	}
	want := []struct {
		name string
		typ  *Type
	}{{"key", &d.Key}, {"acc", &d.Acc}, {"result", &d.Result}, {"stock", nil}}
	lines = lines[1:]
	if n := len(lines); n > 3 && lines[n-1] == "partitions own" {
		d.Partitions, lines = true, lines[:n-1]
	}
	if n := len(lines); n != 3 && n != 4 {
		return Description{}, protocolError("description has a wrong number of fields")
	}
	for i, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		if name != want[i].name || value == "" {
			return Description{}, protocolError("description lacks its field " + want[i].name)
		}
		if want[i].typ == nil {
			d.Stock = value
			continue
		}
		t, ok := ParseType(value)
		if !ok {
			return Description{}, protocolError("description has an unknown type for " + name)
		}
		*want[i].typ = t
	}
	return d, nil
}

type protocolErr string

func protocolError(what string) error { return protocolErr(what) }

func (e protocolErr) Error() string        { return "guest protocol: " + string(e) }
func (e protocolErr) Is(target error) bool { return target == ErrProtocol }
