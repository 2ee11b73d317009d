package runnertest

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/migrations/corpus"
)

// knock connects to the server of a URL, sends a text and prints the first byte of the answer, without a client library.
const knock = `node -e '
const u = new URL(process.argv[1]);
const s = require("net").connect(+u.port, u.hostname, () => s.write(Buffer.from(process.argv[2], "hex")));
s.on("data", d => { console.log(d.toString("latin1")[0]); process.exit(0); });
s.on("error", e => { console.error(e.message); process.exit(1); });
s.setTimeout(10000, () => process.exit(2));
' `

// psql is a tool that has PostgreSQL's own client.
var psql = ci.Tool{Name: "psql", Image: ci.NodeImage, Programs: []string{"psql"}, Packages: []string{"postgresql-client"}}

// What servers are asked: whether TLS is spoken, and PING.
const (
	sslRequest = "0000000804d2162f"
	ping       = "50494e470d0a"
)

// services is about servers.
var services = map[string]func(*testing.T, NewRunner){
	"servers are there when a step asks for them": func(t *testing.T, newRunner NewRunner) {
		step := shell("integration", `echo "${DATABASE_URL%%:*} ${REDIS_URL%%:*}"; `+knock+`"$DATABASE_URL" `+sslRequest+` && `+knock+`"$REDIS_URL" `+ping)
		step.Services = []ci.Service{{Kind: ci.Postgres, Version: "17", Env: "DATABASE_URL"}, {Kind: ci.Redis, Version: "8", Env: "REDIS_URL"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "postgres redis\nN\n+\n", string(result.Log), "PostgreSQL says no to TLS, Redis answers PONG")
	},
	"each step has servers of its own": func(t *testing.T, newRunner NewRunner) {
		redis := func(name, command string) ci.Step {
			step := shell(name, `node -e '
const u = new URL(process.env.REDIS_URL);
const s = require("net").connect(+u.port, u.hostname, () => s.write(process.argv[1] + "\r\n"));
s.on("data", d => { console.log(d.toString().trim()); process.exit(0); });' "`+command+`"`)
			step.Services = []ci.Service{{Kind: ci.Redis, Env: "REDIS_URL"}}
			return step
		}
		results := run(t, newRunner(t, nil), redis("one", "INCR n"), redis("two", "INCR n"), redis("three", "INCR n"))
		for _, result := range results {
			requireStatus(t, ci.Passed, result)
			assert.Equal(t, ":1\n", string(result.Log))
		}
	},
	"statements that a step sends to PostgreSQL are recorded": func(t *testing.T, newRunner NewRunner) {
		step := shell("integration", `psql -qAt -d "$DATABASE_URL" -c "CREATE TABLE t (a text); INSERT INTO t VALUES ('`+rand.Text()+`'); SELECT count(*) FROM t"`)
		step.Tool = psql
		step.Services = []ci.Service{{Kind: ci.Redis, Env: "REDIS_URL"}, {Kind: ci.Postgres, Env: "DATABASE_URL"}}
		first := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Passed, first)
		assert.Equal(t, "1\n", string(first.Log))
		require.Len(t, first.Reports, 1)
		assert.Equal(t, ci.Report{Format: ci.Statements, Path: "DATABASE_URL"}, first.Reports[0].Report)
		list, err := corpus.Decode(bytes.NewReader(first.Reports[0].Data))
		require.NoError(t, err)
		assert.Equal(t, []corpus.Statement{
			{SQL: "INSERT INTO t VALUES ($1)", Calls: 1, Rows: 1, Source: "tests"},
			{SQL: "SELECT count(*) FROM t", Calls: 1, Rows: 1, Source: "tests"},
		}, list)
		again := run(t, newRunner(t, nil), step)[0]
		assert.True(t, again.Cached)
		assert.Equal(t, first.Reports, again.Reports, "also those of a step that is not run again")
	},
	"an unknown service breaks its step": func(t *testing.T, newRunner NewRunner) {
		step := shell("integration", "true")
		step.Services = []ci.Service{{Kind: "oracle", Env: "ORACLE_URL"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Broken, result)
		assert.ErrorContains(t, result.Err, "oracle")
	},
}
