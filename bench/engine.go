package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// engine measures how long the Dagger module takes to load. The engine's cache is emptied first.
func engine(ctx context.Context, _ size) ([]Measure, error) {
	if out, err := exec.CommandContext(ctx, "bin/pipeline", "doctor", "--engine").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: SKIPPED the module's load time: %s", out)
		return nil, nil
	}
	if err := exec.CommandContext(ctx, "dagger", "core", "engine", "local-cache", "prune").Run(); err != nil {
		return nil, fmt.Errorf("empty the engine's cache: %w", err)
	}
	cold, err := functions(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := functions(ctx); err != nil {
		return nil, err
	}
	warm, err := functions(ctx)
	if err != nil {
		return nil, err
	}
	return []Measure{
		atMost("dagger functions, empty cache", "s", cold, 90),
		atMost("dagger functions, warm", "s", warm, 1),
	}, nil
}

func functions(ctx context.Context) (seconds float64, err error) {
	start := time.Now()
	out, err := exec.CommandContext(ctx, "dagger", "functions").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("dagger functions: %w\n%s", err, out)
	}
	return time.Since(start).Seconds(), nil
}
