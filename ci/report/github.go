package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/ci"
)

// Limits of GitHub Actions: annotations shown of one step, and the size of its job summary. A larger summary is not
// cut there: the upload fails.
const (
	maxAnnotations = 10
	maxSummary     = 1 << 20
	groupLog       = 400 // lines of a failed step's log in its group
	longestMessage = 20  // lines of an annotation
)

// github is the progress for GitHub Actions: lines as they happen, and a group with the logs of each stage. Stages may
// run at the same time and groups cannot nest, so what belongs into a group is kept until its stage ends.
type github struct {
	*eventLines
	out    io.Writer // takes workflow commands; what eventLines writes cannot be one
	groups map[string]*bytes.Buffer
}

func newGitHub(w io.Writer, s settings) *github {
	return &github{eventLines: newLines(commandless{w}, s), out: w, groups: map[string]*bytes.Buffer{}}
}

func (p *github) StepFinished(result ci.Result) {
	stage, failures := FromResult(result)
	p.mu.Lock()
	defer p.mu.Unlock()
	name := result.Step.Kind.Stage()
	ending := line(stage.Name) + " " + outcome(stage.Status, stage.Cached, stage.Seconds, stage.Detail)
	p.begin(name)
	p.say(name, ending)
	if p.groups[name] == nil {
		p.groups[name] = &bytes.Buffer{}
	}
	b := p.groups[name]
	fmt.Fprintln(b, ending)
	if stage.Status != Failed {
		return
	}
	for _, f := range failures {
		fmt.Fprintln(b, " ", joinNonEmpty(": ", f.Place(), line(f.Title)))
	}
	for _, l := range lastLines(logLines(result.Log), groupLog) {
		fmt.Fprintln(b, "  |", l)
	}
}

func (p *github) StageFinished(stage Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.group(stage.Name, outcome(stage.Status, stage.Cached, stage.Seconds, stage.Detail))
}

// group prints what was kept of a stage.
func (p *github) group(name, ending string) {
	if p.done {
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "::group::%s\n", commandData(joinNonEmpty(": ", line(name), ending)))
	if kept := p.groups[name]; kept != nil {
		_, _ = commandless{&b}.Write(kept.Bytes())
		delete(p.groups, name)
	}
	b.WriteString("::endgroup::\n")
	_, _ = p.out.Write(b.Bytes())
}

func (p *github) Finish(r *Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	for _, name := range sortedKeys(p.groups) { // stages that nobody ended
		p.group(name, "")
	}
	p.finish(r)
	_ = WriteAnnotations(p.out, r)
	if path := p.settings.getenv("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendSummary(path, r); err != nil {
			fmt.Fprintln(p.w, "note: the job summary was not written:", line(err.Error()))
		}
	}
}

// WriteAnnotations writes workflow commands that GitHub shows at the lines that failed, and at the statements that are refused,
// at most as many as it shows.
func WriteAnnotations(w io.Writer, r *Report) error {
	var b bytes.Buffer
	shown := r.Failures[:min(len(r.Failures), maxAnnotations)]
	refusals := r.Database.refusals()
	refusals = refusals[:min(len(refusals), maxAnnotations-len(shown))]
	if len(shown)+len(refusals) == 0 && r.Verdict != Proven {
		fmt.Fprintf(&b, "::error title=%s::%s\n", commandProperty(r.Verdict.word()), commandData(strings.Join(r.Reasons, "\n")))
	}
	for _, f := range shown {
		text := strings.Join(clipLines(joinNonEmpty("\n", plain(f.Message), example(f)), longestMessage), "\n")
		annotate(&b, joinNonEmpty(": ", line(f.Step), line(f.Title)), f.File, f.Line, f.Column, joinNonEmpty("\n", text, verbatim(f.Reproduce)))
	}
	for _, f := range refusals {
		fix := strings.Join(clipLines(strings.Join(fixLines(f.Fix), "\n"), longestMessage), "\n")
		annotate(&b, "migrations: "+line(f.Name), f.File, f.Line, 0, joinNonEmpty("\n", line(f.Message), fix))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// annotate writes one command, with a place where it is one of the application's files.
func annotate(b *bytes.Buffer, title, file string, row, column int, text string) {
	properties := []string{"title=" + commandProperty(clip(title, maxTitleRunes))}
	if file != "" && !foreign(file) {
		properties = append(properties, "file="+commandProperty(line(file)))
		if row > 0 {
			properties = append(properties, "line="+strconv.Itoa(row))
		}
		if column > 0 {
			properties = append(properties, "col="+strconv.Itoa(column))
		}
	}
	fmt.Fprintf(b, "::error %s::%s\n", strings.Join(properties, ","), commandData(text))
}

func example(f Failure) string {
	if f.Example == "" {
		return ""
	}
	return "counterexample " + line(f.Example)
}

// appendSummary adds the report to the job summary, within what is left of its limit.
func appendSummary(path string, r *Report) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	used := int64(0)
	if info, err := file.Stat(); err == nil {
		used = info.Size()
	}
	if used >= maxSummary {
		return fmt.Errorf("%s is full: GitHub takes 1 MiB", path)
	}
	return writeMarkdown(file, r, int(maxSummary-used))
}

// commandData escapes the message of a workflow command.
func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", "##[", "# #[").Replace(s)
}

// commandProperty escapes a property of a workflow command.
func commandProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(commandData(s))
}

// commandless keeps text from outside from being read as workflow commands: the runner takes "::name::" at the start of
// a line, after blanks, and "##[name]" anywhere.
type commandless struct{ w io.Writer }

func (c commandless) Write(data []byte) (int, error) {
	var b bytes.Buffer
	for l := range strings.Lines(string(data)) {
		if strings.HasPrefix(strings.TrimSpace(l), "::") {
			l = strings.Replace(l, "::", ": :", 1)
		}
		b.WriteString(strings.ReplaceAll(l, "##[", "# #["))
	}
	if _, err := c.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(data), nil
}
