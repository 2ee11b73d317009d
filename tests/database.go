package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Database tests migrations.
type Database struct {
	// +private
	Tests *Tests
}

// Database tests migrations.
func (t *Tests) Database() *Database { return &Database{Tests: t} }

// shop is an application with two migrations.
func shop() *dagger.Directory {
	return dag.Directory().
		WithNewFile("package.json", "{}").WithNewFile("package-lock.json", "{}").
		WithNewFile("pipeline.yaml", "version: 1\nname: shop\ncomponents: {app: {path: ., runtimes: [node]}}\ndatabase: {migrations: migrations}\n").
		WithNewFile("migrations/001_items.up.sql", "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL);\n").
		WithNewFile("migrations/001_items.down.sql", "DROP TABLE items;\n").
		WithNewFile("migrations/002_price.up.sql", "ALTER TABLE items ADD COLUMN price bigint;\n").
		WithNewFile("migrations/002_price.down.sql", "ALTER TABLE items DROP COLUMN price;\n")
}

// server is a PostgreSQL server of its own.
type server struct {
	service  *dagger.Service
	password string
}

// newServer is a server that records statements, as a deployment's should.
func newServer() *server {
	s := &server{password: rand.Text()}
	s.service = dag.Container().From("postgres:17").
		WithSecretVariable("POSTGRES_PASSWORD", dag.SetSecret("password of "+s.password[:6], s.password)).
		WithEnvVariable("POSTGRES_DB", "shop").
		WithExposedPort(5432).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"postgres", "-c", "shared_preload_libraries=pg_stat_statements"}, UseEntrypoint: true})
	return s
}

// start leaves the server running until the session ends, whoever is connected.
func (s *server) start(ctx context.Context) (err error) {
	s.service, err = s.service.Start(ctx)
	return err
}

// migrate is the module's function for the server's database, as a caller has it who knows another address of the server.
func (s *server) migrate(source *dagger.Directory) *dagger.PipelineMigration {
	return dag.Pipeline(dagger.PipelineOpts{Source: source}).Migrate(s.url(s.password), dagger.PipelineMigrateOpts{Db: s.service, Running: "v1.0.0", Actor: "tests"})
}

func (s *server) url(password string) *dagger.Secret {
	return dag.SetSecret("url with "+password[:6], "postgres://postgres:"+password+"@somewhere:1/shop?sslmode=disable")
}

// psql is what SQL answers.
func (s *server) psql(ctx context.Context, sql string) (string, error) {
	text, err := dag.Container().From("postgres:17").
		WithServiceBinding("server", s.service).
		WithSecretVariable("PGPASSWORD", dag.SetSecret("password of "+s.password[:6], s.password)).
		WithEnvVariable("NONCE", rand.Text()).
		WithExec([]string{"psql", "-h", "server", "-U", "postgres", "-d", "shop", "-v", "ON_ERROR_STOP=1", "-qAtc", sql}).
		Stdout(ctx)
	return strings.TrimSpace(text), err
}

