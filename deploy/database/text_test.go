package database_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func TestResultsAreShownForPeople(t *testing.T) {
	at := time.Date(2026, 11, 25, 18, 4, 5, 0, time.UTC)
	failed := backup.Backup{
		ID: "20261125T180405Z-aaaaaaaa", Bytes: 1536, Tables: []checksum.Table{{}}, Duration: 1234 * time.Millisecond, Notes: []string{"the copy's server is newer"},
		Proof: []backup.Rung{
			{Name: "restore", OK: true, Duration: 20 * time.Millisecond, Detail: "read all of it"},
			{Name: "rows", Duration: time.Millisecond, Detail: "public.items has 2 rows, and had 3"},
			{Name: "amcheck", Skipped: true, Detail: "the extension is not there"},
		},
	}
	stored := backup.Stored{Backup: backup.Backup{Started: at, Bytes: 5 << 30, SchemaVersion: -1, File: "b/one.dump"}, State: backup.Damaged, Problem: "it has 4 bytes"}
	first := history.Entry{Run: "r1", Version: 1, Name: "items", Direction: history.Up, Status: history.Applied, Statements: 1, Done: 1, StartedAt: at, DurationMS: 12,
		WALBytes: 2048, Actor: "somebody", Release: "v1", BackupID: "b1", RehearsalID: "b1"}
	second := first
	second.Version, second.Name, second.Statements, second.Done, second.Attempts, second.Status = 2, "price", 3, 1, 2, history.Failed
	second.Locks = []evidence.Lock{{Relation: "items", Mode: "ShareLock"}, {Relation: "items", Mode: "AccessExclusiveLock"}}
	second.Error = "m/2_price.up.sql:2:1: no room"
	other := history.Entry{Run: "r2", Version: 1, Name: "items", Direction: history.Down, Status: history.Applied, Statements: 1, Done: 1, StartedAt: at.Add(time.Hour)}

	tests := map[string]struct {
		write func(*strings.Builder)
		want  string
	}{
		"a plan of a folder whose file was edited": {func(b *strings.Builder) {
			database.WritePlan(b, &database.Plan{Version: 1, Others: []migrations.Item{{Version: 1, Name: "items", State: migrations.StateEdited, Message: "undo it"}}})
		}, "the database is at version 1\nnothing is pending\n\n1  items  edited: undo it\n"},
		"a backup that is not proven": {func(b *strings.Builder) { database.WriteBackup(b, failed) },
			"backup 20261125T180405Z-aaaaaaaa: 1.5 kB, 1 table, NOT proven in 1.23s\n" +
				"  restore  ok         20ms  read all of it\n  rows     FAILED     1ms   public.items has 2 rows, and had 3\n" +
				"  amcheck  not tried  0s    the extension is not there\n  note: the copy's server is newer\n"},
		"a list of backups": {func(b *strings.Builder) { database.WriteBackups(b, "b", []backup.Stored{stored}) },
			"2026-11-25 18:04  damaged  5 GB  no version  -  b/one.dump  it has 4 bytes\n"},
		"no backups": {func(b *strings.Builder) { database.WriteBackups(b, "b", nil) }, "no backup is in b\n"},
		"a history, run by run": {func(b *strings.Builder) { database.WriteHistory(b, []history.Entry{first, second, other}) },
			"2026-11-25 18:04:05 UTC, by somebody, release v1, backup b1, rehearsed\n" +
				"  1  items  up  applied  1 statement        12ms  2 kB WAL\n" +
				"  2  price  up  failed   1 of 3 statements  12ms  2 kB WAL  AccessExclusive  2 attempts\n" +
				"  2 failed: m/2_price.up.sql:2:1: no room\n" +
				"\n2026-11-25 19:04:05 UTC\n  1  items  down  applied  1 statement  0s  0 B WAL\n"},
		"no history": {func(b *strings.Builder) { database.WriteHistory(b, nil) }, "nothing is recorded\n"},
		"a run that was refused": {func(b *strings.Builder) {
			database.WriteMigrated(b, database.Migrated{Rehearsal: &rehearsal.Report{Verdict: rehearsal.Refused, Elapsed: 2 * time.Second, Findings: []finding.Finding{
				{Name: "one", Level: finding.Refuse, Message: "it waits", Fix: "wait less\n\nor not"}, {Name: "two", Level: finding.Note, Message: "by the way"},
				{Name: "three", Level: finding.Warn, Message: "look", Allowed: "we have"}}}})
		}, "rehearsal: refused in 2s\n\nrefuse: it waits (one)\n    wait less\n    or not\n\nwarn: look (three)\n    allowed: we have\n"},
		"a run": {func(b *strings.Builder) {
			database.WriteMigrated(b, database.Migrated{Outcome: migrations.Outcome{Run: "r", From: -1, To: 2, Applied: []migrations.Applied{
				{Version: 1, Name: "items", Direction: history.Up, Statements: 1, Attempts: 1, Duration: 5 * time.Millisecond},
				{Version: 2, Name: "price", Direction: history.Up, Statements: 12, Attempts: 3, Duration: time.Second}}}})
		}, "1  items  applied  1 statement    5ms\n2  price  applied  12 statements  1s   3 attempts\nthe database is at version 2, was at no version\n"},
		"a backfill": {func(b *strings.Builder) {
			database.WriteBackfill(b, backfill.Progress{Version: 3, Name: "prices", State: backfill.Paused, Fraction: 0.421, Done: 42, Batches: 5})
		}, "3  prices: backfill paused, 42 %, 42 rows changed in 5 batches\n"},
		"what a restore would lose": {func(b *strings.Builder) {
			database.WriteRestored(b, backup.Restored{Loss: &backup.Loss{Since: at, Tables: []backup.TableLoss{{Table: "public.items", Now: 3, Then: 1}}}})
		}, "the backup is of 2026-11-25 18:04:05 UTC\ntable public.items has 3 rows, and 1 in the backup\n"},
		"a restore": {func(b *strings.Builder) {
			database.WriteRestored(b, backup.Restored{Done: true, Database: "shop", Replaced: "shop_before"})
		}, "restored: the backup is database shop\nwhat was there before is database shop_before\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			test.write(&b)
			assert.Equal(t, test.want, b.String())
		})
	}
}
