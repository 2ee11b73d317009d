package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/source"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/folder"
)

// migrateFlags are the command line of migrate.
type migrateFlags struct {
	database string
	backups  string
	output   string
}

func migrateCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{Use: "migrate", Short: "Back up and migrate a database"}
	cmd.PersistentFlags().StringVar(&f.database, "database", "env://DATABASE_URL", "where the database's URL is: env://NAME, file://PATH or cmd://COMMAND, never the URL itself")
	plan := &cobra.Command{
		Use: "plan [DIR]", Short: "List the migrations that the database does not have; change nothing", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.plan(cmd, directoryOf(args)) },
	}
	up := &cobra.Command{
		Use: "up [DIR]", Short: "Back up, prove the backup, and apply the pending migrations", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.up(cmd, directoryOf(args)) },
	}
	up.Flags().StringVar(&f.backups, "backups", "backups", "directory to keep the backup in")
	for _, c := range []*cobra.Command{plan, up} {
		output(c, &f.output)
		cmd.AddCommand(c)
	}
	return cmd
}

// migrator opens the application's migrations and the database they are for.
func (f *migrateFlags) migrator(ctx context.Context, dir string) (*migrations.Migrator, string, error) {
	tree, err := source.Open(ctx, dir, nil, "")
	if err != nil {
		return nil, "", err
	}
	app, err := load(tree)
	if err != nil {
		return nil, "", err
	}
	if app.Config.Database == nil {
		return nil, "", errors.New("pipeline.yaml has no database section: there is nothing to migrate")
	}
	url, err := host.ResolveSecret(ctx, f.database, tree.Dir)
	if err != nil {
		return nil, "", fmt.Errorf("--database: %w", err)
	}
	m, err := migrations.New(migrations.Options{
		URL: url, FS: app.Files, Dir: app.Config.Database.Migrations, Format: folder.Format(app.Config.Database.Format),
		Notice: func(message string) { fmt.Fprintln(os.Stderr, message) },
	})
	return m, url, err
}

func (f *migrateFlags) plan(cmd *cobra.Command, dir string) error {
	m, _, err := f.migrator(cmd.Context(), dir)
	if err != nil {
		return err
	}
	pending, err := m.Pending(cmd.Context())
	if err != nil {
		return refused(err)
	}
	if f.output == "json" {
		return printJSON(cmd.OutOrStdout(), map[string]any{"pending": pending})
	}
	if len(pending) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing to do: the database has every migration")
	}
	for _, p := range pending {
		fmt.Fprintf(cmd.OutOrStdout(), "%d  %s\n", p.Version, p.Name)
	}
	return nil
}

func (f *migrateFlags) up(cmd *cobra.Command, dir string) error {
	ctx := cmd.Context()
	m, url, err := f.migrator(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := m.Pending(ctx); err != nil {
		return refused(err)
	}
	backup, err := backup.Make(ctx, backup.Options{URL: url, Dumper: host.Dumper{}, Dir: f.backups})
	if err != nil {
		return infrastructure(err)
	}
	outcome, err := m.Up(ctx)
	if err != nil {
		return refused(fmt.Errorf("%w\nthe backup from before is %s", err, backup.File))
	}
	if f.output == "json" {
		return printJSON(cmd.OutOrStdout(), map[string]any{"backup": backup, "outcome": outcome})
	}
	printOutcome(cmd.OutOrStdout(), backup, outcome)
	return nil
}

// refused marks what the database or the migrations say no to.
func refused(err error) error { return &exit{code: 1, err: err} }

func printOutcome(out io.Writer, backup backup.Backup, outcome migrations.Outcome) {
	fmt.Fprintf(out, "backup %s: %d bytes, %d tables, restored and equal\n", backup.File, backup.Bytes, len(backup.Tables))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, a := range outcome.Applied {
		fmt.Fprintf(w, "%d\t%s\t%d statements\t%s\n", a.Version, a.Name, a.Statements, a.Duration.Round(time.Millisecond))
	}
	_ = w.Flush()
	fmt.Fprintf(out, "version %d, was %d\n", outcome.To, outcome.From)
}
