package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/internal/redact"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Dumper makes and restores backups with the pg_dump and pg_restore of this machine: those of the server's own major
// version where they are installed, otherwise the newest. An older pg_dump refuses a newer server, and says so.
//
// Owners and privileges are restored only where Roles is set: the roles they name are no part of a backup of a database,
// and a scratch server that proves one has none of them.
type Dumper struct {
	Roles bool
}

var _ backup.Dumper = Dumper{}

// Dump writes a backup of the database in pg_dump's custom format, of an exported snapshot where one is named.
func (Dumper) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	args := []string{"--format=custom"}
	if snapshot != "" {
		args = append(args, "--snapshot="+snapshot)
	}
	if err := runTool(ctx, "pg_dump", url, nil, w, args...); err != nil {
		return fmt.Errorf("dump database: %w", err)
	}
	return nil
}

// Restore loads a backup into an empty database, in one transaction: after an error nothing of it is there.
func (d Dumper) Restore(ctx context.Context, url string, r io.Reader) error {
	args := []string{"--exit-on-error", "--single-transaction"}
	if !d.Roles {
		args = append(args, "--no-owner", "--no-privileges")
	}
	if err := runTool(ctx, "pg_restore", url, r, nil, args...); err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	return nil
}

// runTool runs a client program of PostgreSQL on a database. The password goes through the environment, since command
// lines are for everyone to see.
func runTool(ctx context.Context, program, url string, in io.Reader, out io.Writer, args ...string) error {
	target, env, err := libpq(url)
	if err != nil {
		return err
	}
	bin, err := clientFor(ctx, program, url)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	err = process.Run(ctx, process.Spec{
		Args: append([]string{bin.path(program), "--no-password", "--dbname", target}, args...),
		Env:  append(bin.env(), env...), Stdin: in, Stdout: out, Stderr: &said,
	})
	if err == nil {
		return nil
	}
	text := bytes.TrimSpace(said.Bytes())
	const most = 4 << 10
	if len(text) > most {
		text = text[len(text)-most:]
	}
	var redactor redact.Redactor
	for _, variable := range env {
		if _, value, _ := strings.Cut(variable, "="); value != "" {
			redactor.Secret(value)
		}
	}
	return fmt.Errorf("%w: %s", err, redactor.Bytes(text))
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
