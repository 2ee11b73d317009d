package local

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// defaultPath is where programs are looked up when nothing says otherwise.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// programs are the directories of an application that hold programs of its own: they come before the machine's.
var programs = []string{".venv/bin", "node_modules/.bin"}

var variable = regexp.MustCompile(`\$(?:\{(HOST|PORT)\}|(HOST|PORT)\b)`)

// expand replaces $HOST and $PORT, also written ${HOST} and ${PORT}, and nothing else: a command is no shell script.
func expand(command []string, port int) []string {
	expanded := make([]string, len(command))
	for i, word := range command {
		expanded[i] = variable.ReplaceAllStringFunc(word, func(match string) string {
			if strings.Contains(match, "HOST") {
				return host
			}
			return strconv.Itoa(port)
		})
	}
	return expanded
}

// environment is the whole environment of a unit: what the target gives to all, then the unit's own, then where to listen.
func environment(common []string, u deploy.Unit, dir, home string, port int) []string {
	env := map[string]string{"PATH": defaultPath}
	if home != "" {
		env["HOME"] = home
	}
	for _, pair := range common {
		if name, value, ok := strings.Cut(pair, "="); ok {
			env[name] = value
		}
	}
	maps.Copy(env, u.Env)
	env["HOST"], env["PORT"] = host, strconv.Itoa(port)
	var own []string
	for _, below := range programs {
		own = append(own, filepath.Join(dir, below))
	}
	env["PATH"] = strings.Join(append(own, env["PATH"]), string(filepath.ListSeparator))
	pairs := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		pairs = append(pairs, name+"="+env[name])
	}
	return pairs
}
