package pages

import "strconv"

// Samples returns each page with made-up data, so that templates can be tried: with everything that
// a page can show, and with as little as possible.
func Samples() []Content {
	form := Form{Action: "/oauth/authorize", Hidden: []Hidden{{"csrf", "token"}}}
	client := &Client{
		ID: "https://skylight.example/client-metadata.json", Host: "skylight.example", Name: "Skylight Notes", Trusted: true,
		PolicyURI: "https://skylight.example/privacy", TermsURI: "https://skylight.example/terms",
	}
	local := &Client{ID: "http://localhost", Local: true}
	alice := Account{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Label: "@alice.example.com"}
	bob := Account{DID: "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", Label: "@bob.example.com", Deactivated: true}
	now := Moment{Machine: "2026-01-02T15:04:00Z", Text: "2 January 2026, 15:04 UTC"}
	id := 0
	permission := Permission{
		Scope: "repo:app.bsky.feed.post", Icon: "write", Title: "Write posts", Detail: "Create, change and delete them.",
		Parts: []string{"app.bsky.feed.post"}, Optional: true, Ticked: true,
	}
	bare := Permission{Scope: "atproto", Title: "Know who you are"}
	some := func() []Permission {
		list := []Permission{permission, bare}
		for i := range list {
			id++
			list[i].ID = "scope-" + strconv.Itoa(id)
		}
		return list
	}
	return []Content{
		&SignIn{Form: form, Client: client, Deny: &form, Identifier: "alice.example.com", Remember: true, OtherAccounts: "/", Problem: "Problem"},
		&SignIn{Form: form, Client: client, Identifier: "alice.example.com", Again: true},
		&SignIn{Form: form},
		&Code{Form: form, Client: client, Deny: &form, Sent: "Sent", Identifier: "alice", Pending: "pending", Resend: true, Restart: "/", Problem: "Problem"},
		&Code{Form: form},
		&Choose{Form: form, Client: client, Deny: &form, Accounts: []Account{alice, bob}, Problem: "Problem"},
		&Choose{Form: form, Client: local},
		&Consent{
			Form: form, Client: client, Account: alice, OtherAccounts: "/", Applications: "/", Ordinary: some(), Sensitive: some(),
			Dangerous: some(),
			Problem:   "Problem",
		},
		&Consent{Form: form, Client: local, Account: alice},
		&Reactivate{Form: form, Client: client, Account: bob, Deletion: true, OtherAccounts: "/", Problem: "Problem"},
		&Reactivate{Form: form, Client: local, Account: bob},
		&Answer{Form: form, Target: "skylight.example"},
		&Applications{
			Form: form, Account: alice, Others: []AccountLink{{"@bob.example.com", "/"}}, SignInURL: "/", Done: "Done", Problem: "Problem",
			Applications: []Application{
				{Client: client, Permissions: []string{"Write posts"}, Sessions: 2, Since: now, Used: now},
				{Client: local, Sessions: 1, Since: now, Used: now},
			},
		},
		&Applications{Form: form, Account: alice, SignInURL: "/"},
		&Failure{
			Title: "Title", Happened: "Happened", Help: "Help", Code: "invalid_request", Description: "Description",
			ClientID: "https://skylight.example/client-metadata.json", Reference: "1", Back: &AccountLink{"Back", "/"},
		},
		&Failure{Title: "Title", Happened: "Happened", Code: "server_error"},
	}
}
