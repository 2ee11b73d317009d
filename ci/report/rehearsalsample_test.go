package report

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/compat"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
	"github.com/metaextract/pipeline/migrations/statement"
)

// provenBackup is a backup with its proof. Its rungs are what the backup of a database of this size takes.
func provenBackup() *backup.Backup {
	b := passedSample().Database.Backup
	rung := func(name string, took time.Duration, detail string) {
		b.Proof = append(b.Proof, backup.Rung{Name: name, OK: true, Duration: took, Detail: detail})
	}
	rung(backup.RungTool, 31*time.Millisecond, "PostgreSQL 15.18, the server 15.18")
	rung(backup.RungServer, 402*time.Millisecond, "a scratch server, PostgreSQL 15.18")
	rung(backup.RungDump, 211*time.Millisecond, "1284113 bytes, 3 tables counted")
	rung(backup.RungFile, 6*time.Millisecond, "1284113 bytes, SHA-256 as written")
	rung(backup.RungRestore, 388*time.Millisecond, "read and restored all of it, stopping at no error; without owners and privileges, whose roles are not there")
	rung(backup.RungSchema, 74*time.Millisecond, "equal")
	rung(backup.RungRows, 96*time.Millisecond, "3 tables, 23943 rows, equal")
	rung(backup.RungSequences, 4*time.Millisecond, "equal")
	b.Proof = append(b.Proof, backup.Rung{Name: backup.RungAmcheck, Skipped: true, Detail: "the extension amcheck is not installed there"})
	return b
}

// predicted is what is expected of the original, of the copy's size times scale.
func predicted(scale, took, reads, writes float64, wal, disk int64) rehearsal.Prediction {
	return rehearsal.Prediction{
		Scale: scale, LowMS: took * scale, HighMS: 3 * took * scale,
		BlockedReadsMS: [2]float64{reads * scale, 3 * reads * scale}, BlockedWritesMS: [2]float64{writes * scale, 3 * writes * scale},
		WALBytes: int64(float64(wal) * scale), DiskBytes: int64(float64(disk) * scale),
	}
}

