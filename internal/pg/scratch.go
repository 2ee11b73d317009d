package pg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// scratchPrefix begins the name of every database made here. The session that made one is named like it and stays until
// it is dropped, so one without such a session was left by a process that was killed.
const scratchPrefix = "pipeline_scratch_"

// Scratch is an empty database that lives for one proof.
type Scratch struct {
	Name string
	URL  string

	server *pgx.Conn
}

// NewScratch creates a database on the server, with the encoding and collation of like: a restore into another encoding
// fails, or changes what texts are equal.
func NewScratch(ctx context.Context, server string, like Locale) (*Scratch, error) {
	name := scratchPrefix + strings.ToLower(rand.Text())
	address, err := OnDatabase(server, name)
	if err != nil {
		return nil, err
	}
	conn, err := ConnectAs(ctx, server, name)
	if err != nil {
		return nil, fmt.Errorf("make scratch database: %w", err)
	}
	sweep(ctx, conn)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+Name(name)+" TEMPLATE template0 "+like.sql()); err != nil {
		HangUp(ctx, conn)
		return nil, fmt.Errorf("make scratch database (the user needs CREATEDB): %w", Ended(ctx, err))
	}
	return &Scratch{Name: name, URL: address, server: conn}, nil
}

// sweep drops the databases that killed processes left: they hold a copy of everything. What belongs to another user
// stays.
func sweep(ctx context.Context, conn *pgx.Conn) {
	rows, err := conn.Query(ctx, `SELECT datname FROM pg_database d WHERE starts_with(datname, $1)
		AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)`, scratchPrefix)
	if err != nil {
		return // it is only a courtesy
	}
	left, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range left {
		_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+Name(name)+" WITH (FORCE)")
	}
}

// Drop removes the database, whoever is still connected, even when the proof was canceled.
func (s *Scratch) Drop(ctx context.Context) error {
	defer HangUp(ctx, s.server)
	ctx, cancel := Farewell(ctx)
	defer cancel()
	if _, err := s.server.Exec(ctx, "DROP DATABASE IF EXISTS "+Name(s.Name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop scratch database %s (drop it by hand): %w", s.Name, err)
	}
	return nil
}

// OnDatabase is the URL of another database on the same server.
func OnDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("the database's address is no URL (it is not shown, for it may hold a password): write postgres://user:password@host:port/name")
	}
	u.Path, u.RawPath = "/"+name, ""
	if q := u.Query(); q.Has("dbname") || q.Has("database") {
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// Locale is what of a database must be the same where its backup is restored. It is read as JSON because PostgreSQL 15
// to 18 name and number its columns differently.
type Locale struct {
	Encoding string `json:"encoding_name"`
	Collate  string `json:"datcollate"`
	Ctype    string `json:"datctype"`
	Provider string `json:"datlocprovider"`
	ICU      string `json:"daticulocale"` // PostgreSQL 15 and 16
	Locale   string `json:"datlocale"`    // from 17
}

// ReadLocale reads the locale of the database that is connected to.
func ReadLocale(ctx context.Context, conn *pgx.Conn) (Locale, error) {
	var l Locale
	err := conn.QueryRow(ctx, `SELECT to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(d.encoding))
		FROM pg_database d WHERE d.datname = current_database()`).Scan(&l)
	if err != nil {
		return l, fmt.Errorf("read the database's locale: %w", Ended(ctx, err))
	}
	return l, nil
}

// sql are the options of CREATE DATABASE.
func (l Locale) sql() string {
	sql := fmt.Sprintf("ENCODING %s LC_COLLATE %s LC_CTYPE %s", Literal(l.Encoding), Literal(l.Collate), Literal(l.Ctype))
	switch l.Provider {
	case "i":
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + Literal(l.ICU+l.Locale)
	case "b":
		sql += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + Literal(l.Locale)
	}
	return sql
}
