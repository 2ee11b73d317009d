package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Tree is the files of a release.
type Tree struct {
	Dir     string // absolute
	Version string // what the release is called
	Origin  string // for people: "directory shop", "tag v1.4.0"
}

// Open returns the files at dir with each overlay laid over them, in order. With no overlay it is dir itself, which is
// never written. Copies go below scratch.
func Open(ctx context.Context, dir string, overlays []string, scratch string) (Tree, error) {
	abs, err := directory(dir)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{Dir: abs, Version: version(ctx, abs), Origin: "directory " + dir}
	if len(overlays) == 0 {
		return t, nil
	}
	if t.Dir, err = os.MkdirTemp(scratch, "source-"); err != nil {
		return Tree{}, fmt.Errorf("copy the source: %w", err)
	}
	for _, from := range append([]string{dir}, overlays...) {
		at, err := directory(from)
		if err != nil {
			return Tree{}, err
		}
		if err := lay(at, t.Dir); err != nil {
			return Tree{}, fmt.Errorf("copy %s: %w", from, err)
		}
	}
	for _, o := range overlays {
		t.Version += "+" + filepath.Base(o)
		t.Origin += " with " + o
	}
	return t, nil
}

// OpenFrom returns the release that runs now, named by a directory or by a git ref of the repository that app is in.
func OpenFrom(ctx context.Context, app, from, scratch string) (Tree, error) {
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		return Open(ctx, from, nil, scratch)
	}
	return atRef(ctx, app, from, scratch)
}

// NewestTagBefore returns the release of the newest tag before the checked-out commit; ok is false when there is none
// that holds the application.
func NewestTagBefore(ctx context.Context, app, scratch string) (t Tree, ok bool) {
	repository, err := Find(ctx, app)
	if err != nil {
		return Tree{}, false
	}
	tag := repository.NewestTagBefore(ctx)
	if tag == "" {
		return Tree{}, false
	}
	t, err = atRef(ctx, app, tag, scratch)
	return t, err == nil
}

func atRef(ctx context.Context, app, ref, scratch string) (Tree, error) {
	repository, err := Find(ctx, app)
	if err != nil {
		return Tree{}, fmt.Errorf("%q is not a directory, and cannot be a git ref: %w", ref, err)
	}
	commit, err := repository.Commit(ctx, ref)
	if err != nil {
		return Tree{}, err
	}
	dir, err := os.MkdirTemp(scratch, "source-")
	if err != nil {
		return Tree{}, fmt.Errorf("extract %s: %w", ref, err)
	}
	if err := repository.Extract(ctx, commit, dir); err != nil {
		return Tree{}, err
	}
	return Tree{Dir: dir, Version: ref, Origin: "git " + ref + " (" + commit[:12] + ")"}, nil
}

func directory(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("source %s: no such directory; name the directory that holds pipeline.yaml", dir)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("source %s is a file; name the directory that holds pipeline.yaml", dir)
	}
	return filepath.Abs(dir)
}

// version is git's name of the commit, or the directory's name where there is no git.
func version(ctx context.Context, dir string) string {
	if repository, err := Find(ctx, dir); err == nil {
		if v, err := repository.Describe(ctx); err == nil && v != "" {
			return v
		}
	}
	return strings.ToLower(filepath.Base(dir))
}
