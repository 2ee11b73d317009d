package backup

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// owned is a database whose objects belong to roles, with properties of its own; its name is odd.
func owned(t testing.TB) string {
	server := pgtest.Start(t, map[string]string{"work_mem": "12MB", "random_page_cost": "1.25", "jit": "off", "wal_level": "logical"}).URL
	pgtest.Exec(t, server, `CREATE ROLE readers; CREATE ROLE keeper IN ROLE readers, pg_monitor; CREATE ROLE "Odd ""role" NOINHERIT BYPASSRLS; CREATE ROLE boss SUPERUSER`)
	pgtest.Exec(t, server, `CREATE DATABASE "Odd ""data" OWNER keeper`)
	pgtest.Exec(t, server, `ALTER DATABASE "Odd ""data" SET search_path = "$user", app, public; ALTER DATABASE "Odd ""data" SET app.secret = 'a=b';
		ALTER DATABASE "Odd ""data" SET default_transaction_read_only = on; ALTER ROLE keeper IN DATABASE "Odd ""data" SET statement_timeout = '7s';
		COMMENT ON DATABASE "Odd ""data" IS 'what''s kept'; GRANT TEMP ON DATABASE "Odd ""data" TO "Odd ""role" WITH GRANT OPTION`)
	address, err := pg.OnDatabase(server, `Odd "data`)
	require.NoError(t, err)
	pgtest.Exec(t, address, `SET default_transaction_read_only = off; COMMIT; CREATE SCHEMA app AUTHORIZATION keeper; SET ROLE keeper;
		CREATE TABLE app.t (id int PRIMARY KEY, who text CHECK (who IN ('a', 'b'))); INSERT INTO app.t SELECT g, 'a' FROM generate_series(1, 1000) g;
		CREATE TABLE app.v (c varchar(20) CHECK (c IN ('a', 'b')), f int CHECK (f BETWEEN 1 AND 5 AND f <> 3 OR f IS NULL));
		ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON app.t TO "Odd ""role" USING (who = 'a');
		GRANT SELECT ON app.t TO "Odd ""role" WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO "Odd ""role";
		RESET ROLE; CREATE FUNCTION app.refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no change''; END';
		CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA', 'CREATE EXTENSION') EXECUTE FUNCTION app.refuse(); SET session_replication_role = replica; COMMIT;
		ALTER EVENT TRIGGER refuse OWNER TO boss; CREATE TABLE secret AS SELECT 1 AS a; GRANT SELECT ON secret TO readers;
		CREATE MATERIALIZED VIEW app.seen AS TABLE secret; ALTER MATERIALIZED VIEW app.seen OWNER TO keeper`)
	return address
}

func TestCopyInAClusterIsLikeTheOriginal(t *testing.T) {
	address := owned(t)
	started := &clusters{TB: t}
	o := options(t, address)
	o.Scratch, o.Cluster, o.Keep = "", started, true
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	require.Len(t, backup.Notes, 1)
	assert.Regexp(t, "v_f_check.* is written in another way once it was restored, with the same meaning", backup.Notes[0])
	assert.Equal(t, []string{RungTool, RungServer, RungDump, RungFile, RungRestore, RungSchema, RungAmcheck, RungRows, RungSequences}, names(backup.Proof))
	assert.Equal(t, "logical", started.like.Settings["wal_level"])
	assert.Equal(t, "pg_stat_statements", started.like.Settings["shared_preload_libraries"])
	assert.NotEqual(t, strings.SplitN(address, "/", 4)[2], strings.SplitN(backup.Copy.URL, "/", 4)[2], "another server")

	for what, query := range map[string]string{
		"name": "current_database()", "role of a policy": "SELECT roles::text FROM pg_policies", "owner of a table": "SELECT tableowner FROM pg_tables WHERE tablename = 't'",
		"privileges": "SELECT relacl::text FROM pg_class WHERE relname = 't'", "default privileges": "SELECT defaclacl::text FROM pg_default_acl",
		"owner":                      "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
		"privileges of the database": "SELECT array_agg(a::text ORDER BY a::text) FROM pg_database, unnest(datacl) a WHERE datname = current_database()",
		"comment":                    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()",
		"settings": `SELECT array_agg(s.setrole::regrole || c ORDER BY s.setrole::regrole || c) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
			WHERE datname = current_database() AND c NOT SIMILAR TO '(work_mem|random_page_cost|jit|wal_level)=%'`,
		"roles":       "SELECT array_agg(row(rolname, rolsuper, rolinherit, rolbypassrls)::text ORDER BY rolname) FROM pg_roles",
		"members":     "SELECT array_agg(row(roleid::regrole, member::regrole)::text ORDER BY roleid::regrole::text, member::regrole::text) FROM pg_auth_members",
		"search path": "current_setting('search_path')", "a setting of its own": "current_setting('app.secret')", "work_mem": "current_setting('work_mem')",
		"random_page_cost": "current_setting('random_page_cost')", "jit": "current_setting('jit')", "extensions": "SELECT string_agg(extname, ',') FROM pg_extension",
		"schemas": "SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace",
	} {
		assert.Equal(t, pgtest.Value(t, address, query), pgtest.Value(t, backup.Copy.URL, query), what)
	}
	require.NoError(t, backup.Copy.Close(context.Background()))
	_, err = pg.Connect(context.Background(), backup.Copy.URL)
	assert.Error(t, err, "its server has ended")
}

