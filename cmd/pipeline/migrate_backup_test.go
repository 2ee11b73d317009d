package main

import (
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// backup makes a backup and returns its file.
func (s *shop) backup() string {
	s.t.Helper()
	var made struct {
		File   string
		Proven bool
	}
	got := s.decode(&made, "backup")
	require.Equal(s.t, 0, got.code, got.out)
	require.True(s.t, made.Proven)
	return made.File
}

// sold is a shop with a row.
func sold(t *testing.T, files map[string]string) *shop {
	t.Helper()
	s := newShop(t, files)
	pgtest.Exec(t, s.url, "CREATE TABLE items (id bigint PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'lamp')")
	return s
}

func TestBackupIsListedVerifiedAndRefusedWhenItIsDamaged(t *testing.T) {
	s := sold(t, two)
	assert.Contains(t, s.must("backup", "--list").stdout, "no backup is in backups")
	file := s.backup()
	assert.Regexp(t, `(?m)^20\S+ \S+  proven  \S+ k?B  no version  -  backups/backup-\S+\.dump$`, s.must("backup", "--list").stdout)
	var listed struct {
		Backups []struct{ File, State string }
	}
	require.Equal(t, 0, s.decode(&listed, "backup", "--list").code)
	require.Len(t, listed.Backups, 1)
	assert.Equal(t, file, listed.Backups[0].File)
	verified := s.must("backup", "--verify", file).stdout
	assert.Regexp(t, `(?m)^  rows       ok  \S+ +1 \S+, 1 \S+, equal$`, verified)

	path := filepath.Join(s.dir, file)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 1
	for name, damaged := range map[string][]byte{"one bit is another": flipped, "the end is missing": whole[:len(whole)/2], "empty": nil} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			got := s.run("backup", "--verify", file)
			assert.Equal(t, 1, got.code, got.out)
			assert.Contains(t, got.out, "NOT proven")
			assert.Regexp(t, `  file +FAILED`, got.out)
			restored := s.run("restore", file, "--yes")
			assert.Equal(t, 1, restored.code, restored.out)
			assert.Equal(t, "lamp", s.value("SELECT name FROM items"), "nothing takes the place of a database but what is proven")
		})
	}
	missing := s.run("backup", "--verify", "backups/backup-20260101T000000Z-aaaaaaaa.dump")
	assert.Equal(t, 2, missing.code, missing.out)
	assert.Contains(t, missing.out, "there is no backup backups/backup-20260101T000000Z-aaaaaaaa.dump: pipeline migrate backup --list names")
}

func TestBackupThatIsEncryptedNeedsItsKey(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	config := tiny()["pipeline.yaml"] + "database: {migrations: migrations, backup: {dir: backups, recipients: [" + key.Recipient().String() + "]}}\n"
	s := sold(t, map[string]string{"migrations/001_items.up.sql": two["migrations/001_items.up.sql"], "pipeline.yaml": config})
	s.env = append(s.env, "KEY="+key.String(), "OTHER="+other.String())
	file := s.backup()
	for name, flags := range map[string][]string{"none": nil, "another": {"--identity", "env://OTHER"}} {
		t.Run(name, func(t *testing.T) {
			for _, command := range [][]string{{"backup", "--verify", file}, {"restore", file, "--yes"}} {
				got := s.run(append(command, flags...)...)
				assert.Equal(t, 2, got.code, got.out)
				assert.Contains(t, got.out, "encrypted to "+key.Recipient().String())
				assert.Contains(t, got.out, "--identity")
				assert.NotContains(t, got.out, other.String())
			}
		})
	}
	s.must("backup", "--verify", file, "--identity", "env://KEY")
}

func TestRestoreSaysWhatIsLostAndExchangesTheDatabasesOnlyWhenToldTo(t *testing.T) {
	s := sold(t, two)
	file := s.backup()
	pgtest.Exec(t, s.url, "INSERT INTO items VALUES (2, 'chair'), (3, 'table')")
	unconfirmed := s.run("restore", file)
	assert.Equal(t, 1, unconfirmed.code, unconfirmed.out)
	assert.Contains(t, unconfirmed.stdout, "table public.items has 3 rows, and 1 in the backup")
	assert.Contains(t, unconfirmed.out, "nothing was changed; run again with --yes")
	assert.Equal(t, "3", s.value("SELECT count(*) FROM items"))

	in := pgtest.Session(t, s.url)
	used := s.run("restore", file, "--yes")
	assert.Equal(t, 1, used.code, used.out)
	assert.Contains(t, used.out, "in use")
	assert.Contains(t, used.out, "--terminate")
	require.NoError(t, in.Ping(t.Context()), "the session goes on")

	copied := pg.Name("copy of " + s.value("SELECT current_database()"))
	s.must("restore", file, "--into", copied)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE "+pg.Name(copied)) })
	assert.Equal(t, "3", s.value("SELECT count(*) FROM items"))

	var restored struct {
		Database, Replaced string
		Done               bool
	}
	got := s.decode(&restored, "restore", file, "--yes", "--terminate")
	require.Equal(t, 0, got.code, got.out)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE "+pg.Name(restored.Replaced)) })
	assert.True(t, restored.Done)
	assert.Equal(t, "1", s.value("SELECT count(*) FROM items"))
	before, err := pg.OnDatabase(s.url, restored.Replaced)
	require.NoError(t, err)
	assert.Equal(t, "3", pgtest.Value(t, before, "SELECT count(*) FROM items"), "what was there is kept")
	require.Error(t, in.Ping(t.Context()))
}
