package xrpc

import "time"

// value returns what a pointer points to, or the zero value if it is nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

var yes, no = true, false

// boolean returns a pointer to a boolean, which must not be written to.
func boolean(b bool) *bool {
	if b {
		return &yes
	}
	return &no
}

// pointer returns a pointer to a value, or nil for the zero value.
func pointer[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	p := v // a parameter would be allocated in any case
	return &p
}

// datetime formats a time in the lexicons' format datetime.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
