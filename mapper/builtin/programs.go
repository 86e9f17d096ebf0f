package builtin

// All returns the builtin programs, ordered by name.
func All() []*Program { return []*Program{fields(), grep(), sorted(), words()} }

// Lookup returns the builtin program of that name.
func Lookup(name string) (*Program, bool) {
	for _, p := range All() {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}
