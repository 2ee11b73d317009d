package study

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Markdown writes the tables that people read. The error is the writer's.
func Markdown(w io.Writer, results []Result, ramps []RampResult) error {
	var out strings.Builder
	var healthy, faulty []Result
	for _, r := range results {
		if r.Healthy {
			healthy = append(healthy, r)
		} else {
			faulty = append(faulty, r)
		}
	}
	if len(healthy) > 0 {
		fmt.Fprintf(&out, "Healthy canary: rolled back all the same (95 %% interval), %d runs a cell\n\n", healthy[0].Runs)
		table(&out, healthy, func(r RuleResult) string {
			return fmt.Sprintf("%s (%s-%s)", percent(r.Share), number(r.Interval[0]), number(r.Interval[1]))
		})
	}
	if len(faulty) > 0 {
		fmt.Fprintf(&out, "Worse canary: rolled back; after how many requests to both slots; after how many users who failed, or waited, on the canary (medians), %d runs a cell\n\n", faulty[0].Runs)
		table(&out, faulty, func(r RuleResult) string {
			if r.Rolled == 0 {
				return "never"
			}
			return fmt.Sprintf("%s; %.0f; %.0f", percent(r.Share), r.Requests, r.BadUsers)
		})
	}
	if len(ramps) > 0 {
		fmt.Fprintf(&out, "The whole ramp with the default plan, %d runs a line\n\n", ramps[0].Runs)
		row(&out, "traffic", "promoted", "found worse", "undecided, rolled back", "median minutes", "median users who failed on the canary")
		row(&out, "---", "---", "---", "---", "---", "---")
		for _, r := range ramps {
			share := func(n int) string { return percent(float64(n) / float64(r.Runs)) }
			row(&out, r.Ramp, share(r.Finished), share(r.Worse), share(r.Unsure), fmt.Sprintf("%.0f", r.Minutes), fmt.Sprintf("%.0f", r.BadUsers))
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, strings.TrimSuffix(out.String(), "\n"))
	return err
}

func table(out *strings.Builder, results []Result, cell func(RuleResult) string) {
	head, line := []string{"cell"}, []string{"---"}
	for _, r := range results[0].Rules {
		head, line = append(head, r.Rule), append(line, "---")
	}
	row(out, head...)
	row(out, line...)
	for _, result := range results {
		cells := []string{result.Cell}
		for _, r := range result.Rules {
			cells = append(cells, cell(r))
		}
		row(out, cells...)
	}
	out.WriteByte('\n')
}

func row(out *strings.Builder, cells ...string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}

// number is a share in percent, with two decimals below 1.
func number(share float64) string {
	decimals := 1
	if share < .01 {
		decimals = 2
	}
	return strconv.FormatFloat(share*100, 'f', decimals, 64)
}

func percent(share float64) string { return number(share) + " %" }
