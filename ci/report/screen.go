package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Limits of the final screen. The HTML report has everything.
const (
	screenReasons  = 4
	reasonLines    = 2 // of one reason
	titleLines     = 3 // of one failure
	noteLines      = 6
	screenFailures = 8
	firstMessage   = 8 // lines of the first failure's message, so that its command is on the first screen
	otherMessage   = 5
	widest         = 120 // columns of running text
)

// WriteScreen writes a report for a terminal: the verdict and its reasons, every failure with the command that shows it
// again, then the evidence. It fits in the given columns, except for commands: those are to be copied.
func WriteScreen(w io.Writer, r *Report, columns int, colour bool) error {
	s := screen{columns: min(max(columns, 40), widest), paint: paint(colour), report: r}
	s.verdict()
	s.failures()
	s.stages()
	s.evidence()
	s.notes()
	s.end()
	_, err := w.Write(s.Bytes())
	return err
}

// screen is the final screen as it is written.
type screen struct {
	bytes.Buffer
	paint
	columns int
	report  *Report
}

func (s *screen) line(parts ...string) {
	s.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	s.WriteByte('\n')
}

// paragraph writes wrapped text of at most n lines behind a first indent; further lines get blanks of the same width.
func (s *screen) paragraph(first, text string, n int) {
	for i, l := range wrapped(text, s.columns-width(first), n) {
		if i > 0 {
			first = strings.Repeat(" ", width(first))
		}
		s.line(first, l)
	}
}

// heading begins a section.
func (s *screen) heading(title, aside string) {
	s.line()
	if aside != "" {
		aside = "  " + s.dim(aside)
	}
	s.line(fit(s.bold(title)+aside, s.columns))
}

func (s *screen) verdict() {
	r := s.report
	s.line()
	s.line(fit(joinNonEmpty("  ", s.badge(r.Verdict), s.bold(line(r.sentence())), s.dim(seconds(r.Seconds))), s.columns))
	if from := r.from(); from != "" {
		s.line(s.dim(fit(from, s.columns)))
	}
	for i, reason := range r.Reasons {
		if i == screenReasons && len(r.Reasons) > screenReasons+1 {
			s.line(s.dim(fmt.Sprintf("  … %d more reasons in the report", len(r.Reasons)-screenReasons)))
			break
		}
		s.paragraph("  "+s.colourOf(r.Verdict, "•")+" ", reason, reasonLines)
	}
}

func (s *screen) colourOf(v Verdict, text string) string {
	switch v {
	case Proven:
		return s.green(text)
	case Refused:
		return s.red(text)
	default:
		return s.yellow(text)
	}
}

func (s *screen) failures() {
	failures := s.report.Failures
	for i, f := range failures {
		if i == screenFailures && len(failures) > screenFailures+1 {
			s.line()
			s.line(s.dim(fmt.Sprintf("… %s more in the report", plural(len(failures)-screenFailures, "failure"))))
			break
		}
		s.line()
		s.failure(f, i == 0)
	}
}

// failure writes one failure. What a diagnostic says on one line is not said twice.
func (s *screen) failure(f Failure, first bool) {
	for i, l := range wrapped(f.Title, s.columns-2, titleLines) {
		start := s.mark(Failed) + " "
		if i > 0 {
			start = "  "
		}
		s.line(start, s.bold(l))
	}
	s.line("  ", fit(joinNonEmpty(s.dim(" · "), s.cyan(f.Place()), s.dim(line(f.Step))), s.columns-2))
	if message := f.detail(); message != "" {
		n := otherMessage
		if first {
			n = firstMessage
		}
		for _, l := range clipLines(message, n) {
			s.line("    ", s.diff(fit(strings.ReplaceAll(l, "\t", "    "), s.columns-4)))
		}
	}
	if f.Example != "" {
		text := "counterexample " + line(f.Example)
		if f.Shrinks > 0 {
			text += " (shrunk " + plural(f.Shrinks, "time") + ")"
		}
		s.line("  ", s.yellow(fit(text, s.columns-2)))
	}
	if seed := f.seed(); seed != "" {
		s.line("  ", s.dim(fit(seed, s.columns-2)))
	}
	if f.Replay != "" {
		s.line("  ", s.dim(verbatim(f.Replay))) // to be copied, like the command
	}
	if f.Reproduce != "" {
		s.line("  ", s.dim("$ "), verbatim(f.Reproduce))
	}
}

func (s *screen) stages() {
	r := s.report
	if len(r.Stages) == 0 {
		return
	}
	aside := ""
	if r.CISeconds > 0 && r.whole() {
		aside = "check, test and build together " + seconds(r.CISeconds)
	}
	s.heading("Stages", aside)
	names := 12
	for _, stage := range r.Stages {
		names = max(names, width(line(stage.Name)))
		for _, step := range stage.Steps {
			names = max(names, width(line(step.Name))+2)
		}
	}
	names = min(names, s.columns/2)
	for _, stage := range r.Stages {
		s.stage(stage, "", names)
		for _, step := range stage.Steps {
			s.stage(step, "  ", names)
		}
	}
}

func (s *screen) stage(stage Stage, indent string, names int) {
	name := pad(fit(indent+line(stage.Name), names), names)
	took := seconds(stage.Seconds)
	switch {
	case stage.Cached:
		took = "cached"
	case stage.Status == Skipped:
		took = "-"
	}
	if indent != "" {
		name = s.dim(name)
	}
	text := joinNonEmpty("  ", s.mark(stage.Status)+" "+name, pad(string(stage.Status), len(Skipped)), s.dim(padLeft(took, 9)), line(stage.Detail))
	s.line("  ", fit(text, s.columns-2))
}

func (s *screen) evidence() {
	if t := s.report.Traffic; t != nil {
		s.heading("Traffic", plural(t.Clients, "client"))
		colour := s.green
		if t.Failed > 0 {
			colour = s.red
		}
		text := colour(t.Dropped()) + s.dim("  ·  ") + t.Latency()
		if width(text) > s.columns-2 {
			text = colour(t.Dropped()) + "\n  " + t.Latency()
		}
		s.line("  ", text)
		for _, e := range t.errors() {
			s.line("  ", s.red(fit(count(e.Count)+" × "+line(e.What), s.columns-2)))
		}
	}
	if d := s.report.Rollback; d != nil {
		s.heading("Rollback drill", "")
		s.line("  ", fit(joinNonEmpty("  ", s.mark(d.status())+" "+d.word(), d.Summary()), s.columns-2))
	}
	if s.report.Database != nil {
		s.database()
	}
}

func (s *screen) notes() {
	if len(s.report.Notes) == 0 {
		return
	}
	s.heading("Notes", "")
	for _, note := range s.report.Notes {
		s.paragraph("  - ", note, noteLines)
	}
}

// end is what stays in sight when a long screen has scrolled by.
func (s *screen) end() {
	r := s.report
	s.line()
	why := r.sentence()
	if len(r.Reasons) > 0 {
		why = r.Reasons[0]
	}
	s.line(fit(s.badge(r.Verdict)+"  "+line(why), s.columns))
	if r.Path != "" {
		s.line(s.dim("report  "), line(r.Path))
	}
}
