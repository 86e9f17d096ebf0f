package file_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	dirs := map[store.Bucket]string{}
	open := func(dir string) store.Bucket {
		b := file.New(dir)
		dirs[b] = dir
		return b
	}
	storetest.Run(t, func(t *testing.T) store.Bucket { return open(t.TempDir() + "/new/bucket") }, &storetest.Options{
		Reopen: func(t *testing.T, b store.Bucket) store.Bucket { return open(dirs[b]) },
	})
}
