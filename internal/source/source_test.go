package source

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write makes files below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(text)
}

// repository is a git repository with the application in shop/, at v1.0.0, at v1.1.0, and one commit on.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	git("init", "-q", "-b", "main")
	for _, version := range []string{"v1.0.0", "v1.1.0", ""} {
		write(t, dir, map[string]string{"shop/version.txt": "after " + version, "other/big.txt": "not part of it"})
		git("add", "-A")
		git("commit", "-q", "--allow-empty", "-m", "next "+version)
		if version != "" {
			git("tag", version)
		}
	}
	return filepath.Join(dir, "shop")
}

func TestARefIsTheDirectoryAsItWasThen(t *testing.T) {
	app := repository(t)
	tree, err := OpenFrom(t.Context(), app, "v1.0.0", t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, "after v1.0.0", read(t, tree.Dir, "version.txt"))
	assert.NoDirExists(t, filepath.Join(tree.Dir, "other"))
	assert.Equal(t, "v1.0.0", tree.Version)
	assert.Contains(t, tree.Origin, "git v1.0.0 (")
}

func TestTheNewestTagIsTheOneBeforeTheCheckedOutCommit(t *testing.T) {
	app := repository(t)
	tree, ok := NewestTagBefore(t.Context(), app, t.TempDir())
	require.True(t, ok)
	assert.Equal(t, "v1.1.0", tree.Version)

	_, err := exec.CommandContext(t.Context(), "git", "-C", app, "checkout", "-q", "v1.1.0").CombinedOutput()
	require.NoError(t, err)
	tree, ok = NewestTagBefore(t.Context(), app, t.TempDir())
	require.True(t, ok, "a tag on the commit itself is the release, not what runs before it")
	assert.Equal(t, "v1.0.0", tree.Version)
	found, err := Find(t.Context(), app)
	require.NoError(t, err)
	assert.Equal(t, "v1.1.0", found.Tag(t.Context()))
	assert.Empty(t, found.Branch(t.Context()))
}

func TestWithoutARepositoryThereIsNoTag(t *testing.T) {
	_, ok := NewestTagBefore(t.Context(), t.TempDir(), t.TempDir())
	assert.False(t, ok)
	_, err := Find(t.Context(), t.TempDir())
	assert.ErrorIs(t, err, ErrNoRepository)
}

func TestOverlaysReplaceAndAddFilesAndTheSourceStaysAsItIs(t *testing.T) {
	app, first, second := t.TempDir(), filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	write(t, app, map[string]string{"a.txt": "app", "b.txt": "app", "node_modules/x/index.js": "left behind", "src/c.txt": "app"})
	write(t, first, map[string]string{"b.txt": "first", "src/d.txt": "first"})
	write(t, second, map[string]string{"b.txt": "second"})
	require.NoError(t, os.Symlink("a.txt", filepath.Join(app, "link.txt")))

	tree, err := Open(t.Context(), app, []string{first, second}, t.TempDir())
	require.NoError(t, err)
	for name, want := range map[string]string{"a.txt": "app", "b.txt": "second", "src/c.txt": "app", "src/d.txt": "first", "link.txt": "app"} {
		assert.Equal(t, want, read(t, tree.Dir, name), name)
	}
	assert.NoDirExists(t, filepath.Join(tree.Dir, "node_modules"))
	assert.Equal(t, "app", read(t, app, "b.txt"))
	assert.True(t, strings.HasSuffix(tree.Version, "+first+second"), tree.Version)
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	app := repository(t)
	for name, test := range map[string]struct {
		open func() error
		says string
	}{
		"a directory": {func() error { _, err := Open(t.Context(), filepath.Join(app, "nowhere"), nil, ""); return err }, "nowhere: no such directory"},
		"a file":      {func() error { _, err := Open(t.Context(), filepath.Join(app, "version.txt"), nil, ""); return err }, "is a file"},
		"an overlay":  {func() error { _, err := Open(t.Context(), app, []string{"nowhere"}, t.TempDir()); return err }, "nowhere: no such directory"},
		"a ref":       {func() error { _, err := OpenFrom(t.Context(), app, "v9.9.9", t.TempDir()); return err }, `"v9.9.9" is neither a directory nor a git ref`},
		"an option":   {func() error { _, err := OpenFrom(t.Context(), app, "--output=x", t.TempDir()); return err }, "is not a git ref"},
		"a ref without a repository": {func() error { _, err := OpenFrom(t.Context(), t.TempDir(), "v1.0.0", t.TempDir()); return err },
			"not in a git repository"},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, test.open(), test.says) })
	}
}

func TestAnArchiveWritesNothingOutsideItsDirectory(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"upwards":        {{Name: "../evil.txt", Typeflag: tar.TypeReg, Mode: 0o644}},
		"absolute":       {{Name: "/evil.txt", Typeflag: tar.TypeReg, Mode: 0o644}},
		"through a link": {{Name: "out", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "out/evil.txt", Typeflag: tar.TypeReg, Mode: 0o644}},
	} {
		t.Run(name, func(t *testing.T) {
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range headers {
				require.NoError(t, w.WriteHeader(&h))
			}
			require.NoError(t, w.Close())
			parent := t.TempDir()
			dst := filepath.Join(parent, "dst")
			require.NoError(t, os.Mkdir(dst, 0o755))
			assert.Error(t, untar(&archive, dst))
			assert.NoFileExists(t, filepath.Join(parent, "evil.txt"))
		})
	}
}
