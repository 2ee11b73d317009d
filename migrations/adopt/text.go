package adopt

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// YAML is what is written under database: in pipeline.yaml; "" where nothing is accepted.
func (p *Plan) YAML() string {
	if len(p.Accept) == 0 {
		return ""
	}
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	// Strings of a struct that is ours: there is nothing to fail.
	_ = encoder.Encode(struct {
		Accept []folder.Accept `yaml:"accept"`
	}{p.Accept})
	return b.String()
}

// Text is the plan for people: what was found, file by file, and what is to be done.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", p.Dir)
	switch {
	case p.Refused():
		b.WriteString("cannot be taken over as it is\n")
	case p.Empty():
		fmt.Fprintf(&b, "nothing to take over, the database is at %s\n", version(p.From))
	default:
		fmt.Fprintf(&b, "%s to be taken over, from %s to %s\n", plural(len(p.entries), "migration", "migrations"), version(p.From), version(p.Version))
	}
	if len(p.Evidence) > 0 {
		b.WriteString("\nevidence\n")
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, e := range p.Evidence {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s here\n", e.Runner, e.Table, plural(e.Rows, "entry", "entries"), plural(e.Files, "file", "files"))
		}
		_ = w.Flush()
	}
	b.WriteString("\nfiles\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range p.Files {
		number := "-"
		if f.Version != nil {
			number = fmt.Sprint(*f.Version)
		}
		detail := f.By
		if f.At != nil {
			detail += ", " + f.At.Format("2006-01-02 15:04:05") + " UTC"
		}
		if f.Why != "" {
			detail += ", " + f.Why
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", number, f.File, f.Verdict, strings.TrimPrefix(detail, ", "))
	}
	_ = w.Flush()
	if len(p.Findings) > 0 {
		b.WriteString("\nfindings\n")
	}
	for _, f := range p.Findings {
		fmt.Fprintf(&b, "  %s: %s\n", f.Level, f)
		if f.Object != "" && !strings.Contains(f.Message, f.Object) {
			fmt.Fprintf(&b, "    %s\n", f.Object)
		}
		if f.Allowed != "" {
			fmt.Fprintf(&b, "    allowed: %s\n", f.Allowed)
		}
		if f.Fix != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(strings.TrimSpace(f.Fix), "\n", "\n      "))
		}
	}
	return trimLines(b.String())
}

// trimLines removes what aligning columns leaves at the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func version(v int64) string {
	if v == history.NoVersion {
		return "no version"
	}
	return fmt.Sprintf("version %d", v)
}
