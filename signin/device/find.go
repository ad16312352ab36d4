package device

import (
	"context"
	"errors"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Find returns the device of a cookie, and, unless it is empty, the value that the cookie gets from
// now on. If the cookie is malformed, unknown, expired or worth nothing any longer, the device is
// nil, without an error. A cookie that was replaced long ago ends its device: see the package.
func (s *Service) Find(ctx context.Context, cookie string) (d *Device, renewed string, err error) {
	c, ok := s.parse(cookie)
	if !ok {
		return nil, "", nil
	}
	v, err := s.visit(ctx, c)
	if err != nil {
		return nil, "", err
	}
	return v.device, v.renewed, nil
}

// visit is what comes of a cookie that is shown.
type visit struct {
	device  *Device
	renewed string
	copied  bool
}

// errWrites means that a visit has something to write.
var errWrites = errors.New("device: the visit has something to write")

// visit looks at a device, and writes only if something has to be noted, which is rare.
func (s *Service) visit(ctx context.Context, c cookie) (v visit, err error) {
	err = s.store.View(ctx, func(tx storage.Tx) (err error) {
		v, err = s.visitTx(tx, c, false)
		return err
	})
	if !errors.Is(err, errWrites) {
		return v, err
	}
	err = s.store.Update(ctx, func(tx storage.Tx) (err error) {
		v, err = s.visitTx(tx, c, true)
		return err
	})
	if err == nil && v.copied {
		s.logCopied(ctx, c)
	}
	return v, err
}

func (s *Service) visitTx(tx storage.Tx, c cookie, mayWrite bool) (v visit, err error) {
	now := s.now()
	r, standing, err := s.readTx(tx, c)
	if err != nil || standing == worthless {
		return visit{}, err
	}
	writes := standing == copied || standing == current && (r.unconfirmed() || r.due(now) || r.expiring(now))
	switch {
	case writes && !mayWrite:
		return visit{}, errWrites
	case standing == copied:
		return visit{copied: true}, s.endTx(tx, r)
	}
	all, err := s.aliveTx(tx, r)
	if err != nil {
		return visit{}, err
	}
	if standing == replaced {
		v.renewed = s.latest(r, c)
	}
	if writes {
		r.confirm(now)
		if r.due(now) {
			next := s.successor(c)
			r.rotate(s.hash(next), now)
			v.renewed = s.format(next)
		}
		r.extend(now)
		if err := table.Put(tx, r); err != nil {
			return visit{}, err
		}
	}
	v.device = r.device(all)
	return v, nil
}

// latest returns the current cookie of a device, which is a successor of the given one.
func (s *Service) latest(r *record, c cookie) string {
	for range r.Former {
		if c = s.successor(c); r.standing(s.hash(c), s.now()) == current {
			return s.format(c)
		}
	}
	return ""
}

func (s *Service) logCopied(ctx context.Context, c cookie) {
	s.cfg.Logger.WarnContext(ctx, "a browser was signed out, since a copy of its cookie is in use", "device", c.id)
}
