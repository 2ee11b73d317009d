package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func cloneOf(t testing.TB, from string) (string, []shared) {
	t.Helper()
	to := t.TempDir()
	shared, err := cloneTree(from, to)
	require.NoError(t, err)
	return to, shared
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Lstat(a)
	require.NoError(t, err)
	y, err := os.Lstat(b)
	require.NoError(t, err)
	return os.SameFile(x, y)
}

func TestCloneHasTheSameFiles(t *testing.T) {
	from := sourceOf(t, map[string]string{
		"src/a.ts": "a", "bin/run": "#!/bin/sh\n", "link": "-> src/a.ts", "dangling": "-> /nowhere/at/all",
		"node_modules/lib/index.js": "lib", "node_modules/.bin/lib": "-> ../lib/index.js",
	})
	require.NoError(t, os.MkdirAll(filepath.Join(from, "empty/deep"), 0o755))
	to, _ := cloneOf(t, from)
	list := func(root string) (all []string) {
		require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			rel, _ := filepath.Rel(root, path)
			line := fmt.Sprint(rel, " ", info.Mode())
			if info.Mode().IsRegular() {
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				line += fmt.Sprint(" ", string(data), " ", info.ModTime())
			}
			if target, err := os.Readlink(path); err == nil {
				line += " " + target
			}
			all = append(all, line)
			return nil
		}))
		return all[1:]
	}
	assert.Equal(t, list(from), list(to))
}

func TestCloneLinksWhatWasInstalledAndCopiesTheRest(t *testing.T) {
	from := sourceOf(t, map[string]string{
		"src/a.ts": "", "dist/a.js": "", "node_modules/lib/index.js": "", "node_modules/@s/lib/node_modules/x/i.js": "",
		"node_modules/.bin/tool": "", "node_modules/.cache/babel/1.json": "", "node_modules/.vite/deps/x.js": "",
		"node_modules/.pnpm/x@1/node_modules/x/i.js": "", "node_modules/lib/.cache/y": "",
		".venv/pyvenv.cfg": "", ".venv/lib/python3.11/site-packages/pkg/mod.py": "", "site-packages/own.py": "",
	})
	to, shared := cloneOf(t, from)
	linked := map[string]bool{
		"node_modules/lib/index.js": true, "node_modules/@s/lib/node_modules/x/i.js": true, "node_modules/.bin/tool": true,
		"node_modules/.pnpm/x@1/node_modules/x/i.js": true, ".venv/lib/python3.11/site-packages/pkg/mod.py": true,
	}
	assert.Len(t, shared, len(linked))
	for _, file := range []string{
		"src/a.ts", "dist/a.js", "node_modules/lib/index.js", "node_modules/@s/lib/node_modules/x/i.js", "node_modules/.bin/tool",
		"node_modules/.cache/babel/1.json", "node_modules/.vite/deps/x.js", "node_modules/.pnpm/x@1/node_modules/x/i.js",
		"node_modules/lib/.cache/y", ".venv/pyvenv.cfg", ".venv/lib/python3.11/site-packages/pkg/mod.py", "site-packages/own.py",
	} {
		assert.Equal(t, linked[file], sameFile(t, filepath.Join(from, file), filepath.Join(to, file)), file)
	}
}

