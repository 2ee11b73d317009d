package backfill

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

// The variables by which this test program is a child that runs a backfill and nothing else.
const (
	childURL  = "BACKFILL_CHILD_URL"
	childText = "BACKFILL_CHILD_TEXT"
)

func child() bool {
	address := os.Getenv(childURL)
	if address == "" {
		return false
	}
	s, err := script.Parse("m/7_fill.up.sql", os.Getenv(childText))
	if err == nil {
		var conn *pgx.Conn
		if conn, err = pg.Connect(context.Background(), address); err == nil {
			_, err = Run(context.Background(), conn, Options{Schema: "public", Version: version, Name: "fill", Script: s, URL: address,
				MaxBlocked: time.Hour}) // so that no second session adds messages
			_ = conn.Close(context.Background())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// proxy forwards PostgreSQL's messages in both directions, one by one, and calls kill instead of forwarding one of them.
type proxy struct {
	listener net.Listener
	server   string

	mu   sync.Mutex
	seen int
	at   int // which message, from 1; 0 for none
	kill func()
}

func newProxy(t *testing.T, address string) (p *proxy, through string) {
	u, err := url.Parse(address)
	require.NoError(t, err)
	p = &proxy{server: u.Host}
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.listener.Close() })
	go func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	u.Host = p.listener.Addr().String()
	return p, pgtest.Named(u.String(), "killed")
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	closeBoth := func() { _, _ = client.Close(), server.Close() }
	go func() {
		defer closeBoth()
		p.pump(server, client, 0)
	}()
	defer closeBoth()
	p.pump(client, server, 1)
}

// pump forwards messages: a byte for its kind, which the first one of a client lacks, and its length.
func (p *proxy) pump(to io.Writer, from io.Reader, kind int) {
	for ; ; kind = 1 {
		head := make([]byte, kind+4)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		message := make([]byte, kind+int(binary.BigEndian.Uint32(head[kind:])))
		copy(message, head)
		if _, err := io.ReadFull(from, message[len(head):]); err != nil || !p.pass() {
			return
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

// pass counts a message and says whether to forward it.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	if p.seen == p.at {
		p.kill()
	}
	return p.at == 0 || p.seen < p.at
}

// run runs the child and kills it at a message. It returns how many messages there were, and whether the child lived.
func (p *proxy) run(t *testing.T, through, text string, at int) (messages int, lived bool) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childURL+"="+through, childText+"="+text)
	c.Stderr = os.Stderr
	p.mu.Lock()
	p.seen, p.at, p.kill = 0, at, func() { _ = c.Process.Kill() }
	err := c.Start()
	p.mu.Unlock()
	require.NoError(t, err)
	err = c.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen < at || at == 0 {
		require.NoError(t, err)
		return p.seen, true
	}
	return p.seen, false
}

// exhaustive is the variable by which the child is killed at every message, which takes five minutes, instead of at every
// 23rd: a prime number, so that it meets another message of each batch.
const exhaustive = "PIPELINE_TEST_EXHAUSTIVE"

// A child process runs a backfill and is killed at its first message, in another attempt at a later one, and so on up to
// the last one. Whatever was committed by then, the progress says as much, and the next run does the rest and nothing twice.
func TestKilledAtAnyMessageTheNextRunGoesOn(t *testing.T) {
	step := 23
	if os.Getenv(exhaustive) != "" {
		step = 1
	}
	for _, tt := range []struct {
		name, text string
		rows       int
		batches    int64
	}{
		{"in one pass of twenty batches", "-- deploy: backfill t by k batch 1\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2", 155, 20},
		{"in two passes of three batches", "-- deploy: backfill t by k batch 1\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2 AND n = 0", 6, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL)")
			admin := connect(t, address)
			p, through := newProxy(t, address)
			reset := func() {
				_, err := admin.Exec(context.Background(), fmt.Sprintf("DROP TABLE IF EXISTS deploy_backfills; TRUNCATE t; INSERT INTO t SELECT g, 0 FROM generate_series(1, %d) g", tt.rows), pgtest.Simply)
				require.NoError(t, err)
			}
			value := func(query string) (n int64) {
				require.NoError(t, admin.QueryRow(context.Background(), query).Scan(&n))
				return n
			}
			reset()
			messages, lived := p.run(t, through, tt.text, 0)
			require.True(t, lived)
			require.Equal(t, tt.batches, listed(t, address).Batches)
			states := map[State]int{}
			for at := 1; at <= messages; at += step {
				reset()
				if _, lived = p.run(t, through, tt.text, at); lived {
					continue // it said goodbye in fewer messages this time
				}
				for value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed'") > 0 {
					continue // the server has not noticed yet
				}
				list, err := List(context.Background(), admin, "public")
				require.NoError(t, err)
				done := value("SELECT sum(n)::bigint FROM t")
				if len(list) == 0 {
					require.Zero(t, done, "killed at message %d", at)
				} else {
					require.Equal(t, done, list[0].Done, "killed at message %d", at)
					require.Contains(t, []State{Interrupted, Done}, list[0].State)
					states[list[0].State]++
				}
				o := options(t, address, tt.text)
				progress, err := Run(context.Background(), admin, o)
				require.NoError(t, err, "killed at message %d", at)
				require.Zero(t, value("SELECT count(*) FROM t WHERE n <> 1"), "killed at message %d", at)
				require.Equal(t, int64(tt.rows), progress.Done, "killed at message %d", at)
			}
			require.Positive(t, states[Interrupted])
			require.Positive(t, states[Done], "also after the last commit")
			t.Logf("killed at every %d of %d messages: %v", step, messages, states)
		})
	}
}
