package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/source"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/history"
)

// migrateFlags are the command line of migrate and its subcommands.
type migrateFlags struct {
	database string
	backups  string
	scratch  string
	overlays []string
	from     string
	release  string
	running  string
	output   string

	tree   source.Tree
	app    rehearse.Application
	stage  *database.Stage
	remove func()
}

const databaseDefault = "env://DATABASE_URL"

func migrateCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use: "migrate", Short: "Plan, rehearse, apply and take back the migrations of a database",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // so that a wrong name is an error
		Long: "migrate works on the database section of the pipeline.yaml in DIR (here, where none is named).\n\n" +
			"A migration is proven before it runs: up backs the database up, proves the backup by restoring it, rehearses the pending\n" +
			"migrations on that copy, statement by statement, and applies them when the rehearsal finds nothing against it.",
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.database, "database", databaseDefault, "where the database's URL is: env://NAME, file://PATH or cmd://COMMAND, never the URL itself")
	flags.StringArrayVar(&f.overlays, "overlay", nil, "directory of changed files laid over DIR; repeatable")
	flags.StringVar(&f.backups, "backups", "", "directory that backups are kept in (default: database.backup.dir in pipeline.yaml)")
	flags.StringVar(&f.scratch, "scratch", "", "where the URL of a server is that takes a copy for a while, in place of one that is started here")
	for _, c := range []*cobra.Command{
		f.planCommand(), f.rehearseCommand(), f.upCommand(), f.downCommand(), f.statusCommand(), f.historyCommand(),
		f.backupCommand(), f.restoreCommand(), f.adoptCommand(), f.floorCommand(), f.pauseCommand("pause"), f.pauseCommand("resume"),
	} {
		output(c, &f.output)
		cmd.AddCommand(c)
	}
	return cmd
}

// open reads the application in a directory and finds its database.
func (f *migrateFlags) open(ctx context.Context, dir string) error {
	if err := f.load(ctx, dir); err != nil {
		return err
	}
	var err error
	f.stage.URL, err = f.address(ctx, "--database", f.database)
	return err
}

// address reads a database's URL from where a flag says that it is.
func (f *migrateFlags) address(ctx context.Context, flag, reference string) (string, error) {
	url, err := host.ResolveSecret(ctx, reference, f.app.Dir)
	if err == nil {
		_, err = pg.OnDatabase(url, "") // is it a URL?
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return url, nil
}

// load reads the application, and where copies go, without its database.
func (f *migrateFlags) load(ctx context.Context, dir string) error {
	temporary, remove, err := scratch()
	if err != nil {
		return err
	}
	f.remove = remove
	if f.tree, err = source.Open(ctx, dir, f.overlays, temporary); err != nil {
		return err
	}
	if f.app, err = load(f.tree); err != nil {
		return err
	}
	db := f.app.Config.Database
	if db == nil {
		return errors.New("pipeline.yaml has no database section: there is nothing to migrate")
	}
	f.stage = &database.Stage{
		Files: f.app.Files, Config: db, Dumper: host.Dumper{}, Cluster: host.Cluster{}, Dir: f.backups,
		Release: f.app.Version, Running: f.running, Actor: actor(), Tool: "pipeline " + version, Notice: f.notice, Backfill: f.progress,
	}
	if f.release != "" {
		f.stage.Release = f.release
	}
	if f.stage.Dir == "" {
		f.stage.Dir = db.Backup.Dir
	}
	if f.scratch != "" {
		f.stage.Cluster = nil
		if f.stage.Scratch, err = f.address(ctx, "--scratch", f.scratch); err != nil {
			return err
		}
	}
	if db.Backup.Physical != nil {
		f.stage.Physical, err = physical(*db.Backup.Physical)
	}
	return err
}

// physical is the tool of physical backups that pipeline.yaml names.
func physical(p config.Physical) (backup.Adapter, error) {
	if p.Tool == config.PgBackRest {
		return host.PgBackRest{Stanza: p.Stanza, User: "postgres"}, nil
	}
	c, err := host.NewCommand(host.CommandOptions{Name: p.Backup[0], Make: p.Backup, Check: p.Check, Load: p.Restore, Reference: p.Reference})
	if err != nil {
		return nil, fmt.Errorf("database.backup.physical: %w", err)
	}
	return c, nil
}

// close removes what open has made.
func (f *migrateFlags) close() {
	if f.remove != nil {
		f.remove()
	}
}

// notice tells what is going on, on standard error: standard output is the result's.
func (f *migrateFlags) notice(message string) {
	fmt.Fprintln(os.Stderr, "  "+message)
}

func (f *migrateFlags) progress(p backfill.Progress) {
	text := fmt.Sprintf("%s: %.0f %%, %d rows changed", p.Name, 100*p.Fraction, p.Done)
	if p.Left > 0 {
		text += fmt.Sprintf(", %s left", p.Left.Round(1e9))
	}
	if p.Throttled != "" {
		text += " (" + p.Throttled + ")"
	}
	f.notice(text)
}

// print shows the result of a command, as JSON where --output says so.
func (f *migrateFlags) print(cmd *cobra.Command, result any, text func(io.Writer)) error {
	if f.output == "json" {
		return printJSON(cmd.OutOrStdout(), result)
	}
	return show(cmd.OutOrStdout(), text)
}

// actor is who runs a command, for the history.
func actor() string {
	if name := os.Getenv("GITHUB_ACTOR"); name != "" {
		return name + "@github-actions"
	}
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	where, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + where
}

// released adds the flags that name releases.
func (f *migrateFlags) released(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.release, "release", "", "what the release is called in the history (default: git's name of it)")
	cmd.Flags().StringVar(&f.running, "running", "", "what the release is called that runs while the database is migrated")
}

