package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

const importedHash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

func TestImport(t *testing.T) {
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, store := filepath.Join(dir, "accounts.jsonl"), filepath.Join(dir, "store.db")
	lines := fmt.Sprintf(`{"did":"did:plc:alice","handle":"alice.test","email":"alice@example.com","emailConfirmedAt":"2024-01-02T03:04:05Z","passwordHash":%q,"createdAt":"2023-01-01T00:00:00Z","signingKey":%q}

{"did":"did:plc:bob","handle":"bob.test","deactivatedAt":"2024-01-02T03:04:05Z","signingKey":%q}
{"did":"did:plc:carol","handle":"carol.test","takedownRef":"spam"}
`, importedHash, hex.EncodeToString(key.Bytes()), key.Multibase())
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"import", file, "-store", "bolt:" + store, "-data", dir, "-mail", "log"}
	for range 2 { // the second time they are there already
		if err := run(t.Context(), args); err != nil {
			t.Fatal(err)
		}
	}
	s, err := bolt.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv, err := gatehouse.New(t.Context(), s, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Logger: quiet, NoMaintenance: true})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for name, want := range map[string]accounts.Status{"alice.test": accounts.StatusActive, "bob.test": accounts.StatusDeactivated, "carol.test": accounts.StatusTakendown} {
		a, err := srv.Accounts.Find(t.Context(), name)
		if err != nil || a.Status() != want || (a.SigningKey == public.DIDKey()) != (want != accounts.StatusTakendown) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// TestImportSaysWhatItRefuses, and shows none of the secrets of a line.
func TestImportSaysWhatItRefuses(t *testing.T) {
	good := `{"did":"did:plc:good","handle":"good.test"}` + "\n"
	for name, c := range map[string]struct{ line, want string }{
		"a refused account":     {`{"did":"did:plc:bad","handle":"bad.test","passwordHash":"hunter2"}`, "line 2: did:plc:bad: The password hash"},
		"no JSON":               {`did,handle,hunter2`, "line 2: invalid character"},
		"an unknown property":   {`{"did":"did:plc:bad","handle":"bad.test","password":"hunter2"}`, `line 2: json: unknown field "password"`},
		"two objects":           {`{"did":"did:plc:bad","handle":"bad.test"} {"passwordHash":"hunter2"}`, "line 2: there is something behind the object"},
		"a bad key":             {`{"did":"did:plc:bad","handle":"bad.test","signingKey":"hunter2"}`, "line 2: signingKey"},
		"a key that is zero":    {`{"did":"did:plc:bad","handle":"bad.test","signingKey":"` + strings.Repeat("00", 32) + `"}`, "line 2: signingKey"},
		"a line without an end": {`{"did":"` + strings.Repeat("hunter2", 20_000), "token too long"},
	} {
		dir := t.TempDir()
		store, err := bolt.Open(filepath.Join(dir, "store.db"))
		if err != nil {
			t.Fatal(err)
		}
		srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Logger: quiet, NoMaintenance: true})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = importLines(t.Context(), srv.Accounts, strings.NewReader(good+c.line+"\n"), &out)
		said := fmt.Sprint(out.String(), err)
		if err == nil || !strings.Contains(said, c.want) || strings.Contains(said, "hunter2") {
			t.Errorf("%s: %s", name, said)
		}
		if _, err := srv.Accounts.Find(t.Context(), "good.test"); err != nil {
			t.Errorf("%s: the account before it: %v", name, err)
		}
		srv.Close()
		store.Close()
	}
}

func TestImportNeedsItsFile(t *testing.T) {
	dir := t.TempDir()
	if err := run(t.Context(), []string{"import", filepath.Join(dir, "missing"), "-data", dir}); err == nil {
		t.Error("no error")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
