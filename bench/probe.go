package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// probeEvery is the pause between two questions of a probe.
const probeEvery = 2 * time.Millisecond

// probeRows are the first rows of the table, which nobody else changes: a probe waits for the table, never for a row.
const probeRows = 100

// probes read and write a row of the table again and again, and note how long each took. What is written is rolled back, so
// that nobody waits for the disk: what is left is the lock, and the wait for a processor.
type probes struct {
	ended        chan struct{}
	group        sync.WaitGroup
	mu           sync.Mutex
	err          error
	reads, write []wait
}

// startProbes connects before it returns.
func startProbes(ctx context.Context, address string) (*probes, error) {
	p := &probes{ended: make(chan struct{})}
	for _, probe := range []struct {
		sql  string
		list *[]wait
	}{
		{"SELECT owner FROM public.accounts WHERE id = %d", &p.reads},
		{"BEGIN; UPDATE public.accounts SET balance = balance + 1 WHERE id = %d; ROLLBACK", &p.write},
	} {
		conn, err := pg.ConnectAs(ctx, address, "bench-probe")
		if err != nil {
			_, _, _ = p.stop()
			return nil, err
		}
		p.group.Go(func() {
			defer pg.HangUp(ctx, conn)
			if err := p.run(ctx, conn, probe.sql, probe.list); err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
			}
		})
	}
	return p, nil
}

func (p *probes) run(ctx context.Context, conn *pgx.Conn, sql string, list *[]wait) error {
	for i := 1; ; i = i%probeRows + 1 {
		w := wait{start: time.Now()}
		if _, err := conn.Exec(ctx, fmt.Sprintf(sql, i), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("probe: %w", pg.Ended(ctx, err))
		}
		w.end = time.Now()
		*list = append(*list, w)
		select {
		case <-p.ended:
			return nil
		case <-time.After(probeEvery):
		}
	}
}

// stop lets the probes get the answers that they are waiting for.
func (p *probes) stop() (reads, writes []wait, err error) {
	close(p.ended)
	p.group.Wait()
	return p.reads, p.write, p.err
}
