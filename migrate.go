package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// Migration is an application's migrations and the database they are for.
type Migration struct {
	// +private
	Pipeline *Pipeline
	// +private
	URL *dagger.Secret
	// +private
	DB *dagger.Service
	// +private
	Release string
	// +private
	Running string
	// +private
	Actor string
}

// Migrate is about the application's database: what is pending, rehearsing and applying it, and the way back.
//
// Its functions are never cached, and each call of one does its work anew: take everything from one call, as in
// "dagger call migrate --url env://DATABASE_URL up files export --path migrated".
func (m *Pipeline) Migrate(
	// The database's address, postgres://user:password@host:port/database, as a reference: env://DATABASE_URL.
	url *dagger.Secret,

	// The server, in place of the address's host and port: tcp://localhost:5432 is one on the machine that calls.
	// +optional
	db *dagger.Service,

	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,

	// What the release is called, for the history; by default it is named after its content.
	// +optional
	release string,

	// What the release is called that runs while the database is migrated, for the history.
	// +optional
	running string,

	// Who migrates, for the history.
	// +optional
	actor string,
) *Migration {
	return &Migration{Pipeline: m.of(source), URL: url, DB: db, Release: release, Running: running, Actor: actor}
}

// backupsDir keeps the backups of one call.
const backupsDir = "backups"

func (m *Migration) stage(ctx context.Context) (*database.Stage, error) {
	app, err := engine.Open(ctx, dag, m.Pipeline.Source, nil, m.Release, "")
	if err != nil {
		return nil, err
	}
	address, err := m.URL.Plaintext(ctx)
	if err != nil {
		return nil, err
	}
	if address, err = engine.At(ctx, address, m.DB); err != nil {
		return nil, err
	}
	d := &engine.Database{Client: dag, App: app, URL: address, Notice: os.Stdout, Running: m.Running, Actor: m.Actor}
	return d.Stage(ctx, backupsDir)
}

// shown is a result as text, or as JSON.
func shown(format string, result any, text func(io.Writer)) (string, error) {
	var out bytes.Buffer
	switch format {
	case "text":
		text(&out)
		return out.String(), nil
	case "json":
	default:
		return "", fmt.Errorf("format %q: must be text or json", format)
	}
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(result)
	return out.String(), err
}

// failing is an error with what was shown before it: an error's text is all that a caller sees.
func failing(text string, err error) (string, error) {
	if err == nil {
		return text, nil
	}
	return "", errors.New(text + err.Error())
}

// Plan lists what up would do, and what static rules say of it.
//
// It changes nothing, and fails where a run could not begin.
//
// +cache="never"
func (m *Migration) Plan(
	ctx context.Context,
	// How it is printed: text or json.
	// +default="text"
	format string,
) (string, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return "", err
	}
	plan, refusal := s.Plan(ctx)
	if plan == nil {
		return "", refusal
	}
	text, err := shown(format, plan, func(w io.Writer) { database.WritePlan(w, plan) })
	return failing(text, errors.Join(refusal, err))
}

// Status shows how every migration stands in the database.
//
// It changes nothing, and fails where a run could not begin.
//
// +cache="never"
func (m *Migration) Status(
	ctx context.Context,
	// How it is printed: text or json.
	// +default="text"
	format string,
) (string, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return "", err
	}
	migrator, err := s.Migrator()
	if err != nil {
		return "", err
	}
	status, err := migrator.Status(ctx)
	if err != nil {
		return "", err
	}
	text, err := shown(format, status, func(w io.Writer) { database.WriteStatus(w, status) })
	return failing(text, errors.Join(status.Refusal(), err))
}

// History shows what was done to the database, by whom, when and for how long.
//
// It changes nothing.
//
// +cache="never"
func (m *Migration) History(
	ctx context.Context,
	// How it is printed: text or json.
	// +default="text"
	format string,
) (string, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return "", err
	}
	migrator, err := s.Migrator()
	if err != nil {
		return "", err
	}
	entries, err := migrator.History(ctx)
	if err != nil {
		return "", err
	}
	return shown(format, map[string]any{"history": entries}, func(w io.Writer) { database.WriteHistory(w, entries) })
}

// Rehearse tries and measures the pending migrations on a copy of the database.
//
// The copy is restored from a backup that is made for it; the database is only read. It fails unless the migrations are
// proven.
//
// +cache="never"
func (m *Migration) Rehearse(ctx context.Context) (*MigrationRehearsal, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.Rehearse(ctx)
	if r == nil {
		return nil, err
	}
	if err != nil {
		r.Verdict, r.Reasons = rehearsal.Refused, append(r.Reasons, err.Error())
	}
	text, err := json.Marshal(r)
	return &MigrationRehearsal{Verdict: string(r.Verdict), JSON: string(text)}, err
}

// MigrationRehearsal is what a rehearsal of migrations has shown.
type MigrationRehearsal struct {
	// What it says: proven or refused.
	Verdict string
	// +private
	JSON string
}

// Report is the rehearsal as text, verdict first, whatever it is.
func (r *MigrationRehearsal) Report() (string, error) {
	var result rehearsal.Report
	if err := json.Unmarshal([]byte(r.JSON), &result); err != nil {
		return "", err
	}
	var text bytes.Buffer
	err := report.WriteMigrations(&text, &result, screenWidth, false)
	return text.String(), err
}

