package placement

// A list is numbers of tasks in the order that they came. A task that was taken off another list stays until it is come upon.
type list struct {
	items []int32
	begin int // those before were taken
}

func (l *list) push(at int32) { l.items = append(l.items, at) }

// trim drops those from the front that are not wanted, and reports whether any is left.
func (l *list) trim(wanted func(int32) bool) bool {
	for l.begin < len(l.items) {
		if wanted(l.items[l.begin]) {
			return true
		}
		l.begin++
	}
	l.items, l.begin = nil, 0
	return false
}

// pick takes the i-th off the list.
func (l *list) pick(i int) int32 {
	s := l.items[l.begin:]
	at := s[i]
	s[i] = s[0]
	l.begin++
	return at
}

// first takes the first that is wanted; -1 if there is none.
func (l *list) first(wanted func(int32) bool) int32 {
	if !l.trim(wanted) {
		return -1
	}
	return l.pick(0)
}

// last takes the last that is wanted, and drops those behind it; -1 if there is none.
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
