package source

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// untar unpacks directories, files and symbolic links. Nothing is written outside dst, whatever the archive says.
func untar(r io.Reader, dst string) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(name), 0o755)
		case tar.TypeReg:
			err = writeFile(root, name, archive, header.FileInfo().Mode().Perm())
		case tar.TypeSymlink:
			err = root.Symlink(header.Linkname, name)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, name string, from io.Reader, mode fs.FileMode) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// skipped directories are never part of a release.
var skipped = map[string]bool{".git": true, "node_modules": true, ".venv": true, "__pycache__": true, ".pipeline": true}

// lay copies the tree at src over dst.
func lay(src, dst string) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(src, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(src, at)
		if err != nil || name == "." {
			return err
		}
		switch {
		case entry.IsDir() && skipped[entry.Name()]:
			return filepath.SkipDir
		case entry.IsDir():
			return root.MkdirAll(name, 0o755)
		case entry.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			_ = root.Remove(name)
			return root.Symlink(to, name)
		case !entry.Type().IsRegular():
			return nil // sockets, devices and pipes are not part of a release
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		from, err := os.Open(at)
		if err != nil {
			return fmt.Errorf("read the source: %w", err)
		}
		defer from.Close()
		_ = root.Remove(name)
		return writeFile(root, name, from, info.Mode().Perm())
	})
}
