// Package driver is what happens inside a step's container: the script that runs its commands, how it is called, and what
// is read from the files that it leaves. It knows no engine and starts nothing, so that it is tested without one;
// internal/engine calls it.
package driver

import (
	_ "embed"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// Script is the program that runs a step's commands.
//
//go:embed step.sh
var Script string

// Where things are in a step's container.
const (
	// SourceRoot is the root of the source. Logs and reports show it, so it is the same for every runner.
	SourceRoot = "/src"
	// Program is where Script is.
	Program = "/.pipeline/step"
	// Out is what Script leaves.
	Out = "/.pipeline/out"
	// PostgresPort is that of every PostgreSQL server.
	PostgresPort = 5432
)

// Arguments is the command line of a step. attempt makes it another one, which no cache has.
func Arguments(step ci.Step, attempt string) ([]string, error) {
	timeout := step.Timeout
	if timeout <= 0 {
		timeout = ci.DefaultTimeout
	}
	limit := int((timeout + time.Second - 1) / time.Second)
	args := []string{Program, "--limit", strconv.Itoa(limit)}
	if dir := path.Join(SourceRoot, path.Clean("/"+step.Dir)); dir != SourceRoot {
		args = append(args, "--dir", dir)
	}
	for _, report := range step.Reports {
		args = append(args, "--report", report.Path)
	}
	for _, output := range step.Outputs {
		args = append(args, "--output", output.Path)
	}
	for _, s := range servers(step) {
		args = append(args, "--statements", Host(s)+"/"+strconv.Itoa(PostgresPort))
	}
	for _, a := range args {
		if strings.ContainsAny(a, " \t\n*?[") {
			return nil, fmt.Errorf("path %q has blanks or wildcards, which the engine's runner does not support; rename it", a)
		}
	}
	if attempt != "" {
		args = append(args, "--attempt", attempt)
	}
	args = append(args, "--")
	for _, command := range step.Run {
		if len(command) == 0 {
			return nil, errors.New("a command of the step is empty")
		}
		args = append(args, Line(command))
	}
	return args, nil
}

// Line quotes a command for a shell, where it needs it: people read it in the engine's progress.
func Line(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = quote(word)
	}
	return strings.Join(words, " ")
}

func quote(word string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+:,./@%"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
