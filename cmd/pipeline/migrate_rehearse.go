package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func (f *migrateFlags) rehearseCommand() *cobra.Command {
	var statements string
	cmd := &cobra.Command{
		Use: "rehearse [DIR]", Short: "Run the pending migrations on a proven copy and measure them; change nothing",
		Long: "rehearse backs the database up, proves the backup by restoring it into a server of its own, and runs the pending migrations\n" +
			"on that copy, statement by statement, while probes read and write their tables. It goes back and forward again, compares\n" +
			"schema and data, prepares the running release's statements on the new schema and compares their plans.\n\n" +
			"Without --database, and where DATABASE_URL is not set, it makes a database with the schema of the running release\n" +
			"(--from, or the newest tag before HEAD) and the seed that pipeline.yaml names.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			return f.rehearse(cmd, directoryOf(args), statements)
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "the release that runs now, where there is no database: a directory or a git ref")
	cmd.Flags().StringVar(&statements, "statements", "", "file of the statements that the running release sends, as a rehearsal of the release writes it (default: the database's own record)")
	f.released(cmd)
	return cmd
}

func (f *migrateFlags) rehearse(cmd *cobra.Command, dir, statements string) error {
	ctx := cmd.Context()
	made := !cmd.Flags().Changed("database") && os.Getenv("DATABASE_URL") == ""
	open := f.open
	if made {
		open = f.load
	}
	if err := open(ctx, dir); err != nil {
		return err
	}
	var err error
	if statements != "" {
		if f.stage.Statements, err = readStatements(statements); err != nil {
			return err
		}
	}
	if made {
		e, err := f.ephemeral(ctx, dir)
		if err != nil {
			return coded(err)
		}
		defer e.Close(ctx) //nolint:errcheck // the process ends what is left
	}
	result, err := f.stage.Rehearse(ctx)
	if result == nil {
		return coded(err)
	}
	if err != nil {
		result.Verdict, result.Reasons = rehearsal.Refused, append(result.Reasons, err.Error())
	}
	if f.output == "json" {
		if printed := printJSON(cmd.OutOrStdout(), result); printed != nil {
			return printed
		}
	} else {
		out := bufio.NewWriter(cmd.OutOrStdout())
		columns, color := terminal()
		if printed := report.WriteMigrations(out, result, columns, color); printed != nil {
			return infrastructure(printed)
		}
		if printed := out.Flush(); printed != nil {
			return infrastructure(printed)
		}
	}
	switch {
	case err != nil:
		return coded(err)
	case result.Verdict != rehearsal.Proven:
		return &exit{code: 1}
	}
	return nil
}

// anyVersion is the newest PostgreSQL of this machine.
const anyVersion = 0

// ephemeral makes a database at the schema of the running release.
func (f *migrateFlags) ephemeral(ctx context.Context, dir string) (*database.Ephemeral, error) {
	temporary, remove, err := scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	now, err := findRunning(ctx, dir, f.tree, config.Environment{}, f.from, temporary)
	if err != nil {
		return nil, err
	}
	old := f.app
	if !now.self {
		if old, err = load(now.tree); err != nil {
			return nil, fmt.Errorf("the running release (%s): %w", now.tree.Origin, err)
		}
	}
	if old.Config.Database == nil {
		return nil, errors.New("the running release has no database section: name the database with --database")
	}
	f.notice(fmt.Sprintf("no database is named: making one at the schema of %s (%s)", old.Version, now.why))
	e, err := database.MakeEphemeral(ctx, host.Cluster{}, anyVersion, old.Files, old.Config.Database, f.notice)
	if err != nil {
		return nil, err
	}
	f.stage.URL, f.stage.Made, f.stage.Dir = e.URL, true, ""
	f.stage.Running = old.Version
	return e, nil
}

// readStatements reads a file of recorded statements.
func readStatements(name string) ([]corpus.Statement, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--statements: %w", err)
	}
	defer file.Close()
	list, err := corpus.Decode(file)
	if err != nil {
		return nil, fmt.Errorf("--statements %s: %w", name, err)
	}
	return list, nil
}
