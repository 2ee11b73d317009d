package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/internal/redact"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Dumper makes and restores backups with the pg_dump and pg_restore of this machine: those of the server's own major
// version where they are installed, otherwise the newest.
type Dumper struct{}

var _ backup.Dumper = Dumper{}

// Version is that of the programs that are used for a database.
func (Dumper) Version(ctx context.Context, url string) (backup.Version, error) {
	bin, err := clientFor(ctx, "pg_dump", url)
	if err != nil {
		return backup.Version{}, err
	}
	return backup.Version{Major: bin.major, Full: strings.TrimPrefix(bin.version, "pg_dump (PostgreSQL) ")}, nil
}

// lockWait is how long pg_dump waits for a table that somebody is changing, before it says which one.
const lockWait = "60s"

// Dump writes a backup of the database in pg_dump's custom format, of an exported snapshot where one is named. It is
// compressed by zlib's first level, which costs a third more time than none: the level that pg_dump takes by itself makes
// the file a tenth smaller and takes three times as long. Zstandard and LZ4 are not in every build of pg_dump.
func (Dumper) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	bin, err := clientFor(ctx, "pg_dump", url)
	if err != nil {
		return fmt.Errorf("dump database: %w", err)
	}
	args := []string{"--format=custom", "--compress=1", "--lock-wait-timeout=" + lockWait}
	if snapshot != "" {
		args = append(args, "--snapshot="+snapshot)
	}
	if err := runTool(ctx, bin, "pg_dump", url, w, args...); err != nil {
		return fmt.Errorf("dump database: %w", err)
	}
	return nil
}

// Restore loads a backup into an empty database, with several workers where asked: without, in one transaction, so that
// after an error nothing of it is there.
func (Dumper) Restore(ctx context.Context, url, file string, load backup.Load) error {
	bin, err := clientFor(ctx, "pg_restore", url)
	if err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	args := []string{"--exit-on-error"}
	if !load.Tablespaces {
		args = append(args, "--no-tablespaces")
	}
	if load.Jobs > 1 {
		args = append(args, "--jobs="+strconv.Itoa(load.Jobs))
	} else {
		args = append(args, "--single-transaction")
	}
	if !load.Roles {
		args = append(args, "--no-owner", "--no-privileges")
	}
	if err := runTool(ctx, bin, "pg_restore", url, nil, append(args, file)...); err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	return nil
}

// runTool runs a client program of PostgreSQL on a database. The password goes through the environment, since command
// lines are for everyone to see.
func runTool(ctx context.Context, bin postgresBin, program, url string, out io.Writer, args ...string) error {
	target, env, err := libpq(url)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	err = process.Run(ctx, process.Spec{
		Args: append([]string{bin.path(program), "--no-password", "--dbname", target}, args...),
		Env:  append(bin.env(), env...), Stdout: out, Stderr: &said,
	})
	if err == nil {
		return nil
	}
	var redactor redact.Redactor
	for _, variable := range env {
		if _, value, _ := strings.Cut(variable, "="); value != "" {
			redactor.Secret(value)
		}
	}
	return fmt.Errorf("%w: %s", err, redactor.Bytes([]byte(complaint(program, said.String()))))
}

// quoting is how PostgreSQL begins an error that goes on with a value from a row.
var quoting = regexp.MustCompile(`(ERROR: +(?:invalid|malformed|date/time field|value|bit string|unrecognized|unsupported)[^"]*)".*`)

// complaint is what a program says of its failure, in its own lines alone: those that follow an error without its name are
// details, contexts and statements, which quote values of rows and options of foreign servers.
func complaint(program, text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if line, ours := strings.CutPrefix(line, program+": "); ours {
			kept = append(kept, quoting.ReplaceAllString(strings.TrimSpace(line), "$1…"))
		}
	}
	const most = 20
	return strings.Join(kept[max(0, len(kept)-most):], "; ")
}

// clientFor chooses the installation whose programs fit the server of a database.
func clientFor(ctx context.Context, program, url string) (postgresBin, error) {
	all := clients()
	if len(all) == 0 {
		return postgresBin{}, missingProgram(program)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return postgresBin{}, errors.New("its URL cannot be read") // pgx quotes the URL
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return postgresBin{}, fmt.Errorf("ask for the server's version: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	if i := slices.IndexFunc(all, func(b postgresBin) bool { return fmt.Sprint(b.major) == major }); i >= 0 {
		return all[i], nil
	}
	return all[0], nil
}

// libpqParameters are the URL parameters that PostgreSQL's own programs know and that are no secrets. A driver's own
// (pool_max_conns, schema) would make them refuse the URL.
var libpqParameters = []string{
	"application_name", "channel_binding", "connect_timeout", "gssencmode", "host", "hostaddr", "keepalives",
	"keepalives_idle", "options", "port", "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslrootcert",
	"target_session_attrs", "tcp_user_timeout",
}

// libpq splits a URL into one without a password and the environment that has it.
func libpq(text string) (target string, env []string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", nil, errors.New("the database's URL is not of the form postgres://user:password@host:port/database")
	}
	query := u.Query()
	password := query.Get("password")
	if own, ok := u.User.Password(); ok {
		password = own
		u.User = url.User(u.User.Username())
	}
	if user := query.Get("user"); user != "" && u.User == nil {
		u.User = url.User(user)
	}
	for name := range query {
		if !slices.Contains(libpqParameters, name) {
			query.Del(name)
		}
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq does not read + as a space
	if password != "" {
		env = append(env, "PGPASSWORD="+password)
	}
	return u.String(), env, nil
}
