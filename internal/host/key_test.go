package host

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

func stepOf(name, script string, inputs ...string) ci.Step {
	return ci.Step{Name: name, Kind: ci.Unit, Dir: ".", Inputs: inputs, Run: [][]string{{"sh", "-c", script}}, Timeout: time.Minute}
}

// Every field of a step is either part of the key or known not to be. A field that is added to ci.Step makes this fail
// until somebody has decided.
func TestKeyDependsOnEverythingThatChangesTheResult(t *testing.T) {
	key := func(step ci.Step) string {
		d, err := define(step, "", nil, nil, nil)
		require.NoError(t, err)
		k, err := d.key()
		require.NoError(t, err)
		return k
	}
	base := func() ci.Step {
		s := stepOf("frontend/unit", "true")
		s.Env, s.Secrets = map[string]string{"A": "1"}, []ci.SecretRef{{Env: "TOKEN", URI: "env://TOKEN"}}
		return s
	}
	counts := map[string]func(*ci.Step){
		"Name":    func(s *ci.Step) { s.Name = "other" },
		"Kind":    func(s *ci.Step) { s.Kind = ci.Build },
		"Dir":     func(s *ci.Step) { s.Dir = "sub" },
		"Env":     func(s *ci.Step) { s.Env["A"] = "2" },
		"Path":    func(s *ci.Step) { s.Path = []string{".venv/bin"} },
		"Secrets": func(s *ci.Step) { s.Secrets[0].Env = "OTHER" },
		"Caches":  func(s *ci.Step) { s.Caches = []ci.Cache{{Key: "npm", Env: "npm_config_cache"}} },
		"Run":     func(s *ci.Step) { s.Run = [][]string{{"sh", "-c", "false"}} },
		"Reports": func(s *ci.Step) { s.Reports = []ci.Report{{Format: ci.JUnit, Path: "x"}} },
		"Outputs": func(s *ci.Step) { s.Outputs = []ci.Output{{Name: "bundle", Path: "dist"}} },
		"Tool":    func(s *ci.Step) { s.Tool.Packages = []string{"ffmpeg"} },
	}
	elsewhere := map[string]string{
		"After":     "its key is handed over (TestConformance: a changed predecessor)",
		"Inputs":    "their content is handed over (TestConformance: a changed input)",
		"Services":  "their versions are handed over",
		"Component": "of use to reports alone",
		"Timeout":   "a step that passed would have passed with more time",
	}
	fields := reflect.TypeFor[ci.Step]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		change, ok := counts[name]
		if !ok {
			assert.Contains(t, elsewhere, name)
			continue
		}
		changed := base()
		change(&changed)
		assert.NotEqual(t, key(base()), key(changed), name)
	}
	patient, from := base(), base()
	patient.Timeout = time.Hour
	from.Secrets[0].URI = "file:///run/secrets/token"
	assert.Equal(t, key(base()), key(patient))
	assert.Equal(t, key(base()), key(from), "where a secret comes from does not matter")
	for name, other := range map[string]definition{
		"predecessor": {After: "abc"}, "input": {Inputs: []string{"abc"}}, "program": {Programs: []string{"abc"}}, "service": {Services: []string{"abc"}},
	} {
		got, err := other.key()
		require.NoError(t, err)
		empty, err := definition{}.key()
		require.NoError(t, err)
		assert.NotEqual(t, empty, got, name)
	}
}

func TestKeyDoesNotDependOnTheOrderOfAMap(t *testing.T) {
	env := map[string]string{}
	for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H"} {
		env[name] = name
	}
	first := ""
	for range 50 {
		k, err := definition{Env: env}.key()
		require.NoError(t, err)
		if first == "" {
			first = k
		}
		assert.Equal(t, first, k)
	}
}
