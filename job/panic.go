package job

import "runtime"

// A PanicError is a panic of a user's function.
type PanicError struct {
	Value any
	Stack string // of the goroutine
}

func (e *PanicError) Error() string {
	text := "a value that is not an error or a string" // package fmt would be a third of a small guest
	switch v := e.Value.(type) {
	case error:
		text = v.Error()
	case interface{ String() string }:
		text = v.String()
	case string:
		text = v
	}
	return "panic: " + text
}

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// recoverTo is deferred to make an error of a panic.
func recoverTo(err *error) {
	if v := recover(); v != nil {
		stack := make([]byte, 16<<10)
		*err = &PanicError{Value: v, Stack: string(stack[:runtime.Stack(stack, false)])}
	}
}
