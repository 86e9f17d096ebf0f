package reducer

import (
	"errors"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/guest"
)

// A name is that of a stock reducer, taken apart:
//
//	operation [":" kind [":" kind]] ["(" argument {"," argument} ")"]
//
// as in sum:int64, top-k(10), first:string:float64, concat("; "). An argument is a word, or a string as Go quotes it.
type name struct {
	op    string
	kinds []string
	args  []string
}

// maxName bounds a name in bytes: it is a line of what a guest says of itself.
const maxName = 900

func parseName(s string) (name, error) {
	if len(s) > maxName {
		return name{}, errors.New("a name of more than " + strconv.Itoa(maxName) + " bytes")
	}
	head, rest, called := strings.Cut(s, "(")
	kinds := strings.Split(head, ":")
	n := name{op: kinds[0], kinds: kinds[1:]}
	if !called {
		return n, nil
	}
	malformed := errors.New(strconv.Quote(s) + ": its arguments are not like (a, b)")
	for {
		rest = strings.TrimLeft(rest, " ")
		arg, behind, ok := argument(rest)
		if !ok || behind == "" || behind[0] != ',' && behind != ")" {
			return name{}, malformed
		}
		n.args = append(n.args, arg)
		if behind == ")" {
			return n, nil
		}
		rest = behind[1:]
	}
}

// argument takes the first argument off s.
func argument(s string) (arg, behind string, ok bool) {
	if q, err := strconv.QuotedPrefix(s); err == nil && q[0] == '"' {
		arg, err = strconv.Unquote(q)
		return arg, strings.TrimLeft(s[len(q):], " "), err == nil
	}
	i := strings.IndexAny(s, `,)"`)
	if i <= 0 {
		return "", s, false
	}
	return strings.TrimRight(s[:i], " "), s[i:], true
}

// stockName is the inverse of parseName for arguments that need no quotes.
func stockName(op string, kinds []string, args ...string) string {
	s := strings.Join(append([]string{op}, kinds...), ":")
	if len(args) > 0 {
		s += "(" + strings.Join(args, ", ") + ")"
	}
	return s
}

// typed returns the types of the name's kinds, those of standard where it has none, or an error if there are more than in standard.
// ordered is how many of them must have an order that their encodings keep.
func (n *name) typed(ordered int, standard ...string) ([]guest.Type, error) {
	if len(n.kinds) > len(standard) {
		return nil, errors.New(n.op + ": " + strconv.Quote(strings.Join(n.kinds, ":")) + " are more types than it has")
	}
	types := make([]guest.Type, len(standard))
	for i, kind := range standard {
		if i < len(n.kinds) {
			kind = n.kinds[i]
		}
		t, ok := typeOf(kind)
		if !ok {
			return nil, errors.New(n.op + ": no type of values is named " + strconv.Quote(kind))
		}
		if i < ordered && !isOrdered(t) {
			return nil, errors.New(n.op + ": values of type " + kind + " have no order")
		}
		types[i] = t
	}
	return types, nil
}

// none returns an error if the name has arguments.
func (n *name) none() error {
	if len(n.args) > 0 {
		return errors.New(n.op + ": it takes no arguments")
	}
	return nil
}

// floats returns the arguments as numbers, between least and most of them, no NaN.
func (n *name) floats(least, most int) ([]float64, error) {
	if len(n.args) < least || len(n.args) > most {
		return nil, errors.New(n.op + ": " + strconv.Itoa(len(n.args)) + " arguments, not " + strconv.Itoa(least) +
			" to " + strconv.Itoa(most))
	}
	fs := make([]float64, len(n.args))
	for i, a := range n.args {
		f, err := strconv.ParseFloat(a, 64)
		if err != nil || f != f {
			return nil, errors.New(n.op + ": " + strconv.Quote(a) + " is not a number")
		}
		fs[i] = f + 0 // no negative zero
	}
	return fs, nil
}

// count returns the only argument, a number between 1 and most.
func (n *name) count(most int) (int, error) {
	if len(n.args) == 1 {
		if k, err := strconv.Atoi(n.args[0]); err == nil && k >= 1 && k <= most {
			return k, nil
		}
	}
	return 0, errors.New(n.op + ": want a number from 1 to " + strconv.Itoa(most) + ", as in " + n.op + "(10)")
}

func formatFloats(fs []float64) []string {
	args := make([]string, len(fs))
	for i, f := range fs {
		args[i] = strconv.FormatFloat(f+0, 'g', -1, 64)
	}
	return args
}

// kinds are the kinds of values in the names of natives, and the types that encode them.
var kinds = [...]struct {
	name string
	typ  guest.Type
}{
	{"int64", guest.Int}, {"int32", guest.Int}, {"int16", guest.Int}, {"int8", guest.Int},
	{"uint64", guest.Uint}, {"uint32", guest.Uint}, {"uint16", guest.Uint}, {"uint8", guest.Uint},
	{"float64", guest.Float}, {"float32", guest.Float}, {"string", guest.String},
	{"bytes", guest.Bytes}, {"bool", guest.Bool}, {"binary", guest.Binary}, {"json", guest.JSON},
}

func typeOf(kind string) (guest.Type, bool) {
	for _, k := range kinds {
		if k.name == kind {
			return k.typ, true
		}
	}
	return 0, false
}

// isOrdered reports whether the encodings of values of type t are ordered as the values.
func isOrdered(t guest.Type) bool { return t <= guest.Float && t != guest.Bytes }
