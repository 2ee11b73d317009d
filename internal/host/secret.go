package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaextract/pipeline/internal/process"
)

// secretPatience bounds a command that prints a secret: some password managers ask for a finger.
const secretPatience = time.Minute

// ResolveSecret reads the value that a URI refers to. Errors never hold a value.
//
// The forms are those of the Dagger CLI that need nothing but this machine: env://NAME, file://PATH (relative to dir,
// the application's root; ~ is the home directory) and cmd://COMMAND (by sh). A newline at the end is no part of the value.
func ResolveSecret(ctx context.Context, uri, dir string) (string, error) {
	scheme, rest, found := strings.Cut(uri, "://")
	if !found || rest == "" {
		// What was written may be the secret itself.
		return "", errors.New("secret reference is not a URI; write env://NAME, file://PATH or cmd://COMMAND")
	}
	switch scheme {
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return "", fmt.Errorf("read secret %s: the variable is not set in the pipeline's environment; set it, or change the reference", uri)
		}
		return value, nil
	case "file":
		path, err := secretFile(rest, dir)
		if err != nil {
			return "", fmt.Errorf("read secret %s: %w", uri, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read secret: %w; create the file, or change the reference", err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	case "cmd":
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(ctx, secretPatience)
		defer cancel()
		// With the user's whole environment: password managers find their session there.
		err := process.Run(ctx, process.Spec{Args: []string{"sh", "-c", rest}, Dir: dir, Stdout: &out})
		if err != nil {
			return "", fmt.Errorf("read secret %s: %w; run the command by hand to see why", uri, err)
		}
		return strings.TrimRight(out.String(), "\r\n"), nil
	default:
		// Neither is the rest shown: postgres://user:password@host is a secret and no reference.
		return "", fmt.Errorf("secret reference %s://…: a host cannot read %s:// references; "+
			"use env://, file:// or cmd:// (with the password manager's own command), or run on a Dagger engine", scheme, scheme)
	}
}

func secretFile(path, dir string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		return filepath.Join(home, rest), err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, nil
}
