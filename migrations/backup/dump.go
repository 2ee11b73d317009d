package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/catalog"
)

// sink is the file of a backup while it is written. It remembers why it could not be: the tool that writes to it knows of a
// broken pipe alone.
type sink struct {
	w   io.Writer
	sum hash.Hash // nil where nobody asks for it
	n   int64
	err error
}

func (s *sink) Write(data []byte) (int, error) {
	n, err := s.w.Write(data)
	if s.sum != nil {
		s.sum.Write(data[:n])
	}
	s.n += int64(n)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// readers bounds the sessions that count the original: it is at work, and the dump takes longer than they do.
const readers = 2

// dump writes the file, and reads what its copy must have from the same snapshot meanwhile.
func (m *maker) dump(ctx context.Context) (err error) {
	b, o := m.backup, m.options
	// The log's position comes before the snapshot: whatever is not in the dump was written after it.
	if err := m.where(ctx); err != nil {
		return err
	}
	s, err := takeSnapshot(ctx, o.URL, min(o.Jobs, readers))
	if err != nil {
		return err
	}
	defer s.close(ctx)
	before, err := sequences(ctx, s.conns[0])
	if err != nil {
		return err
	}
	need := s.tableBytes(ctx)
	name := filepath.Join(m.work.path, filePrefix+b.ID+fileSuffix)
	if o.Dir != "" {
		name = filepath.Join(o.Dir, filepath.Base(name))
	}
	if len(m.key.names) > 0 {
		name += encrypted
	}
	file, err := newPart(name)
	if err != nil {
		return fmt.Errorf("make file for backup: %w", err)
	}
	m.unfinished = file
	out := &sink{w: file, sum: sha256.New()}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dumped := make(chan error, 1)
	go func() {
		err := m.pour(ctx, s.id, out)
		if err != nil {
			cancel(err)
		}
		dumped <- err
	}()
	err = m.read(ctx, s)
	if err != nil {
		cancel(err)
	}
	if err := errors.Join(<-dumped, err); err != nil {
		return full(context.Cause(ctx), filepath.Dir(name), out.n, need) // the first of the two, not what it did to the other
	}
	after, err := sequences(ctx, s.conns[0])
	if err != nil {
		return err
	}
	for name, value := range before {
		if later, there := after[name]; there {
			b.Sequences = append(b.Sequences, Sequence{name, value, later})
		}
	}
	slices.SortFunc(b.Sequences, func(a, b Sequence) int { return cmp.Compare(a.Sequence, b.Sequence) })
	b.Bytes, b.SHA256 = out.n, hex.EncodeToString(out.sum.Sum(nil))
	m.ladder.file = name
	m.unfinished = nil
	if err := file.finish(); err != nil {
		return full(fmt.Errorf("write backup: %w", err), filepath.Dir(name), out.n, need)
	}
	if o.Dir == "" {
		return nil
	}
	b.File = name
	return m.write()
}

// where reads the position of the server's log.
func (m *maker) where(ctx context.Context) error {
	conn, err := pg.Connect(ctx, m.options.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	m.backup.LSN, err = position(ctx, conn)
	return err
}

// pour dumps into the file.
func (m *maker) pour(ctx context.Context, snapshot string, out *sink) error {
	w, err := m.key.encrypt(out)
	if err != nil {
		return err
	}
	err = m.options.Dumper.Dump(ctx, m.options.URL, snapshot, w)
	if err == nil {
		err = w.Close()
	}
	switch {
	case out.err != nil:
		return fmt.Errorf("write backup: %w", out.err)
	case err != nil:
		return fmt.Errorf("dump database: %w", pg.Ended(ctx, err))
	}
	return nil
}

// read reads the schema, and counts and sums the tables.
func (m *maker) read(ctx context.Context, s *snapshot) (err error) {
	if m.ladder.schema, err = catalog.Read(ctx, s.conns[0]); err != nil {
		return err
	}
	tables, err := s.count(ctx)
	if err == nil {
		m.backup.Tables = tables
	}
	return err
}
