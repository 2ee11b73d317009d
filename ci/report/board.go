package report

import (
	"slices"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// board is what a live view knows of a run. Its owner guards it.
type board struct {
	began   time.Time
	stages  []*boardStage
	traffic *trafficTick
	last    string // note
}

type boardStage struct {
	Stage
	implied bool // nobody said that it began, so nobody may say that it ended
	steps   []*boardStep
}

// shown is a stage as it is shown: one that is implied lasts as long as its steps.
func (s *boardStage) shown() Stage {
	if !s.implied || s.Status != Running {
		return s.Stage
	}
	stage := s.Stage
	stage.Status = Passed
	for _, step := range s.steps {
		if step.Status == Running {
			return s.Stage
		}
		stage.Status = worse(stage.Status, step.Status)
		if !step.Cached {
			stage.Seconds = max(stage.Seconds, step.ended().Sub(stage.Started).Seconds())
		}
	}
	return stage
}

type boardStep struct {
	Stage
	failures []Failure
}

type trafficTick struct {
	requests, failed int
	p95              float64
}

// stage finds a stage or begins it.
func (b *board) stage(name string, now time.Time) *boardStage {
	if i := slices.IndexFunc(b.stages, func(s *boardStage) bool { return s.Name == name }); i >= 0 {
		return b.stages[i]
	}
	s := &boardStage{Stage: Stage{Name: name, Status: Running, Started: now}, implied: true}
	b.stages = append(b.stages, s)
	return s
}

func (b *board) stageStarted(name string, now time.Time) { b.stage(name, now).implied = false }

func (b *board) stepStarted(step ci.Step, at time.Time) {
	s := b.stage(step.Kind.Stage(), at)
	s.steps = append(s.steps, &boardStep{Stage: Stage{Name: step.Name, Status: Running, Started: at}})
}

func (b *board) stepFinished(result ci.Result, now time.Time) {
	line, failures := FromResult(result)
	s := b.stage(result.Step.Kind.Stage(), now)
	done := &boardStep{Stage: line, failures: failures}
	i := slices.IndexFunc(s.steps, func(x *boardStep) bool { return x.Name == line.Name })
	if i < 0 { // taken from the cache, or never begun
		s.steps = append(s.steps, done)
		return
	}
	s.steps[i] = done
}

func (b *board) stageFinished(stage Stage, now time.Time) {
	b.stage(stage.Name, now).Stage = stage
}
