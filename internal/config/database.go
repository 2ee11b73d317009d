package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Database names the migrations, how the application finds its database, and what a release may cost those who use it.
type Database struct {
	Migrations string `yaml:"migrations" is:"path" doc:"Directory of the migrations, relative to this file."`
	// Format is found by looking at the directory where the file does not say it; that needs the tree, so Load does it
	// and Parse leaves it empty.
	Format string   `yaml:"format" enum:"drizzle,sql,numbered" doc:"drizzle for a drizzle-kit folder, sql for 001_name.up.sql and 001_name.down.sql, numbered for 001_name.sql. Default: found by looking."`
	Env    string   `yaml:"env" is:"variable" doc:"Variable that holds the database's URL. Default: that of services.postgres."`
	Accept []Accept `yaml:"accept" doc:"Files that are no regular part of the migrations and have been applied all the same. pipeline migrate adopt writes this list."`
	Seed   string   `yaml:"seed" is:"path" doc:"SQL that fills the database of a rehearsal which has no copy of a real one."`
	Budget Budget   `yaml:"budget" doc:"What a migration may cost those who use the database meanwhile. More is refused by the rehearsal."`
	Backup Backup   `yaml:"backup" doc:"The backup that is made and proven before every migration."`
}

// Accept is a migration's file with a place that its format does not give it.
type Accept struct {
	File  string `yaml:"file" required:"true" is:"path" doc:"The file, relative to pipeline.yaml."`
	After string `yaml:"after" doc:"Name of the migration that it runs after and together with. Default: it is the first."`
}

// Budget bounds what a rehearsed migration was measured to cost. Zero is no bound.
type Budget struct {
	BlockedReads  time.Duration `yaml:"blocked_reads" doc:"Longest that a reader may be kept waiting: 500ms."`
	BlockedWrites time.Duration `yaml:"blocked_writes" doc:"Longest that a writer may be kept waiting: 500ms."`
	Duration      time.Duration `yaml:"duration" doc:"Longest that a migration may take: 15m."`
	WAL           string        `yaml:"wal" is:"size" doc:"Most write-ahead log that a migration may write, which replicas and archives must take: 2GB. Default: no bound."`
	Disk          string        `yaml:"disk" is:"size" doc:"Most that the database may grow while a migration runs: 10GB. Default: no bound."`
}

// Backup says what becomes of the backups.
type Backup struct {
	Dir        string        `yaml:"dir" doc:"Directory that backups are kept in; one that is relative is relative to where the command runs."`
	Recipients []string      `yaml:"recipients" is:"agekey" unique:"true" doc:"Public keys of age (age1…) that backups are encrypted to. Without any they are not encrypted."`
	Keep       int           `yaml:"keep" min:"1" doc:"How many backups to keep at least, whatever their age."`
	MaxAge     time.Duration `yaml:"max_age" doc:"How old a backup may become: 720h. Default: any age, as long as it is one of those that keep counts."`
	Physical   *Physical     `yaml:"physical" doc:"A physical backup beside the dump, by which the server can be brought back to any moment."`
}

// Physical is another program that makes backups.
type Physical struct {
	Tool      string   `yaml:"tool" required:"true" enum:"pgbackrest,command" doc:"pgbackrest, or command for any other (WAL-G, a cloud's snapshots)."`
	Stanza    string   `yaml:"stanza" doc:"Of pgbackrest: its stanza."`
	Backup    []string `yaml:"backup" doc:"Of command: what makes a backup, with {label} for its label."`
	Check     []string `yaml:"check" doc:"Of command: what checks the backup {reference}."`
	Restore   []string `yaml:"restore" doc:"Of command: what restores the backup {reference} into {target}."`
	Reference string   `yaml:"reference" doc:"Of command: regular expression whose group named reference finds the backup's name in what backup prints."`
}

// The formats of migrations.
const (
	Drizzle  = "drizzle"  // what drizzle-kit generates
	SQL      = "sql"      // pairs of up and down files, as golang-migrate reads them
	Numbered = "numbered" // plain files in the order of their numbers
)

// The tools of physical backups.
const (
	PgBackRest = "pgbackrest"
	Command    = "command"
)

// units of sizes, as PostgreSQL's settings have them: powers of 1024.
var units = map[string]float64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

// Bytes is a size as pipeline.yaml writes it, "2GB", in bytes; 0 for "".
func Bytes(size string) int64 {
	text := strings.ToUpper(strings.TrimSpace(size))
	number := strings.TrimRight(text, "KMGTB")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return int64(math.Round(n * units[strings.TrimPrefix(text, number)]))
}
