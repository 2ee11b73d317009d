package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// Outcome is what a step left in Out.
type Outcome struct {
	Began   time.Time // by the clock of the container
	Status  ci.Status
	Command []string // the one that failed
	Code    int
	Missing string // the output that is not there
	Log     []byte
	Reports []ci.ReportFile
}

// Read reads the files that Script left of a step. redact takes secrets out of what it is given.
func Read(files fs.FS, step ci.Step, redact func([]byte) []byte) (Outcome, error) {
	var o Outcome
	began, err := number(files, "began")
	if err != nil {
		return o, err
	}
	o.Began = time.Unix(0, began)
	status, err := fs.ReadFile(files, "status")
	if err != nil {
		return o, fmt.Errorf("the step's script did not end: %w", err)
	}
	if err := o.parse(strings.Fields(string(status)), step); err != nil {
		return o, err
	}
	if o.Log, err = readLog(files, redact); err != nil {
		return o, err
	}
	o.recordings(files, step, redact)
	for i, report := range step.Reports {
		data, err := fs.ReadFile(files, fmt.Sprintf("report-%d", i+1))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return o, err
		}
		o.Reports = append(o.Reports, ci.ReportFile{Report: report, Data: redact(data)})
	}
	return o, nil
}

// note adds a line of the pipeline's to the log.
func (o *Outcome) note(format string, args ...any) {
	line := fmt.Appendf(nil, "pipeline: "+format+"\n", args...)
	if len(o.Log)+len(line)+1 > ci.MaxLog {
		return
	}
	if len(o.Log) > 0 && !bytes.HasSuffix(o.Log, []byte("\n")) {
		line = append([]byte("\n"), line...)
	}
	o.Log = append(o.Log, line...)
}

func (o *Outcome) parse(words []string, step ci.Step) error {
	if len(words) == 0 {
		return errors.New("the step's script left no status")
	}
	status, words := words[0], words[1:]
	switch {
	case status == "passed":
		o.Status = ci.Passed
		return nil
	case status == "no-output" && len(words) == 1:
		o.Status, o.Missing = ci.Failed, words[0]
		return nil
	case len(words) == 0:
		return fmt.Errorf("the step's script left status %q", status)
	}
	index, err := strconv.Atoi(words[0])
	if err != nil || index < 0 || index >= len(step.Run) {
		return fmt.Errorf("the step's script left status %q for command %s", status, words[0])
	}
	o.Command = step.Run[index]
	switch {
	case status == "timed-out":
		o.Status = ci.TimedOut
	case status == "missing":
		o.Status = ci.Broken
	case status == "failed" && len(words) == 2:
		o.Status = ci.Failed
		o.Code, err = strconv.Atoi(words[1])
	default:
		err = fmt.Errorf("the step's script left status %q", status)
	}
	return err
}

func number(files fs.FS, name string) (int64, error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return 0, fmt.Errorf("the step's script did not begin: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// readLog reads the log, or the ends of a long one. Secrets are taken out before it is cut again, closer, so that no half
// of one stays at the place where the script has cut.
func readLog(files fs.FS, redact func([]byte) []byte) ([]byte, error) {
	whole, err := fs.ReadFile(files, "log")
	if err == nil {
		log := redact(whole)
		return capped(log, log, len(log)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	head, err := fs.ReadFile(files, "log-head")
	if err != nil {
		return nil, err
	}
	tail, err := fs.ReadFile(files, "log-tail")
	if err != nil {
		return nil, err
	}
	size, err := number(files, "log-size")
	if err != nil {
		return nil, err
	}
	return capped(redact(head), redact(tail), int(size)), nil
}

// The parts of a log that is longer than ci.MaxLog: how it began, and, since failures are said last, mostly its end.
const (
	logHead = ci.MaxLog / 4
	logTail = ci.MaxLog - logHead - 256 // room for the line that says what was cut
)

// capped keeps the beginning of head and the end of tail of a log of the given size.
func capped(head, tail []byte, size int) []byte {
	if size <= ci.MaxLog {
		return head
	}
	out := append([]byte(nil), head[:min(logHead, len(head))]...)
	end := tail[max(0, len(tail)-logTail):]
	out = fmt.Appendf(out, "\n… %d bytes of the log were cut here …\n", size-len(out)-len(end))
	return append(out, end...)
}
