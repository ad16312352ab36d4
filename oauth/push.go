package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/storage"
)

// uriPrefix begins all request URIs (source: RFC 9126, section 2.2).
const uriPrefix = "urn:ietf:params:oauth:request_uri:"

// Pushed is the answer to a pushed request.
type Pushed struct {
	RequestURI string `json:"request_uri"`
	// ExpiresIn is how long the request waits for the browser, in seconds.
	ExpiresIn int `json:"expires_in"`
}

// Push checks an authorization request of a client and keeps it. The parameters may be in a signed
// request object. The error is an [*Error], or one of the store (sources: RFC 9126, RFC 9101).
func (s *Service) Push(ctx context.Context, c Call, p url.Values) (*Pushed, error) {
	if p.Has("request_uri") {
		return nil, refuse(codeInvalidRequest, "request_uri can't be pushed")
	}
	who, err := s.identify(ctx, c, p)
	if err != nil {
		return nil, err
	}
	object, err := s.requestObject(ctx, who.Client, p)
	if err != nil {
		return nil, err
	}
	if object.params != nil {
		p = object.params
	}
	checked, err := parse(p, who.Client)
	if err != nil {
		return nil, err
	}
	if jkt := p.Get("dpop_jkt"); jkt != "" && jkt != who.key() {
		return nil, refuse(codeInvalidProof, "dpop_jkt is not the key of the proof")
	}
	set, err := scope.Parse(checked.Scope)
	if err == nil { // that its permission sets exist is found out before the person is asked
		_, err = s.cfg.Sets.Expand(ctx, set)
	}
	if err != nil {
		return nil, translate(err)
	}
	id, err := s.random()
	if err != nil {
		return nil, err
	}
	now := s.now()
	r := &request{
		ID: s.hash("request", id), ClientID: who.Client.ID, AuthKey: who.Key, Key: who.key(), Params: *checked,
		PushedAt: now, ExpiresAt: now.Add(pushedLifetime),
	}
	err = storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		if refusal, err := s.firstUse(tx, who); refusal != nil || err != nil {
			return refusal, err
		}
		if object.id != "" {
			first, err := once.UseTx(tx, "request object", who.Client.ID+" "+object.id, now, object.expires)
			if err != nil || !first {
				return refuse(codeInvalidRequestObject, "the request object was used before"), err
			}
		}
		return nil, requests.Insert(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return &Pushed{RequestURI: uriPrefix + id, ExpiresIn: int(pushedLifetime / time.Second)}, nil
}

// object is a request object whose signature was verified.
type object struct {
	params  url.Values // nil: there is none
	id      string
	expires time.Time
}

// requestObject returns the parameters that are in the request object of a request, if there is
// one. They are then all that count (source: RFC 9101, section 6.3).
func (s *Service) requestObject(ctx context.Context, c *client.Client, p url.Values) (object, error) {
	if p.Get("request") == "" {
		return object{}, nil
	}
	claims, id, expires, err := s.cfg.Clients.VerifyRequestObject(ctx, c, p.Get("request"))
	if err != nil {
		return object{}, translate(err)
	}
	o := object{params: url.Values{}, id: id, expires: expires}
	for name, value := range claims {
		text, ok := asParameter(value)
		if !ok {
			continue // a claim of the token itself, such as aud, or an unknown one
		}
		o.params.Set(name, text)
	}
	if claimed := o.params.Get("client_id"); claimed != c.ID {
		return object{}, refuse(codeInvalidRequestObject, "the client_id of the request object is not that of the request")
	}
	if o.params.Has("request") || o.params.Has("request_uri") { // source: RFC 9101, section 4
		return object{}, refuse(codeInvalidRequestObject, "a request object can't contain another one")
	}
	if e := single(o.params); e != nil {
		return object{}, e
	}
	return o, nil
}

// asParameter returns a claim of a request object as a parameter.
func asParameter(claim any) (string, bool) {
	switch v := claim.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}
