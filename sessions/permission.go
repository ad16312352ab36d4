package sessions

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
)

// Permission is one thing that a token may allow: one of the constants of this package, or a
// resource in the syntax of the protocol's OAuth scopes, such as
// "repo:app.bsky.feed.post?action=create", which [Repo], [Blob] and [RPC] write (source:
// https://atproto.com/specs/permission). Each method of the HTTP API names the permission that it
// needs.
type Permission string

// The permissions that the methods of com.atproto.server and com.atproto.identity need.
const (
	// SeeSession allows seeing whose session it is (getSession). Every access token has it.
	SeeSession Permission = "see-session"
	// UseAccount allows what needs no more than a session of an account that isn't taken down
	// (checkAccountStatus).
	UseAccount Permission = "use-account"
	// ManageAccount allows managing credentials, and activating or deleting the account
	// (createAppPassword).
	ManageAccount Permission = "manage-account"
	// DeactivateAccount allows deactivating the account (deactivateAccount).
	DeactivateAccount Permission = "deactivate-account"
	// ReadEmail allows seeing the account's e-mail address (the e-mail fields of getSession).
	ReadEmail Permission = "read-email"
	// ConfirmEmail allows confirming the e-mail address with a mailed code (confirmEmail).
	ConfirmEmail Permission = "confirm-email"
	// ChangeEmail allows changing the e-mail address (updateEmail).
	ChangeEmail Permission = "change-email"
	// ChangeHandle allows changing the handle (updateHandle).
	ChangeHandle Permission = "change-handle"
	// SignIdentity allows having the server sign an operation for the account's DID
	// (signPlcOperation).
	SignIdentity Permission = "sign-identity"
	// SubmitIdentity allows publishing a signed operation for the account's DID (submitPlcOperation).
	SubmitIdentity Permission = "submit-identity"
)

// Repo returns the permission to create, update or delete records of a collection, or of all with
// "*". Of several actions it allows each; without any, all three.
func Repo(collection string, actions ...string) Permission {
	more := url.Values{}
	if len(actions) > 0 {
		more["action"] = actions
	}
	return write("repo", "collection", collection, more)
}

// Blob returns the permission to upload files of a MIME type, such as "image/png".
func Blob(mimeType string) Permission { return write("blob", "accept", mimeType, url.Values{}) }

// RPC returns the permission to call a method, or any with "*", of another service, which is named
// by its DID and the id of the service in the DID's document (did#id).
func RPC(method, audience string) Permission {
	return write("rpc", "lxm", method, url.Values{"aud": {audience}})
}

// write writes a permission whatever its values contain, since they may come from a client.
func write(resource, name, value string, more url.Values) Permission {
	if strings.Contains(value, "?") { // which would end it
		more.Set(name, value)
	} else {
		resource += ":" + value
	}
	if len(more) > 0 {
		resource += "?" + more.Encode()
	}
	return Permission(resource)
}

// ErrPermission is returned when a [Permission] is neither a constant of this package nor a
// resource of the protocol. It is a mistake of the program, and no client is answered with it.
var ErrPermission = errors.New("sessions: not a permission")

// Check returns an [ErrPermission] if nobody could have the permission, since it isn't one.
func (p Permission) Check() error {
	_, err := p.resources()
	return err
}

// resources returns the resources that a permission in the syntax of OAuth scopes is for, each with
// one collection, action, type or method. A constant of this package has none.
func (p Permission) resources() ([]auth.Permission, error) {
	if _, ours := oauthNeeds[p]; ours {
		return nil, nil
	}
	r, err := auth.ParsePermissionString(string(p))
	if g, bad := auth.ParseGenericScope(string(p)); bad == nil && g.Resource == "rpc" {
		// A request may name a service as no scope can: by a DID alone.
		r, err = &auth.Permission{Resource: "rpc", Endpoint: g.Params["lxm"], Audience: g.Params.Get("aud")}, nil
		if g.Positional != "" {
			r.Endpoint = []string{g.Positional}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrPermission, string(p), err)
	}
	var all []auth.Permission
	switch r.Resource {
	case "repo":
		if len(r.Action) == 0 {
			r.Action = []string{"create", "update", "delete"}
		}
		for _, collection := range r.Collection {
			for _, action := range r.Action {
				all = append(all, auth.Permission{Resource: r.Resource, Collection: []string{collection}, Action: []string{action}})
			}
		}
	case "blob":
		for _, accept := range r.Accept {
			all = append(all, auth.Permission{Resource: r.Resource, Accept: []string{accept}})
		}
	case "rpc":
		for _, method := range r.Endpoint {
			all = append(all, auth.Permission{Resource: r.Resource, Endpoint: []string{method}, Audience: r.Audience})
		}
	case "account":
		if len(r.Action) == 0 {
			r.Action = []string{"read"}
		}
		all = append(all, *r)
	case "identity":
		all = append(all, *r)
	}
	if len(all) == 0 { // such as a permission set, which allows nothing by itself
		return nil, fmt.Errorf("%w: %q", ErrPermission, string(p))
	}
	return all, nil
}

// Permissions is what a token may do. The zero value allows nothing.
type Permissions struct {
	ours      []Permission // constants of this package
	resources []granted
}

// granted is a resource that a token may use. A "*" stands for everything in its place.
type granted struct {
	auth.Permission
	which func(string) bool // narrows the methods of an rpc resource; nil: all of them
}

// Allow reports whether all of some permissions are in the set.
func (s Permissions) Allow(all ...Permission) bool {
	return !slices.ContainsFunc(all, func(p Permission) bool { return !s.allow(p) })
}

func (s Permissions) allow(p Permission) bool {
	resources, err := p.resources()
	if err != nil {
		return false
	}
	if len(resources) == 0 {
		return slices.Contains(s.ours, p)
	}
	for _, r := range resources {
		if !slices.ContainsFunc(s.resources, func(g granted) bool { return g.covers(r) }) {
			return false
		}
	}
	return true
}

// covers reports whether what is granted includes one resource of [Permission.resources].
func (g granted) covers(r auth.Permission) bool {
	if g.Resource != r.Resource {
		return false
	}
	among := func(all []string, one string) bool { return slices.Contains(all, "*") || slices.Contains(all, one) }
	switch r.Resource {
	case "repo":
		return among(g.Collection, r.Collection[0]) && (len(g.Action) == 0 || slices.Contains(g.Action, r.Action[0]))
	case "blob":
		return slices.ContainsFunc(g.Accept, func(pattern string) bool { return accepts(pattern, r.Accept[0]) })
	case "rpc":
		method := r.Endpoint[0]
		return among([]string{g.Audience}, r.Audience) && among(g.Endpoint, method) && (g.which == nil || g.which(method))
	case "account": // who may manage may read
		return among([]string{g.Attribute}, r.Attribute) && (r.Action[0] == "read" || slices.Contains(g.Action, r.Action[0]))
	case "identity":
		return among([]string{g.Attribute}, r.Attribute)
	}
	return false
}

// accepts reports whether a pattern such as image/* covers a MIME type, or another pattern.
func accepts(pattern, mimeType string) bool {
	pattern, mimeType = strings.ToLower(pattern), strings.ToLower(mimeType)
	if prefix, any := strings.CutSuffix(pattern, "*"); any && prefix != "*/" {
		return strings.HasPrefix(mimeType, prefix)
	}
	return pattern == "*/*" || pattern == mimeType
}