// coded gives an error the exit code that it stands for: 1 where the database or the migrations say no, 2 where the command
// line lacks something, 3 where the machine or the server does not do its part.
func coded(err error) error {
	if err == nil {
		return nil
	}
	var done *exit
	var invalid *config.Errors
	switch {
	case errors.As(err, &done), errors.As(err, &invalid):
		return err
	case errors.Is(err, backup.ErrIdentity):
		return fmt.Errorf("%w: --identity says where the key is", err)
	case errors.Is(err, backup.ErrTool), strings.Contains(err.Error(), "connect to database"), errors.Is(err, context.Canceled):
		return infrastructure(err)
	}
	return refused(err)
}

// refused marks what the database or the migrations say no to.
func refused(err error) error { return &exit{code: 1, err: err} }

func (f *migrateFlags) planCommand() *cobra.Command {
	return &cobra.Command{
		Use: "plan [DIR]", Short: "List what up would do, and what static rules say of it; change nothing", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			if err := f.open(cmd.Context(), directoryOf(args)); err != nil {
				return err
			}
			plan, refusal := f.stage.Plan(cmd.Context())
			if plan == nil {
				return coded(refusal)
			}
			if err := f.print(cmd, plan, func(w io.Writer) { database.WritePlan(w, plan) }); err != nil {
				return err
			}
			return coded(refusal)
		},
	}
}

func (f *migrateFlags) upCommand() *cobra.Command {
	var skip bool
	cmd := &cobra.Command{
		Use: "up [DIR]", Short: "Back up, prove the backup, rehearse and apply the pending migrations", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			if err := f.open(cmd.Context(), directoryOf(args)); err != nil {
				return err
			}
			done, err := f.stage.Up(cmd.Context(), !skip)
			return f.migrated(cmd, done, err)
		},
	}
	f.released(cmd)
	cmd.Flags().BoolVar(&skip, "no-rehearsal", false, "apply the migrations without rehearsing them on the copy that proved the backup")
	return cmd
}

