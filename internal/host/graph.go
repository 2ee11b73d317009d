package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/metaextract/pipeline/ci"
)

// node is a step in the graph of one run.
type node struct {
	step       ci.Step
	after      *node
	dependents []*node
	inputs     []*entry
	key        string
	chain      int   // how many steps come after it one after another
	broken     error // why it cannot be run at all
	record     *record
	layer      *layer // what dependents continue from
	execute    bool
	result     ci.Result
}

// graph is what one run is to do.
type graph struct {
	nodes  []*node // every node after the one it continues from
	listed []*node // in the order of the steps given to Run
	source *source
}

// plan makes the graph of steps: reads their inputs, computes their keys and decides which are run.
func (r *Runner) plan(ctx context.Context, steps []ci.Step) (*graph, error) {
	g := &graph{}
	byName := map[string]*node{}
	for i := range steps {
		n, err := g.add(&steps[i], byName, nil)
		if err != nil {
			return nil, err
		}
		g.listed = append(g.listed, n)
	}
	var patterns [][]string
	for _, n := range g.nodes {
		patterns = append(patterns, n.step.Inputs)
	}
	source, err := scan(r.source, r.store.dir, patterns)
	if err != nil {
		return nil, err
	}
	g.source = source
	r.programs.ask(ctx, g.nodes)
	for _, n := range g.nodes {
		n.inputs = source.files(n.step.Inputs)
		n.key, n.broken = r.keyOf(ctx, n)
	}
	for _, n := range slices.Backward(g.nodes) {
		for _, d := range n.dependents {
			n.chain = max(n.chain, d.chain+1)
		}
		r.decide(n)
	}
	return g, nil
}

// add adds a step and what it continues from. Steps are told apart by name: values of one step may be listed and
// pointed to.
func (g *graph) add(step *ci.Step, byName map[string]*node, path []*ci.Step) (*node, error) {
	if step.Name == "" {
		return nil, errors.New("plan steps: a step has no name")
	}
	if slices.Contains(path, step) || len(path) > 1000 {
		return nil, fmt.Errorf("plan steps: %s continues from itself", step.Name)
	}
	if n := byName[step.Name]; n != nil {
		if !reflect.DeepEqual(n.step, *step) {
			return nil, fmt.Errorf("plan steps: two different steps are named %s", step.Name)
		}
		return n, nil
	}
	n := &node{step: *step}
	if step.After != nil {
		after, err := g.add(step.After, byName, append(path, step))
		if err != nil {
			return nil, err
		}
		n.after = after
		after.dependents = append(after.dependents, n)
	}
	byName[step.Name] = n
	g.nodes = append(g.nodes, n)
	return n, nil
}

// keyOf computes a step's key. It fails where the step cannot be run on this machine.
func (r *Runner) keyOf(ctx context.Context, n *node) (string, error) {
	after := ""
	if n.after != nil {
		if n.after.key == "" {
			return "", nil // that step's problem is told there
		}
		after = n.after.key
	}
	var programs, services []string
	for _, name := range n.step.Tool.Programs {
		p, err := r.programs.find(ctx, name)
		if err != nil {
			return "", err
		}
		programs = append(programs, p.describe(name))
	}
	for _, s := range n.step.Services {
		version, err := r.serviceVersion(ctx, s.Kind)
		if err != nil {
			return "", err
		}
		services = append(services, fmt.Sprintf("%s %s %s", s.Kind, s.Env, version))
	}
	d, err := define(n.step, after, n.inputs, programs, services)
	if err != nil {
		return "", err
	}
	return d.key()
}

// decide says whether a node is run. Its dependents have been decided before: where one of them is run, the node's file
// system is needed, and a record of its result alone does not do.
func (r *Runner) decide(n *node) {
	if n.key == "" {
		return
	}
	needed := len(n.step.Outputs) > 0 || slices.ContainsFunc(n.dependents, func(d *node) bool { return d.execute })
	own, layer := r.known(n.key)
	n.record, n.layer = own, layer
	if own == nil && !r.options.NoCache {
		n.record = r.store.load(n.key)
	}
	if n.record != nil && n.layer == nil {
		if l := r.store.openLayer(n.record.Layer); l != nil {
			n.layer = r.hold(n.key, l)
		}
	}
	n.execute = n.record == nil || needed && n.layer == nil
}

// kept says whether the file system of a step is kept for later runs: where later stages or steps need it.
func (n *node) kept() bool {
	return len(n.step.Outputs) > 0 || len(n.dependents) > 0 || n.step.Kind == ci.Install || n.step.Kind == ci.Build
}
