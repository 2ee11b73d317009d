package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/metaextract/pipeline/ci/report"
)

const (
	sample = "testdata/metaextract"
	next   = "testdata/next"
)

// trafficStages last as long as pipeline.yaml says; they are not the pipeline's own time.
var trafficStages = []string{"traffic", "bake", "rollback", "forward"}

// rehearse compares rehearsals of the sample with the checklist done by hand, both with empty caches of their tools.
func rehearse(ctx context.Context, _ size) ([]Measure, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	changed, err := changedLine(dir)
	if err != nil {
		return nil, err
	}

	fmt.Fprintln(os.Stderr, "bench: the checklist by hand")
	byHand, err := checklist(ctx, dir)
	if err != nil {
		return nil, err
	}
	var measures []Measure
	for _, m := range []struct {
		name, overlay string
		bar           float64
	}{
		{"cold rehearse", "", 0.8},
		{"rehearse again, nothing changed", "", 0.1},
		{"rehearse again, one backend line changed", changed, 0.5},
	} {
		fmt.Fprintln(os.Stderr, "bench:", m.name)
		seconds, result, err := rehearsed(ctx, dir, m.overlay)
		if err != nil {
			return measures, fmt.Errorf("%s: %w", m.name, err)
		}
		measures = append(measures,
			against(m.name+" / checklist by hand", "s", seconds-inTraffic(result), byHand, m.bar),
			atMost("requests dropped of "+fmt.Sprint(result.Traffic.Requests), "requests", float64(result.Traffic.Failed), 0))
	}
	return measures, nil
}

// checklist runs the sample's by-hand.sh with caches of its own.
func checklist(ctx context.Context, dir string) (seconds float64, err error) {
	command := exec.CommandContext(ctx, "bash", filepath.Join(sample, "by-hand.sh"), sample, next)
	command.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(dir, "npm"), "PIP_CACHE_DIR="+filepath.Join(dir, "pip"))
	var log bytes.Buffer
	command.Stdout, command.Stderr = &log, &log
	start := time.Now()
	if err := command.Run(); err != nil {
		return 0, fmt.Errorf("by-hand.sh: %w\n%s", err, log.Bytes()[max(0, log.Len()-4000):])
	}
	return time.Since(start).Seconds(), nil
}

// rehearsed runs pipeline rehearse on the host, with a cache below dir.
func rehearsed(ctx context.Context, dir, overlay string) (seconds float64, result report.Report, err error) {
	args := []string{"rehearse", sample, "--overlay", next, "--from", sample, "--runner", "host", "--output", "json",
		"--cache-dir", filepath.Join(dir, "cache"), "--report", filepath.Join(dir, "report")}
	if overlay != "" {
		args = append(args, "--overlay", overlay)
	}
	command := exec.CommandContext(ctx, "bin/pipeline", args...)
	var out, log bytes.Buffer
	command.Stdout, command.Stderr = &out, &log
	start := time.Now()
	if err := command.Run(); err != nil {
		return 0, result, fmt.Errorf("%w\n%s", err, log.Bytes()[max(0, log.Len()-4000):])
	}
	seconds = time.Since(start).Seconds()
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return 0, result, err
	}
	if result.Traffic == nil {
		return 0, result, errors.New("the report has no traffic")
	}
	return seconds, result, nil
}

func inTraffic(r report.Report) float64 {
	var sum float64
	for _, s := range r.Stages {
		if slices.Contains(trafficStages, s.Name) {
			sum += s.Seconds
		}
	}
	return sum
}

// changedLine makes an overlay that adds a line to one file of the backend.
func changedLine(dir string) (overlay string, err error) {
	const file = "backend/src/metaextract/extract.py"
	text, err := os.ReadFile(filepath.Join(next, file))
	if errors.Is(err, os.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(sample, file))
	}
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "changed")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(overlay, file)), 0o755); err != nil {
		return "", err
	}
	return overlay, os.WriteFile(filepath.Join(overlay, file), append(text, "\n# One line more.\n"...), 0o644)
}
