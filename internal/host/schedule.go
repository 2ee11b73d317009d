package host

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// schedule runs the graph's nodes, each after the one it continues from, at most Jobs at once and those with the longest
// chain behind them first. It returns when every node has a result and what the steps made for themselves is removed,
// which does not keep others waiting.
func (r *Runner) schedule(ctx context.Context, g *graph) {
	var cleaning sync.WaitGroup
	defer cleaning.Wait()
	var ready []*node
	for _, n := range g.nodes {
		if n.after == nil {
			ready = append(ready, n)
		}
	}
	ended := make(chan *node)
	running := 0
	for len(ready) > 0 || running > 0 {
		slices.SortStableFunc(ready, func(a, b *node) int { return cmp.Compare(b.chain, a.chain) })
		for len(ready) > 0 && running < r.options.Jobs {
			n := ready[0]
			ready = ready[1:]
			if r.settle(ctx, n) {
				r.finish(n)
				ready = append(ready, n.dependents...)
				slices.SortStableFunc(ready, func(a, b *node) int { return cmp.Compare(b.chain, a.chain) })
				continue
			}
			running++
			cleaning.Go(func() {
				e := &execution{Runner: r, node: n, step: n.step, source: g.source, result: &n.result}
				e.runSafely(ctx)
				ended <- n
				e.cleanUp()
			})
		}
		if running == 0 {
			continue
		}
		n := <-ended
		running--
		r.finish(n)
		ready = append(ready, n.dependents...)
	}
}

// settle gives a node its result where nothing has to be run for it.
func (r *Runner) settle(ctx context.Context, n *node) bool {
	now := time.Now()
	n.result = ci.Result{Step: n.step, Started: now}
	switch {
	case n.after != nil && n.after.result.Status == ci.Canceled:
		n.result.Status, n.result.Err = ci.Canceled, canceled(ctx, n.step)
	case n.after != nil && n.after.result.Status != ci.Passed:
		n.result.Status = ci.Skipped
		n.result.Err = fmt.Errorf("%s: not run, since it continues from %s, which %s",
			n.step.Name, orElse(n.after.step.Name, "a step"), ended(n.after.result.Status))
	case ctx.Err() != nil:
		n.result.Status, n.result.Err = ci.Canceled, canceled(ctx, n.step)
	case n.broken != nil:
		n.result.Status, n.result.Err = ci.Broken, fmt.Errorf("%s: %w", n.step.Name, n.broken)
	case !n.execute:
		n.result = n.record.result(n.step, now)
		r.passed(n.key, n.record)
	default:
		return false
	}
	return true
}

// ended is how a status is said of a step.
func ended(s ci.Status) string {
	switch s {
	case ci.Skipped:
		return "was skipped"
	case ci.Broken:
		return "could not be run"
	default:
		return string(s)
	}
}

func canceled(ctx context.Context, step ci.Step) error {
	return fmt.Errorf("%s: canceled: %w", step.Name, context.Cause(ctx))
}

// finish tells of a result.
func (r *Runner) finish(n *node) {
	if r.options.Observer != nil {
		r.options.Observer.StepFinished(n.result)
	}
}

// runSafely runs a step. A mistake in this program is one broken step, not a pipeline that ends without a word.
func (e *execution) runSafely(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			e.result.Status = ci.Broken
			e.result.Err = fmt.Errorf("%s: a mistake in the pipeline itself, please report it: %v\n%s", e.step.Name, p, debug.Stack())
		}
	}()
	e.begin(ctx)
}
