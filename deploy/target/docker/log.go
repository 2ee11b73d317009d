package docker

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
)

const (
	// mostLog is how much of the end of a unit's log is kept, in bytes, and mostLines how much of it is asked for.
	mostLog, mostLines = 64 << 10, 2000
	// lastLines is how much of a log an error shows.
	lastLines = 20
)

// Logs implements deploy.Target, with what Docker's log driver gives back: standard output and error as they came. The
// logs of a slot that this target has stopped stay until something else is started there.
func (t *Target) Logs(ctx context.Context, name deploy.Slot) (map[string]string, error) {
	s := t.slot(name)
	s.mu.Lock()
	logs := maps.Clone(s.logs)
	s.mu.Unlock()
	if logs == nil {
		logs = map[string]string{}
	}
	if t.isClosed() {
		return logs, nil
	}
	there, err := t.containers(ctx, name)
	if err != nil {
		return logs, fmt.Errorf("read the logs of slot %s: %w", name, err)
	}
	for _, c := range there {
		log, err := t.log(ctx, c.ID)
		if err != nil {
			return logs, fmt.Errorf("read the log of %s in slot %s: %w", c.Config.Labels[labelComponent], name, err)
		}
		logs[c.Config.Labels[labelComponent]] = log
	}
	return logs, nil
}

// log is the end of a container's log, without secrets.
func (t *Target) log(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	stream, err := t.client.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(mostLines)})
	if err != nil {
		return "", t.explain(err)
	}
	defer stream.Close()
	end := &tail{most: mostLog}
	out := t.redactor.Writer(end)
	if _, err := stdcopy.StdCopy(out, out, stream); err != nil {
		return "", t.explain(err)
	}
	if err := out.Flush(); err != nil {
		return "", err
	}
	return end.text(), nil
}

// redact takes secrets out of an error, which may repeat what a unit's command or its log says.
func (t *Target) redact(err error) error {
	if clean := string(t.redactor.Bytes([]byte(err.Error()))); clean != err.Error() {
		return &redacted{clean, err}
	}
	return err
}

type redacted struct {
	text string
	err  error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }

// last is the last n lines of a text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
