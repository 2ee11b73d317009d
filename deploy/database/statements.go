package database

import (
	"context"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/folder"
)

// recorded are the statements that the server has recorded of this database, but for those of the migrations themselves.
// Where the database cannot read them, the server's own may: the record is one for all. Where there is none, that is told,
// and nothing is known. The second result is how often the server dropped the least called ones.
func (s *Stage) recorded(ctx context.Context, conn *pgx.Conn, source *folder.Source) ([]corpus.Statement, int64, error) {
	list, err := record(ctx, conn)
	if errors.Is(err, corpus.ErrNotInstalled) {
		if own, failed := pg.OnDatabase(s.URL, "postgres"); failed == nil {
			if server, failed := pg.Connect(ctx, own); failed == nil {
				defer pg.HangUp(ctx, server)
				list, err = record(ctx, server, conn.Config().Database)
			}
		}
	}
	switch {
	case errors.Is(err, corpus.ErrNotLoaded), errors.Is(err, corpus.ErrNotInstalled):
		if !s.Made { // nobody has ever sent anything to one that was made: the report says what to do
			s.notice("nothing is known of what the running release sends: %s", err)
		}
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	sql, err := texts(source)
	if err != nil {
		return nil, 0, err
	}
	return corpus.Without(list.statements, sql), list.forgotten, nil
}

// recording is what a server has recorded.
type recording struct {
	statements []corpus.Statement
	forgotten  int64 // times that the least called statements made room
}

func record(ctx context.Context, conn *pgx.Conn, databases ...string) (r recording, err error) {
	if r.statements, err = corpus.Read(ctx, conn, "database", databases...); err != nil {
		return r, err
	}
	r.forgotten, err = corpus.Forgotten(ctx, conn)
	return r, err
}

// texts are the statements of all scripts of a folder.
func texts(source *folder.Source) ([]string, error) {
	var list []string
	for _, m := range source.Migrations() {
		for _, way := range []folder.Way{folder.Up, folder.Down, folder.Verify} {
			s, err := source.Script(m, way)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for i := range s.Statements {
				list = append(list, s.SQL(i))
			}
		}
	}
	return list, nil
}
