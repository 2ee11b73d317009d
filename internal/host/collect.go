package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// mostReport bounds a report, in bytes. Jest's report of ten thousand tests has a tenth of that.
const mostReport = 64 << 20

// collect reads the step's reports and looks for its outputs. A report that is not there is none: a test runner that
// fails early writes none, and its exit code says enough. An output that is not there fails a step that passed otherwise:
// a later stage needs it.
func (e *execution) collect() {
	if e.layer == nil {
		return
	}
	tree, err := os.OpenRoot(e.layer.tree()) // a path or a link that leads out of the tree is not followed
	if err != nil {
		return
	}
	defer tree.Close()
	for _, report := range e.step.Reports {
		data, err := readReport(tree, e.inTree(report.Path))
		if err != nil {
			continue
		}
		e.result.Reports = append(e.result.Reports, ci.ReportFile{Report: report, Data: e.redactor.Bytes(data)})
	}
	for _, output := range e.step.Outputs {
		if _, err := tree.Stat(e.inTree(output.Path)); err != nil && e.result.Status == ci.Passed {
			e.result.Status = ci.Failed
			e.result.Err = fmt.Errorf("%s: its commands passed but %s, its output %q, is not there; "+
				"correct where the command writes, or the output's path", e.step.Name, path.Join(e.step.Dir, output.Path), output.Name)
		}
	}
}

// inTree is a path relative to Dir as one relative to the tree.
func (e *execution) inTree(p string) string {
	return filepath.FromSlash(strings.TrimPrefix(path.Join("/", e.step.Dir, p), "/"))
}

func readReport(tree *os.Root, name string) ([]byte, error) {
	file, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > mostReport {
		return nil, errors.New("no regular file, or too big")
	}
	return io.ReadAll(file)
}

// keep stores the result of a step that passed, and its layer where others need it.
//
// What must not reach a later run is used in this one only: a layer in which a command left a secret's value, and
// everything that depends on files that somebody changed in place.
func (e *execution) keep() {
	kept := &record{
		Step: e.step.Name, Passed: e.result.Started, Took: time.Since(e.result.Started),
		Log: e.result.Log, Reports: e.result.Reports,
	}
	lasting := true
	if spoiled := changed(e.shared); len(spoiled) > 0 {
		lasting = false
		e.node.after.layer.forget()
		e.note("%s was changed in place, in the file system that this step shares with others; it is made anew in the next run",
			e.redactor.Bytes([]byte(sourceRoot+strings.TrimPrefix(spoiled[0], e.node.after.layer.tree()))))
	}
	if e.node.kept() {
		if leak := e.leak(); leak != "" {
			lasting = false
			e.note("%s holds the value of a secret, so nothing of this step is kept for later runs", leak)
		}
		if lasting {
			if err := e.layer.complete(e.step.Name, e.node.key); err != nil {
				e.fail(err)
				return
			}
			kept.Layer = e.layer.name
		}
		e.inUse = true
		e.node.layer = e.hold(e.node.key, e.layer)
	}
	if lasting {
		old := e.store.load(e.node.key)
		if err := e.store.save(e.node.key, kept); err != nil {
			e.fail(err)
			return
		}
		if old != nil && old.Layer != kept.Layer {
			e.store.supersede(old.Layer)
		}
	}
	e.passed(e.node.key, kept)
}

// fail makes a step that passed one that could not be kept.
func (e *execution) fail(err error) {
	e.result.Status = ci.Broken
	e.result.Err = fmt.Errorf("%s: %w", e.step.Name, err)
}

// note adds a line of the runner's own to the log.
func (e *execution) note(format string, args ...any) {
	line := fmt.Appendf(nil, "pipeline: "+format+"\n", args...)
	if len(e.result.Log)+len(line)+1 > ci.MaxLog {
		return
	}
	if log := e.result.Log; len(log) > 0 && !bytes.HasSuffix(log, []byte("\n")) {
		line = append([]byte("\n"), line...)
	}
	e.result.Log = append(e.result.Log, line...)
}

// leak returns a file of the layer that the step wrote and that holds the value of one of its secrets.
func (e *execution) leak() (found string) {
	secrets := e.redactor.Secrets()
	if len(e.step.Secrets) == 0 || len(secrets) == 0 {
		return ""
	}
	_ = filepath.WalkDir(e.layer.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.ModTime().Before(e.result.Started.Add(-time.Second)) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, s := range secrets {
			if bytes.Contains(data, s) {
				found = string(e.redactor.Bytes([]byte(path)))
				return fs.SkipAll
			}
		}
		return nil
	})
	return found
}
