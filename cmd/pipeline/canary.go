package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/canary/study"
)

func canaryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "canary", Short: "What is known about the rules by which a canary is judged", Args: cobra.NoArgs}
	cmd.AddCommand(canaryStudyCommand())
	return cmd
}

// rampCells is what --cells calls the table of whole ramps.
const rampCells = "ramps"

// rampsPart is how many times fewer runs those get: one is a release of an hour, with up to 24,000 users.
const rampsPart = 20

func canaryStudyCommand() *cobra.Command {
	var format string
	var cells []string
	runs, seed := 1000, uint64(1)
	cmd := &cobra.Command{
		Use: "study", Short: "Simulate canaries: how often is a healthy one rolled back, how soon a broken one", Args: cobra.NoArgs,
		Long: "study tries the rule that decides here, those of Flagger, Argo Rollouts and Kayenta, and two statistical tests, on\n" +
			"simulated traffic. The same seed gives the same tables. 1,000 runs take about 20 seconds.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if runs < 1 {
				return fmt.Errorf("--runs %d: must be 1 or more", runs)
			}
			results, ramps, err := canaryStudy(cmd.Context(), cmd.ErrOrStderr(), cells, runs, seed)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]any{"runs": runs, "seed": seed, "cells": results, "ramps": ramps})
			}
			return study.Markdown(cmd.OutOrStdout(), results, ramps)
		},
	}
	cmd.Flags().IntVar(&runs, "runs", runs, "runs a cell; whole ramps get a twentieth")
	cmd.Flags().Uint64Var(&seed, "seed", seed, "of the random numbers")
	cmd.Flags().StringArrayVar(&cells, "cells", nil, "healthy, faulty, latency, ramps, or a part of a name; may be repeated; all without")
	output(cmd, &format)
	return cmd
}

// canaryStudy runs the cells that were chosen and says on progress which one it is at.
func canaryStudy(ctx context.Context, progress io.Writer, chosen []string, runs int, seed uint64) ([]study.Result, []study.RampResult, error) {
	wanted := func(group, name string) bool {
		for _, one := range chosen {
			if one == group || strings.Contains(name, one) {
				return true
			}
		}
		return len(chosen) == 0
	}
	var results []study.Result
	var ramps []study.RampResult
	for _, cell := range study.Cells() {
		if !wanted(cell.Group, cell.Name) {
			continue
		}
		fmt.Fprintln(progress, cell.Name)
		result, err := study.Run(ctx, cell, runs, seed)
		if err != nil {
			return nil, nil, infrastructure(err)
		}
		results = append(results, result)
	}
	for _, ramp := range study.Ramps() {
		if !wanted(rampCells, ramp.Name) {
			continue
		}
		fmt.Fprintln(progress, ramp.Name)
		result, err := study.RunRamp(ctx, ramp, max(1, runs/rampsPart), seed)
		if err != nil {
			return nil, nil, infrastructure(err)
		}
		ramps = append(ramps, result)
	}
	if len(results)+len(ramps) == 0 {
		return nil, nil, fmt.Errorf("--cells %s: there is no such cell; give healthy, faulty, latency, ramps, or a part of a name", strings.Join(chosen, ","))
	}
	return results, ramps, nil
}
