package host

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations/backup"
)

// CommandOptions are command lines that back up in a way of their own: WAL-G, or snapshots of a managed service. Each is a
// program and its arguments, run without a shell. In the arguments, {label}, {reference}, {target} and {point} stand for
// what the call is about; {point} is empty where none is asked for. Of WAL-G:
//
//	Make:      wal-g backup-push /var/lib/postgresql/17/main --add-user-data {"label":"{label}"}
//	Reference: Wrote backup with name (?P<reference>\S+)
//	Load:      wal-g backup-fetch {target} {reference}
//
// and of Amazon RDS, where a label names a snapshot:
//
//	Make:  aws rds create-db-snapshot --db-instance-identifier app --db-snapshot-identifier {label}
//	Check: aws rds wait db-snapshot-available --db-snapshot-identifier {reference}
//	Load:  aws rds restore-db-instance-from-db-snapshot --db-snapshot-identifier {reference} --db-instance-identifier {target}
//
// Neither has been run by those who wrote this: they are examples of the form.
type CommandOptions struct {
	Name              string // of the adapter
	Make, Check, Load []string
	// Reference finds a backup's name in what Make prints, as the group "reference" of a regular expression. Empty where
	// the label is the name.
	Reference string
	Timeout   time.Duration // of each; default 12 hours
}

// Command is an Adapter of command lines.
type Command struct {
	options   CommandOptions
	reference *regexp.Regexp
}

var _ backup.Adapter = (*Command)(nil)

// placeholder is a word in braces of a command line.
var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// NewCommand checks the command lines. Check and Load may be left out: what has none is then refused.
func NewCommand(o CommandOptions) (*Command, error) {
	c := &Command{options: o}
	if o.Name == "" || len(o.Make) == 0 {
		return nil, errors.New("backup by command: it needs a name, and a command line that makes a backup")
	}
	if c.options.Timeout <= 0 {
		c.options.Timeout = physicalPatience
	}
	for _, line := range []struct {
		name  string
		words []string
		known []string
	}{
		{"make", o.Make, []string{"{label}"}},
		{"check", o.Check, []string{"{label}", "{reference}"}},
		{"load", o.Load, []string{"{label}", "{reference}", "{target}", "{point}"}},
	} {
		for i, word := range line.words {
			for _, p := range placeholder.FindAllString(word, -1) {
				if i == 0 {
					return nil, fmt.Errorf("backup by command %s: the program of %s is %s: a placeholder can be an argument only", o.Name, line.name, word)
				}
				if !slices.Contains(line.known, p) {
					return nil, fmt.Errorf("backup by command %s: %s has the placeholder %s, and knows %s", o.Name, line.name, p, strings.Join(line.known, ", "))
				}
			}
		}
	}
	if o.Reference == "" {
		return c, nil
	}
	var err error
	if c.reference, err = regexp.Compile(o.Reference); err != nil {
		return nil, fmt.Errorf("backup by command %s: reference: %w", o.Name, err)
	}
	if c.reference.SubexpIndex("reference") < 0 {
		return nil, fmt.Errorf("backup by command %s: the regular expression of the reference has no group of that name: write (?P<reference>…) around it", o.Name)
	}
	return c, nil
}

// Name is the one it was given.
func (c *Command) Name() string { return c.options.Name }

// BackUp makes a backup and finds its name.
func (c *Command) BackUp(ctx context.Context, label string) (backup.Reference, error) {
	r := backup.Reference{Adapter: c.Name(), ID: label, Label: label}
	out, err := c.run(ctx, c.options.Make, r, backup.Target{})
	if err != nil {
		return backup.Reference{}, fmt.Errorf("back up with %s: %w", c.Name(), err)
	}
	if c.reference != nil {
		match := c.reference.FindSubmatch(out)
		if match == nil {
			return backup.Reference{}, fmt.Errorf("back up with %s: it ended well, but nothing that it printed matches %q", c.Name(), c.options.Reference)
		}
		r.ID = string(match[c.reference.SubexpIndex("reference")])
	}
	r.At = time.Now().UTC()
	return r, checkWord("reference", r.ID)
}

// Check runs the command for it.
func (c *Command) Check(ctx context.Context, r backup.Reference) error {
	if _, err := c.run(ctx, c.options.Check, r, backup.Target{}); err != nil {
		return fmt.Errorf("check %s: %w", r, err)
	}
	return nil
}

// Restore runs the command for it.
func (c *Command) Restore(ctx context.Context, r backup.Reference, target backup.Target) error {
	if err := checkWord("target", strings.TrimPrefix(target.Place, "/")); err != nil {
		return fmt.Errorf("restore %s: %w", r, err)
	}
	if target.Point != "" && !slices.ContainsFunc(c.options.Load, func(word string) bool { return strings.Contains(word, "{point}") }) {
		return fmt.Errorf("restore %s: its command line has no place for a restore point: write {point} into it", r)
	}
	if _, err := c.run(ctx, c.options.Load, r, target); err != nil {
		return fmt.Errorf("restore %s: %w", r, err)
	}
	return nil
}

func (c *Command) run(ctx context.Context, line []string, r backup.Reference, target backup.Target) ([]byte, error) {
	if len(line) == 0 {
		return nil, fmt.Errorf("no command line for it is configured: %w", errors.ErrUnsupported)
	}
	for what, word := range map[string]string{"label": r.Label, "reference": r.ID, "restore point": target.Point} {
		if word != "" {
			if err := checkWord(what, word); err != nil {
				return nil, err
			}
		}
	}
	fill := strings.NewReplacer("{label}", r.Label, "{reference}", r.ID, "{target}", target.Place, "{point}", target.Point)
	args := make([]string, len(line))
	for i, word := range line {
		args[i] = fill.Replace(word)
	}
	return runPhysical(ctx, nil, c.options.Timeout, args)
}
