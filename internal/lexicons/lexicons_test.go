package lexicons

import "testing"

func TestCheckOutput(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		nsid, body string
		good       bool
	}{
		{"com.atproto.server.createInviteCode", `{"code":"x"}`, true},
		{"com.atproto.server.createInviteCode", `{}`, false},
		{"com.atproto.server.createInviteCode", `{"code":1}`, false},
		{"com.atproto.server.createAppPassword", `{"name":"n","password":"p","createdAt":"2026-01-01T00:00:00.000Z"}`, true},
		{"com.atproto.server.createAppPassword", `{"name":"n","password":"p","createdAt":"yesterday"}`, false},
		{"com.atproto.server.getSession", `{"handle":"a.test","did":"did:plc:iowu64gp7dw45k7uky3m3yos"}`, true},
		{"com.atproto.server.getSession", `{"handle":"a.test","did":"nobody"}`, false},
		{"com.atproto.server.deleteSession", ``, true},
		{"com.atproto.server.deleteSession", `{}`, false},
		{"com.atproto.server.nonsense", `{}`, false},
	} {
		if err := c.CheckOutput(test.nsid, []byte(test.body)); (err == nil) != test.good {
			t.Errorf("%s %s: %v", test.nsid, test.body, err)
		}
	}
	if m, ok := c.Method("com.atproto.server.getAccountInviteCodes"); !ok || !m.Query || len(m.Errors) != 1 || m.Errors[0] != "DuplicateCreate" {
		t.Errorf("getAccountInviteCodes: %+v, %v", m, ok)
	}
}

func TestExtract(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Extract("com.atproto.server.deleteSession", "com.atproto.admin.updateAccountEmail", "com.atproto.server.deleteSession")
	const want = `[
{"lexicon":1,"id":"com.atproto.admin.updateAccountEmail","defs":{"main":{"input":{"encoding":"application/json","schema":{"properties":{"account":{"format":"at-identifier","type":"string"},"email":{"type":"string"}},"required":["account","email"],"type":"object"}},"type":"procedure"}}},
{"lexicon":1,"id":"com.atproto.server.deleteSession","defs":{"main":{"type":"procedure"}}}
]
`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if _, err := c.Extract("com.atproto.server.nonsense"); err == nil {
		t.Error("a method without a lexicon: no error")
	}
}
