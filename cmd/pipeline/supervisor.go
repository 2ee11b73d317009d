package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/target/local/supervisor"
	"github.com/metaextract/pipeline/internal/config"
)

// self is the program that runs now, also when its file was replaced or removed since, as an upgrade or `go run` does.
func self() string {
	const link = "/proc/self/exe" // of whoever reads it: the same program
	if _, err := os.Readlink(link); err == nil {
		return link
	}
	path, _ := os.Executable() // its error shows where the path is used
	return path
}

// supervisorCommand is what a release to a local environment launches; nobody needs to call it.
func supervisorCommand() *cobra.Command {
	options := supervisor.RunOptions{Version: version, Router: []string{self(), "router"}}
	var kept bool
	cmd := &cobra.Command{
		Use: "supervisor", Short: "Hold the processes of a local environment", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if !kept {
				command := []string{self(), "supervisor", "--dir", options.Dir, "--listen", options.Listen}
				if err := supervisor.Keep(cmd.Context(), options.Dir, command); err != nil {
					return infrastructure(err)
				}
				return nil
			}
			if options.Kept, err = supervisor.NewKept(cmd.InOrStdin(), cmd.OutOrStdout()); err == nil {
				err = supervisor.Run(cmd.Context(), options)
			}
			if err != nil {
				return infrastructure(err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&kept, strings.TrimPrefix(supervisor.KeptFlag, "--"), false, "its keeper is at standard input and output")
	cmd.Flags().StringVar(&options.Dir, "dir", "", "the environment's directory")
	cmd.Flags().StringVar(&options.Listen, "listen", "", "address for the traffic; a free port of 127.0.0.1 without")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

// launchedBy are the variables that a supervisor gets of the command that launches it: what says where things are. The
// others stay out of a process that lives for months, as they may be secrets.
var launchedBy = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOCOVERDIR", "XDG_STATE_HOME"}

// supervised are the options of a client of an environment's supervisor, which is launched where there is none.
func supervised(application, environment string) (supervisor.Options, error) {
	dir, err := supervisor.Directory(application, environment, os.Getenv)
	if err != nil {
		return supervisor.Options{}, infrastructure(err)
	}
	options := supervisor.Options{Dir: dir, Launch: []string{self(), "supervisor"}, LaunchEnv: []string{}}
	for _, name := range launchedBy {
		if value, ok := os.LookupEnv(name); ok {
			options.LaunchEnv = append(options.LaunchEnv, name+"="+value)
		}
	}
	return options, nil
}

func downCommand() *cobra.Command {
	var format, source string
	cmd := &cobra.Command{
		Use: "down [ENV]", Short: "End a local environment: its router, its processes, its state", Args: cobra.MaximumNArgs(1),
		Long: "down ends what a release to a local environment left running: the router once its requests are answered, the\n" +
			"processes by SIGTERM and, where they take longer than they may, SIGKILL; and removes the environment's state and\n" +
			"logs. The environment may be left out where pipeline.yaml has one that is local.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(os.DirFS(source)) // not the rest of the tree: what is up can be ended whatever became of it
			if err != nil {
				return err
			}
			name, err := localEnvironment(cfg, args)
			if err != nil {
				return err
			}
			options, err := supervised(cfg.Name, name)
			if err != nil {
				return err
			}
			_, absent := os.Stat(options.Dir)
			ended, err := supervisor.Down(cmd.Context(), options.Dir)
			if err != nil {
				return infrastructure(err)
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]any{"environment": name, "ended": append([]string{}, ended...)})
			}
			out := cmd.OutOrStdout()
			for _, one := range ended {
				fmt.Fprintf(out, "%s: ended %s\n", name, one)
			}
			switch {
			case errors.Is(absent, fs.ErrNotExist):
				fmt.Fprintf(out, "%s: it was not up\n", name)
			case len(ended) == 0:
				fmt.Fprintf(out, "%s: nothing was running; its state is removed\n", name)
			default:
				fmt.Fprintf(out, "%s: down\n", name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&source, "source", ".", "directory of the application")
	output(cmd, &format)
	return cmd
}

// localEnvironment is the environment that is named, or the only one that is local.
func localEnvironment(cfg *config.Config, args []string) (string, error) {
	var local []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Environments)) {
		if cfg.Environments[name].Target == config.Local {
			local = append(local, name)
		}
	}
	switch {
	case len(args) == 1 && slices.Contains(local, args[0]):
		return args[0], nil
	case len(args) == 1:
		return "", fmt.Errorf("pipeline.yaml has no local environment %s; it has: %s", args[0], strings.Join(local, ", "))
	case len(local) == 1:
		return local[0], nil
	case len(local) == 0:
		return "", errors.New("pipeline.yaml has no local environment")
	default:
		return "", fmt.Errorf("which one? pipeline.yaml has the local environments %s", strings.Join(local, ", "))
	}
}
