//go:build !unix

package job

import "errors"

// execMillrace returns an error: a WebAssembly module cannot start another program.
func execMillrace() error {
	return errors.New("this program is run by millrace: millrace run PROGRAM.wasm -i INPUT -o OUTPUT")
}
