package host

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/ci"
)

// fixedEnv is the same for every command on every machine.
var fixedEnv = []string{
	"CI=true",
	"LANG=C.UTF-8",
	"TERM=dumb",
	"NODE_USE_SYSTEM_CA=1", // the certificates that the machine trusts, for companies with a proxy of their own
}

// passedEnv names the variables of the pipeline's own environment that commands see. Everything else is left out: what a
// step depends on is in its definition, so that it gives the same result here as in CI. These say how to reach the
// network from this machine and where its tools are; they do not change what a step gives and are no part of its key.
var passedEnv = []string{
	"PATH", "USER", "LOGNAME",
	// proxies
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
	// certificate authorities
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT",
	// package registries
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
	"UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_FIND_LINKS",
	"npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_cafile", "npm_config_nodedir",
	"GOPROXY", "GOPRIVATE", "GONOSUMDB", "GONOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN",
	// version managers, whose programs on PATH are scripts that look there
	"PYENV_ROOT", "PYENV_VERSION", "NVM_DIR", "NVM_BIN", "FNM_DIR", "FNM_MULTISHELL_PATH", "VOLTA_HOME", "ASDF_DIR",
	"ASDF_DATA_DIR", "MISE_DATA_DIR", "N_PREFIX",
	// shared libraries of tools that are not installed system-wide (Nix, modules)
	"LD_LIBRARY_PATH", "NIX_SSL_CERT_FILE",
}

// baseEnv is what commands of every step have in common.
func baseEnv() []string {
	env := slices.Clone(fixedEnv)
	for _, name := range passedEnv {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, userConfig()...)
}

// userConfig points npm and pip to the user's configuration, which they would look for in HOME: a company's registry and
// the credentials for it are there.
func userConfig() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	var env []string
	for _, c := range []struct {
		name  string
		files []string
	}{
		{"npm_config_userconfig", []string{".npmrc"}},
		{"PIP_CONFIG_FILE", []string{".config/pip/pip.conf", "Library/Application Support/pip/pip.conf", ".pip/pip.conf"}},
	} {
		if value, ok := os.LookupEnv(c.name); ok {
			env = append(env, c.name+"="+value)
			continue
		}
		for _, file := range c.files {
			path := filepath.Join(home, file)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				env = append(env, c.name+"="+path)
				break
			}
		}
	}
	return env
}

// passedPasswords are the passwords in the URLs that pass: of proxies and registries. They are kept out of logs.
func passedPasswords() []string {
	var found []string
	for _, variable := range baseEnv() {
		_, value, _ := strings.Cut(variable, "=")
		for _, word := range strings.Fields(value) {
			if u, err := url.Parse(word); err == nil && u.User != nil {
				if password, ok := u.User.Password(); ok {
					found = append(found, password)
				}
			}
		}
	}
	return found
}

// stepEnv is the environment of a step's commands: the common one, private directories, caches, then what the step says.
// Services and secrets are appended by the caller.
func (r *Runner) stepEnv(step ci.Step, dir, home, tmp string) ([]string, error) {
	env := append(baseEnv(), "HOME="+home, "TMPDIR="+tmp)
	if len(step.Path) > 0 {
		env = append(env, "PATH="+first(dir, step.Path, env))
	}
	for _, cache := range step.Caches {
		dir, err := r.store.cacheDir(cache.Key)
		if err != nil {
			return nil, err
		}
		env = append(env, cache.Env+"="+dir)
	}
	for name, value := range step.Env {
		if strings.ContainsAny(name, "=\x00") || name == "" || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("environment variable %q of the step cannot be set", name)
		}
		env = append(env, name+"="+value)
	}
	return lastWins(env), nil
}

// lastWins leaves one line for each variable. Of two, some programs would read the first and others the last.
func lastWins(env []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, line := range slices.Backward(env) {
		if name, _, _ := strings.Cut(line, "="); !seen[name] {
			seen[name] = true
			kept = append(kept, line)
		}
	}
	slices.Reverse(kept)
	return kept
}

// first is the PATH of env with the directories before it.
func first(dir string, directories, env []string) string {
	var path []string
	for _, d := range directories {
		path = append(path, filepath.Join(dir, filepath.FromSlash(d)))
	}
	for _, line := range env {
		if value, ok := strings.CutPrefix(line, "PATH="); ok {
			path = append(path, value)
		}
	}
	return strings.Join(path, string(os.PathListSeparator))
}
