package mail_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// A template of one's own replaces a default one: its text, with the subject in the first line, and
// its HTML, which the layout includes.
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

	// The server sends a message in the background.
	go func() {
		_ = mailer.Send(ctx, mail.Message{To: "alice@example.com", Subject: "Your code", Code: "ABCDE-FGHIJ"})
	}()

	m, err := mailer.TakeCode(ctx, "alice@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Code)
	// Output: ABCDE-FGHIJ
}

// A queue sends messages for callers that wait for the delivery, and for callers that don't.
func ExampleQueue() {
	ctx := context.Background()
	mailer := mail.NewMemory()
	queue := mail.NewQueue(mail.QueueConfig{Mailer: mailer})

	// This caller has to know whether the message was delivered.
	if err := queue.Send(ctx, mail.Message{Kind: mail.SignIn, To: "alice@example.com"}); err != nil {
		log.Fatal(err)
	}
	// This caller doesn't wait, so that the time it takes doesn't show whether there is an account.
	fmt.Println(queue.Do(mail.ResetPassword, func(ctx context.Context) {
		// Look up the account and make a code here, and then:
		_ = queue.Send(ctx, mail.Message{Kind: mail.ResetPassword, To: "alice@example.com"})
	}))

	if err := queue.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(mailer.Messages()))
	// Output:
	// true
	// 2
}
