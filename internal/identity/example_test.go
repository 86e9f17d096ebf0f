package identity_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/identity"
)

func Example() {
	dir, err := os.MkdirTemp("", "identity-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ca, err := identity.Create(filepath.Join(dir, "ca"), "mail")
	if err != nil {
		panic(err)
	}
	n, err := ca.Issue(identity.Agent, "node-1", filepath.Join(dir, "node-1"))
	if err != nil {
		panic(err)
	}
	fmt.Println(n, "of", n.Cluster)
	// Output: agent node-1 of mail
}
