package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Group is what bench/results.json keeps of a group: its last run at the full sizes.
type Group struct {
	Name     string    `json:"name"`
	At       time.Time `json:"at"` // when it began
	Seconds  float64   `json:"seconds"`
	Machine  string    `json:"machine"`
	Error    string    `json:"error,omitempty"` // the group did not get to its end
	Measures []Measure `json:"measures"`
}

const resultsFile = "bench/results.json"

// save puts groups in the place of what was known of them.
func save(results []Group) error {
	known, err := readResults()
	if err != nil {
		return err
	}
	for _, g := range results {
		if i := slices.IndexFunc(known, func(k Group) bool { return k.Name == g.Name }); i >= 0 {
			known[i] = g
		} else {
			known = append(known, g)
		}
	}
	text, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(resultsFile, append(text, '\n'), 0o644)
}

// readResults reads what is known; nothing where nothing was measured.
func readResults() ([]Group, error) {
	text, err := os.ReadFile(resultsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known []Group
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove it", resultsFile, err)
	}
	return known, nil
}

// machine is what was measured on.
func machine() string {
	model, memory := "", ""
	for line := range lines("/proc/cpuinfo") {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = " of " + strings.TrimSpace(value)
			break
		}
	}
	for line := range lines("/proc/meminfo") {
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kilobytes); n == 1 {
			memory = fmt.Sprintf(", %.0f GB", float64(kilobytes)/1e6)
			break
		}
	}
	return fmt.Sprintf("%d processors%s%s, %s/%s, %s", runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func lines(file string) func(func(string) bool) {
	text, _ := os.ReadFile(file) // other systems have none
	return strings.Lines(string(text))
}

// document is where the results are put, between these lines.
const (
	document = "docs/benchmarks.md"
	begins   = "<!-- bench/results.json: go run ./bench -document -->\n"
	ends     = "<!-- end -->\n"
)

// writeDocument puts the results into the document.
func writeDocument() error {
	known, err := readResults()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s has no lines %q and %q", document, strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	var b strings.Builder
	for _, g := range known {
		fmt.Fprintf(&b, "\n**%s**, %s, %.0f s. %s.\n\n", g.Name, g.At.Format("2 January 2006 15:04 UTC"), g.Seconds, g.Machine)
		if g.Error != "" {
			fmt.Fprintf(&b, "It did not get to its end: %s\n\n", g.Error)
		}
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
		for _, m := range g.Measures {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(m.cells(), " | "))
		}
	}
	return os.WriteFile(document, []byte(before+begins+b.String()+"\n"+ends+after), 0o644)
}
