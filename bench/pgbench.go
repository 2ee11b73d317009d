package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/process"
)

// What pgbench does beside a migration: so many transactions a second of so many clients, whether or not the ones before
// have been answered. Two processors have time for ten times that.
const (
	clients = 4
	rate    = 100
	// warm is for how long it does that before anything is measured, drained for how long after, so that those who have
	// come meanwhile are served.
	warm    = 2 * time.Second
	drained = 3 * time.Second
)

// pgbenchScript is one transaction of an application: it reads a row and changes another.
const pgbenchScript = `\set one random(%[1]d, %[2]d)
\set other random(%[1]d, %[2]d)
BEGIN;
SELECT balance FROM public.accounts WHERE id = :one;
UPDATE public.accounts SET balance = balance + 1 WHERE id = :other;
COMMIT;
`

// load is a pgbench that runs.
type load struct {
	dir     string
	said    bytes.Buffer
	process *process.Process
}

func startLoad(ctx context.Context, address string, rows int) (l *load, err error) {
	l = &load{}
	if l.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_, _ = l.stop()
		}
	}()
	script := filepath.Join(l.dir, "script")
	if err := os.WriteFile(script, fmt.Appendf(nil, pgbenchScript, probeRows+1, rows), 0o644); err != nil {
		return nil, err
	}
	spec, err := tool(address, &l.said, "pgbench", "--no-vacuum", "--client", fmt.Sprint(clients), "--jobs", "1", "--rate", fmt.Sprint(rate),
		"--time", "3600", "--log", "--log-prefix", filepath.Join(l.dir, "log"), "--file", script)
	if err != nil {
		return nil, err
	}
	spec.StopSignal = syscall.SIGALRM // by which it ends itself when its time is over, and writes the rest of its log
	if l.process, err = process.Start(ctx, spec); err != nil {
		return nil, err
	}
	return l, pg.Pause(ctx, warm)
}

// stop ends pgbench and returns how long its transactions took, from when each was to begin.
func (l *load) stop() ([]wait, error) {
	defer os.RemoveAll(l.dir)
	if l.process == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.process.Stop(ctx, 30*time.Second); err != nil {
		return nil, err
	}
	if err := l.process.Wait(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &l.said)
	}
	logs, _ := filepath.Glob(filepath.Join(l.dir, "log.*"))
	if len(logs) != 1 {
		return nil, fmt.Errorf("pgbench wrote %d logs\n%s", len(logs), &l.said)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		return nil, err
	}
	return readLog(string(text))
}

// readLog reads pgbench's log of transactions: client, number, microseconds that it took from when it was to begin, script,
// seconds and microseconds of the clock when it ended, microseconds that it began too late (PostgreSQL 15, pgbench,
// "Per-Transaction Logging").
func readLog(text string) ([]wait, error) {
	var waits []wait
	for line := range strings.Lines(text) {
		var client, number, took, script, seconds, micros, lag int64
		if n, err := fmt.Sscan(line, &client, &number, &took, &script, &seconds, &micros, &lag); n != 7 {
			return nil, fmt.Errorf("pgbench's log: %q: %w", line, err)
		}
		end := time.Unix(seconds, micros*1000)
		waits = append(waits, wait{end.Add(-time.Duration(took) * time.Microsecond), end})
	}
	if len(waits) == 0 {
		return nil, errors.New("pgbench has done nothing")
	}
	return waits, nil
}
