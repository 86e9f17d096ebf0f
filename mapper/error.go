package mapper

import "strconv"

// An ObjectError says that an object could not be mapped and must be skipped and named. It is the object's
// (or the mapper's) fault: another attempt would end the same way.
type ObjectError struct {
	URI    string
	Offset int64 // where in the object the mapper began; 0 for its start
	Err    error
}

func (e *ObjectError) Error() string {
	if e.Offset == 0 {
		return e.URI + ": " + e.Err.Error()
	}
	return e.URI + " at " + strconv.FormatInt(e.Offset, 10) + ": " + e.Err.Error()
}

func (e *ObjectError) Unwrap() error { return e.Err }
