package rehearsal

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// users is a table of a size that shows what waits.
const users = `CREATE TABLE users (id bigint PRIMARY KEY, email varchar(80) NOT NULL, visits int, legacy text, at timestamptz DEFAULT now());
	INSERT INTO users SELECT g, 'u' || g || '@example.org', g % 100, 'old', now() FROM generate_series(1, 200000) g;
	CREATE INDEX users_email_idx ON users (email);
	CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint);
	INSERT INTO orders SELECT g, g FROM generate_series(1, 1000) g`

// application is what the running release sends.
var application = []corpus.Statement{
	{SQL: "SELECT id, email, visits FROM users WHERE email = $1", Calls: 100},
	{SQL: "INSERT INTO users (id, email, visits) VALUES ($1, $2, $3)", Calls: 10},
	{SQL: "UPDATE users SET visits = $1 WHERE id = $2", Calls: 10},
}

// rehearse migrates a database with users to version 1 and rehearses what comes then.
func rehearse(t *testing.T, change func(*Options), pairs ...string) (*Report, error) {
	t.Helper()
	address := pgtest.Database(t)
	files := pgtest.Files(append([]string{"1_users.up.sql", users}, pairs...)...)
	base := migrations.Options{FS: files, Folder: folder.Options{Dir: "m"}}
	first := base
	first.URL = address
	m, err := migrations.New(first)
	require.NoError(t, err)
	_, err = m.UpTo(context.Background(), 1)
	require.NoError(t, err)
	pending, err := m.Pending(context.Background())
	require.NoError(t, err)
	o := Options{
		URL: address, Migrate: base, Source: m.Source(), Pending: pending, Statements: application, Real: true, Scratch: true,
		Budget: Budget{BlockedReads: 30 * time.Millisecond, BlockedWrites: 30 * time.Millisecond, Duration: time.Minute},
	}
	if change != nil {
		change(&o)
	}
	if os.Getenv("SHOW") != "" {
		start := time.Now()
		o.Step = func(what string) { t.Log(time.Since(start).Round(time.Millisecond), what) }
	}
	return Run(context.Background(), o)
}

func named(findings []finding.Finding, level finding.Level) []string {
	list := []string{}
	for _, f := range findings {
		if f.Level == level {
			list = append(list, f.Name)
		}
	}
	return list
}

func reveal(t *testing.T, r *Report) {
	if os.Getenv("SHOW") != "" {
		text, _ := json.MarshalIndent(r, "", " ")
		t.Log(string(text))
	}
}

func TestHarmlessMigrationIsProven(t *testing.T) {
	r, err := rehearse(t, nil, "2_kind.up.sql", "ALTER TABLE users ADD COLUMN kind text;\nCREATE TABLE kinds (name text PRIMARY KEY);")
	require.NoError(t, err)
	reveal(t, r)
	assert.Equal(t, Proven, r.Verdict, r.Reasons)
	assert.Equal(t, Back, r.RoundTrip.Verdict)
}
