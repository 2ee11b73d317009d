package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/migrations/adopt"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/finding"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/folder"
)

func (f *migrateFlags) backupCommand() *cobra.Command {
	var list bool
	var verify, identity string
	cmd := &cobra.Command{
		Use: "backup [DIR]", Short: "Back the database up and prove the backup by restoring it; list or verify backups", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			switch {
			case list:
				return f.listBackups(cmd, directoryOf(args))
			case verify != "":
				return f.verifyBackup(cmd, directoryOf(args), verify, identity)
			}
			if err := f.open(cmd.Context(), directoryOf(args)); err != nil {
				return err
			}
			b, err := f.stage.Backup(cmd.Context(), false)
			return f.backedUp(cmd, b, err)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the backups that are kept; no database is needed")
	cmd.Flags().StringVar(&verify, "verify", "", "prove a backup that is kept again, by restoring it: its file")
	cmd.Flags().StringVar(&identity, "identity", "", "where the age identity (private key) is that decrypts the backup: env://NAME, file://PATH or cmd://COMMAND")
	return cmd
}

func (f *migrateFlags) backedUp(cmd *cobra.Command, b backup.Backup, err error) error {
	if b.ID != "" || f.output == "json" {
		if printed := f.print(cmd, b, func(w io.Writer) { database.WriteBackup(w, b) }); printed != nil {
			return printed
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrNotProven), errors.Is(err, backup.ErrIdentity):
		return coded(err)
	}
	return infrastructure(err) // a backup says nothing about the release
}

func (f *migrateFlags) listBackups(cmd *cobra.Command, dir string) error {
	if err := f.load(cmd.Context(), dir); err != nil {
		return err
	}
	list, err := backup.List(f.stage.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return infrastructure(err)
	}
	all := map[string]any{"backups": append([]backup.Stored{}, list...)}
	return f.print(cmd, all, func(w io.Writer) { database.WriteBackups(w, f.stage.Dir, list) })
}

func (f *migrateFlags) verifyBackup(cmd *cobra.Command, dir, file, identity string) error {
	ctx := cmd.Context()
	if err := f.load(ctx, dir); err != nil {
		return err
	}
	if err := kept(file); err != nil {
		return err
	}
	key, err := f.identity(cmd, identity)
	if err != nil {
		return err
	}
	b, err := backup.Verify(ctx, backup.VerifyOptions{File: file, Identity: key, Dumper: host.Dumper{}, Cluster: f.stage.Cluster, Scratch: f.stage.Scratch})
	return f.backedUp(cmd, b, err)
}

// kept says whether there is a backup of this name.
func kept(file string) error {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no backup %s: pipeline migrate backup --list names those that are kept", file)
	}
	return nil
}

// identity reads an age identity; "" is none.
func (f *migrateFlags) identity(cmd *cobra.Command, reference string) (string, error) {
	if reference == "" {
		return "", nil
	}
	key, err := host.ResolveSecret(cmd.Context(), reference, f.app.Dir)
	if err != nil {
		return "", fmt.Errorf("--identity: %w", err)
	}
	return key, nil
}

func (f *migrateFlags) restoreCommand() *cobra.Command {
	var into, identity string
	var confirmed, terminate bool
	cmd := &cobra.Command{
		Use: "restore FILE [DIR]", Short: "Say what would be lost, and with --yes put a backup in the place of the database",
		Long: "restore says first what the database has that the backup has not. With --yes it restores into a database beside the old one,\n" +
			"proves that, and then exchanges the names in one transaction; the old database stays under another name.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			ctx := cmd.Context()
			if err := f.open(ctx, directoryOf(args[1:])); err != nil {
				return err
			}
			if err := kept(args[0]); err != nil {
				return err
			}
			key, err := f.identity(cmd, identity)
			if err != nil {
				return err
			}
			r, err := backup.Restore(ctx, backup.RestoreOptions{
				File: args[0], Identity: key, Dumper: host.Dumper{}, URL: f.stage.URL, Into: into, Confirmed: confirmed, Terminate: terminate, Now: time.Now,
			})
			if printed := f.print(cmd, r, func(w io.Writer) { database.WriteRestored(w, r) }); printed != nil {
				return printed
			}
			switch {
			case errors.Is(err, backup.ErrUnconfirmed):
				err = fmt.Errorf("%w: nothing was changed; run again with --yes", backup.ErrUnconfirmed)
			case errors.Is(err, backup.ErrConnected):
				err = fmt.Errorf("%w: --terminate does", err)
			}
			return coded(err)
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "restore into a new database of this name, and leave the old one alone")
	cmd.Flags().StringVar(&identity, "identity", "", "where the age identity (private key) is that decrypts the backup: env://NAME, file://PATH or cmd://COMMAND")
	cmd.Flags().BoolVar(&confirmed, "yes", false, "what is lost has been seen, and is wanted")
	cmd.Flags().BoolVar(&terminate, "terminate", false, "end the sessions that are connected to the database")
	return cmd
}

func (f *migrateFlags) adoptCommand() *cobra.Command {
	var write bool
	var also []string
	cmd := &cobra.Command{
		Use: "adopt [DIR]", Short: "Show what another tool's tables prove, and with --write take the database over",
		Long: "adopt reads what drizzle-orm, golang-migrate, Flyway, Prisma and others, or a runner made by hand, have left in the database,\n" +
			"and says of every file what that proves. It changes nothing. With --write it writes the version and the history that the\n" +
			"pipeline goes on from; nothing of the other tool is touched.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer f.close()
			ctx := cmd.Context()
			if err := f.open(ctx, directoryOf(args)); err != nil {
				return err
			}
			conn, err := pg.Connect(ctx, f.stage.URL)
			if err != nil {
				return infrastructure(err)
			}
			defer pg.HangUp(ctx, conn)
			plan, err := adopt.Look(ctx, conn, f.stage.Files, folder.FromConfig(f.stage.Config), also)
			if err != nil {
				return coded(err)
			}
			if write && !plan.Refused() {
				if err := plan.Apply(ctx, conn, adopt.Who{Actor: f.stage.Actor, Release: f.stage.Release, Tool: f.stage.Tool}); err != nil {
					return coded(err)
				}
			}
			done := map[string]any{"plan": plan, "written": write && !plan.Refused()}
			err = f.print(cmd, done, func(w io.Writer) { database.WriteAdoption(w, plan, write) })
			if err == nil && finding.Worst(plan.Findings) == finding.Refuse {
				err = &exit{code: 1}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "take the database over")
	cmd.Flags().StringArrayVar(&also, "folder", nil, "a further folder whose files another runner applied; repeatable")
	f.released(cmd)
	return cmd
}
