// Package source finds the files of a release on a host: a directory, a git ref, an overlay laid over either. It also
// tells how a release is called and which one came before it.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// gitTimeout bounds one git command. Archiving a large tree is the slowest of them.
const gitTimeout = 2 * time.Minute

// ErrNoRepository says that a directory is in no git repository, or that there is no git.
var ErrNoRepository = errors.New("not in a git repository")

// Repository is the git work tree that a directory is in.
type Repository struct {
	dir    string
	Prefix string // of the directory within the work tree, "" at its top, with a slash at its end otherwise
}

// Find returns the repository that dir is in, or ErrNoRepository.
func Find(ctx context.Context, dir string) (*Repository, error) {
	r := &Repository{dir: dir}
	prefix, err := r.git(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
	}
	r.Prefix = prefix
	return r, nil
}

// Describe names the checked-out commit, "-dirty" included: "v1.4.0", "v1.4.0-3-g2f1a9c1", "2f1a9c1".
func (r *Repository) Describe(ctx context.Context) (string, error) {
	return r.git(ctx, "describe", "--tags", "--always", "--dirty")
}

// Branch is the checked-out branch, "" when detached.
func (r *Repository) Branch(ctx context.Context) string {
	name, err := r.git(ctx, "symbolic-ref", "--short", "-q", "HEAD")
	if err != nil {
		return ""
	}
	return name
}

// Tag is the tag that names the checked-out commit, "" without one.
func (r *Repository) Tag(ctx context.Context) string {
	name, err := r.git(ctx, "describe", "--tags", "--exact-match")
	if err != nil {
		return ""
	}
	return name
}

// NewestTagBefore is the newest tag reachable from the parents of HEAD, "" without one.
func (r *Repository) NewestTagBefore(ctx context.Context) string {
	name, err := r.git(ctx, "describe", "--tags", "--abbrev=0", "HEAD^")
	if err != nil {
		return ""
	}
	return name
}

// Commit resolves a ref. The error says that it is not one.
func (r *Repository) Commit(ctx context.Context, ref string) (string, error) {
	if strings.HasPrefix(ref, "-") {
		return "", fmt.Errorf("%q is not a git ref", ref)
	}
	commit, err := r.git(ctx, "rev-parse", "--verify", "--quiet", ref+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("%q is neither a directory nor a git ref of %s; name a tag, a branch, a commit or a directory", ref, r.dir)
	}
	return commit, nil
}

// Extract writes the files that the repository's directory had at a commit into dst.
func (r *Repository) Extract(ctx context.Context, commit, dst string) error {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	top, err := r.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	tree := commit
	if r.Prefix != "" {
		tree = commit + ":" + strings.TrimSuffix(r.Prefix, "/")
	}
	archive := exec.CommandContext(ctx, "git", "-C", top, "archive", "--format=tar", tree)
	var stderr bytes.Buffer
	archive.Stderr = &stderr
	tar, err := archive.StdoutPipe()
	if err != nil {
		return fmt.Errorf("extract %s: %w", commit, err)
	}
	if err := archive.Start(); err != nil {
		return fmt.Errorf("extract %s: %w", commit, err)
	}
	unpacked := untar(tar, dst)
	if err := archive.Wait(); err != nil {
		return fmt.Errorf("extract %s of %s: %s", filepath.Clean("/" + r.Prefix)[1:], commit, strings.TrimSpace(stderr.String()))
	}
	if unpacked != nil {
		return fmt.Errorf("extract %s: %w", commit, unpacked)
	}
	return nil
}

func (r *Repository) git(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
