package main

import (
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/s3"
	"github.com/millrace/millrace/store/swift"
)

// schemes returns the stores that millrace can use.
func schemes() store.Schemes {
	return store.Schemes{"file": file.Open, "s3": s3.Open, "swift": swift.Open}
}
