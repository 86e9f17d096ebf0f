// Program runs invoices.Lines as a job.
package main

import (
	"github.com/millrace/millrace/internal/runner/testdata/invoices"
	"github.com/millrace/millrace/job"
)

func main() { job.Main(job.MapOnly(invoices.Lines)) }
