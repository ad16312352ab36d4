package xrpc

import (
	"encoding/json"

	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/accounts"
)

// describeOutput is the lexicon's output with blobUploadLimit, which the reference server adds.
type describeOutput struct {
	atproto.ServerDescribeServer_Output
	BlobUploadLimit *int64 `json:"blobUploadLimit,omitempty"`
}

// describeServer answers what is configured, which stays the same and is encoded once.
func (s *Server) describeServer(*call, *nothing) (*ready, error) {
	body, err := s.description()
	return &ready{body}, err
}

// describe returns the output of describeServer as JSON.
func (s *Server) describe() ([]byte, error) {
	d := s.cfg.Description
	// Clients ask for an invite code first. If sign-up is closed, that keeps people from filling in
	// a form in vain.
	codeRequired := s.cfg.Invites.Required() || s.cfg.Accounts.SignUpMode() == accounts.SignUpClosed
	out := &describeOutput{ServerDescribeServer_Output: atproto.ServerDescribeServer_Output{
		Did:                       s.cfg.Sessions.ServiceDID(),
		AvailableUserDomains:      s.cfg.Accounts.Handles().Domains(),
		InviteCodeRequired:        &codeRequired,
		PhoneVerificationRequired: &d.VerificationRequired,
		Links: &atproto.ServerDescribeServer_Links{
			PrivacyPolicy: pointer(d.PrivacyPolicyURL), TermsOfService: pointer(d.TermsOfServiceURL),
		},
		Contact: &atproto.ServerDescribeServer_Contact{Email: pointer(d.ContactEmail)},
	}}
	if d.BlobUploadLimit > 0 {
		out.BlobUploadLimit = &d.BlobUploadLimit
	}
	return json.Marshal(out)
}
