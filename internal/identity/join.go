package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// JoinPath is where a Handler is asked.
const JoinPath = "/v1/join"

// A joining is what a new node sends: the secret of its token and a request for a certificate, in DER, whose names do not matter.
type joining struct {
	Secret  []byte `json:"secret"`
	Request []byte `json:"request"`
}

// A joined answers it, with certificates in DER.
type joined struct {
	CA   []byte `json:"ca"`
	Cert []byte `json:"cert"`
}

// Handler lets nodes join by their tokens. It is served with JoinTLS.
func (a *Authority) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+JoinPath, func(w http.ResponseWriter, r *http.Request) {
		var j joining
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFile)).Decode(&j); err != nil {
			http.Error(w, "not a request to join", http.StatusBadRequest)
			return
		}
		cert, err := a.admit(&j)
		switch {
		case errors.Is(err, ErrToken):
			http.Error(w, err.Error(), http.StatusForbidden)
		case err != nil:
			http.Error(w, "the authority could not sign", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(joined{a.cert.Raw, cert}) // who does not hear it asks for another token
		}
	})
	return mux
}

// admit signs the certificate of a node that has a token. Nothing is signed before the request was found good and the token used up.
func (a *Authority) admit(j *joining) ([]byte, error) {
	request, err := x509.ParseCertificateRequest(j.Request)
	if err != nil || request.CheckSignature() != nil {
		return nil, fmt.Errorf("%w: it comes with no good request", ErrToken)
	}
	public, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: it comes with a key of another kind than ECDSA", ErrToken)
	}
	g, err := a.redeem(j.Secret)
	if err != nil {
		return nil, err
	}
	return a.sign(g.Peer, public)
}

// JoinTLS returns what a server shows to nodes that have no certificate yet. The caller owns it.
func (n *Node) JoinTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{n.cert}, MinVersion: tls.VersionTLS13}
}

// Join makes a node in dir, where none is yet, by a token of the authority behind address (host:port). The key is made here and stays here; a server whose
// authority is not the token's learns nothing of the secret. If Join did not come to its end, it may be called again, with another token.
func Join(ctx context.Context, address, token, dir string) (*Node, error) {
	n, err := join(ctx, address, token, dir)
	if err != nil {
		return nil, fmt.Errorf("join by %s: %w", address, err)
	}
	return n, nil
}

func join(ctx context.Context, address, token, dir string) (*Node, error) {
	pin, secret, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	key, err := newKey(dir)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(joining{secret, request})
	if err != nil {
		return nil, err
	}
	answer, err := ask(ctx, address, pin, body)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(answer.CA) != pin {
		return nil, fmt.Errorf("%w: the authority is not that of the token", ErrStranger)
	}
	return install(dir, answer.CA, answer.Cert)
}

// ask sends the request to a coordinator of the authority of that fingerprint, and to nobody else.
func ask(ctx context.Context, address string, pin [sha256.Size]byte, body []byte) (*joined, error) {
	transport := &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection looks: all that is known is a fingerprint
		VerifyConnection:   func(cs tls.ConnectionState) error { return pinned(pin, cs.PeerCertificates) },
	}}
	client := &http.Client{Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+JoinPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxFile))
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s", ErrToken, bytes.TrimPrefix(bytes.TrimSpace(b), []byte(ErrToken.Error()+": ")))
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %.200q", resp.Status, b)
	}
	var j joined
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("an answer that is none: %w", err)
	}
	return &j, nil
}

// pinned says whether a chain is that of a coordinator under the authority with the fingerprint.
func pinned(pin [sha256.Size]byte, chain []*x509.Certificate) error {
	for _, c := range chain {
		if sha256.Sum256(c.Raw) != pin || !c.IsCA {
			continue
		}
		pool := x509.NewCertPool()
		pool.AddCert(c)
		p, err := verify(pool, time.Now(), chain)
		if err == nil && p.Role != Coordinator {
			err = fmt.Errorf("%w: %v is no coordinator", ErrStranger, p)
		}
		return err
	}
	return fmt.Errorf("%w: its authority is not that of the token", ErrStranger)
}
