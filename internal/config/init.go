package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/internal/config/survey"
)

// Init writes a pipeline.yaml for the application in fsys by looking at it, with a comment for each choice. name is the
// application's name; one that is no valid name is made one. The notes are for the person who runs it: what was left out,
// and what is still missing before a first run. It writes no file.
//
// The result always parses. Check finds nothing in it either but lock files that are missing, which the notes say.
func Init(fsys fs.FS, name string) (data []byte, notes []string, err error) {
	repository, err := survey.Survey(fsys)
	if err != nil {
		return nil, nil, err
	}
	if len(repository.Packages) == 0 {
		return nil, nil, errors.New("found neither a package.json nor a Python project (pyproject.toml or requirements.txt): run this in the application's root")
	}
	d := newDraft(repository, name)
	data = d.render()
	c, err := Parse(FileName, data)
	if err != nil {
		return nil, nil, fmt.Errorf("what was found makes no valid %s; write it by hand: %w", FileName, err)
	}
	c.look(fsys)
	for _, p := range c.Check(fsys) {
		d.note(p.Error())
	}
	return data, d.notes, nil
}

// draft is what the file will say.
type draft struct {
	name       string
	branch     string
	parts      []*part
	migrations *survey.Migrations
	servers    []survey.Server
	requests   bool // the health paths make no traffic: requests must be written out
	notes      []string
}

// part is a component to be.
type part struct {
	name     string
	pkg      survey.Package
	runtimes []Runtime
	serving  *survey.Serving // nil: not served
	routes   []string
	rest     string // the part that has the routes this one does not
	debians  []survey.Debian
	inputs   []string
}

func newDraft(r *survey.Repository, name string) *draft {
	d := &draft{name: slug(name, "app"), branch: r.DefaultBranch()}
	for _, s := range r.Skipped {
		d.note("left out " + s)
	}
	var notes []string
	d.migrations, notes = r.Migrations()
	d.notes = append(d.notes, notes...)
	d.servers = r.Servers(d.migrations != nil)
	for _, p := range r.Packages {
		d.parts = append(d.parts, partsOf(r, p)...)
	}
	for _, p := range d.parts {
		d.nameOf(p)
		p.debians = r.Debians(p.pkg)
		if d.migrations != nil {
			if in := r.Reads(p.pkg, d.migrations.Dir); in != "" {
				p.inputs = append(p.inputs, in)
			}
		}
		if p.serving == nil {
			d.note(fmt.Sprintf("%s: found nothing that serves it (a start script, a vite build or a FastAPI application): it is built and tested, not deployed. Add serve if it is", p.name))
		} else {
			d.notes = append(d.notes, p.serving.Notes(p.pkg)...)
		}
	}
	d.route()
	return d
}

func (d *draft) note(n string) { d.notes = append(d.notes, n) }

// partsOf makes one component of a package, or two where it is a site and a server that know nothing of each other.
func partsOf(r *survey.Repository, p survey.Package) []*part {
	node, python := r.ServeNode(p), r.ServePython(p)
	if node != nil && python != nil && !(python.Pages && node.Static != "") {
		return []*part{
			{pkg: survey.Package{Dir: p.Dir, Node: p.Node}, runtimes: []Runtime{Node}, serving: node},
			{pkg: survey.Package{Dir: p.Dir, Python: p.Python}, runtimes: []Runtime{Python}, serving: python},
		}
	}
	one := &part{pkg: p, serving: node}
	if python != nil {
		one.serving = python
	}
	if p.Node != nil {
		one.runtimes = append(one.runtimes, Node)
	}
	if p.Python != nil {
		one.runtimes = append(one.runtimes, Python)
	}
	return []*part{one}
}

// nameOf names a part after its directory, or after what it is where it has none of its own.
func (d *draft) nameOf(p *part) {
	role := "app"
	switch {
	case p.serving != nil && p.serving.Static != "":
		role = "frontend"
	case len(d.parts) > 1 && slices.Equal(p.runtimes, []Runtime{Python}):
		role = "backend"
	}
	if len(d.parts) == 1 {
		role = "app"
	}
	candidates := []string{role}
	if p.pkg.Dir != "." {
		long := slug(strings.ReplaceAll(p.pkg.Dir, "/", "-"), role)
		candidates = []string{slug(path.Base(p.pkg.Dir), role), long, long + "-" + role}
	}
	for n := 2; ; n++ {
		for _, c := range candidates {
			if !slices.ContainsFunc(d.parts, func(q *part) bool { return q.name == c }) {
				p.name = c
				return
			}
		}
		candidates = append(candidates, fmt.Sprintf("%s-%d", candidates[0], n))
	}
}

// route gives / to the part that has the pages, and to each other the prefixes its sources name.
func (d *draft) route() {
	served := slices.DeleteFunc(slices.Clone(d.parts), func(p *part) bool { return p.serving == nil })
	if len(served) == 0 {
		return
	}
	root := served[0]
	for _, is := range []func(*part) bool{
		func(p *part) bool { return p.serving.Static != "" },
		func(p *part) bool { return p.serving.Pages },
	} {
		if i := slices.IndexFunc(served, is); i >= 0 {
			root = served[i]
			break
		}
	}
	root.routes = []string{DefaultRoute}
	taken := []string{DefaultRoute}
	for _, p := range served {
		if p == root {
			continue
		}
		p.rest = root.name
		for _, prefix := range append(p.serving.Prefixes(), "/api", "/"+p.name) {
			own := len(p.routes) > 0 && !slices.Contains(p.serving.Prefixes(), prefix) // only where the sources name none
			if !own && !slices.Contains(taken, prefix) {
				p.routes, taken = append(p.routes, prefix), append(taken, prefix)
			}
		}
	}
	c := Config{Components: map[string]Component{}}
	for _, p := range served {
		health, _ := p.health()
		c.Components[p.name] = Component{Serve: &Serve{Static: p.serving.Static, Routes: p.routes, Health: health}}
	}
	c.setDefaults()
	d.requests = len(c.Rehearsal.Requests) == 0
}

// health is the part's health path, "" for the default, and why.
func (p *part) health() (path, why string) {
	switch {
	case p.serving.Health() != "":
		return p.serving.Health(), "found in the sources"
	case p.serving.Static != "":
		return "", ""
	case p.serving.Fallback == "/":
		return p.serving.Fallback, "the sources name no health path; change this when they do"
	case p.serving.Fallback != "":
		return p.serving.Fallback, "the sources name no health path, but FastAPI answers this one; change it when they do"
	default:
		return DefaultCommandHealth, "the sources name no health path: add this one, or change it to a path that answers 200"
	}
}

// slug makes a valid name of a text.
func slug(text, otherwise string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0:
			b.WriteByte('-')
		}
	}
	name := b.String()
	if len(name) > 50 { // a name may be 63 long, and some get a suffix
		name = name[:50]
	}
	name = strings.TrimRight(name, "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	if name == "" {
		return otherwise
	}
	return name
}