func TestCloneNoticesAFileWrittenInPlace(t *testing.T) {
	from := sourceOf(t, map[string]string{"node_modules/a/i.js": "one", "node_modules/b/i.js": "one", "node_modules/c/i.js": "one"})
	to, shared := cloneOf(t, from)
	assert.Empty(t, changed(shared))

	replaced := filepath.Join(to, "node_modules/a/i.js") // as package managers and compilers do
	require.NoError(t, os.Remove(replaced))
	require.NoError(t, os.WriteFile(replaced, []byte("two"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(to, "node_modules/b/i.js")))
	assert.Empty(t, changed(shared))

	require.NoError(t, os.WriteFile(filepath.Join(to, "node_modules/c/i.js"), []byte("two"), 0o644))
	assert.Equal(t, []string{filepath.Join(from, "node_modules/c/i.js")}, changed(shared))
}

func TestCloneOfAVirtualEnvironmentNamesItself(t *testing.T) {
	from := t.TempDir()
	for path, content := range map[string]string{
		"app/.venv/pyvenv.cfg":   "command = /usr/bin/python3 -m venv " + from + "/app/.venv\n",
		"app/.venv/bin/pytest":   "#!" + from + "/app/.venv/bin/python3\nimport sys\n",
		"app/.venv/bin/activate": "VIRTUAL_ENV=" + from + "/app/.venv\n",
		"app/.venv/bin/other":    "#!/bin/sh\n",
		"app/.venv/lib/python3.11/site-packages/__editable__.app.pth":  from + "/app/src\n",
		"app/.venv/lib/python3.11/site-packages/distutils.pth":         "import x\n",
		"app/.venv/lib/python3.11/site-packages/pkg/data.txt":          from + "/app\n",
		"app/.venv/lib/python3.11/site-packages/__editable___a_f.py":   "M = {'a': '" + from + "/app/a'}\n",
		"app/.venv/lib/python3.11/site-packages/pkg/bin/unrelated.txt": "x",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(from, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(from, path), []byte(content), 0o755))
	}
	to, _ := cloneOf(t, from)
	read := func(path string) string {
		data, err := os.ReadFile(filepath.Join(to, "app/.venv", path))
		require.NoError(t, err)
		return string(data)
	}
	for _, file := range []string{"pyvenv.cfg", "bin/pytest", "bin/activate", "lib/python3.11/site-packages/__editable__.app.pth", "lib/python3.11/site-packages/__editable___a_f.py"} {
		assert.Contains(t, read(file), to+"/app", file)
		assert.NotContains(t, read(file), from+"/", file)
	}
	info, err := os.Stat(filepath.Join(to, "app/.venv/bin/pytest"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	assert.True(t, sameFile(t, filepath.Join(from, "app/.venv/lib/python3.11/site-packages/pkg/data.txt"),
		filepath.Join(to, "app/.venv/lib/python3.11/site-packages/pkg/data.txt")), "what is not known to hold paths is left alone")
}

func TestCloneOfAReadOnlyDirectoryCanBeRemoved(t *testing.T) {
	from := sourceOf(t, map[string]string{"mod/a.go": "x"})
	require.NoError(t, os.Chmod(filepath.Join(from, "mod"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(from, "mod"), 0o755) })
	to, _ := cloneOf(t, from)
	removeTree(to)
	assert.NoDirExists(t, to)
}

// nodeModules writes what an application of some size has installed: 15 000 files in 1 500 directories, 60 MB.
func nodeModules(t testing.TB) string {
	root := t.TempDir()
	content := []byte(strings.Repeat("module.exports = function () { return 1; };\n", 93)) // 4 kB
	for p := range 500 {
		for d := range 3 {
			dir := filepath.Join(root, "node_modules", fmt.Sprintf("package-%03d", p), []string{"", "lib", "dist"}[d])
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for f := range 10 {
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d.js", f)), content, 0o644))
			}
		}
	}
	return root
}

func BenchmarkCloneOf15000Files(b *testing.B) {
	from := nodeModules(b)
	for b.Loop() {
		to := filepath.Join(b.TempDir(), "clone")
		require.NoError(b, os.Mkdir(to, 0o755))
		shared, err := cloneTree(from, to)
		require.NoError(b, err)
		require.Len(b, shared, 15000)
	}
}

func BenchmarkCheckOf15000SharedFiles(b *testing.B) {
	_, shared := cloneOf(b, nodeModules(b))
	for b.Loop() {
		require.Empty(b, changed(shared))
	}
}

func BenchmarkRemovalOf15000Files(b *testing.B) {
	from := nodeModules(b)
	for b.Loop() {
		b.StopTimer()
		to, _ := cloneOf(b, from)
		b.StartTimer()
		removeTree(to)
	}
}
