package xrpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

func TestErrorsForClients(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Error
	}{
		{"one of no row", errors.New("disk on fire"), Error{500, "InternalServerError", "Internal Server Error"}},
		{"a row's own message", sessions.ErrExpiredToken, Error{400, "ExpiredToken", "Token has expired"}},
		{"wrapped, and without its detail", fmt.Errorf("line 7: %w", sessions.ErrExpiredToken), Error{400, "ExpiredToken", "Token has expired"}},
		{"with a text for clients", fmt.Errorf("line 7: %w", refusal.New(sessions.ErrExpiredToken, "Token has been revoked")), Error{400, "ExpiredToken", "Token has been revoked"}},
		{"an embedder's own refusal", refusal.New(errors.New("hook"), "Not on Sundays"), Error{400, "InvalidRequest", "Not on Sundays"}},
		{"the store is away", fmt.Errorf("%w: dial tcp 10.0.0.7", storage.ErrUnavailable), Error{503, "ServiceUnavailable", "The service is unavailable for the moment"}},
		{"the store is closed", storage.ErrClosed, Error{503, "ServiceUnavailable", "The service is shutting down"}},
		{"out of time", context.DeadlineExceeded, Error{503, "ServiceUnavailable", "The service is too busy"}},
		{"the client went away", context.Canceled, Error{499, "ClientClosedRequest", "Client closed the request"}},
		{"limited", ratelimit.ErrLimited, Error{429, "RateLimitExceeded", "Rate Limit Exceeded"}},
		{"an Error", fmt.Errorf("line 7: %w", &Error{http.StatusTeapot, "Teapot", "short and stout"}), Error{418, "Teapot", "short and stout"}},
		{"an Error without a name", &Error{Status: http.StatusForbidden, Message: "no"}, Error{403, "Forbidden", "no"}},
		{"of a status without a name", &Error{Status: http.StatusConflict, Message: "no"}, Error{409, "InvalidRequest", "no"}},
		{"of a status of servers without a name", &Error{Status: http.StatusLoopDetected, Message: "no"}, Error{508, "InternalServerError", "no"}},
		{"an internal one with details", &Error{500, "DiskOnFire", "disk on fire"}, Error{500, "InternalServerError", "Internal Server Error"}},
	} {
		if got := ErrorOf(c.err); *got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, *got, c.want)
		}
	}
	for status, name := range map[int]string{
		400: "InvalidRequest", 401: "AuthenticationRequired", 403: "Forbidden", 404: "XRPCNotSupported", 405: "InvalidRequest",
		413: "PayloadTooLarge", 415: "UnsupportedMediaType", 429: "RateLimitExceeded", 500: "InternalServerError", 501: "MethodNotImplemented",
	} {
		if got := statusName(status); got != name {
			t.Errorf("%d is called %s, want %s", status, got, name)
		}
	}
}

// TestErrorTable shows that each row can be reached and is complete.
func TestErrorTable(t *testing.T) {
	for _, row := range errorTable {
		got := ErrorOf(fmt.Errorf("in a call: %w", row.is))
		if *got != (Error{row.status, row.name, row.message}) {
			t.Errorf("%v: %+v, another row comes first", row.is, *got)
		}
		if row.status < 400 || row.name == "" || row.message == "" {
			t.Errorf("%v: the row is incomplete", row.is)
		}
	}
}

func TestMessagesAreCleaned(t *testing.T) {
	w := ask(sampleServer(t, nil), "POST", "/xrpc/com.example.echo", "{}", "Content-Type", "text/\x7f\xff<script>")
	const want = `{"error":"InvalidRequest","message":"Wrong request encoding (Content-Type): text/ ?\u003cscript\u003e"}`
	if w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}
