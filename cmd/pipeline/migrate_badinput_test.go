package main

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestWrongInputOfMigrateIsNamedAndNothingIsChanged(t *testing.T) {
	const config, items = "pipeline.yaml", "migrations/001_items.up.sql"
	closed, err := pgtest.FreePort()
	require.NoError(t, err)
	as := func(role, password string) func(*url.URL) {
		return func(u *url.URL) { u.User = url.UserPassword(role, password) }
	}
	role := stranger(t)
	shared := newShop(t, nil)                                                // nothing is ever changed in its database
	pgtest.Exec(t, shared.url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as it is from PostgreSQL 15 on
	tests := map[string]struct {
		files map[string]string // an empty text takes the file away
		url   func(*url.URL)
		args  []string
		code  int
		says  []string
	}{
		"no URL":                        {args: []string{"status", "--database", "env://NOT_SET"}, code: 2, says: []string{"--database: ", "NOT_SET", "not set"}},
		"a URL on the command line":     {args: []string{"up", "--database", pgtest.Server(t)}, code: 2, says: []string{"env://"}},
		"a URL that is none":            {args: []string{"status", "--database", "cmd://echo 'postgres://user:hunter2@[::1/shop'"}, code: 2, says: []string{"--database: the database's address is no URL", "postgres://user:password@host:port/name"}},
		"a wrong password":              {url: as("postgres", "hunter2"), args: []string{"up"}, code: 3, says: []string{"password authentication failed", "28P01"}},
		"no server":                     {url: func(u *url.URL) { u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(closed)) }, args: []string{"plan"}, code: 3, says: []string{"connection refused"}},
		"no database":                   {url: func(u *url.URL) { u.Path = "/nowhere" }, args: []string{"status"}, code: 3, says: []string{`database "nowhere" does not exist`}},
		"no pipeline.yaml":              {files: map[string]string{config: ""}, args: []string{"status"}, code: 2, says: []string{"pipeline init"}},
		"no database section":           {files: map[string]string{config: tiny()[config]}, args: []string{"status"}, code: 2, says: []string{"no database section"}},
		"no folder":                     {files: map[string]string{items: ""}, args: []string{"plan"}, code: 2, says: []string{"migrations"}},
		"an empty folder":               {files: map[string]string{items: "", "migrations/README": "none yet"}, args: []string{"plan"}, code: 2, says: []string{"migrations"}},
		"a file that is not UTF-8":      {files: map[string]string{items: "-- caf\xe9\nSELECT 1;\n"}, args: []string{"up"}, code: 1, says: []string{items + ":1:7", "UTF-8"}},
		"a file that cannot be parsed":  {files: map[string]string{items: "CREATE TABLE items ();\nCREATE TABEL more ();\n"}, args: []string{"rehearse"}, code: 1, says: []string{items + ":2:8", "TABEL"}},
		"a declaration that is unknown": {files: map[string]string{items: "-- deploy: irreversable none\nSELECT 1;\n"}, args: []string{"plan"}, code: 1, says: []string{items + ":1", "irreversable"}},
		"a number that is used twice":   {files: map[string]string{"migrations/001_more.up.sql": "SELECT 1;\n"}, args: []string{"up"}, code: 1, says: []string{"001_more.up.sql", "version 1 is also"}},
		"no such flag":                  {args: []string{"up", "--now"}, code: 2, says: []string{"unknown flag: --now"}},
		"no such command":               {args: []string{"undo"}, code: 2, says: []string{"undo"}},
		"no such output":                {args: []string{"plan", "--output", "xml"}, code: 2, says: []string{"must be text or json"}},
		"no word of how far":            {args: []string{"down"}, code: 2, says: []string{"--to VERSION", "--steps N"}},
		"two words of how far":          {args: []string{"down", "--to", "1", "--steps", "1"}, code: 2, says: []string{"--to VERSION", "--steps N"}},
		"no step":                       {args: []string{"down", "--steps", "0"}, code: 2, says: []string{"--steps 0: must be at least 1"}},
		"a version that is not there":   {args: []string{"down", "--to", "7"}, code: 1, says: []string{"version 7"}},
		"a backup that is not there":    {args: []string{"restore", "backups/none.dump"}, code: 2, says: []string{"there is no backup backups/none.dump", "--list"}},
		"no release":                    {args: []string{"floor"}, code: 2, says: []string{"accepts between 1 and 2 arg"}},
		"statements that are not there": {args: []string{"rehearse", "--statements", "nowhere.json"}, code: 2, says: []string{"--statements", "nowhere.json"}},
		"a backfill that is not there":  {args: []string{"pause", "--version", "1"}, code: 1, says: []string{"no backfill of that version"}},
		"a scratch server that is none": {args: []string{"backup", "--scratch", "env://NOT_SET"}, code: 2, says: []string{"--scratch: "}},
		"a role without privileges":     {url: as(role, "hunter2"), args: []string{"up", "--no-rehearsal"}, code: 1, says: []string{" lacks CREATE"}},
		"a database that is only read":  {url: func(u *url.URL) { u.RawQuery += "&default_transaction_read_only=on" }, args: []string{"up", "--no-rehearsal"}, code: 1, says: []string{"read-only"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := *shared
			s.t, s.dir = t, write(t, shopFiles(map[string]string{items: two[items]}, test.files))
			if test.url != nil {
				address, err := url.Parse(s.url)
				require.NoError(t, err)
				test.url(address)
				s.env = append(slices.Clone(s.env), "SHOP="+address.String())
			}
			got := s.run(test.args...)
			assert.Equal(t, test.code, got.code, got.out)
			for _, text := range test.says {
				assert.Contains(t, got.out, text)
			}
			assert.NotContains(t, got.out, "hunter2")
			assert.NotContains(t, got.out, "goroutine")
			assert.Equal(t, "0", s.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "nothing is left")
		})
	}
}

