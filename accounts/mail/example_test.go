package mail_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// A mail of one's own in the place of a default one: its text, with the subject in the
// first line, and its HTML, which goes into the layout.
func ExampleNewTemplates() {
	templates, err := mail.NewTemplates(fstest.MapFS{
		"sign_in.txt":  {Data: []byte("Welcome back to {{.ServiceName}}\n\nType this code:\n\n{{.Code}}\n")},
		"sign_in.html": {Data: []byte(`<p>Type this code:</p>{{template "code" .}}`)},
	})
	if err != nil {
		log.Fatal(err)
	}
	m, err := templates.Render(mail.SignIn, mail.Data{
		To: "alice@example.com", Handle: "alice.example.com", ServiceName: "Example",
		Code: "ABCDE-FGHIJ", Expires: 15 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Subject)
	fmt.Println(m.Text)
	// Output:
	// Welcome back to Example
	// Type this code:
	//
	// ABCDE-FGHIJ
}

// A test reads the code that a server mailed.
func ExampleMemory() {
	ctx := context.Background()
	mailer := mail.NewMemory()

	// The server, at some time and in the background:
	go func() {
		_ = mailer.Send(ctx, mail.Message{To: "alice@example.com", Subject: "Your code", Code: "ABCDE-FGHIJ"})
	}()

	m, err := mailer.Take(ctx, "alice@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Code)
	// Output: ABCDE-FGHIJ
}
