// Guest is one of the programs, chosen when it is built: -ldflags "-X main.name=words".
package main

import (
	"github.com/millrace/millrace/internal/chaos/programs"
	"github.com/millrace/millrace/job"
)

var name string

func main() {
	j, err := programs.Lookup(name)
	if err != nil {
		panic(err)
	}
	job.Main(j)
}
