// Command bench measures what the pipeline promises, each against a peer in the same run on the same machine, prints a
// table and writes bench/results.json. It ends with code 1 when a measure misses its bar.
//
//	go run ./bench                          # everything
//	go run ./bench -run name                # the groups whose name contains it
//	go run ./bench -scale 0.01 -runs 1      # to try a group out: small sizes, and nothing is written
//	go run ./bench -document                # measures nothing: puts bench/results.json into docs/benchmarks.md
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// size is how much is measured.
type size struct {
	scale float64 // of the sizes that the bars are for; less for trying out
	runs  int     // of each side, in turn
}

// fewest runs make a result.
const fewest = 3

// of is a number of rows or rounds, at least one.
func (s size) of(full int) int { return max(1, int(s.scale*float64(full))) }

// groups are measured one after another: they share the machine's cores.
var groups = []struct {
	name string
	run  func(context.Context, size) ([]Measure, error)
}{
	{"rehearse", rehearse},
	{"engine", engine},
	{"database/blocked", blocked},
	{"database/overhead", overhead},
	{"database/migrators", migrators},
	{"database/gigabyte", gigabyteRehearsed},
	{"database/checksums", checksums},
}

func main() {
	only := flag.String("run", "", "run the groups whose name contains this")
	scale := flag.Float64("scale", 1, "measure this part of the full sizes; anything but 1 is not written")
	runs := flag.Int("runs", 5, "runs of each side of a comparison of databases; fewer than 3 are not written")
	document := flag.Bool("document", false, "measure nothing: put bench/results.json into docs/benchmarks.md")
	flag.Parse()
	if *scale <= 0 || *scale > 1 || *runs < 1 {
		fmt.Fprintln(os.Stderr, "bench: -scale is above 0 and at most 1, -runs at least 1")
		os.Exit(2)
	}
	if *document {
		if err := writeDocument(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(3)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, *only, size{*scale, *runs}))
}

func run(ctx context.Context, only string, s size) int {
	code := 0
	var results []Group
	for _, g := range groups {
		if !strings.Contains(g.name, only) {
			continue
		}
		group := Group{Name: g.name, At: time.Now().UTC().Truncate(time.Second), Machine: machine()}
		var err error
		group.Measures, err = g.run(ctx, s)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", g.name, err)
			code, group.Error = 3, err.Error()
		}
		group.Seconds = time.Since(group.At).Seconds()
		for _, m := range group.Measures {
			if !m.OK {
				code = cmp.Or(code, 1)
			}
		}
		if ctx.Err() != nil {
			break // what is known of the group is better than a part of it
		}
		results = append(results, group)
	}
	printTable(os.Stdout, results)
	if s.scale != 1 || s.runs < fewest {
		fmt.Fprintf(os.Stderr, "bench: %d runs at %g of the full sizes say nothing about the bars, and are not written\n", s.runs, s.scale)
		return code
	}
	if err := save(results); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 3
	}
	return code
}
