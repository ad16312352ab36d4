package gatehouse_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func Example() {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	mux := http.NewServeMux()
	mux.Handle("/xrpc/", srv)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/xrpc/_health", nil))
	fmt.Println(w.Body)
	// Output: {"version":"0.1.0"}
}

// The services of a Server can be called from Go. The rules are the same as over HTTP.
func Example_services() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, SignUp: gatehouse.SignUp{Mode: gatehouse.SignUpInvites}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	made, _ := srv.Invites.Create(ctx, 1, 1)
	tokens, err := srv.SignIn.SignUp(ctx, accounts.CreateParams{
		Handle: "alice.test", Email: "alice@example.com", Password: "correct horse", Ticket: made[0].Codes[0],
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	auth, err := srv.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT))
	fmt.Println(auth.Account.Handle, auth.Allows(sessions.ManageAccount), err)
	// Output: alice.test true <nil>
}

// RequireAuth protects routes of the program that embeds Gatehouse.
func ExampleServer_RequireAuth() {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", gatehouse.Auth(r.Context()).Account.Handle)
	})
	mux := http.NewServeMux()
	mux.Handle("/hello", srv.RequireAuth()(hello))

	tokens, err := srv.SignIn.SignUp(context.Background(), accounts.CreateParams{
		Handle: "alice.test", Email: "alice@example.com", Password: "correct horse",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, authorization := range []string{"", "Bearer " + tokens.AccessJWT} {
		r := httptest.NewRequest("GET", "/hello", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 401 {"error":"AuthMissing","message":"Authentication Required"}
	// 200 hello alice.test
}

// refused is an error whose text is sent to the client.
type refused string

func (e refused) Error() string         { return string(e) }
func (e refused) PublicMessage() string { return string(e) }

// Check is a condition of sign-up. This one expects the answer to a question as the
// verificationCode.
func ExampleSignUp() {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"},
		SignUp: gatehouse.SignUp{
			Check: func(ctx context.Context, a accounts.Applicant) error {
				if a.VerificationCode != "42" {
					return refused("That is not the answer")
				}
				return nil
			},
			VerificationRequired: true, // so that apps ask for it
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	for _, answer := range []string{"41", "42"} {
		r := httptest.NewRequest("POST", "/xrpc/com.atproto.server.createAccount", strings.NewReader(
			`{"handle":"alice.test","email":"alice@example.com","password":"correct horse","verificationCode":"`+answer+`"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println("welcome")
			continue
		}
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 400 {"error":"InvalidRequest","message":"That is not the answer"}
	// welcome
}
