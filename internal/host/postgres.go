package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/process"
)

// Limits of a server's start and end.
const (
	startPatience = time.Minute
	portAttempts  = 5 // ports are found free and taken by others in the moment before the server binds them
	readyInterval = 10 * time.Millisecond
	stopPatience  = 10 * time.Second
)

// superuser is the role that owns everything, as in the official container image.
const superuser = "postgres"

// fastSettings make a server that loses its data with its machine, but none of its behaviour: nothing is flushed to disk.
// Shared memory is kept in files of the cluster, since what is in /dev/shm outlives a killed server.
var fastSettings = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
	"dynamic_shared_memory_type": "mmap",
	"max_connections":            "200",
	"min_wal_size":               "80MB", "max_wal_size": "1GB", // the defaults, which initdb derives from the segments' size
	"timezone": "UTC", "log_timezone": "UTC",
	"logging_collector": "off", "log_destination": "stderr", "cluster_name": "pipeline",
}

// PostgresOptions say how StartPostgres starts a server.
type PostgresOptions struct {
	// CacheDir is the cache that initialised clusters are kept in. Empty means the default cache.
	CacheDir string
	// Settings are added to those that make a server for tests, and win over them.
	Settings map[string]string
	// Major is the major version of a server that this one stands in for: it is of that version, or of the next one there
	// is on this machine. 0 means the newest.
	Major int
}

// Postgres is a PostgreSQL server of its own cluster. It listens on 127.0.0.1 only and asks for a password.
type Postgres struct {
	bin      postgresBin
	dir      string
	scratch  *scratch // where the directory is ours
	sockets  string
	port     int
	password string
	process  *process.Process
}

// StartPostgres starts a PostgreSQL server with an empty cluster in dir, which must not exist or be empty. Where
// the pipeline runs as root the server runs as user postgres, since PostgreSQL refuses root: dir is then made passable for
// others, and the directories above it must be. Empty means a temporary directory that Close removes. ctx bounds the start alone; the server runs until Close or until this
// process ends, however it ends. Debian's own clusters and configuration are not touched.
func StartPostgres(ctx context.Context, dir string, options PostgresOptions) (*Postgres, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	find := findPostgres
	if options.Major != 0 {
		find = func() (postgresBin, error) { return findPostgresLike(options.Major) }
	}
	bin, err := find()
	if err != nil {
		return nil, err
	}
	s := &Postgres{bin: bin, dir: dir}
	if dir == "" {
		if s.scratch, err = newScratch(); err != nil {
			return nil, err
		}
		s.dir = filepath.Join(s.scratch.dir, "postgres")
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	s.password = hex.EncodeToString(random[:])
	if err := s.start(ctx, options); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("start PostgreSQL %d: %w", bin.major, err)
	}
	return s, nil
}

func (s *Postgres) start(ctx context.Context, options PostgresOptions) error {
	store, err := openStore(options.CacheDir)
	if err != nil {
		return err
	}
	template, err := s.bin.template(ctx, store)
	if err != nil {
		return err
	}
	if err := s.layOut(template); err != nil {
		return explain(fmt.Errorf("make its data directory: %w", err), s.dir)
	}
	for range portAttempts {
		if s.port, err = process.FreePort("127.0.0.1"); err != nil {
			return err
		}
		if err = s.serve(options.Settings); err != nil {
			return err
		}
		if err = s.ready(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// layOut copies the initialised cluster and makes the directory of the socket.
func (s *Postgres) layOut(template string) error {
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return err
	}
	if s.bin.user != nil { // who must reach what is in it
		if err := os.Chmod(s.dir, 0o711); err != nil {
			return err
		}
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if _, err := cloneTree(template, data); err != nil {
		return err
	}
	s.sockets = filepath.Join(s.dir, "run")
	if len(s.sockets)+len("/.s.PGSQL.65535") > 100 { // sun_path has 104 bytes on macOS, 108 on Linux
		short, err := os.MkdirTemp("", "pg")
		if err != nil {
			return err
		}
		s.sockets = short
	} else if err := os.Mkdir(s.sockets, 0o700); err != nil {
		return err
	}
	if s.bin.user == nil {
		return nil
	}
	own := func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(s.bin.user.UID), int(s.bin.user.GID))
	}
	return errors.Join(filepath.WalkDir(data, own), filepath.WalkDir(s.sockets, own))
}

// serve starts the server process.
func (s *Postgres) serve(settings map[string]string) error {
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{s.bin.path("postgres"), "-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port),
		"-h", "127.0.0.1", "-k", s.sockets}
	all := map[string]string{}
	for _, m := range []map[string]string{fastSettings, settings} {
		for name, value := range m {
			all[name] = value
		}
	}
	for name, value := range all {
		args = append(args, "-c", name+"="+value)
	}
	s.process, err = process.Start(context.Background(), process.Spec{
		Args: args, Dir: s.dir, Env: s.bin.env(), Credential: s.bin.user, Stdout: log, Stderr: log,
		StopSignal: syscall.SIGQUIT, // end at once, but give shared memory back: the data is removed next
	})
	return err
}

var errPortTaken = errors.New("its port was taken meanwhile")

// ready waits until the server answers, and gives it its password.
func (s *Postgres) ready(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s dbname=postgres sslmode=disable", s.sockets, s.port, superuser))
		if err == nil {
			_, err = conn.Exec(ctx, "ALTER ROLE "+superuser+" PASSWORD '"+s.password+"'")
			conn.Close(ctx)
		}
		if err == nil {
			if conn, err = pgx.Connect(ctx, s.URL("postgres")); err == nil {
				return conn.Close(ctx)
			}
		}
		select {
		case <-s.process.Done():
			text := s.logTail()
			if strings.Contains(text, "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("it ended: %w\n%s", s.process.Wait(), text)
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w: %w\n%s", context.Cause(ctx), err, s.logTail())
		case <-time.After(readyInterval):
		}
	}
}

// URL is the connection string of a database.
func (s *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes an empty database and returns its URL.
func (s *Postgres) CreateDatabase(ctx context.Context, name string) (string, error) {
	if err := s.exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return s.URL(name), nil
}

// DropDatabase removes a database and ends the connections to it.
func (s *Postgres) DropDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

func (s *Postgres) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

// Done is closed when the server has ended.
func (s *Postgres) Done() <-chan struct{} { return s.process.Done() }

// Close stops the server and removes its data.
func (s *Postgres) Close() error {
	var err error
	if s.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*stopPatience)
		defer cancel()
		err = s.process.Stop(ctx, stopPatience)
	}
	removeTree(filepath.Join(s.dir, "data"))
	if s.sockets != "" {
		removeTree(s.sockets)
	}
	_ = os.Remove(s.logFile())
	_ = os.Remove(s.dir)
	if s.scratch != nil {
		err = errors.Join(err, s.scratch.close())
	}
	return err
}

func (s *Postgres) logFile() string { return filepath.Join(s.dir, "server.log") }

func (s *Postgres) logTail() string { return tail(s.logFile()) }

// tail is the end of a log file.
func tail(file string) string {
	const most = 4 << 10
	data, _ := os.ReadFile(file)
	if len(data) > most {
		data = slices.Concat([]byte("…"), data[len(data)-most:])
	}
	return strings.TrimSpace(string(data))
}
