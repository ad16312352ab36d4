package sessions

import "github.com/gatehouse-at/gatehouse/storage"

// The most sessions that an account has: of each app password, of all other ways to get bearer
// tokens, of each OAuth client, of all OAuth clients together, and of browsers. No kind takes the
// place of another.
const (
	maxSessions        = 200
	maxAppSessions     = 100
	maxClientSessions  = 50
	maxOAuthSessions   = 200
	maxBrowserSessions = 100
)

// room is sessions of which there may be so many.
type room struct {
	in   storage.Range // oldest first
	most int
}

// rooms returns the rooms that a session is in.
func rooms(r *record) []room {
	switch k := r.kind(); {
	case k == kindOAuth:
		return []room{
			{storage.Under("client", clientKey(r.Client.ID), r.DID.String()), maxClientSessions},
			{storage.Under("kind", ofKind(r.DID, k)), maxOAuthSessions},
		}
	case k == kindBrowser:
		return []room{{storage.Under("kind", ofKind(r.DID, k)), maxBrowserSessions}}
	case r.AppPassword != "":
		return []room{{storage.Exactly("app_password", openedBy(r.DID, r.AppPassword)), maxAppSessions}}
	}
	return []room{{storage.Exactly("app_password", openedBy(r.DID, "")), maxSessions}}
}

// makeRoom ends the oldest of the sessions that were opened like a new one, if there are as many as
// there may be.
func makeRoom(tx storage.Tx, r *record) error {
	for _, room := range rooms(r) {
		room.in.Limit = room.most
		n, oldest := 0, ""
		for id, err := range table.Keys(tx, room.in) { // by time, or by their IDs, which are ordered by time
			if err != nil {
				return err
			}
			if n++; oldest == "" {
				oldest = id
			}
		}
		if n < room.most {
			continue
		}
		if err := table.Delete(tx, oldest); err != nil {
			return err
		}
	}
	return nil
}