// provenRehearsal is of a migration that adds, and is taken back by statements that were made up.
func provenRehearsal() *rehearsal.Report {
	const file = "migrations/0002_add_kind.sql"
	return &rehearsal.Report{
		Verdict: rehearsal.Proven, Reasons: []string{}, From: 1, To: 2, Elapsed: 9054 * time.Millisecond,
		Copy:   rehearsal.Copy{Server: "15.18 (Debian 15.18-0+deb12u1)", Bytes: 35_971_587, Real: true, Statements: 3},
		Budget: rehearsal.Budget{BlockedReads: 200 * time.Millisecond, BlockedWrites: 200 * time.Millisecond, Duration: time.Minute},
		Migrations: []rehearsal.Migration{{
			Version: 2, Name: "add_kind", File: file, DurationMS: 16.465, BlockedReadsMS: 14.456, ReadersOf: "public.extractions",
			BlockedWritesMS: 14.287, WritersOf: "public.extractions", WALBytes: 12_541, DiskBytes: 16_384, Probed: []string{"public.extractions"},
			NoiseMS: 1.4, Predicted: predicted(1, 16.041, 14.456, 14.287, 12_541, 16_384),
		}},
		Statements: []rehearsal.Statement{
			{
				Version: 2, Migration: "add_kind", File: file, Line: 1, Number: 1, SQL: "ALTER TABLE extractions ADD COLUMN kind text",
				Class: statement.Expand, Why: "adds column extractions.kind", Lock: "AccessExclusiveLock",
				Locks: []evidence.Lock{{Relation: "public.extractions", Mode: "AccessExclusiveLock"}}, WALBytes: 437, DurationMS: 2.927,
				Predicted: predicted(1, 2.927, 0, 0, 437, 0), Verdict: rehearsal.Pass, Reason: "nobody waited; takes AccessExclusiveLock",
			},
			{
				Version: 2, Migration: "add_kind", File: file, Line: 2, Number: 2, SQL: "CREATE TABLE kinds (\n  name text PRIMARY KEY,\n  title text NOT NULL\n)",
				Class: statement.Expand, Why: "creates table kinds", WALBytes: 12_104, DiskBytes: 16_384, DurationMS: 13.114, BlockedReadsMS: 13.293,
				BlockedWritesMS: 13.293, Predicted: predicted(1, 13.114, 13.293, 13.293, 12_104, 16_384), Verdict: rehearsal.Pass,
				Reason: "readers waited 13ms, writers 13ms, within the budget",
			},
		},
		Findings: []finding.Finding{{
			Name: "way-back-proposed", Level: finding.Note, Basis: finding.Measured, Version: 2, File: file,
			Message: "the migration has no down file; this way back was made of its statements, tried on the copy, and leads back",
			Fix:     "migrations/0002_add_kind.down.sql:\nDROP TABLE kinds;\nALTER TABLE extractions DROP COLUMN kind;",
		}},
		Backup: provenBackup(),
		RoundTrip: rehearsal.RoundTrip{
			Verdict: rehearsal.Back, Down: []rehearsal.Way{{Version: 2, Name: "add_kind", By: "proposed"}}, DurationMS: 218.6,
			Proposed: map[string]string{"migrations/0002_add_kind.down.sql": "DROP TABLE kinds;\nALTER TABLE extractions DROP COLUMN kind;"},
		},
		Data:   []checksum.Change{},
		Compat: &compat.Report{Statements: 3},
		Plans: &plans.Report{
			Statements: 3, Measured: 2,
			NotMeasured: []plans.NotCheckable{{SQL: "INSERT INTO extractions (id, file, state) VALUES ($1, $2, $3)", Reason: "an INSERT is not executed"}},
		},
		Drift: &rehearsal.Drift{Known: true},
	}
}

