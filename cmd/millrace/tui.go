package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/store"
)

// report prints err as one line and returns the exit code that it means.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	if build, ok := errors.AsType[*buildError](err); ok {
		_, _ = io.WriteString(stderr, visible(build.Output))
	}
	text := err.Error()
	if h := hint(err); h != "" {
		text += " (" + h + ")"
	}
	warn(stderr, text)
	return exitError
}

// warn prints one line.
func warn(stderr io.Writer, text string) {
	text = strings.ReplaceAll(strings.TrimRight(text, "\n "), "\n", "; ")
	_, _ = fmt.Fprintf(stderr, "millrace: %s\n", visible(text))
}

// bucketOnly finds what an error says of a whole bucket.
var bucketOnly = regexp.MustCompile(`(s3|swift)://[^/ ]+/?:`)

// hint returns what a user may do about err, "" if err says it all.
func hint(err error) string {
	text := err.Error()
	s3, swift := strings.Contains(text, "s3://"), strings.Contains(text, "swift://")
	switch {
	case errors.Is(err, commit.ErrExists):
		return "--overwrite replaces it"
	case errors.Is(err, home.ErrNone):
		return `"millrace cluster init" begins a cluster, "millrace cluster join" joins one`
	case errors.Is(err, home.ErrTaken):
		return "--dir names another directory; join --replace gives this one a new identity of the same cluster"
	case errors.Is(err, identity.ErrToken):
		return `"millrace cluster token" makes one where the cluster has begun; each is for one node, once`
	case errors.Is(err, identity.ErrStranger):
		return "nodes of one cluster have certificates of one authority: was this one made by a join of the same cluster?"
	case errors.Is(err, identity.ErrExposed):
		return "chmod 600"
	case errors.Is(err, cluster.ErrLost):
		return "docs/operations.md says what a lost engine means"
	case errors.Is(err, cluster.ErrUnsafe):
		return "docs/operations.md says what an engine must be set to"
	case swift && (errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "no such host")):
		return "is the address right? OS_AUTH_URL or ST_AUTH sets it"
	case swift && errors.Is(err, store.ErrPermission):
		return "OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or ST_AUTH, ST_USER and ST_KEY, give access"
	case swift && errors.Is(err, store.ErrNotExist) && bucketOnly.MatchString(text):
		return "is there such a container in this account?"
	case strings.Contains(text, "join by "), strings.Contains(text, "connect to the cluster"):
		if errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "no servers available") || strings.Contains(text, "no such host") {
			return `is "millrace serve" running there?`
		}
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "no such host"):
		return "is the store's address right? AWS_ENDPOINT_URL or --endpoint sets it"
	case s3 && errors.Is(err, store.ErrPermission):
		return "are the AWS credentials right? --no-sign-request reads public buckets without any"
	case s3 && errors.Is(err, store.ErrNotExist) && (bucketOnly.MatchString(text) || strings.Contains(text, "NoSuchBucket")):
		return "is there such a bucket in this store? AWS_ENDPOINT_URL or --endpoint names another than AWS"
	case s3 && strings.Contains(strings.ToLower(text), "credentials"):
		return "AWS_PROFILE or AWS_ACCESS_KEY_ID give credentials; --no-sign-request does without"
	}
	return ""
}

// terminal reports whether w is a terminal, and its width in columns.
func terminal(w any) (width int, ok bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}
