package runner

import (
	"fmt"

	"github.com/millrace/millrace/shuffle"
)

// reduceGroups reduces by a stock reducer that sees all values of a key.
func (r *reducing) reduceGroups(m *shuffle.Merger, emit func(key, result []byte) error) error {
	for key, values := range m.Groups() {
		if err := r.native.Group(values, func(result []byte) error { return emit(key, result) }); err != nil {
			return fmt.Errorf("key %q: %w", clip(string(key)), err)
		}
	}
	return m.Err()
}
