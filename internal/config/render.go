package config

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/metaextract/pipeline/internal/config/survey"
)

// SchemaURL is where editors find the JSON Schema.
const SchemaURL = "https://raw.githubusercontent.com/metaextract/pipeline/main/pipeline.schema.json"

// writer writes YAML with comments, which no encoder keeps where a person would put them.
type writer struct{ strings.Builder }

// line writes a line of YAML at a depth, with a comment behind it where there is one.
func (w *writer) line(depth int, text, comment string) {
	w.WriteString(strings.Repeat("  ", depth) + text)
	if comment != "" {
		w.WriteString(" # " + oneLine(comment))
	}
	w.WriteByte('\n')
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// scalar writes a text as YAML, in quotes where it needs them.
func scalar(text string) string {
	var read []string
	if err := yaml.Unmarshal([]byte("["+text+"]"), &read); err == nil && len(read) == 1 && read[0] == text && !strings.ContainsAny(text, ":#*!") {
		var kind yaml.Node
		if yaml.Unmarshal([]byte(text), &kind) == nil && kind.Content[0].ShortTag() == "!!str" {
			return text
		}
	}
	return strconv.Quote(text) // Go's escapes of valid UTF-8 are YAML's
}

func scalars(texts []string) string {
	written := make([]string, len(texts))
	for i, t := range texts {
		written[i] = scalar(t)
	}
	return "[" + strings.Join(written, ", ") + "]"
}

func (d *draft) render() []byte {
	w := &writer{}
	w.line(0, "# yaml-language-server: $schema="+SchemaURL, "")
	w.line(0, "# Written by pipeline init, from what is in this repository. Correct it where it guessed wrong:", "")
	w.line(0, "# pipeline validate checks it without running anything.", "")
	w.line(0, "version: 1", "")
	w.line(0, "name: "+scalar(d.name), "")
	w.line(0, "\ncomponents:", "")
	for _, p := range d.parts {
		p.render(w)
	}
	d.renderData(w)
	d.renderEnvironments(w)
	d.renderRehearsal(w)
	w.line(0, "\n# One Slack message per deployment, updated in place. The token is a reference, never the token itself.", "")
	w.line(0, "# notify:", "")
	w.line(0, `#   slack: {channel: "#releases", token: "env://SLACK_BOT_TOKEN"}`, "")
	return []byte(w.String())
}

func (p *part) render(w *writer) {
	w.line(1, scalar(p.name)+":", "")
	w.line(2, "path: "+scalar(p.pkg.Dir), "")
	var names, files []string
	for _, r := range p.runtimes {
		names = append(names, string(r))
	}
	if p.pkg.Node != nil {
		files = append(files, strings.TrimSuffix(survey.PackageJSON+", "+p.pkg.Node.Lock, ", "))
	}
	if p.pkg.Python != nil {
		files = append(files, p.pkg.Python.File())
	}
	w.line(2, "runtimes: "+scalars(names), strings.Join(files, ", "))
	if len(p.debians) > 0 {
		var packages, whys []string
		for _, d := range p.debians {
			packages, whys = append(packages, d.Name), append(whys, d.Why)
		}
		w.line(2, "packages: "+scalars(packages), "for "+strings.Join(slices.Compact(whys), ", "))
	}
	if len(p.inputs) > 0 {
		w.line(2, "inputs: "+scalars(p.inputs), "its sources or tests read it")
	}
	if p.serving == nil {
		w.line(2, "# No serve: it is built and tested, not deployed.", "")
		return
	}
	s := p.serving
	w.line(2, "serve:", "")
	if s.Static != "" {
		w.line(3, "static: "+scalar(s.Static), s.Why)
	} else {
		w.line(3, "command: "+scalars(s.Command), s.Why)
	}
	why := ""
	if p.rest != "" {
		why = "its own prefixes; everything else goes to " + p.rest
	}
	w.line(3, "routes: "+scalars(p.routes), why)
	if s.Port != 0 {
		w.line(3, fmt.Sprintf("port: %d", s.Port), "written out in the sources; better let them read $PORT")
	}
	if health, why := p.health(); health != "" {
		w.line(3, "health: "+scalar(health), why)
	}
	if ready := s.Ready(); ready != "" {
		w.line(3, "ready: "+scalar(ready), "found in the sources")
	}
	if version := s.Version(); version != "" {
		w.line(3, "version: "+scalar(version), "found in the sources; its answer must contain the release")
	}
}

func (d *draft) renderData(w *writer) {
	if d.migrations != nil {
		w.line(0, "\ndatabase:", "")
		w.line(1, "migrations: "+scalar(path.Clean(d.migrations.Dir)), d.migrations.Why)
		w.line(1, "format: "+d.migrations.Format, "")
		for _, s := range d.servers {
			if s.Name == Postgres && s.Env != "" {
				w.line(1, "env: "+scalar(s.Env), "the variable the sources read")
			}
		}
	}
	if len(d.servers) == 0 {
		return
	}
	w.line(0, "\n# Started fresh for integration tests and rehearsals. Give the major versions that production runs.", "")
	w.line(0, "services:", "")
	for _, s := range d.servers {
		version := map[string]string{Postgres: DefaultPostgresVersion, Redis: DefaultRedisVersion}[s.Name]
		text := fmt.Sprintf("%s: {version: %q", s.Name, version)
		if s.Env != "" {
			text += ", env: " + scalar(s.Env)
		}
		w.line(1, text+"}", s.Why)
	}
}

func (d *draft) renderEnvironments(w *writer) {
	w.line(0, "\n# Which branch or tag is deployed where. Values of env are references where they are secret:", "")
	w.line(0, "# env: {PAYMENT_KEY: \"env://PAYMENT_KEY\"}", "")
	w.line(0, "environments:", "")
	w.line(1, "staging:", "")
	w.line(2, "branches: "+scalars([]string{d.branch}), "")
	w.line(2, "target: "+DefaultTarget, "")
	w.line(2, "strategy: "+DefaultStrategy, "")
	w.line(1, "production:", "")
	w.line(2, "tags: "+scalars([]string{"v*"}), "")
	w.line(2, "target: "+DefaultTarget, "")
	w.line(2, "strategy: "+DefaultStrategy, "")
}

// renderRehearsal suggests requests and does not turn them on: they may need data or a login that is not there.
func (d *draft) renderRehearsal(w *writer) {
	served := slices.ContainsFunc(d.parts, func(p *part) bool { return p.serving != nil })
	if !served {
		return
	}
	if d.requests {
		w.line(0, "\n# The traffic of a rehearsal, and the smoke test. Add what your users ask for.", "")
		w.line(0, "rehearsal:", "")
		w.line(1, "requests:", "")
		w.line(2, "- {name: page, path: /}", "")
		return
	}
	w.line(0, "\n# The traffic of a rehearsal, and the smoke test: without this, a GET on the health paths that the routes lead to.", "")
	w.line(0, "# Requests that your users make prove more.", "")
	w.line(0, "# rehearsal:", "")
	w.line(0, "#   requests:", "")
	w.line(0, "#     - {name: page, path: /, expect: 200}", "")
	for _, p := range d.parts {
		if p.serving == nil {
			continue
		}
		for _, read := range p.serving.Reads()[:min(2, len(p.serving.Reads()))] {
			w.line(0, fmt.Sprintf("#     - {name: %s, path: %s, expect: 200}", slug(path.Base(read), "read"), scalar(read)), "")
		}
	}
}
