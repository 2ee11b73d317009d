package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// Cluster starts servers to throw away.
type Cluster interface {
	// Start starts an empty server like another: of the same major version, or of a newer one where there is no other. It
	// is an error when there is an older one only, or none; the error says what to install.
	Start(ctx context.Context, like Server) (Scratch, error)
}

// Server is what a scratch server must be like. What can be set later is not in it.
type Server struct {
	Major    int               // version
	Settings map[string]string // that only the start of a server takes, by name, in the units of pg_settings: wal_level, …
}

// Scratch is a server to throw away.
type Scratch interface {
	// URL is of a database of it, for a superuser.
	URL() string
	// Close stops the server and removes what it held, also when the context has ended.
	Close(ctx context.Context) error
}

// Copy is a restored database that stays until it is closed.
type Copy struct {
	URL   string
	close func(context.Context) error
}

// Close drops the copy, and its server where that is a scratch one, also when the context has ended.
func (c *Copy) Close(ctx context.Context) error { return c.close(ctx) }

// stage is an empty database to restore into.
type stage struct {
	URL     string
	name    string
	Version Version
	roles   bool // the roles that owners and privileges name are there
	notes   []string
	own     bool // the server is a scratch one
	copied  bool // the database is a copy for a while, and not one to stay

	server  *pgx.Conn // of another database on its server
	closers []func(context.Context) error
}

// close drops the database, and ends the server where it is a scratch one.
func (s *stage) close(ctx context.Context) error {
	if s.server != nil {
		pg.HangUp(ctx, s.server)
	}
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end(ctx))
	}
	s.closers = nil
	return errors.Join(errs...)
}