func TestPoolerInTransactionModeIsRefused(t *testing.T) {
	through := pgbouncer(t)
	s := newShop(t, two)
	address, err := url.Parse(s.url)
	require.NoError(t, err)
	through(address)
	s.env = append(s.env, "SHOP="+address.String())
	got := s.run("up")
	assert.Equal(t, 1, got.code, got.out)
	assert.Contains(t, got.out, "connection pooler in transaction mode")
	assert.Contains(t, got.out, "session mode")
	assert.Empty(t, s.value(tables))
}

// stranger is a role that may connect, and no more.
func stranger(t *testing.T) string {
	t.Helper()
	name := "stranger_" + strings.ToLower(strconv.FormatInt(time.Now().UnixNano(), 36))
	pgtest.Exec(t, pgtest.Server(t), "CREATE ROLE "+name+" LOGIN PASSWORD 'hunter2'")
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+name) })
	return name
}

// pgbouncer starts PgBouncer in transaction mode before the test server, and puts it into a URL.
func pgbouncer(t *testing.T) func(*url.URL) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("PgBouncer is not installed: apt-get install pgbouncer")
	}
	server, err := url.Parse(pgtest.Server(t))
	require.NoError(t, err)
	port, err := pgtest.FreePort()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	file := filepath.Join(dir, "pgbouncer.ini")
	config := "[databases]\n* = host=" + server.Hostname() + " port=" + server.Port() + " user=postgres password=" + pgtest.Password +
		"\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " + strconv.Itoa(port) +
		"\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\n"
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))
	pooler := exec.Command(program, file)
	pooler.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if account, err := user.Lookup("postgres"); err == nil && os.Getuid() == 0 { // it refuses to be root
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		pooler.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	require.NoError(t, pooler.Start())
	t.Cleanup(func() { _ = pooler.Process.Kill(); _ = pooler.Wait() })
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	return func(u *url.URL) { u.Host = address }
}
