package password

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The sizes of new salts and hashes, in bytes (source: RFC 9106, section 4).
const (
	saltSize = 16
	hashSize = 32
)

// The highest costs of a stored hash that is accepted. A string from elsewhere that got into the
// store must not be able to take up the server's memory or time.
const (
	maxMemory  = 1 << 20 // KiB: 1 GiB
	maxWork    = 1 << 22 // KiB times passes: some ten seconds
	maxThreads = 64
	maxSize    = 128 // bytes of salt and of hash
	minSize    = 8
)

// minMemory is the least memory of a lane in KiB (source: RFC 9106, section 3.1).
const minMemory = 8

// Check returns an error for costs that argon2id doesn't allow, or that are too high.
func (p Params) Check() error {
	switch {
	case p.Time < 1 || p.Threads < 1 || p.Memory < minMemory*uint32(p.Threads):
		return fmt.Errorf("%s is too little: t and p must be at least 1, and m at least 8 times p", p)
	case p.Memory > maxMemory, p.Threads > maxThreads, p.work() > maxWork:
		return fmt.Errorf("%s is too much: at most m=%d, p=%d, and m times t of %d", p, maxMemory, maxThreads, maxWork)
	}
	return nil
}

// work returns the cost as a number of passes over one KiB of memory.
func (p Params) work() int64 { return int64(p.Memory) * int64(p.Time) }

// String returns the parameters in the form that they have in a PHC string.
func (p Params) String() string {
	return fmt.Sprintf("m=%d,t=%d,p=%d", p.Memory, p.Time, p.Threads)
}

type argon2Hash struct {
	Params
	salt, sum []byte
	size      int // of the sum, in bytes
}

func (a *argon2Hash) derive(password string) ([]byte, error) {
	return argon2.IDKey([]byte(password), a.salt, a.Time, a.Memory, a.Threads, uint32(a.size)), nil
}

func (a *argon2Hash) want() []byte { return a.sum }

// String returns the hash as a PHC string.
func (a *argon2Hash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", argon2.Version, a.Params, b64.EncodeToString(a.salt), b64.EncodeToString(a.sum))
}

// parseArgon2 parses a PHC string. Its errors don't contain the string.
func parseArgon2(s string) (*argon2Hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("%w: not argon2id of version %d", ErrUnknownFormat, argon2.Version)
	}
	p, ok := parseParams(parts[3])
	if !ok {
		return nil, fmt.Errorf("%w: malformed parameters", ErrUnknownFormat)
	}
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownFormat, err)
	}
	a := &argon2Hash{Params: p}
	var err error
	if a.salt, err = decode(parts[4]); err != nil {
		return nil, fmt.Errorf("%w: salt: %w", ErrUnknownFormat, err)
	}
	if a.sum, err = decode(parts[5]); err != nil {
		return nil, fmt.Errorf("%w: hash: %w", ErrUnknownFormat, err)
	}
	a.size = len(a.sum)
	return a, nil
}

// parseParams parses parameters such as "m=19456,t=2,p=1". The PHC specification prescribes the
// order.
func parseParams(s string) (Params, bool) {
	var n [3]uint64
	parts := strings.Split(s, ",")
	if len(parts) != len(n) {
		return Params{}, false
	}
	for i, bits := range []int{32, 32, 8} {
		digits, ok := strings.CutPrefix(parts[i], "mtp"[i:i+1]+"=")
		if !ok {
			return Params{}, false
		}
		var err error
		if n[i], err = strconv.ParseUint(digits, 10, bits); err != nil {
			return Params{}, false
		}
	}
	return Params{Memory: uint32(n[0]), Time: uint32(n[1]), Threads: uint8(n[2])}, true
}

func decode(s string) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if len(b) < minSize || len(b) > maxSize {
		return nil, fmt.Errorf("it has %d bytes, and must have from %d to %d", len(b), minSize, maxSize)
	}
	return b, nil
}
