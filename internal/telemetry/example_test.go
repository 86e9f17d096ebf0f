package telemetry_test

import (
	"fmt"

	"github.com/millrace/millrace/internal/telemetry"
)

func ExampleTraceID() {
	fmt.Println(telemetry.TraceID("4f1c00aa93de"))
	// Output: 6946ec892c9a8e625efe1899d65de5a5
}
