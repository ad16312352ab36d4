package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/signin/device"
)

// The names of cookies, without the prefix of [cookieJar.name].
const (
	deviceCookie = "gatehouse-device"
	formCookie   = "gatehouse-form"
)

// cookieJar reads and sets cookies that only this server sees: no script, no other host, and no
// form that another website sends.
type cookieJar struct {
	secure bool   // false only on loopback
	suffix string // of the names of cookies
	now    func() time.Time
}

func newCookieJar(origin *url.URL, now func() time.Time) cookieJar {
	j := cookieJar{secure: origin.Scheme == "https", now: now}
	if port := origin.Port(); port != "" {
		j.suffix = "-" + port
	}
	return j
}

// name returns the full name of a cookie. Browsers take one with the prefix __Host- only over
// https, without a Domain and for the path / (source: RFC 6265bis, section 4.1.3). They send it to
// all ports of a host, so that a port is part of the name: otherwise two servers on one host would
// take away each other's cookies.
func (j cookieJar) name(name string) string {
	if j.secure {
		name = "__Host-" + name
	}
	return name + j.suffix
}

// get returns the value of a cookie, or "" if there is none, or more than one.
func (j cookieJar) get(r *http.Request, name string) string {
	if all := r.CookiesNamed(j.name(name)); len(all) == 1 {
		return all[0].Value
	}
	return ""
}

// set sets a cookie. It is kept until a time, or until the browser is closed if that is zero.
func (j cookieJar) set(w http.ResponseWriter, name, value string, until time.Time) {
	c := &http.Cookie{
		Name: j.name(name), Value: value, Path: "/", HttpOnly: true, Secure: j.secure, SameSite: http.SameSiteLaxMode,
	}
	if !until.IsZero() {
		c.MaxAge = max(1, int(until.Sub(j.now())/time.Second))
	}
	// An earlier value of this answer is replaced.
	h, kept := w.Header(), []string(nil)
	for _, other := range h["Set-Cookie"] {
		if !strings.HasPrefix(other, c.Name+"=") {
			kept = append(kept, other)
		}
	}
	h["Set-Cookie"] = append(kept, c.String())
}

// setDevice sets the cookie of a device.
func (j cookieJar) setDevice(w http.ResponseWriter, value string, d *device.Device) {
	j.set(w, deviceCookie, value, d.KeepUntil())
}
