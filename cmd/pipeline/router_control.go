package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// askLimit bounds a command that is answered at once.
const askLimit = 30 * time.Second

// routerAsk is a sub-command that talks to a running router: act returns what is printed, as JSON or by text.
func routerAsk(socket *string, cmd *cobra.Command, act func(context.Context, *control.Client, []string) (result any, text func(io.Writer), err error)) *cobra.Command {
	var format string
	output(cmd, &format)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		result, text, err := act(cmd.Context(), control.NewClient(*socket), args)
		var partly *partlyError
		if err != nil && !errors.As(err, &partly) {
			return askFailed(err)
		}
		if format == "json" {
			encoder := json.NewEncoder(os.Stdout)
			encoder.SetIndent("", "  ")
			if failed := encoder.Encode(result); failed != nil {
				return infrastructure(failed)
			}
		} else {
			text(os.Stdout)
		}
		if err != nil {
			return &exit{code: 1, err: err}
		}
		return nil
	}
	return cmd
}

// askFailed gives an error its exit code.
func askFailed(err error) error {
	var usage *usageError
	var refused *router.Error
	switch {
	case errors.As(err, &usage):
		return err
	case errors.As(err, &refused) && refused.Reason == router.Conflict:
		return &exit{code: 1, err: err}
	case errors.As(err, &refused) && refused.Reason != "":
		return &exit{code: exitUsage, err: err}
	default:
		return infrastructure(err)
	}
}

// partlyError is that the result is there, and not what was asked for.
type partlyError struct{ err error }

func (e *partlyError) Error() string { return e.err.Error() }
func (e *partlyError) Unwrap() error { return e.err }

// usageError is an argument that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func say(format string, args ...any) func(io.Writer) {
	return func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) }
}

func routerStatusCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show each slot's share, requests, errors and latency", Args: cobra.NoArgs}
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, _ []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		status, err := c.Status(ctx)
		if err != nil {
			return nil, nil, err
		}
		return status, func(w io.Writer) { printStatus(w, status) }, nil
	})
}

func printStatus(w io.Writer, status router.Status) {
	if status.Paused {
		fmt.Fprintf(w, "paused, %d requests held\n", status.Held)
	}
	if len(status.Slots) == 0 {
		fmt.Fprintln(w, "no slot is registered")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SLOT\tRELEASE\tWEIGHT\tIN FLIGHT\tSTREAMS\tREQUESTS\t5XX\t502/504\tCUT OFF\tLEFT\tP50\tP95\tP99")
	for _, s := range status.Slots {
		weight := fmt.Sprintf("%d %%", s.Weight)
		if s.Draining {
			weight += " draining"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f ms\t%.1f ms\t%.1f ms\n", s.Slot, s.Release, weight, s.InFlight,
			s.WebSockets+s.Events, s.Requests, s.AppErrors, s.Gateway+s.Timeouts, s.Truncated, s.Aborted, s.P50, s.P95, s.P99)
	}
	_ = t.Flush()
	for _, rule := range status.Rules {
		if !rule.Active {
			fmt.Fprintf(w, "rule %s leads nowhere: its slot is not registered, or drained\n", rule.Name)
		}
	}
	for _, e := range status.Experiments {
		for _, v := range e.Variants {
			fmt.Fprintf(w, "experiment %s, variant %s: %d cohorts, %d requests\n", e.Name, v.Name, v.Cohorts, v.Requests)
		}
	}
	if m := status.Mirror; m != nil {
		fmt.Fprintf(w, "mirror to %s: %d same, %d different, %d failed, %d dropped\n", m.Slot, m.Same, m.Different, m.Failed, m.Dropped)
		for _, d := range m.Samples {
			fmt.Fprintf(w, "  %s: %s\n", d.Route, strings.Join(d.What, ", "))
		}
	}
}

func routerShiftCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "shift SLOT=PERCENT...", Short: "Set each slot's share of new requests: blue=90 green=10", Args: cobra.MinimumNArgs(1),
	}
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, args []string) (any, func(io.Writer), error) {
		weights, err := parseWeights(args)
		if err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		return weights, say("shifted: %s", strings.Join(args, " ")), c.Shift(ctx, weights)
	})
}

func parseWeights(args []string) (map[deploy.Slot]int, error) {
	weights := map[deploy.Slot]int{}
	for _, arg := range args {
		name, percent, ok := strings.Cut(arg, "=")
		weight, err := strconv.Atoi(strings.TrimSuffix(percent, "%"))
		if !ok || err != nil {
			return nil, usagef("%q is no share: write it like green=10", arg)
		}
		if _, twice := weights[deploy.Slot(name)]; twice {
			return nil, usagef("slot %s is there twice", name)
		}
		weights[deploy.Slot(name)] = weight
	}
	return weights, nil
}

