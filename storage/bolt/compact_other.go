//go:build !unix

package bolt

import "os"

func keepOwner(string, os.FileInfo) error { return nil }

func syncDir(string) error { return nil }
