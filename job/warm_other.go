//go:build !wasip1

package job

// warm does nothing where no snapshot is taken.
func warm() {}
