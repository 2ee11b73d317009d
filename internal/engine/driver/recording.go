package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/migrations/corpus"
)

// A step's PostgreSQL records the statements that are sent to it. The step's container has no client of PostgreSQL's, and
// the server ends with the step. So Script sends the server bytes that were prepared in PostgreSQL's own protocol (a
// question), and leaves the bytes that come back for Read: they are part of what the step left, and so of the engine's cache.

// Access is the pg_hba.conf of a step's PostgreSQL. What is prepared can send a password only as it is; so that is taken for
// the database that no step is given. For all others "md5" means SCRAM, or MD5 where the server stores that by default
// (PostgreSQL 13).
const Access = `local all all trust
host postgres postgres all password
host all all all md5
`

// record asks for what was sent to any database of the server, which is the step's own, as corpus reads it. The extension is
// made in another database than the application's, whose schema it is no part of. What functions send is left out, for that
// is part of the schema. PostgreSQL 13 has no column toplevel, hence to_jsonb. A text is NULL where the server has lost it.
const record = `SET pg_stat_statements.track = 'none';
CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public;
SELECT coalesce(json_agg(statements), '[]') FROM (
	SELECT coalesce(s.query, '` + corpus.Hidden + `') AS sql, sum(s.calls)::bigint AS calls, sum(s.rows)::bigint AS rows, 'tests' AS source
	FROM public.pg_stat_statements s
	WHERE (to_jsonb(s) ->> 'toplevel') IS DISTINCT FROM 'false' AND coalesce(s.query, '') NOT LIKE '%pg_stat_statements%'
	GROUP BY 1) statements`

// Question is the file of a question, of the database postgres to a server whose superuser has that password, as printf's %b
// reads it.
func Question(password string) (string, error) {
	startup := &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersionNumber,
		Parameters:      map[string]string{"user": "postgres", "database": "postgres", "client_encoding": "UTF8"},
	}
	var sent []byte
	var err error
	for _, message := range []pgproto3.FrontendMessage{
		startup, &pgproto3.PasswordMessage{Password: password}, &pgproto3.Query{String: record}, &pgproto3.Terminate{},
	} {
		if sent, err = message.Encode(sent); err != nil {
			return "", fmt.Errorf("prepare the question for the server: %w", err)
		}
	}
	var text strings.Builder
	for _, b := range sent {
		if b < ' ' || b == '\\' || b > '~' {
			fmt.Fprintf(&text, `\0%03o`, b)
		} else {
			text.WriteByte(b)
		}
	}
	return text.String(), nil
}

// QuestionFile is where Script finds the question for the nth PostgreSQL of a step, from 1.
func QuestionFile(n int) string { return fmt.Sprintf("%s-question-%d", Program, n) }

// Host is what a service is called in a step's container.
func Host(s ci.Service) string { return strings.ReplaceAll(strings.ToLower(s.Env), "_", "-") }

// servers are the PostgreSQL servers of a step.
func servers(step ci.Step) []ci.Service {
	var found []ci.Service
	for _, s := range step.Services {
		if s.Kind == ci.Postgres {
			found = append(found, s)
		}
	}
	return found
}

// recordings are the statements that a step has sent to its servers, as reports. That they could not be had is told in the
// log, and is no failure of the step.
func (o *Outcome) recordings(files fs.FS, step ci.Step, redact func([]byte) []byte) {
	for i, s := range servers(step) {
		data, err := recording(files, i+1)
		if err != nil {
			o.note("the statements of the step could not be read: %s", redact([]byte(err.Error())))
			continue
		}
		o.Reports = append(o.Reports, ci.ReportFile{Report: ci.Report{Format: ci.Statements, Path: s.Env}, Data: redact(data)})
	}
}

// recording reads the answer of the nth server.
func recording(files fs.FS, n int) ([]byte, error) {
	said, err := fs.ReadFile(files, fmt.Sprintf("statements-%d", n))
	if err != nil {
		return nil, err
	}
	answer, err := answered(said)
	if err != nil {
		if why, _ := fs.ReadFile(files, fmt.Sprintf("statements-%d-why", n)); len(why) > 0 {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(why))
		}
		return nil, err
	}
	list, err := corpus.Decode(bytes.NewReader(answer))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = corpus.Encode(&text, list)
	return text.Bytes(), err
}

// mostSaid bounds an answer, as the script does.
const mostSaid = 64 << 20

// answered is the one value in what a server has said.
func answered(said []byte) ([]byte, error) {
	server := pgproto3.NewFrontend(bytes.NewReader(said), io.Discard)
	server.SetMaxBodyLen(mostSaid)
	var answer []byte
	for ready := 0; ready < 2; { // for the question, and for another one
		message, err := server.Receive()
		if err != nil {
			return nil, fmt.Errorf("the answer of the server is not whole: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			return nil, fmt.Errorf("the server says: %s (SQLSTATE %s)", m.Message, m.Code)
		case *pgproto3.DataRow:
			if len(m.Values) == 1 {
				answer = bytes.Clone(m.Values[0])
			}
		case *pgproto3.ReadyForQuery:
			ready++
		}
	}
	if answer == nil {
		return nil, errors.New("the server has answered with nothing")
	}
	return answer, nil
}