// refusedRehearsal is of two migrations: one that builds an index in place, and one that takes away what the running release
// uses, on a copy an eightieth of the original.
func refusedRehearsal() *rehearsal.Report {
	const (
		kind     = "migrations/0002_add_kind.sql"
		accounts = "migrations/0003_accounts.sql"
		insert   = "INSERT INTO accounts (id, email, visits, legacy) VALUES ($1, $2, $3, $4)"
		lookup   = "SELECT id, email, visits FROM accounts WHERE email = $1"
		lost     = "a query used index public.accounts_email_idx, which is gone: cost 8 before, 4564 after (540.8 times); pages 4 before, 2063 after: " + lookup
		gone     = "the running release uses column public.accounts.legacy, which is gone (SQLSTATE 42703): " + insert
	)
	plan := finding.Finding{
		Name: "plan-index-lost", Level: finding.Refuse, Basis: finding.Measured, Object: "index public.accounts_email_idx", Message: lost,
		Fix: "keep the index, or make one that serves the query first; it was: CREATE INDEX accounts_email_idx ON public.accounts USING btree (email)",
	}
	breaks := finding.Finding{
		Name: "breaks-running-release", Level: finding.Refuse, Basis: finding.Measured, Version: 3, File: accounts, Line: 2, Statement: 2,
		Object: "column public.accounts.legacy", Message: gone,
		Fix: "keep it in this release: first release code that does without it, then remove it with the release after; instead of renaming, add the new one beside it, write both, and remove the old one later",
	}
	recycle := finding.Finding{
		Name: "recycle-connections", Level: finding.Warn, Basis: finding.Measured,
		Message: "the columns that are answered change, so statements prepared on open connections fail with 0A000 (cached plan must not change result type), and code that reads columns by their place gets others: " + lookup,
		Fix:     "close the running release's connections after the migration, or name the columns instead of *",
	}
	r := &rehearsal.Report{
		Verdict: rehearsal.Refused, From: 1, To: 3, Elapsed: 7359 * time.Millisecond,
		Copy:   rehearsal.Copy{Server: "15.18 (Debian 15.18-0+deb12u1)", Bytes: 35_971_587, Statements: 4},
		Budget: rehearsal.Budget{BlockedReads: 200 * time.Millisecond, BlockedWrites: 200 * time.Millisecond, Duration: time.Minute, WAL: 5_000_000_000},
		Migrations: []rehearsal.Migration{
			{
				Version: 2, Name: "add_kind", File: kind, DurationMS: 236.4, BlockedReadsMS: 6.1, ReadersOf: "public.extractions", BlockedWritesMS: 178.8,
				WritersOf: "public.extractions", WALBytes: 6_401_233, DiskBytes: 6_299_648, Probed: []string{"public.extractions"}, NoiseMS: 1.9,
				Predicted: predicted(1, 236.4, 6.1, 178.8, 6_401_233, 6_299_648),
			},
			{
				Version: 3, Name: "accounts", File: accounts, DurationMS: 469.3, BlockedReadsMS: 458.1, ReadersOf: "public.accounts", BlockedWritesMS: 457.8,
				WritersOf: "public.accounts", WALBytes: 33_672_451, DiskBytes: 29_573_120, Probed: []string{"public.accounts"}, NotProbed: 3, NoiseMS: 2.4,
				Predicted: predicted(80, 456.4, 458.1, 457.8, 33_672_451, 29_573_120),
			},
		},
		Statements: []rehearsal.Statement{
			{
				Version: 2, Migration: "add_kind", File: kind, Line: 3, Number: 1, SQL: "ALTER TABLE extractions ADD COLUMN kind text", Class: statement.Expand,
				Why: "adds column extractions.kind", Lock: "AccessExclusiveLock", WALBytes: 437, DurationMS: 2.9,
				Locks: []evidence.Lock{{Relation: "public.extractions", Mode: "AccessExclusiveLock"}}, Predicted: predicted(1, 2.9, 0, 0, 437, 0),
				Verdict: rehearsal.Pass, Reason: "nobody waited; takes AccessExclusiveLock",
			},
			{
				Version: 2, Migration: "add_kind", File: kind, Line: 4, Number: 2, SQL: "CREATE INDEX extractions_kind_state_created_at_idx ON extractions (kind, state, created_at DESC) WHERE state <> 'done'",
				Class: statement.Expand, Why: "creates index extractions_kind_state_created_at_idx", Lock: "ShareLock",
				Locks: []evidence.Lock{{Relation: "public.extractions", Mode: "ShareLock"}}, Scan: true, Scans: []rehearsal.Scan{{Table: "public.extractions", Rows: 300_000}},
				WALBytes: 6_400_796, DiskBytes: 6_299_648, DurationMS: 174.2, BlockedReadsMS: 5.4, BlockedWritesMS: 172.3,
				Predicted: predicted(1, 174.2, 5.4, 172.3, 6_400_796, 6_299_648), Verdict: rehearsal.Warn,
				Reason: "the index is built while nobody can write to extractions",
			},
			{
				Version: 3, Migration: "accounts", File: accounts, Line: 1, Number: 1, SQL: "ALTER TABLE accounts ALTER visits TYPE bigint", Class: statement.Contract,
				Why: "changes the type of column accounts.visits to bigint", Lock: "AccessExclusiveLock",
				Locks: []evidence.Lock{{Relation: "public.accounts", Mode: "AccessExclusiveLock"}}, Rewrite: true, Rewrites: []string{"public.accounts"}, Scan: true,
				Scans: []rehearsal.Scan{{Table: "public.accounts", Rows: 200_000}}, WALBytes: 33_645_141, DiskBytes: 29_573_120, DurationMS: 446.3,
				BlockedReadsMS: 445.2, BlockedWritesMS: 445.1, Predicted: predicted(80, 446.3, 445.2, 445.1, 33_645_141, 29_573_120),
				Verdict: rehearsal.Refuse, Reason: "the migration keeps readers of public.accounts waiting for 37s to 1m47s, and 200ms is the budget",
			},
			{
				Version: 3, Migration: "accounts", File: accounts, Line: 2, Number: 2, SQL: "ALTER TABLE accounts DROP COLUMN legacy", Class: statement.Contract,
				Why: "drops column accounts.legacy", WALBytes: 390, DurationMS: 1.7, Predicted: predicted(1, 1.7, 0, 0, 390, 0), Verdict: rehearsal.Refuse, Reason: gone,
			},
			{
				Version: 3, Migration: "accounts", File: accounts, Line: 3, Number: 3, SQL: "DROP INDEX accounts_email_idx", Class: statement.Neutral, WALBytes: 216,
				DurationMS: 1.2, Predicted: predicted(1, 1.2, 0, 0, 216, 0), Verdict: rehearsal.Pass, Reason: "nobody waited; runs while locks of statements before it are held",
			},
			{
				Version: 3, Migration: "accounts", File: accounts, Line: 4, Number: 4, SQL: "UPDATE accounts SET email = lower(email) WHERE email <> lower(email)",
				Class: statement.Backfill, Why: "updates accounts", WALBytes: 26_704, DiskBytes: 40_960, DurationMS: 7.3, BlockedReadsMS: 10, BlockedWritesMS: 9.7,
				Predicted: predicted(1, 7.3, 10, 9.7, 26_704, 40_960), Verdict: rehearsal.Pass,
				Reason: "readers waited 10ms, writers 10ms, within the budget; runs while locks of statements before it are held",
			},
		},
		Findings: []finding.Finding{
			plan,
			{
				Name: "undeclared-data-change", Level: finding.Refuse, Basis: finding.Measured, Version: 3, File: accounts, Object: "column public.accounts.email",
				Message: "values of column public.accounts.email changed (200000 before, 200000 now), and no migration says that it is meant to be",
				Fix:     "if it is meant, add to the migration: -- deploy: changes accounts.email",
			},
			{
				Name: "way-back-leads-elsewhere", Level: finding.Refuse, Basis: finding.Measured,
				Message: "the schema after the way back is not the one from before: index public.accounts_email_idx removed: definition CREATE INDEX accounts_email_idx ON public.accounts USING btree (email)",
				Fix:     "correct the down files, or declare in the migration: -- deploy: irreversible REASON",
			},
			{
				Name: "way-back-loses-data", Level: finding.Refuse, Basis: finding.Measured, Version: 3, File: accounts, Object: "column public.accounts.legacy",
				Message: "after the way back, values of column public.accounts.legacy changed (200000 before, 0 now): it cannot be brought back but from a backup",
				Fix:     "declare in the migration: -- deploy: irreversible REASON",
			},
			{
				Name: "blocked-reads", Level: finding.Refuse, Basis: finding.Measured, Version: 3, File: accounts, Line: 1, Statement: 1,
				Message: "the migration keeps readers of public.accounts waiting for 37s to 1m47s, and 200ms is the budget; most of it in statement 1 (takes AccessExclusiveLock, rewrites public.accounts, reads all of public.accounts)",
				Fix:     "-- in this release: a new column, written beside the old one\nALTER TABLE public.accounts ADD COLUMN visits_new bigint;\n-- deploy: backfill accounts by id batch 5000\nUPDATE public.accounts SET visits_new = visits WHERE visits_new IS NULL AND id BETWEEN $1 AND $2 AND visits IS DISTINCT FROM visits_new;",
			},
			breaks,
			{
				Name: "index-not-concurrently", Level: finding.Warn, Basis: finding.Static, Version: 2, File: kind, Line: 4, Statement: 2, Object: "index extractions_kind_state_created_at_idx",
				Message: "the index is built while nobody can write to extractions: 172 ms on the copy",
				Fix:     "-- deploy: no-transaction\nCREATE INDEX CONCURRENTLY extractions_kind_state_created_at_idx ON extractions (kind, state, created_at DESC) WHERE state <> 'done';",
			},
			recycle,
			{
				Name: "drift", Level: finding.Warn, Basis: finding.Measured,
				Message: "the schema is not the one that the last migration left: column public.byhand.x added: nulls allowed, type integer; table public.byhand added",
				Fix:     "write a migration that makes the same change, so that every environment has it",
			},
			{
				Name: "contract-too-early", Level: finding.Note, Basis: finding.Static, Version: 3, File: accounts, Line: 1, Statement: 1,
				Message: "the statement changes the type of column accounts.visits to bigint, and the running release works with that in 120 calls",
				Allowed: "1.4 reads visits as a string already",
			},
			{
				Name: "plan-not-checkable", Level: finding.Note, Basis: finding.Measured,
				Message: "1 of 4 statements have no plan that could be compared; the report lists them with the reasons",
			},
		},
		Backup: provenBackup(),
		RoundTrip: rehearsal.RoundTrip{
			Verdict: rehearsal.NotBack, Down: []rehearsal.Way{{Version: 3, Name: "accounts", By: "migrations/0003_accounts.down.sql"}, {Version: 2, Name: "add_kind", By: "proposed"}},
			Before:     []catalog.Difference{{Object: "index public.accounts_email_idx", Kind: catalog.Removed, Before: "definition CREATE INDEX accounts_email_idx ON public.accounts USING btree (email)"}},
			Data:       []checksum.Change{{Schema: "public", Table: "accounts", Column: "legacy", Kind: checksum.ValuesChanged, Before: 200_000}},
			DurationMS: 131.2,
		},
		Data: []checksum.Change{
			{Schema: "public", Table: "accounts", Column: "legacy", Kind: checksum.ColumnRemoved, Before: 200_000},
			{Schema: "public", Table: "accounts", Column: "email", Kind: checksum.ValuesChanged, Before: 200_000, After: 200_000},
		},
		Compat: &compat.Report{
			Statements:   3,
			Broken:       []compat.Broken{{SQL: insert, Calls: 10, SQLState: "42703", Message: `column "legacy" of relation "accounts" does not exist`, Object: "column public.accounts.legacy"}},
			NotCheckable: []compat.NotCheckable{{SQL: "SELECT count(*) FROM accounts WHERE seen > now() - interval $1", Reason: "it cannot be prepared with a parameter there: syntax error at or near \"$1\" (SQLSTATE 42601)"}},
			Findings:     []finding.Finding{breaks, recycle},
		},
		Plans: &plans.Report{
			Statements: 2, Measured: 2, Changed: 1,
			Regressions: []plans.Regression{{
				SQL: lookup, Calls: 100, Kind: plans.IndexLost, CostBefore: 8.44, CostAfter: 4564.21, CostRatio: 540.8, BlocksBefore: 4, BlocksAfter: 2063,
				TimeBefore: 8 * time.Microsecond, TimeAfter: 17992 * time.Microsecond, Finding: plan,
				Before: "Index Scan using accounts_email_idx on public.accounts where ((accounts.email)::text = $1)",
				After:  "Gather\n  Seq Scan on public.accounts filter ((accounts.email)::text = $1)",
			}},
			NotCheckable: []plans.NotCheckable{{SQL: insert, Reason: `after the migration: column "legacy" of relation "accounts" does not exist (SQLSTATE 42703)`}},
			Findings:     []finding.Finding{plan},
		},
		Drift: &rehearsal.Drift{
			Known: true,
			Recorded: []catalog.Difference{
				{Object: "column public.byhand.x", Kind: catalog.Added, After: "nulls allowed, type integer"}, {Object: "table public.byhand", Kind: catalog.Added},
			},
			NotBuilt: "not asked for",
		},
		Contract: map[int64]string{3: "migration 3 changes the type of column accounts.visits to bigint; migration 3 drops column accounts.legacy"},
	}
	for _, f := range ofLevel(r, finding.Refuse) {
		r.Reasons = append(r.Reasons, f.String())
	}
	return r
}

