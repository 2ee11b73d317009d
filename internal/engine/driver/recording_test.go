package driver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/internal/redact"
	"github.com/metaextract/pipeline/migrations/corpus"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// database is a service of steps.
var database = ci.Service{Kind: ci.Postgres, Env: "DATABASE_URL"}

// recordingServer is a server that lets in whom a step's server lets in.
func recordingServer(t *testing.T, settings map[string]string) *pgtest.Cluster {
	access := filepath.Join(t.TempDir(), "pg_hba.conf")
	require.NoError(t, os.WriteFile(access, []byte(Access), 0o644))
	for dir := filepath.Dir(access); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755)) // the server is another user
	}
	all := map[string]string{"hba_file": access}
	for name, value := range settings {
		all[name] = value
	}
	return pgtest.Start(t, all)
}

// sent runs a step that sends SQL to a server, and reads what it left.
func sent(t *testing.T, port int, password, sql string) Outcome {
	t.Helper()
	question, err := Question(password)
	require.NoError(t, err)
	home := t.TempDir()
	script, out := filepath.Join(home, "step"), filepath.Join(home, "out")
	require.NoError(t, os.WriteFile(script, []byte(Script), 0o755))
	require.NoError(t, os.WriteFile(script+strings.TrimPrefix(QuestionFile(1), Program), []byte(question), 0o600))
	address := fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/application?sslmode=disable", strings.ReplaceAll(pgtest.Password, "%", "%25"), port)
	step := ci.Step{Run: [][]string{{pgtest.Binary(t, "psql"), "-qAt", "-d", address, "-c", sql}}, Services: []ci.Service{{Kind: ci.Redis, Env: "REDIS_URL"}, database}}
	arguments, err := Arguments(step, "")
	require.NoError(t, err)
	for i, a := range arguments {
		arguments[i] = strings.Replace(a, "database-url/5432", fmt.Sprintf("127.0.0.1/%d", port), 1)
	}
	command := exec.CommandContext(t.Context(), "sh", append([]string{script, "--dir", home}, arguments[1:]...)...)
	command.Env = append(os.Environ(), "PIPELINE_OUT="+out)
	printed, err := command.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	secrets := redact.Of(password)
	outcome, err := Read(os.DirFS(out), step, secrets.Bytes)
	require.NoError(t, err, "%s", printed)
	return outcome
}

func TestStatementsThatAStepSendsAreRecorded(t *testing.T) {
	server := recordingServer(t, nil)
	pgtest.Exec(t, server.URL, "CREATE DATABASE application")
	got := sent(t, server.Port, pgtest.Password, `CREATE TABLE "Odd ""t" (a text); INSERT INTO "Odd ""t" VALUES ('it''s'), ('é\n');
		SELECT count(*) FROM "Odd ""t" WHERE a = 'it''s'; SELECT a FROM pg_extension, "Odd ""t" WHERE extname = 'pg_stat_statements'`)
	assert.Equal(t, "1\n", string(got.Log), "the extension is no part of the application's schema")
	require.Len(t, got.Reports, 1)
	assert.Equal(t, ci.Report{Format: ci.Statements, Path: "DATABASE_URL"}, got.Reports[0].Report)
	list, err := corpus.Decode(bytes.NewReader(got.Reports[0].Data))
	require.NoError(t, err)
	assert.Equal(t, []corpus.Statement{
		{SQL: `INSERT INTO "Odd ""t" VALUES ($1), ($2)`, Calls: 1, Rows: 2, Source: "tests"},
		{SQL: `SELECT a FROM pg_extension, "Odd ""t" WHERE extname = $1`, Calls: 1, Source: "tests"},
		{SQL: `SELECT count(*) FROM "Odd ""t" WHERE a = $1`, Calls: 1, Rows: 1, Source: "tests"},
	}, list)

	again := sent(t, server.Port, pgtest.Password, "SELECT 1")
	assert.Contains(t, string(again.Reports[0].Data), "SELECT $1", "a second question is answered, too")
	assert.NotContains(t, string(again.Reports[0].Data), "pg_stat_statements", "questions are not what the step sends")
}

