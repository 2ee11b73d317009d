package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/internal/host"
)

func doctorCommand() *cobra.Command {
	var format string
	var engine bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Print what this machine has, and which runner would be used and why", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if engine {
				return printEngine(cmd)
			}
			findings := host.Doctor(cmd.Context())
			chosen, err := (&runFlags{runner: "auto"}).choose(cmd.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]any{"findings": findings, "engine": chosen.engine, "why": chosen.why})
			}
			printFindings(cmd.OutOrStdout(), findings)
			fmt.Fprintln(cmd.OutOrStdout(), "\nrunner:", chosen.why)
			return nil
		},
	}
	cmd.Flags().BoolVar(&engine, "engine", false, "only say whether a Dagger engine answers, by exit code too")
	output(cmd, &format)
	return cmd
}

func printEngine(cmd *cobra.Command) error {
	found := host.Engine(cmd.Context())
	if !found.Found {
		return infrastructure(fmt.Errorf("no Dagger engine answers: %s", found.Fix))
	}
	fmt.Fprintln(cmd.OutOrStdout(), found.Version)
	return nil
}

func printFindings(out io.Writer, findings []host.Finding) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, f := range findings {
		if f.Found {
			fmt.Fprintf(w, "ok\t%s\t%s\t%s\n", f.Name, f.Version, f.Path)
		} else {
			fmt.Fprintf(w, "missing\t%s\tneeded for %s\t%s\n", f.Name, f.NeededFor, f.Fix)
		}
	}
	_ = w.Flush()
}
