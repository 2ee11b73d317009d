package main

import (
	"context"
	"fmt"
	"os"

	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/source"
)

// load reads and checks the configuration of the files of a release.
func load(tree source.Tree) (rehearse.Application, error) {
	files := os.DirFS(tree.Dir)
	cfg, err := config.Validate(files)
	if err != nil {
		return rehearse.Application{}, err
	}
	return rehearse.Application{Config: cfg, Files: files, Dir: tree.Dir, Version: tree.Version, Origin: tree.Origin}, nil
}

// scratch is a directory that is removed when the command ends.
func scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "rehearsal-")
	if err != nil {
		return "", nil, infrastructure(fmt.Errorf("make a temporary directory: %w; free some space or set TMPDIR", err))
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// running is the release that the new one is rehearsed from.
type running struct {
	tree source.Tree
	why  string
	self bool
}

// findRunning looks for the release that runs now: what --from names, else what the environment answers, else the newest
// tag before HEAD, else the release itself.
func findRunning(ctx context.Context, dir string, release source.Tree, environment config.Environment, from, scratch string) (running, error) {
	if from != "" {
		tree, err := source.OpenFrom(ctx, dir, from, scratch)
		return running{tree: tree, why: "named by --from"}, err
	}
	if environment.URL != "" {
		ref, err := deployedRef(ctx, dir, environment)
		if err != nil {
			return running{}, fmt.Errorf("find out what runs at %s: %w; name it with --from", environment.URL, err)
		}
		tree, err := source.OpenFrom(ctx, dir, ref, scratch)
		return running{tree: tree, why: "what " + environment.URL + " answers"}, err
	}
	if tree, ok := source.NewestTagBefore(ctx, dir, scratch); ok {
		return running{tree: tree, why: "newest tag before HEAD"}, nil
	}
	return running{tree: release, why: "rehearsed against itself: no --from, no environment url, no earlier tag", self: true}, nil
}
