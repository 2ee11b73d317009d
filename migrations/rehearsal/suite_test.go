package rehearsal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
)

// suitePatience is the budget that the suite gives a migration. The dangerous ones that keep others waiting do it for several
// times as long on a quiet machine; the harmless ones, for a millisecond or two.
const suitePatience = 40 * time.Millisecond

// A wait of up to suiteFar times the patience may be the machine's doing, and is measured up to suiteTries times.
const (
	suiteFar   = 5
	suiteTries = 4
)

// suiteCase is a migration of the suite, of one file or several.
type suiteCase struct {
	name      string
	about     string
	dangerous bool // says about.txt
	users     int  // of the shop
	files     []suiteFile
	squawk    []string // rules that squawk reports
}

type suiteFile struct{ up, down, verify string }

func (c *suiteCase) text() string {
	var b strings.Builder
	for _, f := range c.files {
		b.WriteString(f.up)
	}
	return b.String()
}

const suiteDir = "testdata/suite"

func suiteCases(t *testing.T) []*suiteCase {
	t.Helper()
	dirs, err := filepath.Glob(suiteDir + "/[0-9]*")
	require.NoError(t, err)
	var list []*suiteCase
	for _, dir := range dirs {
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if os.IsNotExist(err) {
				return ""
			}
			require.NoError(t, err)
			return string(text)
		}
		c := &suiteCase{name: filepath.Base(dir), users: manyUsers, squawk: strings.Fields(read("squawk.txt"))}
		label, about, _ := strings.Cut(strings.TrimSpace(read("about.txt")), ": ")
		if short, small := strings.CutSuffix(label, " in a small shop"); small {
			label, c.users = short, fewUsers
		}
		require.Contains(t, []string{"dangerous", "harmless"}, label, dir)
		c.dangerous, c.about = label == "dangerous", about
		for prefix, n := "", 2; ; prefix, n = fmt.Sprintf("%d.", n), n+1 {
			f := suiteFile{read(prefix + "up.sql"), read(prefix + "down.sql"), read(prefix + "verify.sql")}
			if f.up == "" {
				break
			}
			c.files = append(c.files, f)
		}
		require.NotEmpty(t, c.files, dir)
		list = append(list, c)
	}
	return list
}

// rehearse is what the rehearsal says of it. A wait that is not far beyond the budget is measured again, as the observer does,
// and the verdict with the fewest refusals counts.
func (c *suiteCase) rehearse(t *testing.T, s *shop) *Report {
	t.Helper()
	var best *Report
	for range suiteTries {
		r := c.rehearseOnce(t, s)
		if best == nil || len(r.Reasons) < len(best.Reasons) {
			best = r
		}
		if !narrowly(r) {
			break
		}
	}
	return best
}

// narrowly says whether a migration was refused for waits, among other things, that are not far beyond the budget.
func narrowly(r *Report) bool {
	return slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
		return f.Level == finding.Refuse && (f.Name == "blocked-reads" || f.Name == "blocked-writes")
	}) && !slices.ContainsFunc(r.Migrations, func(m Migration) bool {
		return max(m.BlockedReadsMS, m.BlockedWritesMS) > milliseconds(suiteFar*suitePatience)
	})
}

func (c *suiteCase) rehearseOnce(t *testing.T, s *shop) *Report {
	t.Helper()
	address, drop := s.copy(t)
	defer drop()
	pairs := []string{"1_shop.up.sql", s.script}
	for i, f := range c.files {
		stem := fmt.Sprintf("%d_%s", i+2, strings.TrimLeft(c.name, "0123456789_"))
		for suffix, text := range map[string]string{".up.sql": f.up, ".down.sql": f.down, ".verify.sql": f.verify} {
			if text != "" {
				pairs = append(pairs, stem+suffix, text)
			}
		}
	}
	base := migrations.Options{FS: pgtest.Files(pairs...), Folder: folder.Options{Dir: "m"}}
	first := base
	first.URL = address
	m, err := migrations.New(first)
	require.NoError(t, err)
	pending, err := m.Pending(context.Background())
	require.NoError(t, err)
	require.Len(t, pending, len(c.files))
	r, err := Run(context.Background(), Options{
		URL: address, Migrate: base, Source: m.Source(), Pending: pending, Statements: s.application(), Real: true,
		Budget: Budget{BlockedReads: suitePatience, BlockedWrites: suitePatience},
	})
	require.NotEmpty(t, r.Verdict, "%v", err) // a migration that fails has a verdict and an error
	return r
}

// suiteVariable asks for the migrations of the large shop, too. They take seven minutes of one processor.
const suiteVariable = "PIPELINE_TEST_SUITE"

// TestSuite runs every migration of the suite twice: as somebody would who just runs it, with the shop's application at work,
// which tells whether it is dangerous; and through the rehearsal, which must have refused it then, and not otherwise.
func TestSuite(t *testing.T) {
	cases := suiteCases(t)
	sizes := []int{fewUsers}
	if os.Getenv(suiteVariable) != "" {
		sizes = append(sizes, manyUsers)
	}
	shops, observers := map[int]*shop{}, map[int]*observer{}
	for _, s := range openShops(t, sizes...) {
		shops[s.users], observers[s.users] = s, newObserver(t, s, suitePatience)
	}
	var mu sync.Mutex
	rows := map[string]suiteRow{}
	passed := t.Run("migrations", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if shops[c.users] == nil {
					t.Skipf("it is run with %s=1", suiteVariable)
				}
				t.Parallel()
				is := observers[c.users].observe(t, c)
				r := c.rehearse(t, shops[c.users])
				for _, m := range r.Migrations {
					t.Logf("%s: readers waited %v ms, writers %v ms, noise %v ms", m.Name, m.BlockedReadsMS, m.BlockedWritesMS, m.NoiseMS)
				}
				assert.Equal(t, c.dangerous, is.dangerous, "about.txt says otherwise than: %s", is.reason)
				assert.Equal(t, c.dangerous, r.Verdict != Proven, "the rehearsal: %s", strings.Join(r.Reasons, "\n"))
				mu.Lock()
				defer mu.Unlock()
				rows[c.name] = newSuiteRow(c, is, r)
			})
		}
	})
	if !passed {
		return
	}
	var list []suiteRow
	for _, c := range cases {
		if row, ran := rows[c.name]; ran {
			list = append(list, row)
		}
	}
	checkSuitePage(t, list, len(list) == len(cases))
}
