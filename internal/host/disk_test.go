//go:build linux

package host

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// smallDisk mounts a disk of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk to fill")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk to fill cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	file := filepath.Join(dir, "filler")
	block := make([]byte, 64<<10)
	f, err := os.Create(file)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(file)) }
}

func TestFullDiskIsSaidWhenTheRunnerIsMade(t *testing.T) {
	dir := smallDisk(t, "1m")
	empty := fill(t, dir)
	_, err := New(Options{Source: t.TempDir(), CacheDir: filepath.Join(dir, "cache")})
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.ErrorContains(t, err, "the disk that holds "+filepath.Join(dir, "cache"))
	assert.ErrorContains(t, err, "make room")
	empty()
	newRunner(t, Options{Source: t.TempDir(), CacheDir: filepath.Join(dir, "cache")})
}

func TestFullDiskBreaksAStepAndIsNotRemembered(t *testing.T) {
	dir := smallDisk(t, "8m")
	source := sourceOf(t, map[string]string{"in": "1"})
	r := newRunner(t, Options{Source: source, CacheDir: filepath.Join(dir, "cache")})
	writing := stepOf("install", "head -c 3000000 /dev/zero >big", "in")
	writing.Kind = ci.Install
	tooBig := stepOf("build", "head -c 9000000 /dev/zero >big", "in")
	for _, full := range []bool{true, false} {
		empty := func() {}
		if full {
			empty = fill(t, dir)
		}
		result := runSteps(t, r, writing)[0]
		if full {
			assert.Equal(t, ci.Broken, result.Status)
			assert.ErrorContains(t, result.Err, "make room")
		} else {
			requirePassed(t, result)
		}
		empty()
	}
	result := runSteps(t, r, tooBig)[0]
	assert.Equal(t, ci.Broken, result.Status, "%v\n%s", result.Err, result.Log)
	assert.ErrorContains(t, result.Err, dir)
	requirePassed(t, runSteps(t, r, afterStep(writing, stepOf("unit", "test -e big")))...)
}

func TestUnwritableCacheIsSaid(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	if os.Getuid() == 0 { // who may write everywhere but to a read-only disk
		dir = smallDisk(t, "1m")
		require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		cache = filepath.Join(dir, "cache")
	} else {
		require.NoError(t, os.Chmod(dir, 0o500))
	}
	_, err := New(Options{Source: t.TempDir(), CacheDir: cache})
	assert.ErrorContains(t, err, cache)
	assert.ErrorContains(t, err, "choose another")
}
