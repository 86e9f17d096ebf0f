package decompress_test

import (
	"bytes"
	"compress/gzip"
	"fmt"

	"github.com/millrace/millrace/mapper/decompress"
)

func ExampleBytes() {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, "hello, hello, hello")
	w.Close()

	text, err := decompress.Bytes(decompress.Gzip, packed.Bytes(), 1<<20)
	fmt.Println(string(text), err)
	_, err = decompress.Bytes(decompress.Gzip, packed.Bytes(), 10)
	fmt.Println(err)
	// Output:
	// hello, hello, hello <nil>
	// decompressed data is larger than allowed
}
