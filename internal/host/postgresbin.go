package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/metaextract/pipeline/internal/process"
)

// postgresDirs are where PostgreSQL's server programs are when they are not on PATH: Debian keeps each major version in a
// directory of its own, as do Red Hat and Homebrew.
var postgresDirs = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin",
	"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
}

// postgresBin is an installation of PostgreSQL.
type postgresBin struct {
	dir     string
	version string // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
	major   int
	user    *process.Credential // whom the server runs as, nil for the user of the pipeline
}

// The installations with a server, and those with client programs, are looked for once a process: each costs a program
// start.
var (
	servers = sync.OnceValue(func() []postgresBin { return listPostgres(context.Background(), "postgres", "initdb") })
	clients = sync.OnceValue(func() []postgresBin { return listPostgres(context.Background(), "pg_dump", "pg_restore") })
)

// findPostgres returns the newest PostgreSQL of this machine.
func findPostgres() (postgresBin, error) {
	all := servers()
	if len(all) == 0 {
		return postgresBin{}, missingProgram("postgres")
	}
	return all[0].forServer()
}

// findPostgresLike returns the PostgreSQL of this machine that is most like a server: of its major version, or else the
// oldest that is newer. An older one cannot hold what the server holds.
func findPostgresLike(major int) (postgresBin, error) {
	all := servers()
	if len(all) == 0 {
		return postgresBin{}, missingProgram("postgres")
	}
	for _, bin := range slices.Backward(all) { // the oldest first
		if bin.major >= major {
			return bin.forServer()
		}
	}
	return postgresBin{}, fmt.Errorf("PostgreSQL %d or newer is needed, and the newest on this machine is %d; %s",
		major, all[0].major, howToInstall(fmt.Sprintf("postgresql-%d", major)))
}

// forServer says whom the server runs as.
func (b postgresBin) forServer() (postgresBin, error) {
	bin := b
	if os.Getuid() != 0 {
		return bin, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			bin.user = &process.Credential{UID: uint32(uid), GID: uint32(gid)}
			return bin, nil
		}
	}
	return bin, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody; " +
		"run the pipeline as another user, or add one with: useradd --system postgres")
}

var postgresVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// listPostgres lists the installations of PostgreSQL that have a program and its companion, the newest first. The
// programs on PATH come last among equals: on Debian they are scripts that choose a version by the cluster they find.
func listPostgres(ctx context.Context, program, companion string) []postgresBin {
	var dirs []string
	if path, err := process.LookPath(program, "", os.Environ()); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range postgresDirs {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	slices.Sort(dirs)
	type ranked struct {
		postgresBin
		minor int
	}
	var list []ranked
	for _, dir := range slices.Compact(dirs) {
		if _, err := os.Stat(filepath.Join(dir, companion)); err != nil {
			continue
		}
		version := askVersion(ctx, filepath.Join(dir, program), "/", baseEnv())
		match := postgresVersion.FindStringSubmatch(version)
		if match == nil {
			continue
		}
		major, _ := strconv.Atoi(match[1])
		minor, _ := strconv.Atoi(match[2])
		list = append(list, ranked{postgresBin{dir: dir, version: version, major: major}, minor})
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		if a.major != b.major {
			return b.major - a.major
		}
		return b.minor - a.minor
	})
	bins := make([]postgresBin, len(list))
	for i, r := range list {
		bins[i] = r.postgresBin
	}
	return bins
}

func (b postgresBin) path(program string) string { return filepath.Join(b.dir, program) }

// env is the environment of the server's programs: none of the user's PG variables.
func (b postgresBin) env() []string {
	return []string{"PATH=" + b.dir + ":/usr/bin:/bin", "LANG=" + postgresLocale(), "LC_ALL=" + postgresLocale(), "TZ=UTC"}
}

// postgresLocale is the locale of new clusters. Debian has C.UTF-8 always, other systems may not.
func postgresLocale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "en_US.UTF-8"
}

// template returns a cluster of this version as initdb leaves it, which is made once: it takes a second, a copy a tenth.
func (b postgresBin) template(ctx context.Context, store *store) (string, error) {
	dir := filepath.Join(store.dir, "postgres", fileName(b.version))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	making, err := lock(ctx, store.lockFile("postgres-"+fileName(b.version)))
	if err != nil {
		return "", explain(err, store.dir)
	}
	defer making.remove()
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	scratch, err := newScratch() // the server's user cannot reach the cache
	if err != nil {
		return "", err
	}
	defer scratch.close()
	parent := filepath.Join(scratch.dir, "initdb")
	if err := os.Mkdir(parent, 0o700); err != nil {
		return "", explain(err, scratch.dir)
	}
	if b.user != nil {
		if err := os.Chown(parent, int(b.user.UID), int(b.user.GID)); err != nil {
			return "", err
		}
	}
	var out bytes.Buffer
	err = process.Run(ctx, process.Spec{
		Args: []string{b.path("initdb"), "--pgdata", filepath.Join(parent, "data"), "--username", superuser, "--no-sync",
			"--wal-segsize", "1", // every copy starts with one segment: 1 MB instead of 16
			"--encoding", "UTF8", "--locale", postgresLocale(), "--auth-local", "trust", "--auth-host", "scram-sha-256"},
		Dir: parent, Env: b.env(), Credential: b.user, Stdout: &out, Stderr: &out,
	})
	if err != nil {
		return "", explain(fmt.Errorf("initialise a cluster: %w\n%s", err, bytes.TrimSpace(out.Bytes())), scratch.dir)
	}
	temporary := dir + ".new"
	removeTree(temporary)
	if err = os.Mkdir(temporary, 0o700); err == nil {
		_, err = cloneTree(filepath.Join(parent, "data"), temporary)
	}
	if err == nil {
		removeTree(dir)
		err = os.Rename(temporary, dir)
	}
	if err != nil {
		removeTree(temporary)
		return "", explain(fmt.Errorf("keep the initialised cluster: %w", err), store.dir)
	}
	return dir, nil
}
