package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Environment is a place a release is deployed to.
type Environment struct {
	Branches []string          `yaml:"branches" is:"glob" unique:"true" doc:"Branches that are deployed here: main, release/*. An entry that starts with ! takes branches out again; the last match wins."`
	Tags     []string          `yaml:"tags" is:"glob" unique:"true" doc:"Tags that are deployed here: v*. An entry that starts with ! takes tags out again; the last match wins."`
	Target   string            `yaml:"target" enum:"local" soon:"docker,kubernetes,railway" doc:"Where slots run: local, as processes on this machine."`
	Strategy string            `yaml:"strategy" enum:"blue-green" soon:"canary,ab,rolling" doc:"How traffic moves to the new release: blue-green, all at once with the old one kept warm."`
	URL      string            `yaml:"url" is:"url" doc:"Where users reach it. Its version path tells what runs there now."`
	Env      map[string]string `yaml:"env" keyis:"variable" also:"number,boolean" doc:"Environment variables. A secret is a reference (env://NAME, file://PATH, op://, vault://, cmd://), never a value."`
}

// The targets and strategies there are today.
const (
	Local     = "local"
	BlueGreen = "blue-green"
)

// Ref is what a pipeline run was started for. Both may be set: a tag on the tip of a branch.
type Ref struct {
	Branch string
	Tag    string
}

// Environment returns the environment that the ref is deployed to. The tag is asked first, the branch only where no
// environment takes the tag. A name written out wins over a glob; where globs of two environments match, neither is
// chosen: guessing could deploy to production. why is a sentence for people, whatever the answer.
func (c *Config) Environment(ref Ref) (name string, env Environment, ok bool, why string) {
	var reasons []string
	for _, q := range []struct {
		kind, name string
		patterns   func(Environment) []string
	}{
		{"tag", ref.Tag, func(e Environment) []string { return e.Tags }},
		{"branch", ref.Branch, func(e Environment) []string { return e.Branches }},
	} {
		if q.name == "" {
			continue
		}
		found := c.matching(q.name, q.patterns)
		switch len(found) {
		case 0:
			reasons = append(reasons, fmt.Sprintf("no environment takes %s %s", q.kind, q.name))
		case 1:
			m := found[0]
			reasons = append(reasons, fmt.Sprintf("%s %s matches %q of environment %s", q.kind, q.name, m.pattern, m.environment))
			return m.environment, c.Environments[m.environment], true, strings.Join(reasons, "; ")
		default:
			var both []string
			for _, m := range found {
				both = append(both, fmt.Sprintf("%q of %s", m.pattern, m.environment))
			}
			reasons = append(reasons, fmt.Sprintf("%s %s matches %s: take it out of all but one with an entry that starts with !",
				q.kind, q.name, strings.Join(both, " and ")))
			return "", Environment{}, false, strings.Join(reasons, "; ")
		}
	}
	if len(reasons) == 0 {
		return "", Environment{}, false, "neither a branch nor a tag is known"
	}
	return "", Environment{}, false, strings.Join(reasons, "; ")
}

type match struct{ environment, pattern string }

// matching returns the environments that take name, in order of their names; only those that write the name out where
// there is one that does.
func (c *Config) matching(name string, patterns func(Environment) []string) []match {
	var literal, glob []match
	for _, e := range slices.Sorted(maps.Keys(c.Environments)) {
		pattern, ok := matchList(patterns(c.Environments[e]), name)
		switch {
		case !ok:
		case isGlob(pattern):
			glob = append(glob, match{e, pattern})
		default:
			literal = append(literal, match{e, pattern})
		}
	}
	if len(literal) > 0 {
		return literal
	}
	return glob
}