func (f *migrateFlags) downCommand() *cobra.Command {
	var to int64
	var steps int
	cmd := &cobra.Command{
		Use: "down [DIR]", Short: "Back up, prove the backup, and take migrations back, the last one first", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			if cmd.Flags().Changed("to") == cmd.Flags().Changed("steps") {
				return errors.New("say how far: --to VERSION (-1 for all), or --steps N")
			}
			if cmd.Flags().Changed("steps") && steps < 1 {
				return fmt.Errorf("--steps %d: must be at least 1", steps)
			}
			ctx := cmd.Context()
			if err := f.open(ctx, directoryOf(args)); err != nil {
				return err
			}
			m, err := f.stage.Migrator()
			if err != nil {
				return coded(err)
			}
			status, err := m.Status(ctx)
			if err != nil {
				return coded(err)
			}
			if steps > 0 {
				to = status.Steps(steps)
			}
			done, err := f.stage.Down(ctx, to)
			return f.migrated(cmd, done, err)
		},
	}
	f.released(cmd)
	cmd.Flags().Int64Var(&to, "to", history.NoVersion, "version to go back to; -1 takes everything back")
	cmd.Flags().IntVar(&steps, "steps", 0, "how many migrations to take back")
	return cmd
}

// migrated shows what a run did, also where it ended with an error.
func (f *migrateFlags) migrated(cmd *cobra.Command, done database.Migrated, err error) error {
	if err != nil && done.Backup != nil && done.Backup.Proven && done.Backup.File != "" {
		err = fmt.Errorf("%w\nthe backup from before is %s", err, done.Backup.File)
	}
	if printed := f.print(cmd, done, func(w io.Writer) { database.WriteMigrated(w, done) }); printed != nil {
		return printed
	}
	return coded(err)
}

func (f *migrateFlags) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [DIR]", Short: "Show how every migration stands in the database", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			m, err := f.migrator(cmd.Context(), args)
			if err != nil {
				return err
			}
			status, err := m.Status(cmd.Context())
			if err != nil {
				return coded(err)
			}
			if err := f.print(cmd, status, func(w io.Writer) { database.WriteStatus(w, status) }); err != nil {
				return err
			}
			return coded(status.Refusal())
		},
	}
}

func (f *migrateFlags) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "history [DIR]", Short: "Show what was done to the database, by whom, when and for how long", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			m, err := f.migrator(cmd.Context(), args)
			if err != nil {
				return err
			}
			entries, err := m.History(cmd.Context())
			if err != nil {
				return coded(err)
			}
			all := map[string]any{"history": append([]history.Entry{}, entries...)}
			return f.print(cmd, all, func(w io.Writer) { database.WriteHistory(w, entries) })
		},
	}
}

func (f *migrateFlags) floorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "floor RELEASE [DIR]", Short: "Say whether a release of the application works on the schema; exit 1 where it does not", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			m, err := f.migrator(cmd.Context(), args[1:])
			if err != nil {
				return err
			}
			if err := m.Allows(cmd.Context(), args[0]); err != nil {
				return coded(err)
			}
			return f.print(cmd, map[string]any{"release": args[0], "allowed": true}, func(w io.Writer) {
				fmt.Fprintf(w, "%s works on the schema, as far as migrations go\n", args[0])
			})
		},
	}
}

func (f *migrateFlags) pauseCommand(verb string) *cobra.Command {
	short := "Pause a backfill before its next batch; the run that is at it ends, and goes on after resume"
	if verb == "resume" {
		short = "Let a backfill that was paused go on with the next run of up"
	}
	var at int64
	cmd := &cobra.Command{
		Use: verb + " [DIR]", Short: short, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			m, err := f.migrator(cmd.Context(), args)
			if err != nil {
				return err
			}
			act := m.Pause
			if verb == "resume" {
				act = m.Resume
			}
			progress, err := act(cmd.Context(), at)
			if err != nil {
				return coded(err)
			}
			return f.print(cmd, progress, func(w io.Writer) { database.WriteBackfill(w, progress) })
		},
	}
	cmd.Flags().Int64Var(&at, "version", history.NoVersion, "version of the backfill (default: the one that is not done)")
	return cmd
}

// migrator opens the application and its database.
func (f *migrateFlags) migrator(ctx context.Context, args []string) (*migrations.Migrator, error) {
	if err := f.open(ctx, directoryOf(args)); err != nil {
		return nil, err
	}
	m, err := f.stage.Migrator()
	return m, coded(err)
}
