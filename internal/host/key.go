package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/metaextract/pipeline/ci"
)

// formatVersion is part of every key. Raise it when a layer or a record of an older pipeline is no longer right, as when
// the environment of commands changes.
const formatVersion = 1

// definition is everything that a step's result depends on. Its JSON form is hashed, so what is not here does not
// invalidate: timeouts, the names of caches' directories, where a secret comes from and what it is.
type definition struct {
	Format   int
	System   string
	Name     string
	Kind     ci.Kind
	Dir      string
	Env      map[string]string
	Path     []string
	Secrets  []string // the variables, never their values
	Caches   []ci.Cache
	Services []string // kind, variable and version of the program
	Run      [][]string
	Reports  []ci.Report
	Outputs  []ci.Output
	Packages []string
	Programs []string // name, path and version
	After    string   // key of the step it continues from
	Inputs   []string // path, kind and hash of the content
}

// key is the hash of everything that a step's result depends on, in hexadecimal.
func (d definition) key() (string, error) {
	d.Format, d.System = formatVersion, runtime.GOOS+"/"+runtime.GOARCH
	data, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("compute key of %s: %w", d.Name, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// define collects a step's definition. programs and services are descriptions with versions.
func define(step ci.Step, after string, inputs []*entry, programs, services []string) (definition, error) {
	d := definition{
		Name: step.Name, Kind: step.Kind, Dir: step.Dir, Env: step.Env, Path: step.Path, Caches: step.Caches, Run: step.Run,
		Reports: step.Reports, Outputs: step.Outputs, Packages: step.Tool.Packages,
		Programs: programs, Services: services, After: after,
	}
	for _, secret := range step.Secrets {
		d.Secrets = append(d.Secrets, secret.Env)
	}
	for _, e := range inputs {
		if e.err != nil {
			return d, fmt.Errorf("read input: %w; the user who runs the pipeline must be able to read it", e.err)
		}
		kind := "file"
		switch {
		case e.isLink:
			kind = "link"
		case e.exec:
			kind = "exec"
		}
		d.Inputs = append(d.Inputs, e.path+"\x00"+kind+"\x00"+hex.EncodeToString(e.sum[:]))
	}
	return d, nil
}
