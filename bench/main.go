// Command bench measures what the pipeline promises, each against a peer in the same run on the same machine, prints a
// table and writes bench/results.json. It ends with code 1 when a measure misses its bar.
//
//	go run ./bench            # everything
//	go run ./bench -run name  # the groups whose name contains it
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
)

// Measure is one line of the table.
type Measure struct {
	Name  string  `json:"name"`
	Ours  float64 `json:"ours"`
	Peer  float64 `json:"peer"` // 0 where the bar is a number and not a ratio
	Unit  string  `json:"unit"`
	Ratio float64 `json:"ratio"` // ours / peer; ours where there is no peer
	Bar   float64 `json:"bar"`   // at most
	OK    bool    `json:"ok"`
}

// against compares with a peer: ours may be at most bar times the peer's.
func against(name, unit string, ours, peer, bar float64) Measure {
	return Measure{Name: name, Unit: unit, Ours: ours, Peer: peer, Ratio: ours / peer, Bar: bar, OK: ours <= bar*peer}
}

// atMost compares with a number.
func atMost(name, unit string, ours, bar float64) Measure {
	return Measure{Name: name, Unit: unit, Ours: ours, Ratio: ours, Bar: bar, OK: ours <= bar}
}

// groups are measured one after another: they share the machine's cores.
var groups = []struct {
	name string
	run  func(context.Context) ([]Measure, error)
}{
	{"rehearse", rehearse},
	{"engine", engine},
}

func main() {
	only := flag.String("run", "", "run the groups whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, *only))
}

func run(ctx context.Context, only string) int {
	measures := []Measure{}
	code := 0
	for _, g := range groups {
		if !strings.Contains(g.name, only) {
			continue
		}
		found, err := g.run(ctx)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", g.name, err)
			code = 3
		}
		measures = append(measures, found...)
	}
	print(measures)
	for _, m := range measures {
		if !m.OK {
			code = cmp.Or(code, 1)
		}
	}
	text, err := json.MarshalIndent(measures, "", "  ")
	if err == nil {
		err = os.WriteFile("bench/results.json", append(text, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 3
	}
	return code
}

func print(measures []Measure) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "MEASURE\tOURS\tPEER\tUNIT\tRATIO\tBAR\t")
	for _, m := range measures {
		peer, verdict := fmt.Sprintf("%.2f", m.Peer), "ok"
		if m.Peer == 0 {
			peer = "-"
		}
		if !m.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%.2f\t%s\t%s\t%.2f\t%.2f\t%s\n", m.Name, m.Ours, peer, m.Unit, m.Ratio, m.Bar, verdict)
	}
	_ = w.Flush()
}
