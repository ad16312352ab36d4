package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

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
	_ = log.Do(ctx, audit.Action{Admin: "carol", Name: "com.atproto.admin.deleteAccount", Subjects: []string{"did:plc:x"}}, outcome, func() error { return nil })
	_ = log.Do(ctx, audit.Action{Admin: "dave", Name: "com.atproto.admin.sendEmail", Subjects: []string{"did:plc:y"}}, outcome, func() error { return errors.New("no such account") })
	page, _ := log.List(ctx, "did:plc:y", "", 10)
	for _, e := range page.Entries {
		fmt.Println(e.Admin, e.Action, e.Outcome)
	}
	// Output: dave com.atproto.admin.sendEmail failed
}
