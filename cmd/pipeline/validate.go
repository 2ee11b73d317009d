package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/source"
)

func validateCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "validate [DIR]", Short: "Check pipeline.yaml and what it points to, offline", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tree, err := source.Open(cmd.Context(), directoryOf(args), nil, "")
			if err != nil {
				return err
			}
			app, err := load(tree)
			if err == nil {
				_, err = ci.NewPlan(app.Config, app.Files, ci.Images{})
			}
			if format == "json" {
				return printValidation(cmd.OutOrStdout(), err)
			}
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", filepath.Join(directoryOf(args), config.FileName))
			}
			return err
		},
	}
	output(cmd, &format)
	return cmd
}

// printValidation prints {"valid": …, "problems": […]} and keeps the exit code of err.
func printValidation(w io.Writer, err error) error {
	result := struct {
		Valid    bool             `json:"valid"`
		Problems []config.Problem `json:"problems"`
	}{Valid: err == nil, Problems: []config.Problem{}}
	var invalid *config.Errors
	if errors.As(err, &invalid) {
		result.Problems = invalid.Problems
	} else if err != nil {
		result.Problems = append(result.Problems, config.Problem{File: config.FileName, Message: err.Error()})
	}
	if err := printJSON(w, result); err != nil {
		return err
	}
	if err != nil {
		return &exit{code: exitUsage}
	}
	return nil
}

func initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init [DIR]", Short: "Write pipeline.yaml by looking at the repository", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := directoryOf(args)
			tree, err := source.Open(cmd.Context(), dir, nil, "")
			if err != nil {
				return err
			}
			text, notes, err := config.Init(os.DirFS(tree.Dir), filepath.Base(tree.Dir))
			if err != nil {
				return err
			}
			path := filepath.Join(dir, config.FileName)
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s is there already; remove it first if it shall be written anew", path)
			}
			if err != nil {
				return infrastructure(err)
			}
			if _, err := f.Write(text); err != nil {
				_ = f.Close()
				return infrastructure(err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "wrote", path)
			for _, n := range notes {
				fmt.Fprintln(cmd.OutOrStdout(), "-", n)
			}
			return f.Close()
		},
	}
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of pipeline.yaml, for editors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}

// directoryOf is the application's directory on the command line.
func directoryOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
