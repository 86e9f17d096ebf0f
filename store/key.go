package store

import "fmt"

// MaxKey is the length of the longest key, in bytes.
const MaxKey = 1024

// Check returns an error that wraps ErrKey if k is empty or too long for any store. Drivers refuse more.
func (k Key) Check() error {
	switch {
	case k == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(k) > MaxKey:
		return fmt.Errorf("%w: %d bytes, more than %d", ErrKey, len(k), MaxKey)
	}
	return nil
}
