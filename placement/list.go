package placement

// A list is numbers of tasks in the order that they came. A task that was taken off another list stays until it is come upon.
type list struct {
	items []int32
	begin int // those before were taken
}

func (l *list) push(at int32) { l.items = append(l.items, at) }

// first removes and returns the first task that is wanted, and drops those before it; -1 if there is none.
func (l *list) first(wanted func(int32) bool) int32 {
	for l.begin < len(l.items) {
		at := l.items[l.begin]
		l.begin++
		if wanted(at) {
			return at
		}
	}
	l.items, l.begin = nil, 0
	return -1
}

// last removes and returns the last task that is wanted, and drops those behind it; -1 if there is none.
func (l *list) last(wanted func(int32) bool) int32 {
	for n := len(l.items); n > l.begin; n-- {
		at := l.items[n-1]
		l.items = l.items[:n-1]
		if wanted(at) {
			return at
		}
	}
	l.items, l.begin = nil, 0
	return -1
}

// drop drops all tasks that are not wanted.
func (l *list) drop(wanted func(int32) bool) {
	kept := l.items[:0]
	for _, at := range l.items[l.begin:] {
		if wanted(at) {
			kept = append(kept, at)
		}
	}
	l.items, l.begin = kept, 0
}
