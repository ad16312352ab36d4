package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"
	"strings"
)

// ErrNotEmpty is returned by [Copy] when the destination has documents already.
var ErrNotEmpty = errors.New("storage: destination is not empty")

// CopyProgress reports how far a [Copy] has come.
type CopyProgress struct {
	// Stage is "counting", "copying" or "verifying".
	Stage string
	Table string
	// Done and Total are numbers of documents in all tables. Done starts again at 0 with each
	// stage.
	Done, Total int
}

// CopyReport says what a [Copy] has copied.
type CopyReport struct {
	Tables []TableReport
}

// TableReport is the part of a [CopyReport] for one table.
type TableReport struct {
	Name      string
	Documents int
	// Checksum is the SHA-256 of all documents and their index entries, in hexadecimal. It is the
	// same in both stores, however they format documents.
	Checksum string
}

// A transaction of a Copy writes at most copyBatch documents, and not many more than copyBytes
// bytes.
const (
	copyBatch = 500
	copyBytes = 4 << 20
)

// Copy copies all tables of src, with their owners, to dst, whatever their backends are. Then it
// reads both and compares counts and checksums. It returns [ErrNotEmpty] if dst has documents in
// any of these tables. If progress is not nil, it is called after every batch of documents; it must
// not use src, which is in a View meanwhile.
//
// Copy copies a snapshot, without what is written to src after it has begun: stop the servers
// first.
func Copy(ctx context.Context, dst, src Store, progress func(CopyProgress)) (*CopyReport, error) {
	if progress == nil {
		progress = func(CopyProgress) {}
	}
	tables, err := src.Tables(ctx)
	if err != nil {
		return nil, err
	}
	if err := dst.Define(ctx, tables...); err != nil {
		return nil, fmt.Errorf("defining the tables: %w", err)
	}
	report := &CopyReport{}
	err = src.View(ctx, func(tx Tx) error {
		c := &copier{ctx: ctx, dst: dst, src: tx, progress: progress}
		for _, t := range tables {
			if err := c.count(t); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		for _, t := range tables {
			if err := c.copy(t); err != nil {
				return fmt.Errorf("copying table %s: %w", t.Name, err)
			}
		}
		c.at.Done = 0
		report.Tables = nil
		for _, t := range tables {
			r, err := c.verify(t)
			if err != nil {
				return fmt.Errorf("verifying table %s: %w", t.Name, err)
			}
			report.Tables = append(report.Tables, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

type copier struct {
	ctx      context.Context
	dst      Store
	src      Tx
	progress func(CopyProgress)
	at       CopyProgress
}

func (c *copier) tick(stage, table string) {
	c.at.Stage, c.at.Table = stage, table
	c.progress(c.at)
}

// count counts the documents of a table in src, and checks that there are none in dst.
func (c *copier) count(t Table) error {
	err := c.dst.View(c.ctx, func(tx Tx) error {
		for _, err := range tx.Scan(t.Name, Range{Limit: 1}) {
			if err != nil {
				return err
			}
			return ErrNotEmpty
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, err := range c.src.Scan(t.Name, Range{}) {
		if err != nil {
			return err
		}
		c.at.Total++
	}
	c.tick("counting", t.Name)
	return nil
}

func (c *copier) copy(t Table) error {
	var batch []Document
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := c.dst.Update(c.ctx, func(tx Tx) error {
			for _, d := range batch {
				if err := tx.Insert(t.Name, d); err != nil {
					return err
				}
			}
			return nil
		})
		c.at.Done += len(batch)
		batch, size = batch[:0], 0
		c.tick("copying", t.Name)
		return err
	}
	for rec, err := range c.src.Scan(t.Name, Range{Entries: true}) {
		if err != nil {
			return err
		}
		batch = append(batch, Document{Key: rec.Key, Value: rec.Value, Entries: rec.Entries})
		if size += len(rec.Value); len(batch) == copyBatch || size >= copyBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// verify compares a table of both stores.
func (c *copier) verify(t Table) (TableReport, error) {
	want, err := c.sum(c.src, t)
	if err != nil {
		return want, err
	}
	c.at.Done += want.Documents
	c.tick("verifying", t.Name)
	var got TableReport
	err = c.dst.View(c.ctx, func(tx Tx) (err error) {
		got, err = c.sum(tx, t)
		return err
	})
	if err == nil && got != want {
		err = fmt.Errorf("the copy has %d documents with the checksum %s, and the original has %d with %s",
			got.Documents, got.Checksum, want.Documents, want.Checksum)
	}
	return want, err
}

func (c *copier) sum(tx Tx, t Table) (TableReport, error) {
	r := TableReport{Name: t.Name}
	h := sha256.New()
	for rec, err := range tx.Scan(t.Name, Range{Entries: true}) {
		if err != nil {
			return r, err
		}
		if err := hashRecord(h, rec); err != nil {
			return r, err
		}
		r.Documents++
	}
	r.Checksum = fmt.Sprintf("%x", h.Sum(nil))
	return r, nil
}

// hashRecord hashes a document in a form that doesn't depend on how a backend formats it.
func hashRecord(h hash.Hash, rec Record) error {
	d := json.NewDecoder(bytes.NewReader(rec.Value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("document %q: %w", rec.Key, err)
	}
	canonical, err := json.Marshal(plainNumbers(v)) // sorts properties
	if err != nil {
		return fmt.Errorf("document %q: %w", rec.Key, err)
	}
	_, _ = io.WriteString(h, rec.Key+"\x00")
	_, _ = h.Write(canonical)
	for _, e := range rec.Entries {
		_, _ = io.WriteString(h, "\x00"+e.Index+"\x00"+e.Value)
	}
	_, _ = h.Write([]byte{0, 0})
	return nil
}

// plainNumbers converts all numbers in decoded JSON to one notation.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return plainNumber(string(v))
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// plainNumber converts a JSON number to its digits without redundant zeros, and the power of ten of
// the last digit: 1e2, 100 and 100.0 are all 1e2.
func plainNumber(n string) json.Number {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(n), "e")
	power := new(big.Int)
	if exponent != "" {
		power.SetString(strings.TrimPrefix(exponent, "+"), 10)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits, negative := strings.CutPrefix(whole+fraction, "-")
	digits = strings.TrimLeft(digits, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	power.Add(power, big.NewInt(int64(len(digits)-len(short)-len(fraction))))
	if negative {
		short = "-" + short
	}
	return json.Number(short + "e" + power.String())
}
