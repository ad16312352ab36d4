package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

const (
	// compactSuffix is added to the name of a file for its compacted copy.
	compactSuffix = ".compacting"
	// compactBytes is about how much is copied in one transaction.
	compactBytes = 16 << 20
)

// Compact replaces the file of a store that is not in use by a copy without unused space, and returns
// the sizes of both. Otherwise the space of what was deleted is used again, but the file never gets
// smaller.
//
// The copy is written beside the file, under its name with ".compacting" added, and takes its place
// once it is complete and on disk. Until then the file stays as it is, whatever happens to the
// process, and what a killed process has left of a copy is removed by the next call. There must be
// room for both. The copy has the file's permissions and, where that is known, its owner. If the path
// is a symbolic link, the file that it leads to is replaced, and the link stays.
//
// It returns [ErrLocked], without waiting, if the file is in use, and an error if there is no store at
// the path. Windows doesn't let a file be replaced that is open, so there it always fails. The pages
// of the copy are full, so it grows again by a part when it is next written to.
func Compact(path string) (before, after int64, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0, 0, fmt.Errorf("bolt: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, fmt.Errorf("bolt: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 { // bbolt would make a store of an empty file
		return 0, 0, fmt.Errorf("bolt: %s is not a store", path)
	}
	src, err := openFile(path, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return 0, 0, err
	}
	// The file stays locked until the copy is in its place, so that nobody writes to it meanwhile.
	defer func() { err = errors.Join(err, src.Close()) }()
	tables, err := loadTables(src)
	if err == nil && len(tables) == 0 {
		err = fmt.Errorf("bolt: %s is not a store", path)
	}
	if err != nil {
		return 0, 0, err
	}
	draft := path + compactSuffix
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, fmt.Errorf("bolt: %w", err)
	}
	if after, err = compactInto(draft, src, info); err == nil {
		err = replace(draft, path)
	}
	if err != nil {
		return 0, 0, errors.Join(fmt.Errorf("bolt: compacting %s: %w", path, err), ignoreMissing(os.Remove(draft)))
	}
	return info.Size(), after, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// compactInto writes a copy of src to a new file, and returns its size once it is on disk.
func compactInto(path string, src *bbolt.DB, like os.FileInfo) (size int64, err error) {
	dst, err := bbolt.Open(path, 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType,
		NoSync:       true, // until everything is written
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			return os.OpenFile(name, flag|os.O_EXCL, perm)
		},
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := bbolt.Compact(dst, src, compactBytes); err != nil {
		return 0, err
	}
	if err := os.Chmod(path, like.Mode().Perm()); err != nil {
		return 0, err
	}
	if err := keepOwner(path, like); err != nil {
		return 0, err
	}
	if err := dst.Sync(); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Steps at which tests interfere: opened is called when a file has been opened and not yet locked,
// and replacing before a compacted copy takes the place of the file.
var opened, replacing = func() {}, func() {}

// replace gives a file the name of another, which it replaces, durably.
func replace(from, to string) error {
	replacing()
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// openFile opens a file for writing, and returns [ErrLocked], without waiting, if it is open already.
func openFile(path string, options *bbolt.Options) (*bbolt.DB, error) {
	var file *os.File
	options.Timeout = time.Millisecond
	options.OpenFile = func(name string, flag int, perm os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, perm)
		opened()
		return file, err
	}
	db, err := bbolt.Open(path, 0o600, options)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: opening %s: %w", path, err)
	}
	// Between opening the file and locking it, Compact may have put another in its place.
	now, err := os.Stat(path)
	if err == nil {
		var was os.FileInfo
		if was, err = file.Stat(); err == nil && !os.SameFile(now, was) {
			err = fmt.Errorf("%w: %s", ErrLocked, path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
