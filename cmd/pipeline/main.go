// Command pipeline runs the stages of the pipeline from a shell: on a Dagger engine where one answers, otherwise as
// processes of this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/internal/config"
)

// version is set by the linker in releases.
var version = "dev"

// The exit codes. Those of a verdict are report.ExitCode's.
const (
	exitUsage  = 2
	exitBroken = 3
)

func main() {
	findOwnTools()
	ctx, stop := interruptible()
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// findOwnTools adds the directory of this executable to the end of PATH: make installs the secret scanner beside it.
func findOwnTools() {
	if self, err := os.Executable(); err == nil {
		_ = os.Setenv("PATH", os.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(self))
	}
}

// interruptible is a context that ends at the first SIGINT, SIGTERM or SIGHUP and says which it was. A second one ends
// the process at once; what it started ends with it all the same.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		s, ok := <-signals
		if !ok {
			return
		}
		cancel(fmt.Errorf("received %s", s))
		if s, ok = <-signals; ok {
			os.Exit(128 + int(s.(syscall.Signal)))
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel(nil) }
}

// exit is an error that carries the process's exit code. Without text, everything has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:           "pipeline",
		Short:         "Take a push to proven production",
		Long:          "pipeline checks, tests and builds an application, and rehearses its release - database and rollback\nincluded - under traffic before production sees it.\n\nExit codes: 0 done; 1 refused or rolled back; 2 usage or configuration; 3 infrastructure failed.",
		SilenceErrors: true, SilenceUsage: true, Version: version,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(rehearseCommand(), stepsCommand("check"), stepsCommand("test"), stepsCommand("build"), migrateCommand(),
		environmentCommand(), validateCommand(), initCommand(), schemaCommand(), doctorCommand(), routerCommand(), canaryCommand(), supervisorCommand(), downCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var coded *exit
	var invalid *config.Errors
	code := exitUsage // cobra's own errors are about usage
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case errors.As(err, &invalid):
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "pipeline:", text)
	}
	return code
}

// infrastructure marks an error as the machine's, not the user's.
func infrastructure(err error) error { return &exit{code: exitBroken, err: err} }

// output adds --output to a command.
func output(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "text", "text or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *format != "text" && *format != "json" {
			return fmt.Errorf("--output %s: must be text or json", *format)
		}
		return nil
	}
}
