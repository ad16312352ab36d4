package password

import (
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// The parameters of the reference PDS's hashes: the defaults of crypto.scrypt in Node.js, with a
// key of 64 bytes.
const (
	scryptN       = 1 << 14
	scryptR       = 8
	scryptP       = 1
	scryptKeySize = 64
)

// The cost of a scrypt hash in the unit of [Hasher.Work], as measured by BenchmarkScryptWork and
// rounded to thousands. On amd64 argon2 is written in assembly; elsewhere both are plain Go. (The
// second number was measured on amd64 with the build tag purego.)
const (
	scryptWorkAMD64 = 54_000
	scryptWorkPlain = 40_000
)

// scryptHash is a hash of the reference PDS: the salt and the hash in hexadecimal, separated by a
// colon. The salt is used as written, without decoding it.
type scryptHash struct {
	salt string
	sum  []byte
}

func (s *scryptHash) derive(password string) ([]byte, error) {
	return scrypt.Key([]byte(password), []byte(s.salt), scryptN, scryptR, scryptP, scryptKeySize)
}

func (s *scryptHash) want() []byte { return s.sum }

func (s *scryptHash) work() int64 {
	if runtime.GOARCH == "amd64" {
		return scryptWorkAMD64
	}
	return scryptWorkPlain
}

func parseScrypt(encoded string) (*scryptHash, error) {
	salt, sum, ok := strings.Cut(encoded, ":")
	if !ok || len(salt) < minSize || len(salt) > maxSize {
		return nil, fmt.Errorf("%w: neither argon2id nor the reference server's scrypt", ErrUnknownFormat)
	}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != scryptKeySize {
		return nil, fmt.Errorf("%w: scrypt: the hash isn't %d bytes of hexadecimal", ErrUnknownFormat, scryptKeySize)
	}
	return &scryptHash{salt: salt, sum: b}, nil
}
