package rehearse

import (
	"context"
	"time"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
)

// stages keeps the list of what was done, one after another, and tells the progress of it.
type stages struct {
	progress report.Progress
	now      func() time.Time
	current  *report.Stage
	done     []report.Stage
}

// begin ends the current stage as passed and begins the next.
func (s *stages) begin(name string) {
	if s.current != nil && s.current.Name == name {
		return
	}
	s.end(nil)
	s.current = &report.Stage{Name: name, Status: report.Running, Started: s.now()}
	s.progress.StageStarted(name)
}

// detail says more about the current stage.
func (s *stages) detail(text string) {
	if s.current != nil {
		s.current.Detail = text
	}
}

// name is that of the current stage.
func (s *stages) name() string {
	if s.current == nil {
		return ""
	}
	return s.current.Name
}

// end ends the current stage: passed when err is nil.
func (s *stages) end(err error) {
	if s.current == nil {
		return
	}
	stage := *s.current
	s.current = nil
	stage.Seconds = s.now().Sub(stage.Started).Seconds()
	stage.Status = report.Passed
	if err != nil {
		stage.Status = report.Failed
	}
	s.done = append(s.done, stage)
	s.progress.StageFinished(stage)
}

// stageOf names the stage that shows a state of the deployment.
var stageOf = map[deploy.State]string{
	deploy.BackingUp: "backup", deploy.Rehearsing: "rehearse migrations", deploy.Migrating: "migrate", deploy.Starting: "start", deploy.Probing: "start",
	deploy.Verifying: "verify", deploy.Shifting: "switch", deploy.Baking: "bake", deploy.Retiring: "retire",
}

// journal writes every transition, and shows it as a stage.
type journal struct {
	deploy.Journal
	stages *stages
	as     string // shows every state as this one stage, where set
}

// Write writes the entry before anything else knows of it.
func (j *journal) Write(ctx context.Context, entry deploy.Entry) error {
	if j.Journal != nil {
		if err := j.Journal.Write(ctx, entry); err != nil {
			return err
		}
	}
	name := stageOf[entry.State]
	if j.as != "" {
		name = j.as
	}
	if name != "" {
		j.stages.begin(name)
	}
	return nil
}

// during shows whatever act does with the deployment as one stage.
func (j *journal) during(stage string, act func() error) error {
	j.stages.begin(stage)
	j.as = stage
	defer func() { j.as = "" }()
	return act()
}