// withRehearsal is a report of a whole run with a rehearsal of its migrations. One that was refused was not applied.
func withRehearsal(run *Report, r *rehearsal.Report) *Report {
	if run.Database == nil {
		run.Database = &Database{}
	}
	run.Database.Rehearsal, run.Database.Backup = r, r.Backup
	if r.Verdict != rehearsal.Proven {
		run.Database.Migrations = migrations.Outcome{}
		run.Reasons = append(run.Reasons, r.Reasons...)
	}
	return run
}

// manyStatements is of a migration of two hundred statements, some of them long, of which a few are not as they should be.
func manyStatements() *rehearsal.Report {
	r := refusedRehearsal()
	r.Migrations, r.Findings = r.Migrations[1:], nil
	var worst rehearsal.Statement
	for _, s := range r.Statements {
		if s.Verdict == rehearsal.Refuse {
			worst = s
			break
		}
	}
	r.Statements = nil
	for i := range 200 {
		s := worst
		s.Number, s.Line, s.SQL = i+1, 2*i+1, "ALTER TABLE accounts ADD COLUMN c"+strconv.Itoa(i)+" text"
		s.Verdict, s.Rewrite, s.Rewrites, s.Scan, s.Scans, s.Reason = rehearsal.Pass, false, nil, false, nil, "nobody waited"
		s.BlockedReadsMS, s.BlockedWritesMS, s.DurationMS, s.Predicted = float64(i%7), float64(i%5), 1.5, predicted(1, 1.5, float64(i%7), float64(i%5), 300, 0)
		if i%50 == 49 {
			s.SQL = "CREATE FUNCTION long" + strconv.Itoa(i) + "() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n" + strings.Repeat("\tNEW.a_rather_long_column_name := coalesce(NEW.a_rather_long_column_name, OLD.another_rather_long_column_name);\n", 400) + "END $$"
			s.Verdict, s.Reason = rehearsal.Refuse, strings.Repeat("a reason with many words ", 12)
		}
		r.Statements = append(r.Statements, s)
	}
	for i := range 300 {
		r.Findings = append(r.Findings, finding.Finding{
			Name: "blocked-reads", Level: []finding.Level{finding.Refuse, finding.Warn, finding.Note}[i/100], Basis: finding.Measured, Version: 3,
			File: "migrations/0003_accounts.sql", Line: i + 1, Message: "finding " + strconv.Itoa(i), Fix: "SELECT " + strconv.Itoa(i) + ";",
		})
	}
	return r
}

