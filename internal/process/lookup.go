package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// LookPath finds the program that a Spec names. With a slash it is a path, relative to dir; otherwise it is looked up in
// the PATH of env, whose relative entries are not used. The path returned is absolute where dir and PATH are.
//
// exec.LookPath does not do: it reads this process's PATH and knows no directory.
func LookPath(program, dir string, env []string) (string, error) {
	if strings.ContainsRune(program, '/') {
		path := program
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if err := runnable(path); err != nil {
			return "", err
		}
		return filepath.Abs(path)
	}
	var denied error
	for _, entry := range filepath.SplitList(lookupEnv(env, "PATH")) {
		if !filepath.IsAbs(entry) {
			continue
		}
		path := filepath.Join(entry, program)
		err := runnable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrPermission) && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("%s: %w", program, exec.ErrNotFound)
}

// runnable reports why a file is not a program.
func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory: %w", path, fs.ErrPermission)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: %w", path, fs.ErrPermission)
	}
	return nil
}
