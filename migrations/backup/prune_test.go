package backup

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// keep writes a backup of some hours before noon.
func keep(t testing.TB, dir string, hours int, b Backup, state State) string {
	b.Started = noon.Add(-time.Duration(hours) * time.Hour)
	b.ID = newID(b.Started)
	file := filepath.Join(dir, "backup-"+b.ID+".dump")
	if state != Missing {
		require.NoError(t, os.WriteFile(file, []byte("12345"), 0o600))
	}
	if state == Anonymous {
		return file
	}
	b.Bytes, b.Proven = 5, state == Proven || state == Missing || state == Damaged
	if state == Damaged {
		b.Bytes = 6
	}
	m := manifest{Backup: b}
	require.NoError(t, m.write(file))
	return file
}

func TestListSaysWhatCanBeSaidOfEach(t *testing.T) {
	dir := t.TempDir()
	for i, state := range []State{Proven, Unproven, Anonymous, Missing, Damaged} {
		keep(t, dir, i, Backup{Database: "app"}, state)
	}
	newer := keep(t, dir, 9, Backup{}, Proven)
	require.NoError(t, os.WriteFile(newer+".json", []byte(`{"format": 2}`), 0o600))
	broken := keep(t, dir, 10, Backup{}, Proven)
	require.NoError(t, os.WriteFile(broken+".json", []byte(`{"format`), 0o600))
	for _, name := range []string{"notes.txt", "backup-of-mine.dump", "backup-20261125T110000Z-abcdefgh.dump.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	list, err := List(dir)
	require.NoError(t, err)
	var found []string
	for _, s := range list {
		found = append(found, fmt.Sprintf("%s %s: %s", s.Started.Format("15"), s.State, s.Problem))
	}
	assert.Equal(t, []string{
		"12 proven: ", "11 not proven: the run that made it ended before it was proven",
		"10 no manifest: it has no manifest: the run that made it was killed, or somebody removed it",
		"09 no file: the file is not there", "08 damaged: it has 5 bytes, and 6 were written",
		"03 no manifest: read manifest " + newer + ".json: its format is 2, and this pipeline reads 1: use the one that wrote it, or a newer one",
		"02 no manifest: read manifest " + broken + ".json: unexpected end of JSON input",
	}, found)
	info, err := os.Stat(list[0].File + ".json")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = List(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestPruneKeepsWhatThePolicySays(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		name    string
		policy  Policy
		states  []State // of backups 1, 2, 3 … days old
		removed []int   // days
	}{
		{"the newest of a number", Policy{Keep: 2}, []State{Proven, Proven, Proven, Proven}, []int{3, 4}},
		{"what is young", Policy{MaxAge: 3 * day}, []State{Proven, Proven, Proven, Proven}, []int{4}},
		{"what is either", Policy{Keep: 3, MaxAge: day}, []State{Proven, Proven, Proven, Proven}, []int{4}},
		{"the newest proven one, however old", Policy{MaxAge: time.Hour}, []State{Unproven, Unproven, Proven, Proven}, []int{4}},
		{"all, where none is proven", Policy{MaxAge: time.Hour}, []State{Unproven, Unproven}, nil},
		{"as many proven ones as it says, without counting others", Policy{Keep: 2}, []State{Proven, Unproven, Damaged, Missing, Proven, Unproven, Proven}, []int{6, 7}},
		{"what nobody knows", Policy{Keep: 1}, []State{Proven, Anonymous, Proven}, []int{3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, state := range test.states {
				keep(t, dir, 24*(i+1), Backup{Database: "app"}, state)
			}
			test.policy.Now = noon
			removed, err := Prune(dir, test.policy)
			require.NoError(t, err)
			var days []int
			for _, s := range removed {
				days = append(days, int(noon.Sub(s.Started)/day))
				assert.NoFileExists(t, s.File)
				assert.NoFileExists(t, s.File+".json")
			}
			assert.Equal(t, test.removed, days)
			list, err := List(dir)
			require.NoError(t, err)
			assert.Len(t, list, len(test.states)-len(days))
		})
	}
}

func TestPruneIsAboutEachDatabaseByItself(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, 1, Backup{Database: "busy"}, Proven)
	old := keep(t, dir, 2, Backup{Database: "busy"}, Proven)
	keep(t, dir, 900, Backup{Database: "quiet"}, Proven)
	keep(t, dir, 901, Backup{Database: "busy", System: "another server"}, Proven)
	removed, err := Prune(dir, Policy{Keep: 1, Now: noon})
	require.NoError(t, err)
	require.Len(t, removed, 1)
	assert.Equal(t, old, removed[0].File)
}

func TestPruneWithoutAPolicyIsRefused(t *testing.T) {
	for _, p := range []Policy{{}, {Now: noon}, {Keep: 1}, {Keep: -1, Now: noon}} {
		_, err := Prune(t.TempDir(), p)
		assert.Error(t, err)
	}
}

func TestPruneLetsBackupsAloneThatAreRead(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, 1, Backup{}, Proven)
	old := keep(t, dir, 2, Backup{}, Proven)
	reading, err := lockFile(old, os.O_RDONLY, syscall.LOCK_SH)
	require.NoError(t, err)
	removed, err := Prune(dir, Policy{Keep: 1, Now: noon})
	require.NoError(t, err)
	assert.Empty(t, removed)
	require.NoError(t, reading.Close())
	removed, err = Prune(dir, Policy{Keep: 1, Now: noon})
	require.NoError(t, err)
	assert.Len(t, removed, 1)
}

// The laws of retention, whatever there is: the newest proven backup of a database stays, and so does everything newer than
// it; nothing young goes; and pruning twice is pruning once.
func TestPruneKeepsItsLaws(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var list []Stored
		for range random.IntN(12) {
			list = append(list, Stored{
				Backup: Backup{ID: strconv.Itoa(len(list)), Database: string(rune('a' + random.IntN(2))), Started: noon.Add(-time.Duration(random.IntN(100)-5) * time.Hour)},
				State:  []State{Proven, Unproven, Anonymous, Missing, Damaged}[random.IntN(5)],
			})
		}
		slices.SortStableFunc(list, func(a, b Stored) int { return b.Started.Compare(a.Started) })
		p := Policy{Keep: random.IntN(4), MaxAge: time.Duration(random.IntN(50)) * time.Hour, Now: noon}
		out := p.removable(list)
		var rest []Stored
		for _, s := range list {
			if !slices.ContainsFunc(out, func(o Stored) bool { return o.ID == s.ID }) {
				rest = append(rest, s)
			}
		}
		assert.Empty(t, p.removable(rest), "twice is once")
		for _, database := range []string{"a", "b"} {
			newest := slices.IndexFunc(list, func(s Stored) bool { return s.State == Proven && s.Database == database })
			for _, o := range out {
				require.NotEqual(t, Anonymous, o.State)
				if o.Database == database {
					require.GreaterOrEqual(t, newest, 0, "nothing goes where nothing is proven")
					require.True(t, o.Started.Before(list[newest].Started) || o.Started.Equal(list[newest].Started))
					require.False(t, o.ID == list[newest].ID)
				}
				require.True(t, p.MaxAge == 0 || noon.Sub(o.Started) > p.MaxAge)
			}
		}
	}
}