// hostileRehearsal has markup, control sequences and commands in every field that holds text of a user's, of a server's or of
// a tool's.
func hostileRehearsal() *rehearsal.Report {
	r := refusedRehearsal()
	r.RoundTrip.Verdict, r.RoundTrip.Proposed = rehearsal.Back, map[string]string{"a": "b"}
	r.RoundTrip.Irreversible, r.RoundTrip.Again = map[int64]string{7: "x"}, r.RoundTrip.Before
	r.Drift.Built = r.Drift.Recorded
	r.Plans.NotMeasured = r.Plans.NotCheckable
	r.Backup.Notes = []string{"x"}
	evilStrings(reflect.ValueOf(r))
	return r
}

// evilStrings replaces every string that can be reached, but for the words that decide what is shown.
func evilStrings(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			evilStrings(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				evilStrings(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			evilStrings(v.Index(i))
		}
	case reflect.Map:
		replaced := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			k.Set(key)
			e.Set(v.MapIndex(key))
			evilStrings(k)
			evilStrings(e)
			replaced.SetMapIndex(k, e)
		}
		if v.CanSet() && v.Len() > 0 {
			v.Set(replaced)
		}
	case reflect.String:
		switch v.Interface().(type) {
		case finding.Level, rehearsal.Verdict, rehearsal.RoundTripVerdict, checksum.Kind, catalog.Kind:
		default:
			v.SetString(evil)
		}
	}
}