func TestCopyOnAServerThatIsNamedLeavesItAsItWas(t *testing.T) {
	address := owned(t)
	o := options(t, address)
	o.Keep = true
	load := &Load{}
	o.Dumper = tools{TB: t, load: load}
	// Without its roles a policy cannot be restored, and they are not ours to make.
	_, err := Make(context.Background(), o)
	require.ErrorContains(t, err, `role "Odd "role" does not exist`)
	assert.NotErrorIs(t, err, ErrNotProven)
	assert.ErrorContains(t, err, "use a server to throw away")
	pgtest.Exec(t, address, `SET default_transaction_read_only = off; COMMIT; SET session_replication_role = replica; DROP POLICY mine ON app.t`)
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.False(t, load.Roles)
	assert.True(t, backup.Proven)
	assert.Equal(t, "1", scratchDatabases(t))
	assert.Equal(t, "1000", pgtest.Value(t, backup.Copy.URL, "SELECT count(*) FROM t"), "found on the search path of the original")
	assert.Equal(t, "0", pgtest.Value(t, pgtest.Server(t), "SELECT count(*) FROM pg_roles WHERE rolname = 'keeper'"))
	require.NoError(t, backup.Copy.Close(context.Background()))
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestProofIsRefusedWhereItCouldNotSucceed(t *testing.T) {
	address := pgtest.Database(t)
	from := func(change func(*origin)) error {
		conn := pgtest.Session(t, address)
		o, err := look(context.Background(), conn)
		require.NoError(t, err)
		change(o)
		s, err := openStage(context.Background(), nil, pgtest.Server(t), o)
		if err == nil {
			require.NoError(t, s.close(context.Background()))
		}
		return err
	}
	assert.NoError(t, from(func(*origin) {}))
	assert.ErrorContains(t, from(func(o *origin) { o.Version = Version{99, "99.1"} }), "older than the database's 99.1")
	assert.ErrorContains(t, from(func(o *origin) { o.Extensions["postgis"] = "3.3.2" }), "does not have the extensions of the database: postgis 3.3.2")
	assert.ErrorContains(t, from(func(o *origin) { o.Locale.Collate = "xx_XX.UTF-8" }), "the operating system of its server must have")
	assert.Equal(t, "0", scratchDatabases(t))

	_, err := Make(context.Background(), Options{URL: address, Dumper: tools{TB: t}})
	assert.ErrorContains(t, err, "no place for the proof", "never the database's own server unless it is named")
	o := options(t, address)
	o.Dumper = tools{TB: t, version: Version{12, "12.3"}}
	backup, err := Make(context.Background(), o)
	require.ErrorIs(t, err, ErrTool)
	assert.ErrorContains(t, err, "postgresql-client-")
	assert.Equal(t, []string{"tool failed"}, names(backup.Proof), "nothing else was tried")
}

func TestNewerServerForTheCopyIsNoted(t *testing.T) {
	address := pgtest.Database(t)
	o, err := look(context.Background(), pgtest.Session(t, address))
	require.NoError(t, err)
	o.Version.Major--
	o.Version.Full = "14.1"
	o.Settings["gone_since"] = "1"
	o.Start["max_locks_per_transaction"] = "77"
	o.Extensions["plpgsql"] = "0.9"
	s, err := openStage(context.Background(), nil, pgtest.Server(t), o)
	require.NoError(t, err)
	defer s.close(context.Background())
	text := strings.Join(s.notes, "\n")
	for _, says := range []string{"the database on 14.1", "no setting gone_since", "max_locks_per_transaction = 64, the database's 77", "extension plpgsql 1.0, the database 0.9"} {
		assert.Contains(t, text, says)
	}
}

func TestAmcheckIsSkippedWithoutSuperuser(t *testing.T) {
	address := pgtest.Database(t)
	role := "plain_" + name(address)
	pgtest.Exec(t, address, `CREATE ROLE `+role+` LOGIN CREATEDB PASSWORD '`+pgtest.Password+`'; CREATE TABLE t (id int); ALTER TABLE t OWNER TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	o := options(t, as(t, address, role))
	o.Scratch, o.RestorePoint = o.URL, PointName(7)
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	assert.Contains(t, names(backup.Proof), "amcheck skipped")
	assert.Nil(t, backup.RestorePoint)
	assert.Contains(t, strings.Join(backup.Notes, "\n"), "no restore point was made: permission denied")

	o.URL, o.Scratch = address, address
	backup, err = Make(context.Background(), o)
	require.NoError(t, err)
	assert.Equal(t, "pre_migration_7", backup.RestorePoint.Name)
	assert.Regexp(t, `^[0-9A-F]+/[0-9A-F]+$`, backup.RestorePoint.LSN)
}

func TestRestorePointsOfServersThatMakeNone(t *testing.T) {
	minimal := pgtest.Start(t, map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}).URL
	_, err := RestorePoint(context.Background(), pgtest.Session(t, minimal), "p")
	assert.ErrorIs(t, err, ErrNoRestorePoint)
	conn := pgtest.Session(t, pgtest.Server(t))
	_, err = RestorePoint(context.Background(), conn, strings.Repeat("n", 64))
	assert.ErrorIs(t, err, ErrNoRestorePoint)
	lsn, err := RestorePoint(context.Background(), conn, strings.Repeat("n", 63))
	require.NoError(t, err)
	assert.NotEmpty(t, lsn)
}