// GoesUpAndDown takes a database through all that migrate can do, and back.
//
// +check
// +cache="session"
func (d *Database) GoesUpAndDown(ctx context.Context) error {
	s := newServer()
	if err := s.start(ctx); err != nil {
		return err
	}
	migration := s.migrate(shop())
	plan := func(ctx context.Context) (string, error) { return migration.Plan(ctx) }
	status := func(ctx context.Context) (string, error) { return migration.Status(ctx) }
	history := func(ctx context.Context) (string, error) { return migration.History(ctx) }
	for _, step := range []struct {
		name string
		call func(context.Context) (string, error)
		want []string
	}{
		{"plan", plan, []string{"at no version", "001_items  (expand)", "002_price  (expand)"}},
		{"rehearse", migration.Rehearse().Report, []string{"PROVEN  2 migrations"}},
		{"plan after a rehearsal", plan, []string{"at no version"}},
		{"up", migration.Up().Summary, []string{"rows       ok", "rehearsal: proven", "items  applied", "price  applied", "at version 2"}},
		{"plan when all is done", plan, []string{"at version 2", "nothing to do"}},
		{"up when all is done", migration.Up().Summary, []string{"nothing to do"}},
		{"down", migration.Down(1).Summary, []string{"rows       ok", "price  taken back", "at version 1"}},
		{"status", status, []string{"at version 1", "items  applied", "price  pending"}},
		{"history", history, []string{"items", "price", "down", "tests"}},
	} {
		got, err := step.call(ctx)
		if err == nil {
			err = contains(got, step.want...)
		}
		if err == nil && strings.Contains(got, s.password) {
			err = errors.New("it tells the password")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// Restores puts a backup in the place of another server's database, once it is confirmed.
//
// +check
// +cache="session"
func (d *Database) Restores(ctx context.Context) error {
	from, to := newServer(), newServer()
	for _, s := range []*server{from, to} {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if _, err := from.psql(ctx, "CREATE TABLE items (id int, name text); INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 1000) n"); err != nil {
		return err
	}
	if _, err := to.psql(ctx, "CREATE TABLE mistakes (id int)"); err != nil {
		return err
	}
	// In the engine once, for both that read it.
	backups, err := from.migrate(shop()).Backup().Sync(ctx)
	if err != nil {
		return err
	}
	if _, err = to.migrate(shop()).Restore(ctx, backups); err == nil {
		return errors.New("it restores before anybody has confirmed it")
	}
	if got, err := to.psql(ctx, "SELECT count(*) FROM mistakes"); err != nil || got != "0" {
		return fmt.Errorf("the database is not what it was: %s %w", got, err)
	}
	if _, err := to.migrate(shop()).Restore(ctx, backups, dagger.PipelineMigrationRestoreOpts{Confirmed: true}); err != nil {
		return err
	}
	got, err := to.psql(ctx, "SELECT count(*), max(name) FROM items")
	if err == nil && got != "1000|item 999" {
		err = fmt.Errorf("the restored database answers %s", got)
	}
	return err
}

// Refuses rehearses migrations that must not run: the database stays as it is.
//
// +check
// +cache="session"
func (d *Database) Refuses(ctx context.Context) error {
	s := newServer()
	if err := s.start(ctx); err != nil {
		return err
	}
	if _, err := s.migrate(shop()).Up(dagger.PipelineMigrationUpOpts{NoRehearsal: true}).Summary(ctx); err != nil {
		return err
	}
	if _, err := s.psql(ctx, `CREATE EXTENSION pg_stat_statements; INSERT INTO items SELECT n, 'item' FROM generate_series(1, 1000) n;
		SELECT name FROM items WHERE id = 1`); err != nil {
		return err
	}
	breaking := s.migrate(shop().WithNewFile("migrations/003_change.up.sql", "ALTER TABLE items RENAME COLUMN name TO title;"))
	_, err := breaking.Rehearse().Sync(ctx)
	if err := refused(err, "REFUSED", "breaks-running-release", "SELECT name"); err != nil {
		return err
	}
	// Three seconds of work with a lock, six times the budget of half a second.
	blocking := s.migrate(shop().WithNewFile("migrations/003_change.up.sql", "ALTER TABLE items ADD COLUMN kind text; SELECT pg_sleep(3);"))
	_, err = blocking.Up().Sync(ctx)
	if err := refused(err, "the rehearsal refuses the migrations", "rows       ok", "blocked-reads", "500ms is the budget"); err != nil {
		return err
	}
	plan, err := s.migrate(shop()).Plan(ctx)
	if err != nil {
		return err
	}
	return contains(plan, "nothing to do")
}

// MistakesAreExplained calls migrate with what cannot work, and looks for passwords in what it says.
//
// +check
// +cache="session"
func (d *Database) MistakesAreExplained(ctx context.Context) error {
	s := newServer()
	if err := s.start(ctx); err != nil {
		return err
	}
	wrong := rand.Text()
	named := func(url string) *dagger.Secret {
		return dag.SetSecret("url of "+url[:12], strings.ReplaceAll(url, "PASSWORD", wrong))
	}
	bare := shop().WithNewFile("pipeline.yaml", "version: 1\nname: shop\ncomponents: {app: {path: ., runtimes: [node]}}\n")
	for name, c := range map[string]struct {
		source *dagger.Directory
		url    *dagger.Secret
		db     *dagger.Service
		want   []string
	}{
		"a wrong password":        {shop(), s.url(wrong), s.service, []string{"password authentication failed"}},
		"no URL":                  {shop(), named("db.example:5432 PASSWORD"), s.service, []string{"postgres://user:password@host:port/database"}},
		"a server of the caller":  {shop(), named("postgres://postgres:PASSWORD@localhost:5433/postgres"), nil, []string{"--db tcp://localhost:5433"}},
		"no pipeline.yaml":        {shop().WithoutFile("pipeline.yaml"), s.url(wrong), s.service, []string{"pipeline.yaml", "--source"}},
		"no database section":     {bare, s.url(wrong), s.service, []string{"database: {migrations: FOLDER}"}},
		"no folder of migrations": {shop().WithoutDirectory("migrations"), s.url(s.password), s.service, []string{"migrations"}},
	} {
		_, err := dag.Pipeline(dagger.PipelineOpts{Source: c.source}).Migrate(c.url, dagger.PipelineMigrateOpts{Db: c.db}).Plan(ctx)
		if err != nil && strings.Contains(err.Error(), wrong) {
			err = errors.New("it tells the password")
		}
		if err := refused(err, c.want...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
