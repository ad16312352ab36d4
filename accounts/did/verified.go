package did

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// verifiedLogs caches how much of each long log has been verified, so that only the signatures of
// new operations are verified when the log is fetched again. It keeps a hash of the log, not the
// log.
type verifiedLogs struct {
	mu   sync.Mutex
	logs *bounded[prefix]
}

// prefix is the beginning of a log: a number of operations, and the hash of their JSON as the
// directory wrote it.
type prefix struct {
	operations int
	sum        [sha256.Size]byte
}

const (
	// longLog is the least number of operations of a log that is cached. Most logs are shorter;
	// they are verified quickly, and would evict the long ones.
	longLog = 16
	// maxLogs is the most logs that are cached, and logTTL is for how long.
	maxLogs = 4096
	logTTL  = 7 * 24 * time.Hour
)

func newVerifiedLogs() (*verifiedLogs, error) {
	logs, err := newBounded[prefix](maxLogs, 2*maxLogs*overhead)
	return &verifiedLogs{logs: logs}, err
}

// verify checks that operations are the log of a DID. The slice written has the JSON of each
// operation as the directory wrote it. If the check fails or the context ends, the part that has
// been verified is cached all the same, so that the next check continues from there.
func (v *verifiedLogs) verify(ctx context.Context, id syntax.DID, ops []*Operation, written []json.RawMessage, now time.Time) error {
	v.mu.Lock()
	known, _ := v.logs.get(id, now)
	v.mu.Unlock()
	from := 0
	if known.operations <= len(ops) && known == prefixOf(written[:known.operations]) {
		from = known.operations
	}
	genuine, err := verifyLog(ctx, id, ops, from)
	if genuine < longLog || genuine == from || err != nil && genuine <= known.operations {
		return err
	}
	verified := prefixOf(written[:genuine])
	v.mu.Lock()
	defer v.mu.Unlock()
	v.logs.put(id, verified, 0, now, now.Add(logTTL))
	return err
}

func prefixOf(written []json.RawMessage) prefix {
	h := sha256.New()
	var length [8]byte
	for _, w := range written {
		binary.BigEndian.PutUint64(length[:], uint64(len(w)))
		h.Write(length[:])
		h.Write(w)
	}
	p := prefix{operations: len(written)}
	h.Sum(p.sum[:0])
	return p
}

// verifyLog checks that operations are the log of a DID: that the first one creates the DID, and
// each other one follows the one before and is signed by one of its rotation keys. The first
// operations, up to from, have been verified before. It returns how many operations are genuine.
// Checks that cost little are made before any signature is verified.
func verifyLog(ctx context.Context, id syntax.DID, ops []*Operation, from int) (genuine int, err error) {
	logged := make([]*Logged, len(ops))
	for i := max(from-1, 0); i < len(ops); i++ {
		if ops[i] == nil {
			return from, refused("operation %d is missing", i)
		}
		c, err := ops[i].CID()
		if err != nil {
			return from, err
		}
		logged[i] = &Logged{DID: id, Operation: ops[i], CID: c}
		if i > 0 && i >= from && ops[i].Prev != logged[i-1].CID {
			return from, refused("operation %d does not follow the one before", i)
		}
	}
	for i := from; i < len(ops); i++ {
		if err := ctx.Err(); err != nil {
			return i, fmt.Errorf("did: checking the log of %s: %w", id, err)
		}
		if _, err := next(id, logged[max(i-1, 0):i], ops[i], time.Time{}); err != nil {
			return i, err
		}
	}
	return len(ops), nil
}