// openStage starts a scratch server like the origin's and makes the database, under its own name: what migrations say of
// the database by name shall be true. Without a Cluster it is a database of the server that scratch names, under a name
// that is nobody's, and without roles: that server's are not ours to add to.
func openStage(ctx context.Context, cluster Cluster, scratch string, from *origin) (s *stage, err error) {
	s = &stage{copied: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if cluster != nil {
		server, err := cluster.Start(ctx, from.server())
		if err != nil {
			return s, err
		}
		s.closers = append(s.closers, server.Close)
		scratch, s.own, s.roles = server.URL(), true, true
	}
	if err := s.database(ctx, scratch, from); err != nil {
		return s, err
	}
	if s.own {
		if err := s.rename(ctx, from.Name); err != nil {
			return s, err
		}
	}
	return s, s.settings(ctx, from)
}

// database makes the database on a server, and what it needs there.
func (s *stage) database(ctx context.Context, server string, from *origin) (err error) {
	if s.server, err = pg.Connect(ctx, server); err != nil {
		return err
	}
	if s.Version, err = serverVersion(ctx, s.server); err != nil {
		return err
	}
	switch {
	case s.Version.Major < from.Version.Major:
		return fmt.Errorf("the server is PostgreSQL %s, older than the database's %s: it takes one of that version or newer", s.Version, from.Version)
	case s.Version.Major > from.Version.Major:
		s.notes = append(s.notes, fmt.Sprintf("the copy is on PostgreSQL %s, the database on %s", s.Version, from.Version))
	}
	if err := s.extensions(ctx, from); err != nil {
		return err
	}
	if s.own {
		if err := makeRoles(ctx, s.server, from.Roles); err != nil {
			return err
		}
	}
	scratch, err := pg.NewScratch(ctx, server, from.Locale)
	if err != nil && strings.Contains(err.Error(), "locale") {
		return fmt.Errorf("%w; the copy has the locale of the database (%s, %s), which the operating system of its server must have",
			err, from.Locale.Collate, from.Locale.Ctype)
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, scratch.Drop)
	s.URL, s.name = scratch.URL, scratch.Name
	return nil
}

// fault says what is wrong with the server where a restore failed for that and not for the backup; "" otherwise.
func (s *stage) fault(ctx context.Context, err error) string {
	switch text := err.Error(); {
	case s.server.Ping(ctx) != nil:
		return "the server that it is restored on has ended"
	case strings.Contains(text, "No space left on device"):
		return "the disk of the server that it is restored on is full"
	case missing.MatchString(text):
		return "the server that it is restored on is without a role or tablespace that the database names (make it there, or use a server to throw away, which gets the roles)"
	}
	return ""
}

// missing is what pg_restore says where the server lacks what is no part of a database.
var missing = regexp.MustCompile(`(role|tablespace) ".*" does not exist`)

// rename gives the copy the original's name, unless every server has a database of that name.
func (s *stage) rename(ctx context.Context, name string) (err error) {
	if slices.Contains([]string{"postgres", "template0", "template1"}, name) {
		return nil
	}
	if _, err := s.server.Exec(ctx, "ALTER DATABASE "+pg.Name(s.name)+" RENAME TO "+pg.Name(name)); err != nil {
		return fmt.Errorf("name the copy: %w", pg.Ended(ctx, err))
	}
	s.name = name
	s.URL, err = pg.OnDatabase(s.URL, name)
	return err
}

// properties gives the copy those of the original. On a server that is somebody's it has no roles, and so neither owner nor
// privileges; and a library that sessions load is not there on every machine.
func (s *stage) properties(ctx context.Context, p properties) error {
	if s.copied {
		p.Settings = slices.DeleteFunc(slices.Clone(p.Settings), func(t setting) bool {
			return strings.HasSuffix(t.Name, "_preload_libraries") || t.Role != "" && !s.roles
		})
	}
	notes, err := p.apply(ctx, s.server, s.name, s.roles)
	s.notes = append(s.notes, notes...)
	return err
}

// settings gives the copy the settings that the origin's sessions have from its server. Those that only a server's start
// takes are compared.
func (s *stage) settings(ctx context.Context, from *origin) error {
	for _, name := range slices.Sorted(maps.Keys(from.Settings)) {
		value := from.Settings[name]
		var same bool
		err := s.server.QueryRow(ctx, "SELECT reset_val = $2 FROM pg_catalog.pg_settings WHERE name = $1", name, value).Scan(&same)
		if err == nil && !same {
			err = set(ctx, s.server, s.name, setting{Name: name, Value: value})
		}
		if s.server.IsClosed() || ctx.Err() != nil {
			return fmt.Errorf("give the copy the server's settings: %w", pg.Ended(ctx, err))
		}
		if errors.Is(err, pgx.ErrNoRows) {
			s.notes = append(s.notes, fmt.Sprintf("the copy's server has no setting %s, which the database's has", name))
		} else if err != nil {
			s.notes = append(s.notes, fmt.Sprintf("the copy is without the setting %s: %s", name, reason(err)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Start)) {
		var value string
		sql := "SELECT pg_catalog.current_setting($1, true)"
		if name == preload {
			sql = "SELECT CASE WHEN " + hasStatements + " THEN 'pg_stat_statements' WHEN $1 <> '' THEN '' END"
		}
		if err := s.server.QueryRow(ctx, sql, name).Scan(&value); err != nil {
			return fmt.Errorf("read the settings of the copy's server: %w", pg.Ended(ctx, err))
		}
		if value != from.Start[name] {
			s.notes = append(s.notes, fmt.Sprintf("the copy's server has %s = %s, the database's %s", name, orNone(value), from.Start[name]))
		}
	}
	return nil
}

func orNone(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// extensions looks whether the server has those of the origin, so that a restore does not fail half way for want of one.
func (s *stage) extensions(ctx context.Context, from *origin) error {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(from.Extensions)) {
		var version string
		err := s.server.QueryRow(ctx, "SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = $1", name).Scan(&version)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			missing = append(missing, name+" "+from.Extensions[name])
		case err != nil:
			return fmt.Errorf("look for extensions: %w", pg.Ended(ctx, err))
		case version != from.Extensions[name]:
			s.notes = append(s.notes, fmt.Sprintf("the copy has extension %s %s, the database %s", name, version, from.Extensions[name]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the server (PostgreSQL %d) does not have the extensions of the database: %s; install them there, or name a server that has them",
			s.Version.Major, strings.Join(missing, ", "))
	}
	return nil
}
