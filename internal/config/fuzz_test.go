package config_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/metaextract/pipeline/internal/config"
)

// Whatever the file holds, Parse does not panic, and its every problem says the file, a line and a column.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", minimal, base, "version: 2\n", "- a\n", "a: &a [*a]\n", "<<: *x\n", base + "x-a: &a {b: 1}\nchecks: {<<: *a}\n",
		base + "environments: {a: {branches: [main, \"!x\"], env: {A: 1}}}\n", "---\n---\n", "a: \"\\x\"\n", "? [a]\n: b\n", "\xff\xfe", "\t",
		base + "rehearsal: {phase: 3s, requests: [{path: /, method: POST, json: {a: [1]}, file: {path: ../x}}]}\n",
		base + "notify: {slack: {channel: a, token: env://A}}\n", "version: 1\nname: a\ncomponents: {b: {path: ../../c, serve: {command: [x], routes: [/a/, /a]}}}\n",
		base + "environments: {a: {tags: [\"v[0-9]*\", \"{a,b}\"]}, b: {tags: [\"v?\", \"\\\\v\"]}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("pipeline.yaml", data)
		if err == nil {
			c.Check(fstest.MapFS{})
			c.Environment(config.Ref{Branch: "main", Tag: "v1"})
			return
		}
		var all *config.Errors
		if !errors.As(err, &all) || len(all.Problems) == 0 || c != nil {
			t.Fatalf("%T, %d problems, configuration %v", err, len(all.Problems), c)
		}
		for _, p := range all.Problems {
			if p.File != "pipeline.yaml" || p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Errorf("%#v", p)
			}
		}
	})
}
