package main

import (
	"context"
	"io"

	telemetry "github.com/dagger/otel-go"
)

// synced is what a Sync function returns. "dagger call" on a chain that ends in an object calls its sync function where
// it has one, and prints the type of what the returned id names: here, the report's file.
func synced(ctx context.Context, report func(context.Context) (string, error)) (id string, rerr error) {
	ctx, span := Tracer().Start(ctx, "report", telemetry.Reveal())
	defer telemetry.EndWithCause(span, &rerr)
	text, err := report(ctx)
	if err != nil {
		return "", err
	}
	// The sync call itself is not shown, so that what it prints would be lost.
	streams := telemetry.SpanStdio(ctx, "")
	defer streams.Close()
	if _, err := io.WriteString(streams.Stdout, text); err != nil {
		return "", err
	}
	file, err := dag.Directory().WithNewFile("report.txt", text).File("report.txt").ID(ctx)
	return string(file), err
}
