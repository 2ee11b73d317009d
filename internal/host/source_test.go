package host

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func pathsOf(entries []*entry) (paths []string) {
	for _, e := range entries {
		paths = append(paths, e.path)
	}
	return paths
}

func TestSourceHasWhatPatternsTakeIn(t *testing.T) {
	root := sourceOf(t, map[string]string{
		"package.json": "", "src/a.ts": "", "src/deep/er/b.ts": "", "src/a.test.ts": "", "dist/x": "", "dist/keep": "",
		"node_modules/m/i.js": "", ".git/HEAD": "", "link": "-> src", "web/node_modules/m/i.js": "", "[x]": "",
	})
	for _, test := range []struct {
		patterns string
		want     string
	}{
		{"**", ".git/HEAD [x] dist/keep dist/x link node_modules/m/i.js package.json src/a.test.ts src/a.ts src/deep/er/b.ts web/node_modules/m/i.js"},
		{"** !**/node_modules/** !.git/**", "[x] dist/keep dist/x link package.json src/a.test.ts src/a.ts src/deep/er/b.ts"},
		{"src/**/*.ts !**/*.test.ts", "src/a.ts src/deep/er/b.ts"},
		{"** !** dist/keep", "dist/keep"},
		{"src/*", "src/a.test.ts src/a.ts"},
		{"src", ""},
		{"{src,dist}/**", "dist/keep dist/x src/a.test.ts src/a.ts src/deep/er/b.ts"},
		{`\[x\]`, "[x]"},
		{"absent/** *.yaml", ""},
		{"", ""},
	} {
		t.Run(test.patterns, func(t *testing.T) {
			patterns := strings.Fields(test.patterns)
			s, err := scan(root, "", [][]string{patterns})
			require.NoError(t, err)
			assert.Equal(t, strings.Fields(test.want), append([]string{}, pathsOf(s.files(patterns))...))
		})
	}
}

func TestSourceDoesNotReadWhatNoPatternTakesIn(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	root := sourceOf(t, map[string]string{"src/a.ts": "", "node_modules/m/i.js": ""})
	require.NoError(t, os.Chmod(filepath.Join(root, "node_modules"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, "node_modules"), 0o755) })
	_, err := scan(root, "", [][]string{{"**", "!**/node_modules/**"}})
	require.NoError(t, err)
	_, err = scan(root, "", [][]string{{"**"}})
	assert.ErrorContains(t, err, "node_modules")
}

func TestSourceLeavesOutWhatIsNoFile(t *testing.T) {
	root := sourceOf(t, map[string]string{"a": ""})
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644))
	s, err := scan(root, "", [][]string{{"**"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, pathsOf(s.files([]string{"**"})))
}

func TestSourceLeavesOutTheCacheWithinIt(t *testing.T) {
	root := sourceOf(t, map[string]string{"a": "", ".pipeline/cache/layers/x": ""})
	s, err := scan(root, filepath.Join(root, ".pipeline/cache"), [][]string{{"**"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, pathsOf(s.files([]string{"**"})))
}

func TestSourceRefusesMalformedPatterns(t *testing.T) {
	_, err := scan(t.TempDir(), "", [][]string{{"src/[a"}})
	assert.ErrorContains(t, err, "src/[a")
	_, err = scan(t.TempDir(), "", [][]string{{"!{a"}})
	assert.ErrorContains(t, err, "!{a")
}

func TestSourceThatChangesWhileItIsReadIsNoticed(t *testing.T) {
	root := sourceOf(t, map[string]string{"a": "one"})
	s, err := scan(root, "", [][]string{{"a"}})
	require.NoError(t, err)
	files := s.files([]string{"a"})
	require.NoError(t, s.copyTo(bounded(t), files, t.TempDir()))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a"), []byte("two"), 0o644))
	assert.ErrorContains(t, s.copyTo(bounded(t), files, t.TempDir()), "changed while")
}

func TestInputsAreNotWrittenThroughALinkOutOfTheTree(t *testing.T) {
	outside := t.TempDir()
	s, err := scan(sourceOf(t, map[string]string{"sub/file": "", "dir": "now a file"}), "", [][]string{{"**"}})
	require.NoError(t, err)
	tree := sourceOf(t, map[string]string{"dir/was/a/directory": ""})
	require.NoError(t, s.copyTo(bounded(t), s.files([]string{"dir"}), tree))
	require.NoError(t, os.Symlink(outside, filepath.Join(tree, "sub")))
	require.Error(t, s.copyTo(bounded(t), s.files([]string{"sub/file"}), tree))
	assert.NoFileExists(t, filepath.Join(outside, "file"))
}

// A directory that holds a file that patterns take in is read, whatever the patterns.
func TestNoFileIsMissedBySkippingDirectories(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "b", "node_modules", "a.ts", "src"}
	parts := append([]string{"**", "*", "*.ts", "?", "{a,b}", "{a/b,src}"}, names...)
	pick := func(from []string, most int) string {
		var chosen []string
		for range 1 + random.IntN(most) {
			chosen = append(chosen, from[random.IntN(len(from))])
		}
		return path.Join(chosen...)
	}
	hits := 0
	for range 200_000 {
		var patterns []string
		for range 1 + random.IntN(4) {
			pattern := pick(parts, 4)
			if random.IntN(3) == 0 {
				pattern = "!" + pattern
			}
			patterns = append(patterns, pattern)
		}
		file := pick(names, 4)
		if !matches(patterns, file) {
			continue
		}
		hits++
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			require.True(t, mayHold(patterns, dir), "%q has %s but is not read for %q", dir, file, patterns)
		}
	}
	require.Greater(t, hits, 1000)
}

// A source of 2000 files of 8 kB, with a node_modules that is no input.
func BenchmarkKeyOf2000Files(b *testing.B) {
	root := nodeModules(b)
	content := []byte(strings.Repeat("x", 8<<10))
	for d := range 100 {
		dir := filepath.Join(root, "src", fmt.Sprint(d))
		require.NoError(b, os.MkdirAll(dir, 0o755))
		for f := range 20 {
			require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(f, ".ts")), content, 0o644))
		}
	}
	patterns := []string{"**", "!**/node_modules/**", "!**/.venv/**", "!**/__pycache__/**", "!**/.git/**", "!**/dist/**"}
	for b.Loop() {
		s, err := scan(root, "", slices.Repeat([][]string{patterns}, 10))
		require.NoError(b, err)
		files := s.files(patterns)
		require.Len(b, files, 2000)
		d, err := define(stepOf("bench", "true"), "", files, nil, nil)
		require.NoError(b, err)
		_, err = d.key()
		require.NoError(b, err)
	}
}
