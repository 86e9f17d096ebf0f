package swift

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// clearEnv takes away what the machine that runs the tests has set.
func clearEnv(t *testing.T) {
	for _, name := range []string{
		"OS_AUTH_URL", "OS_USERNAME", "OS_USER_ID", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_TENANT_NAME", "OS_TENANT_ID", "OS_USER_DOMAIN_NAME", "OS_USER_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME", "OS_PROJECT_DOMAIN_ID",
		"OS_REGION_NAME", "OS_STORAGE_URL", "OS_AUTH_TOKEN", "OS_CACERT", "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_SECRET", "ST_AUTH", "ST_USER", "ST_KEY", "ST_AUTH_VERSION",
	} {
		t.Setenv(name, "")
	}
}

// A keystone gives tokens by version 3, and is the object store of its catalog as well.
type keystone struct {
	*httptest.Server
	asked   []map[string]any
	expires time.Duration
}

func newKeystone(t *testing.T) *keystone {
	k := &keystone{expires: time.Hour}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v3/auth/tokens":
			var body map[string]any
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			k.asked = append(k.asked, body)
			w.Header().Set("X-Subject-Token", "a-token")
			w.WriteHeader(http.StatusCreated)
			endpoint := func(kind, region, path string) map[string]any {
				return map[string]any{"interface": kind, "region": region, "region_id": region, "url": k.URL + path}
			}
			json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
				"expires_at": time.Now().Add(k.expires).UTC().Format(time.RFC3339),
				"catalog": []any{map[string]any{"type": "object-store", "endpoints": []any{
					endpoint("public", "north", "/v1/AUTH_north"), endpoint("public", "south", "/v1/AUTH_south"),
				}}},
			}})
		case r.Header.Get("X-Auth-Token") != "a-token" && !strings.Contains(r.URL.Path, "public"):
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodHead && strings.Count(r.URL.Path, "/") == 3:
			w.WriteHeader(http.StatusNoContent)
		default:
			object(w, r, "v1", r.URL.Path)
		}
	}))
	t.Cleanup(k.Close)
	return k
}

func open3(t *testing.T, container string) (*Bucket, error) {
	t.Helper()
	b, _, err := Open(t.Context(), store.URI{Scheme: "swift", Bucket: container}, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.Close() })
	return b.(*Bucket), nil
}

func TestKeystone(t *testing.T) {
	k := newKeystone(t)
	for _, tt := range []struct {
		name   string
		env    []string
		method string
		path   string
	}{
		{"password", []string{"OS_AUTH_URL", k.URL + "/v3", "OS_USERNAME", "u", "OS_PASSWORD", "p", "OS_PROJECT_NAME", "x", "OS_USER_DOMAIN_NAME", "Default", "OS_REGION_NAME", "south"}, "password", "/v1/AUTH_south/c/k"},
		{"no version", []string{"OS_AUTH_URL", k.URL, "OS_USERNAME", "u", "OS_PASSWORD", "p", "OS_PROJECT_NAME", "x", "OS_USER_DOMAIN_NAME", "Default", "OS_REGION_NAME", "north"}, "password", "/v1/AUTH_north/c/k"},
		{"application", []string{"OS_AUTH_URL", k.URL + "/v3/", "OS_APPLICATION_CREDENTIAL_ID", "i", "OS_APPLICATION_CREDENTIAL_SECRET", "s", "OS_REGION_NAME", "north"}, "application_credential", "/v1/AUTH_north/c/k"},
		{"own address", []string{"OS_AUTH_URL", k.URL + "/v3", "OS_USERNAME", "u", "OS_PASSWORD", "p", "OS_STORAGE_URL", k.URL + "/v1/AUTH_own/"}, "password", "/v1/AUTH_own/c/k"},
		{"token", []string{"OS_STORAGE_URL", k.URL + "/v1/AUTH_own", "OS_AUTH_TOKEN", "a-token"}, "", "/v1/AUTH_own/c/k"},
		{"public", []string{"OS_STORAGE_URL", k.URL + "/v1/public"}, "", "/v1/public/c/k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clearEnv(t)
			for i := 0; i < len(tt.env); i += 2 {
				t.Setenv(tt.env[i], tt.env[i+1])
			}
			k.asked = nil
			b, err := open3(t, "c")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := whole(b, t, ""); err != nil || got != tt.path {
				t.Errorf("read %q, %v, want %q", got, err, tt.path)
			}
			if tt.method == "" {
				if len(k.asked) > 0 {
					t.Errorf("logged in: %v", k.asked)
				}
				return
			}
			text, _ := json.Marshal(k.asked)
			if len(k.asked) != 1 || !strings.Contains(string(text), `"methods":["`+tt.method+`"]`) {
				t.Errorf("logins %s, want one by %s", text, tt.method)
			}
		})
	}
}

// A token that is about to expire is replaced before it is refused; one that cannot be replaced is an error that says so.
func TestTokenExpires(t *testing.T) {
	k := newKeystone(t)
	clearEnv(t)
	t.Setenv("OS_AUTH_URL", k.URL+"/v3")
	t.Setenv("OS_USERNAME", "u")
	t.Setenv("OS_PASSWORD", "p")
	b, err := open3(t, "c")
	if err != nil {
		t.Fatal(err)
	}
	b.login.now.expires = time.Now().Add(30 * time.Second)
	b.login.made = time.Now().Add(-time.Hour)
	if _, err := b.Stat(t.Context(), "k"); err != nil || len(k.asked) != 2 {
		t.Errorf("Stat: %v after %d logins, want 2", err, len(k.asked))
	}
	clearEnv(t)
	t.Setenv("OS_STORAGE_URL", k.URL+"/v1/AUTH_own")
	t.Setenv("OS_AUTH_TOKEN", "an-old-token")
	if _, err := open3(t, "c"); !errors.Is(err, store.ErrPermission) || strings.Contains(err.Error(), "an-old-token") {
		t.Errorf("Open = %v, want ErrPermission", err)
	}
}

func TestNoEnvironment(t *testing.T) {
	clearEnv(t)
	if _, err := open3(t, "c"); !errors.Is(err, store.ErrPermission) || !strings.Contains(err.Error(), "OS_AUTH_URL") {
		t.Errorf("Open = %v, want that nothing is set", err)
	}
	t.Setenv("ST_AUTH", "user:secret@host")
	if _, err := open3(t, "c"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open = %v, want an error without the address", err)
	}
}
