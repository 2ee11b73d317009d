package report

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/finding"
)

// lockMode is a lock mode as PostgreSQL's manual writes it: "AccessExclusiveLock" is ACCESS EXCLUSIVE.
func lockMode(mode string) string {
	var b strings.Builder
	for i, r := range strings.TrimSuffix(line(mode), "Lock") {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

// lockBlocks says what a lock mode keeps other sessions from doing until it is released
// (PostgreSQL manual, 13.3.1 Table-Level Locks).
func lockBlocks(mode string) string {
	switch lockMode(mode) {
	case "ACCESS EXCLUSIVE":
		return "blocks reads and writes"
	case "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE":
		return "blocks writes"
	case "SHARE UPDATE EXCLUSIVE":
		return "blocks other schema changes"
	default:
		return "blocks no reads or writes"
	}
}

// rows counts the rows of a backup.
func rows(b *backup.Backup) (n int64) {
	for _, t := range b.Tables {
		n += t.Rows
	}
	return n
}

// backupSentence is a backup and its proof on one line.
func backupSentence(b *backup.Backup) string {
	text := fmt.Sprintf("%s, %s, %s", size(b.Bytes), plural(len(b.Tables), "table"), plural(rows(b), "row"))
	if b.Proven {
		return text + ", restored and compared in " + seconds(b.Duration.Seconds())
	}
	return text + ", not restored"
}

func backupWord(b *backup.Backup) string {
	if b.Proven {
		return "backup proven"
	}
	return "backup NOT proven"
}

// migrationTitle is a migration's name, with its number.
func migrationTitle(a migrations.Applied) string { return titleOf(a.Version, a.Name) }

// ownBackup is the backup of the database where it is not the one that the migrations were rehearsed on.
func (d *Database) ownBackup() *backup.Backup {
	if d.Rehearsal != nil && d.Rehearsal.Backup != nil && d.Backup != nil && d.Rehearsal.Backup.SHA256 == d.Backup.SHA256 {
		return nil
	}
	return d.Backup
}

// refusals are the findings that refuse the migrations.
func (d *Database) refusals() []finding.Finding {
	if d == nil || d.Rehearsal == nil {
		return nil
	}
	return ofLevel(d.Rehearsal, finding.Refuse)
}

func (s *screen) database() {
	d := s.report.Database
	m := d.Migrations
	s.heading("Database", d.version())
	if d.Rehearsal != nil {
		rehearsalScreen{s, d.Rehearsal}.brief()
		m.Applied = nil // the rehearsal says more of each
	}
	for _, a := range m.Applied {
		s.line("  ", fit(fmt.Sprintf("%s  %s, %s, WAL %s", s.bold(migrationTitle(a)), plural(a.Statements, "statement"),
			seconds(a.Duration.Seconds()), size(a.WALBytes)), s.columns-2))
		for _, l := range a.Locks {
			text := lockMode(l.Mode) + " on " + line(l.Relation) + ", " + lockBlocks(l.Mode)
			if lockBlocks(l.Mode) == "blocks reads and writes" {
				text = s.yellow(text)
			}
			s.line("    ", fit(text, s.columns-4))
		}
		if len(a.Rewrites) > 0 {
			s.line("    ", s.red(fit("rewrites "+line(strings.Join(a.Rewrites, ", ")), s.columns-4)))
		}
	}
	if b := d.ownBackup(); b != nil {
		status := Passed
		if !b.Proven {
			status = Failed
		}
		s.line("  ", fit(s.mark(status)+" "+backupWord(b)+"  "+backupSentence(b), s.columns-2))
	}
}
