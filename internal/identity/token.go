package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	tokenPrefix  = "millrace-join-"
	tokenVersion = 1
	secretSize   = 16
	// MaxTokenLife bounds how long a token may wait for its use.
	MaxTokenLife = 7 * 24 * time.Hour
)

// A grant is what a token allows, as its file says.
type grant struct {
	Peer
	Until time.Time `json:"until"`
}

// Token returns a token by which one node can join, once, as role and name, until life has passed on the authority's clock.
// Whoever has it can: it is a secret.
func (a *Authority) Token(role Role, name string, life time.Duration) (string, error) {
	g := grant{Peer{a.cluster, role, name}, a.now().Add(life)}
	if err := g.Check(); err != nil {
		return "", err
	}
	if life <= 0 || life > MaxTokenLife {
		return "", fmt.Errorf("a token for %v: want more than 0 and at most %v", life, MaxTokenLife)
	}
	a.sweep()
	sum := sha256.Sum256(a.cert.Raw)
	b := append([]byte{tokenVersion}, sum[:]...)
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	j, err := json.Marshal(g)
	if err != nil {
		return "", err
	}
	if err := writeNew(a.tokenFile(secret), j); err != nil {
		return "", fmt.Errorf("authority %s: %w", a.dir, err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, secret...)), nil
}

// tokenFile names the file of a token: knowing the file is not knowing the token.
func (a *Authority) tokenFile(secret []byte) string {
	sum := sha256.Sum256(secret)
	return filepath.Join(a.dir, "tokens", hex.EncodeToString(sum[:]))
}

// redeem uses a token up, and returns what it allows. Of several who try at once, one succeeds.
func (a *Authority) redeem(secret []byte) (grant, error) {
	name := a.tokenFile(secret)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return grant{}, fmt.Errorf("%w: unknown or used before", ErrToken)
	}
	if err != nil {
		return grant{}, err
	}
	var g grant
	if err := json.Unmarshal(b, &g); err != nil {
		return grant{}, fmt.Errorf("token file %s: %w", name, err)
	}
	if err := os.Remove(name); errors.Is(err, fs.ErrNotExist) {
		return grant{}, fmt.Errorf("%w: unknown or used before", ErrToken)
	} else if err != nil {
		return grant{}, err
	}
	if err := syncDir(filepath.Dir(name)); err != nil { // a crash does not bring it back
		return grant{}, err
	}
	if g.Cluster != a.cluster || !a.now().Before(g.Until) {
		return grant{}, fmt.Errorf("%w: it ended at %s", ErrToken, g.Until.UTC().Format(time.RFC3339))
	}
	return g, nil
}

// sweep removes tokens that have ended.
func (a *Authority) sweep() {
	dir := filepath.Join(a.dir, "tokens")
	files, _ := os.ReadDir(dir) // what is left is left for the next time
	for _, f := range files {
		var g grant
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil && json.Unmarshal(b, &g) == nil && !a.now().Before(g.Until) {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

// parseToken returns the fingerprint that a token pins, and its secret. Its errors do not repeat the token.
func parseToken(token string) (pin [sha256.Size]byte, secret []byte, err error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(token), tokenPrefix)
	b, derr := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || derr != nil || len(b) != 1+sha256.Size+secretSize {
		return pin, nil, fmt.Errorf("%w: want %s and %d letters", ErrToken, tokenPrefix, base64.RawURLEncoding.EncodedLen(1+sha256.Size+secretSize))
	}
	if b[0] != tokenVersion {
		return pin, nil, fmt.Errorf("%w: version %d, known is %d", ErrToken, b[0], tokenVersion)
	}
	copy(pin[:], b[1:])
	return pin, b[1+sha256.Size:], nil
}
