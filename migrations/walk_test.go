package migrations

import (
	"io"
	"io/fs"
	"strings"
)

func newReader(text string) io.Reader { return strings.NewReader(text) }

// walk reads every file of a directory.
func walk(root fs.FS, file func(name string, body []byte)) error {
	return fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(root, name)
		if err == nil {
			file(name, body)
		}
		return err
	})
}