func TestServerOfAStepAsksForItsPassword(t *testing.T) {
	server := recordingServer(t, nil)
	pgtest.Exec(t, server.URL, "CREATE DATABASE application")
	for _, name := range []string{"application", "postgres"} {
		_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:wrong@127.0.0.1:%d/%s?sslmode=disable", server.Port, name))
		assert.ErrorContains(t, err, "password authentication failed", name)
	}
}

func TestStepWithoutARecordPassesAndSaysWhy(t *testing.T) {
	server := recordingServer(t, map[string]string{"shared_preload_libraries": ""})
	pgtest.Exec(t, server.URL, "CREATE DATABASE application")
	for want, password := range map[string]string{
		"pg_stat_statements must be loaded via": pgtest.Password,
		"password authentication failed":        "wrong",
	} {
		got := sent(t, server.Port, password, "SELECT 1")
		assert.Equal(t, ci.Passed, got.Status)
		assert.Empty(t, got.Reports)
		assert.Contains(t, string(got.Log), "1\npipeline: the statements of the step could not be read: ")
		assert.Contains(t, string(got.Log), want)
	}
}

func TestAnswerThatIsNoneIsNoReport(t *testing.T) {
	step := ci.Step{Services: []ci.Service{database}}
	row := func(values ...[]byte) string { return encoded(t, &pgproto3.DataRow{Values: values}) }
	ready := encoded(t, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for name, c := range map[string]struct{ said, why, want string }{
		"no program":         {"", "timeout: failed to run command 'bash': No such file or directory", "bash"},
		"no server":          {"", "bash: connect: Connection refused\n", "Connection refused"},
		"too slow":           {ready, "it took longer than 10 seconds", "10 seconds"},
		"ends early":         {ready + row([]byte("[")), "", "not whole"},
		"nothing":            {ready + ready, "", "with nothing"},
		"null":               {ready + row(nil) + ready, "", "with nothing"},
		"no statements":      {ready + row([]byte(`{"a": 'hunter22'}`)) + ready, "", "JSON"},
		"not its protocol":   {"HTTP/1.1 400 Bad Request\r\n", "", "not whole"},
		"says no":            {encoded(t, &pgproto3.ErrorResponse{Message: "no pg_hba.conf entry", Code: "28000"}), "", "no pg_hba.conf entry (SQLSTATE 28000)"},
		"larger than a file": {"D\x7f\xff\xff\xff", "", "not whole"},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{
				"began": {Data: []byte("1")}, "status": {Data: []byte("passed")}, "log": {Data: []byte("ok")},
				"statements-1": {Data: []byte(c.said)}, "statements-1-why": {Data: []byte(c.why)},
			}
			secrets := redact.Of("hunter22")
			got, err := Read(files, step, secrets.Bytes)
			require.NoError(t, err)
			assert.Empty(t, got.Reports)
			assert.Regexp(t, `^ok\npipeline: the statements of the step could not be read: .+\n$`, string(got.Log))
			assert.Contains(t, string(got.Log), c.want)
		})
	}
}

func encoded(t testing.TB, message pgproto3.BackendMessage) string {
	t.Helper()
	data, err := message.Encode(nil)
	require.NoError(t, err)
	return string(data)
}

func FuzzAnswered(f *testing.F) {
	ready := encoded(f, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	row := encoded(f, &pgproto3.DataRow{Values: [][]byte{[]byte("[]")}})
	f.Add([]byte(ready + row + ready))
	f.Add([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00"))
	f.Add([]byte("D\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, said []byte) {
		answer, err := answered(said)
		assert.True(t, err != nil || bytes.Contains(said, answer), "what it answers is in what was said")
	})
}