func routerDrainCommand(socket *string) *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "drain SLOT", Short: "Wait until no request is in flight on a slot", Args: cobra.ExactArgs(1),
		Long: "drain waits until no request is in flight on a slot. WebSockets and streams of events are closed shortly before the\nlimit. It exits with 1 when requests are left.",
	}
	cmd.Flags().DurationVar(&limit, "limit", deploy.DefaultDrain, "how long to wait")
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, args []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		drained, err := c.DrainSlot(ctx, deploy.Slot(args[0]))
		if drained.Left > 0 && err != nil {
			err = &partlyError{err}
		}
		return drained, say("slot %s: %d requests left, %d WebSockets and %d streams of events ended", args[0], drained.Left, drained.WebSockets, drained.Events), err
	})
}

func routerPauseCommand(socket *string) *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{Use: "pause", Short: "Hold new requests until resume, or until the limit", Args: cobra.NoArgs}
	cmd.Flags().DurationVar(&limit, "limit", 30*time.Second, "after how long requests go on by themselves")
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, _ []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		return struct {
			Paused bool `json:"paused"`
		}{true}, say("paused for at most %s", limit), c.Pause(ctx, limit)
	})
}

func routerResumeCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{Use: "resume", Short: "Let held requests go on", Args: cobra.NoArgs}
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, _ []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		held, err := c.Resume(ctx)
		text := say("resumed")
		if !held {
			text = say("nothing was held: the pause was over already")
		}
		return struct {
			Held bool `json:"held"`
		}{held}, text, err
	})
}

func routerRulesCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rules [FILE]", Short: "Show the rules and experiments, or replace them by those in a JSON file (- for standard input)",
		Args: cobra.MaximumNArgs(1),
		Example: `  echo '{"rules": [{"name": "staff", "match": {"header": {"name": "X-Staff", "equals": "1"}}, "slot": "green"}]}' |
    pipeline router rules -`,
	}
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, args []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		if len(args) == 1 {
			var routing router.Routing
			if err := readJSON(cmd, args[0], &routing); err != nil {
				return nil, nil, err
			}
			if err := c.SetRules(ctx, routing); err != nil {
				return nil, nil, err
			}
		}
		routing, err := c.Rules(ctx)
		if err != nil {
			return nil, nil, err
		}
		return routing, func(w io.Writer) { printRules(w, routing) }, nil
	})
}

func printRules(w io.Writer, routing router.Routing) {
	if len(routing.Rules) == 0 {
		fmt.Fprintln(w, "no rules: every request goes where the weights say")
		return
	}
	for _, rule := range routing.Rules {
		match, _ := json.Marshal(rule.Match)
		to := "slot " + string(rule.Slot)
		if rule.Experiment != "" {
			to = "experiment " + rule.Experiment
		}
		if rule.Variant != "" {
			to += ", variant " + rule.Variant
		}
		fmt.Fprintf(w, "%s: %s -> %s\n", rule.Name, match, to)
	}
	for _, e := range routing.Experiments {
		for _, v := range e.Variants {
			fmt.Fprintf(w, "experiment %s: %s %d %% -> slot %s\n", e.Name, v.Name, v.Weight, v.Slot)
		}
	}
}

func routerMirrorCommand(socket *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mirror FILE|off", Short: "Copy requests to a slot as a JSON file says (- for standard input), or end that",
		Args:    cobra.ExactArgs(1),
		Example: `  echo '{"slot": "green", "percent": 5, "ignore": ["**.request_id"]}' | pipeline router mirror -`,
	}
	return routerAsk(socket, cmd, func(ctx context.Context, c *control.Client, args []string) (any, func(io.Writer), error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		if args[0] == "off" {
			return struct{}{}, say("mirroring ended"), c.SetMirror(ctx, nil)
		}
		var mirror router.Mirror
		if err := readJSON(cmd, args[0], &mirror); err != nil {
			return nil, nil, err
		}
		return mirror, say("mirroring %v %% of the requests to %s", mirror.Percent, mirror.Slot), c.SetMirror(ctx, &mirror)
	})
}

// readJSON reads one JSON value without unknown keys.
func readJSON(cmd *cobra.Command, path string, into any) error {
	data, err := readInput(cmd, path)
	if err != nil {
		return usagef("%v", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return usagef("read %s: %v", path, err)
	}
	return nil
}
