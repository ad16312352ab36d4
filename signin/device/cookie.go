package device

import (
	"github.com/gatehouse-at/gatehouse/internal/token"
)

// The lengths of the parts of a cookie's value, in characters.
const (
	idLength     = 26 // 130 bits in base32
	secretLength = 43 // 256 bits in base64url
	tagLength    = 26 // 130 bits in base32
)

// seedLength is the number of characters, of 5 random bits each, of which a secret is made.
const seedLength = 52

// cookie is what the value of a cookie says. It is written "ID.SECRET", and the secret ends with
// the tag, a keyed hash of the rest: see [Service.tag].
type cookie struct{ id, secret string }

// parse reads the value of a cookie, and reports whether this server has issued it at some time.
// There is one spelling of each.
func (s *Service) parse(text string) (cookie, bool) {
	if len(text) != idLength+1+secretLength+tagLength || text[idLength] != '.' {
		return cookie{}, false
	}
	rest := text[idLength+1:]
	c := cookie{id: text[:idLength], secret: rest[:secretLength]}
	return c, token.Equal(s.tag(c), rest[secretLength:])
}

// format writes the value of a cookie.
func (s *Service) format(c cookie) string { return c.id + "." + c.secret + s.tag(c) }

// tag returns a keyed hash of a cookie, which nobody else can make. It tells a cookie that was
// replaced from one that was made up.
func (s *Service) tag(c cookie) string {
	return token.Derive(s.cfg.Secret, tagLength, "device tag", c.id, c.secret)
}

// hash returns that by which the secret of a cookie is stored.
func (s *Service) hash(c cookie) string { return token.Hash(s.cfg.Secret, "device", c.id, c.secret) }

// newCookie returns the first cookie of a new device.
func (s *Service) newCookie() (cookie, error) {
	random, err := token.Base32(s.cfg.Rand, idLength+seedLength)
	if err != nil {
		return cookie{}, err
	}
	return cookie{
		id:     random[:idLength],
		secret: token.Hash(s.cfg.Secret, "device secret", random[idLength:]), // the form of its successors
	}, nil
}

// successor returns the cookie that replaces another through use. It is derived from that, so that
// all requests that come with the same cookie get the same successor, which need not be stored.
func (s *Service) successor(c cookie) cookie {
	return cookie{id: c.id, secret: token.Hash(s.cfg.Secret, "device successor", c.id, c.secret)}
}
