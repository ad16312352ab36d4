package deliver_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
)

// A server finds out at its start whether it could send mail.
func ExampleSMTP_Check() {
	mailer, err := deliver.NewSMTP("smtp://127.0.0.1:1", "noreply@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mailer)
	fmt.Println(mailer.Check(context.Background()))
	// Output:
	// SMTP to 127.0.0.1:1 with no encryption
	// connecting: dial tcp 127.0.0.1:1: connect: connection refused: nothing listens on port 1 of 127.0.0.1: the usual ports are 587 with smtp:// and 465 with smtps://
}
