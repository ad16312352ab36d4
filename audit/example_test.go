package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// Each action is logged with its outcome.
func ExampleLog_Do() {
	ctx := context.Background()
	log, err := audit.New(ctx, memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	outcome := func(err error) string {
		if err != nil {
			return "failed"
		}
		return "ok"
	}
	remove := audit.Action{Admin: "carol", Name: "com.atproto.admin.deleteAccount", Subjects: []string{"did:plc:x"}}
	fmt.Println(log.Do(ctx, remove, outcome, func() error { return nil }))
	write := audit.Action{Admin: "dave", Name: "com.atproto.admin.sendEmail", Subjects: []string{"did:plc:y"}}
	fmt.Println(log.Do(ctx, write, outcome, func() error { return errors.New("no such account") }))

	page, err := log.List(ctx, "did:plc:y", "", 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range page.Entries {
		fmt.Println(e.Admin, e.Action, e.Outcome)
	}
	// Output:
	// <nil>
	// no such account
	// dave com.atproto.admin.sendEmail failed
}
