package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/finding"
)

//go:embed html/report.css
var stylesheet string

//go:embed html/report.gohtml
var pageSource string

//go:embed html/rehearsal.gohtml
var rehearsalSource string

// page is the one template of the HTML report.
var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"seconds": seconds, "millis": millis, "count": count[int], "rows": count[int64], "size": size, "line": line, "verbatim": verbatim,
	"lockMode": lockMode, "lockBlocks": lockBlocks, "migration": migrationTitle, "diff": diffLines,
	"plural": plural[int], "percent": percent, "unit": unit,
	"took": func(d time.Duration) string { return seconds(d.Seconds()) },
	"ms":   func(ms float64) string { return seconds(ms / 1000) }, "calls": func(n int64) string { return plural(n, "call") },
	"sign": paint(false).word, "levelSign": paint(false).level, "state": stateClass, "level": levelClass,
}).Parse(pageSource + rehearsalSource))

// contentPolicy lets the page load nothing and run nothing: its own style sheet is allowed by its hash.
var contentPolicy = func() string {
	hash := sha256.Sum256([]byte(stylesheet))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"
}()

// WriteHTML writes a report as one file that needs nothing else: no script, no request, no inline style attribute, so
// that it also works under a strict Content-Security-Policy. All text from outside is escaped.
func WriteHTML(w io.Writer, r *Report) error {
	view := htmlPage{
		Report: r, Title: r.Headline(), Policy: contentPolicy, Style: template.CSS(stylesheet), //nolint:gosec // our own file
		Word: r.Verdict.word(), Sentence: capital(line(r.sentence())), Class: string(r.Verdict),
		Facts: facts(r), Figures: figures(r), Timeline: newTimeline(r),
	}
	for _, f := range r.Failures {
		view.Failures = append(view.Failures, htmlFailure{Failure: f, Place: f.Place(), Detail: f.detail(), SeedText: f.seed()})
	}
	if r.Traffic != nil {
		view.Charts = newCharts(r.Traffic)
		view.Dropped = r.Traffic.errors()
	}
	if r.Rollback != nil {
		view.Drill = capital(r.Rollback.Summary())
	}
	if d := r.Database; d != nil {
		view.database(d)
	}
	if err := page.Execute(w, view); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}

// htmlPage is what the template sees.
type htmlPage struct {
	*Report
	Policy, Title, Word, Sentence, Class string
	Style                                template.CSS
	Facts                                []fact
	Figures                              []figure
	Failures                             []htmlFailure
	Timeline                             *timeline
	Charts                               *charts
	Dropped                              []droppedCause
	Drill, BackupSentence, Schema        string
	Applied                              []migrations.Applied // where no rehearsal says more of them
	Backup                               *backup.Backup       // where it is not the rehearsal's
	Rehearsal                            *htmlRehearsal
}

func (p *htmlPage) database(d *Database) {
	p.Schema = d.version()
	if p.Backup = d.ownBackup(); p.Backup != nil {
		p.BackupSentence = backupSentence(p.Backup)
	}
	if d.Rehearsal == nil {
		p.Applied = d.Migrations.Applied
		return
	}
	p.Rehearsal = newHTMLRehearsal(d.Rehearsal)
	p.Rehearsal.Schema = p.Schema
}

type htmlFailure struct {
	Failure
	Place, Detail, SeedText string
}

// fact is a line of the page's head.
type fact struct{ Name, Value string }

func facts(r *Report) []fact {
	var list []fact
	add := func(name, value string) {
		if value = line(value); value != "" {
			list = append(list, fact{name, value})
		}
	}
	add("Release", r.Release)
	add("Running now", r.Running)
	add("Environment", r.Environment)
	add("Runner", r.Runner)
	if !r.Started.IsZero() {
		add("Started", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	add("Took", seconds(r.Seconds))
	return list
}

// figure is one of the large numbers.
type figure struct {
	Name, Number, Unit, Aside string
	Class                     string // "good", "bad" or ""
}

func figures(r *Report) []figure {
	var list []figure
	add := func(name, value, aside, class string) {
		number, u, _ := strings.Cut(value, " ")
		list = append(list, figure{name, number, u, aside, class})
	}
	if t := r.Traffic; t != nil {
		class := "good"
		if t.Failed > 0 {
			class = "bad"
		}
		add("Dropped requests", count(t.Failed), "of "+count(t.Requests), class)
		add("p95 latency", millis(t.P95), "p50 "+millis(t.P50)+", p99 "+millis(t.P99), "")
	}
	if d := r.Rollback; d != nil {
		class, aside := "good", plural(d.Failed, "request")+" dropped"
		if !d.Proven {
			class, aside = "bad", "not proven"
		}
		add("Rollback", seconds(d.Seconds), aside, class)
	}
	if d := r.Database; d != nil && d.Rehearsal != nil && len(d.Rehearsal.Migrations) > 0 {
		m := d.Rehearsal
		class, aside := "good", plural(len(m.Migrations), "migration")+", "+plural(len(m.Statements), "statement")
		if rehearsed(m) != Proven {
			class, aside = "bad", plural(len(ofLevel(m, finding.Refuse)), "refusal")+", "+aside
		}
		add("Blocked by migrations", millis(longestWait(m)), aside, class)
	} else if d != nil && len(d.Migrations.Applied) > 0 {
		n := 0
		for _, a := range d.Migrations.Applied {
			n += a.Statements
		}
		add("Migration", seconds(d.Migrations.Elapsed.Seconds()), plural(len(d.Migrations.Applied), "migration")+", "+plural(n, "statement"), "")
	}
	if r.CISeconds > 0 && r.whole() {
		cached, steps := 0, 0
		for _, stage := range r.Stages {
			for _, step := range stage.Steps {
				steps++
				if step.Cached {
					cached++
				}
			}
		}
		aside := plural(steps, "step")
		if cached > 0 {
			aside = fmt.Sprintf("%d of %s cached", cached, plural(steps, "step"))
		}
		add("Check, test, build", seconds(r.CISeconds), aside, "")
	}
	return list
}

// diffLine is a line of a failure message, with its colour.
type diffLine struct{ Class, Text string }

// diffLines marks the lines of a message that read like a diff.
func diffLines(text string) []diffLine {
	const longest = 80
	var list []diffLine
	for _, l := range clipLines(plain(text), longest) {
		trimmed := strings.TrimSpace(l)
		class := ""
		switch {
		case strings.HasPrefix(trimmed, "+ "), strings.HasPrefix(trimmed, "Received:"):
			class = "got"
		case strings.HasPrefix(trimmed, "- "), strings.HasPrefix(trimmed, "Expected:"):
			class = "want"
		case strings.HasPrefix(trimmed, "> "), strings.HasPrefix(trimmed, "at "):
			class = "where"
		}
		list = append(list, diffLine{class, cmp.Or(l, " ")})
	}
	return list
}

// capital begins a sentence. Names stay as they are: only our own sentences come here, and only "this", "nothing" and
// "back" begin one without a name.
func capital(s string) string {
	for _, word := range []string{"this ", "nothing ", "back "} {
		if strings.HasPrefix(s, word) {
			return strings.ToUpper(s[:1]) + s[1:]
		}
	}
	return s
}

// percent writes a share as an SVG length.
func percent(share float64) string { return fmt.Sprintf("%.3f%%", share*100) }

// unit writes a coordinate of a chart.
func unit(v float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", v), "0"), ".0")
}
