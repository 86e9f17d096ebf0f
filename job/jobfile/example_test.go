package jobfile_test

import (
	"fmt"

	"github.com/millrace/millrace/job/jobfile"
)

func ExampleParse() {
	spec, err := jobfile.Parse("words.yaml", []byte(`
inputs: ["s3://mail/2026/"]
output: s3://out/words
program: ./wordcount
limits: {memory: 64MiB}
`))
	if err != nil {
		panic(err)
	}
	fmt.Println(spec.Program.Path, spec.Inputs, spec.Limits.Memory)

	_, err = jobfile.Parse("words.yaml", []byte("inptus: []"))
	fmt.Println(err)
	// Output:
	// ./wordcount [s3://mail/2026/] 67108864
	// words.yaml:1:1: unknown field "inptus" (did you mean inputs?)
}
