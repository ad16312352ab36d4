package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// failed is an error of a request. Its message is meant for the developer of the client whose
// document it is; what caused it is for the log only, since it tells about the network of this
// server, such as the address that a name resolves to.
type failed struct {
	kind  error
	text  string
	cause error
}

func unreachable(text string, cause error) error { return &failed{client.ErrUnreachable, text, cause} }
func unfit(text string, cause error) error       { return &failed{client.ErrUnfit, text, cause} }

// Error describes the error with what caused it.
func (f *failed) Error() string {
	if f.cause == nil {
		return f.text
	}
	return f.text + ": " + f.cause.Error()
}

// PublicMessage returns the message for the developer of a client. It continues "the document can't
// be used:".
func (f *failed) PublicMessage() string { return f.text }

// Unwrap returns the kind of the error, [client.ErrUnreachable] or [client.ErrUnfit], and its
// cause.
func (f *failed) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// failure describes an error of the HTTP client.
func (c *Client) failure(ctx context.Context, err error) error {
	var (
		certificate *tls.CertificateVerificationError
		name        *net.DNSError
		timeout     interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, errNotPublic):
		return unfit("the addresses of its host aren't public, or its port isn't 443", err)
	case errors.Is(err, errNotLoopback):
		return unfit("the address of its host isn't a loopback one", err)
	case errors.As(err, &name):
		return unreachable("the name of its host couldn't be resolved", err)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return unreachable(fmt.Sprintf("its server didn't answer within %v", c.cfg.Timeout), err)
	case errors.As(err, &certificate):
		return unreachable("the TLS certificate of its server isn't valid", err)
	}
	return unreachable("its server couldn't be reached, or closed the connection", err)
}