// File is the rehearsal as JSON, whatever the verdict is.
func (r *MigrationRehearsal) File() *dagger.File {
	return dag.Directory().WithNewFile("rehearsal.json", r.JSON).File("rehearsal.json")
}

// Sync fails unless the migrations are proven. It is what "dagger call migrate rehearse" does last.
func (r *MigrationRehearsal) Sync(ctx context.Context) (string, error) {
	return synced(ctx, func(context.Context) (string, error) {
		text, err := r.Report()
		if err == nil && r.Verdict != string(rehearsal.Proven) {
			return "", errors.New(text)
		}
		return text, err
	})
}

// Up applies the pending migrations, after a proven backup and a rehearsal.
//
// It backs the database up, proves the backup by restoring it, rehearses the pending migrations on that copy, and applies
// them when the rehearsal finds nothing against it.
//
// +cache="never"
func (m *Migration) Up(
	ctx context.Context,
	// Apply the migrations without rehearsing them.
	// +optional
	noRehearsal bool,
) (*Migrated, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return nil, err
	}
	return migrated(s.Up(ctx, !noRehearsal))
}

// Down takes migrations back, the last one first, after a proven backup.
//
// +cache="never"
func (m *Migration) Down(
	ctx context.Context,
	// Version to go back to, as status lists them; -1 takes everything back.
	to int,
) (*Migrated, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return nil, err
	}
	return migrated(s.Down(ctx, int64(to)))
}

// Migrated is what a run has done, also where it ended with an error.
type Migrated struct {
	// What was done, for people.
	Summary string
	// Why the run ended before its end; empty where it did not.
	Problem string
	// summary.txt, result.json and the backup from before, with its manifest.
	Files *dagger.Directory
}

func migrated(done database.Migrated, failure error) (*Migrated, error) {
	if failure != nil && done.Backup == nil && len(done.Outcome.Applied) == 0 {
		return nil, failure
	}
	result := &Migrated{}
	if failure != nil {
		result.Problem = failure.Error()
	}
	var err error
	if result.Summary, err = shown("text", done, func(w io.Writer) { database.WriteMigrated(w, done) }); err != nil {
		return nil, err
	}
	fmt.Print(result.Summary)
	text, err := shown("json", done, nil)
	if err != nil {
		return nil, err
	}
	file := ""
	if done.Backup != nil {
		file = done.Backup.File
	}
	// The directory is made here: the next function of a chain has another working directory.
	result.Files = backedUp(file).WithNewFile("summary.txt", result.Summary).WithNewFile("result.json", text)
	return result, nil
}

// Sync fails where the run did, and says how far it came. It is what "dagger call migrate up" does last.
func (r *Migrated) Sync(ctx context.Context) (string, error) {
	return synced(ctx, func(context.Context) (string, error) {
		if r.Problem != "" {
			return "", errors.New(r.Summary + r.Problem)
		}
		return r.Summary, nil
	})
}

// Backup backs the database up and proves the backup by restoring it.
//
// It gives the directory of the backup's file and its manifest, which restore takes.
//
// +cache="never"
func (m *Migration) Backup(ctx context.Context) (*dagger.Directory, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.Backup(ctx, false)
	if err != nil {
		return nil, err
	}
	database.WriteBackup(os.Stdout, b)
	return backedUp(b.File), nil
}

// backedUp is a directory of a backup's file and its manifest; empty where there is none.
func backedUp(file string) *dagger.Directory {
	if file == "" {
		return dag.Directory()
	}
	return dag.CurrentModule().Workdir(backupsDir)
}

// Restore puts a backup in the place of the database, once that is confirmed.
//
// Without confirmation it says what would be lost. The old database stays, under another name.
//
// +cache="never"
func (m *Migration) Restore(
	ctx context.Context,
	// The backup and its manifest: the directory that backup, or up, has given.
	backups *dagger.Directory,
	// Identity (private key) of age that decrypts the backup.
	// +optional
	identity *dagger.Secret,
	// Do it: what is lost has been seen, and is wanted.
	// +optional
	confirmed bool,
	// End the sessions that others have on the database, which are in the way otherwise.
	// +optional
	terminate bool,
) (string, error) {
	s, err := m.stage(ctx)
	if err != nil {
		return "", err
	}
	if _, err := backups.Export(ctx, "restore"); err != nil {
		return "", err
	}
	list, err := backup.List("restore")
	if err != nil {
		return "", err
	}
	if len(list) != 1 {
		return "", fmt.Errorf("the directory holds %d backups, and one is expected", len(list))
	}
	o := backup.RestoreOptions{File: list[0].File, URL: s.URL, Dumper: s.Dumper, Confirmed: confirmed, Terminate: terminate}
	if identity != nil {
		if o.Identity, err = identity.Plaintext(ctx); err != nil {
			return "", err
		}
	}
	r, err := backup.Restore(ctx, o)
	text, failed := shown("text", r, func(w io.Writer) { database.WriteRestored(w, r) })
	if errors.Is(err, backup.ErrUnconfirmed) {
		err = fmt.Errorf("%w: nothing was changed; call it again with --confirmed", backup.ErrUnconfirmed)
	}
	return failing(text, errors.Join(err, failed))
}
