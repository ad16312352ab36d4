package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Asset is a file that pages load.
type Asset struct {
	// ContentType is the media type of the file.
	ContentType string
	// Body is the content of the file.
	Body []byte
}

// assets are the files that pages load. Their paths have a hash of the content in them, so that
// browsers can keep them forever.
type assets struct {
	prefix string
	paths  map[string]string // by name
	byPath map[string]Asset
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// file is an asset, and the last part of its path.
type file struct {
	Asset
	hashed string
}

func newAssets(prefix string, overrides fs.FS) (*assets, error) {
	load := defaultFiles
	if overrides != nil {
		load = func() (map[string]file, error) { return readFiles(overrides) }
	}
	files, err := load()
	if err != nil {
		return nil, err
	}
	a := &assets{prefix: prefix, paths: map[string]string{}, byPath: map[string]Asset{}}
	for name, f := range files {
		p := prefix + f.hashed
		a.paths[name], a.byPath[p] = p, f.Asset
	}
	return a, nil
}

// defaultFiles are the assets of this package, which all Sets share.
var defaultFiles = sync.OnceValues(func() (map[string]file, error) { return readFiles(nil) })

// readFiles reads the assets of this package, or those that replace them, by their names.
func readFiles(overrides fs.FS) (map[string]file, error) {
	read, err := reader("assets", overrides, ".css", ".js", ".svg")
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, err
	}
	all := map[string]file{}
	for _, e := range entries {
		body, err := read(e.Name())
		if err != nil {
			return nil, fmt.Errorf("the asset %s: %w", e.Name(), err)
		}
		sum := sha256.Sum256([]byte(body))
		ext := path.Ext(e.Name())
		all[e.Name()] = file{
			Asset:  Asset{ContentType: assetTypes[ext], Body: []byte(body)},
			hashed: strings.TrimSuffix(e.Name(), ext) + "-" + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext,
		}
	}
	return all, nil
}

// path returns the path of an asset.
func (a *assets) path(name string) (string, error) {
	p, ok := a.paths[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return p, nil
}

// Asset returns the asset at a path, as pages link to it. The path changes with the content.
func (s *Set) Asset(path string) (Asset, bool) {
	a, ok := s.assets.byPath[path]
	return a, ok
}

// Script returns the path of the script that a page runs, or "" if it runs none.
func (s *Set) Script(c Content) string { return s.assets.paths[c.page().script] }

// AssetPath returns the path under which assets are, with a slash at its end.
func (s *Set) AssetPath() string { return s.assets.prefix }
