package supervisor

import (
	"errors"
	"fmt"
	"path/filepath"
)

// maxSocket is how long the path of a unix socket may be: sun_path has 108 bytes with the zero at its end, 104 on macOS.
const maxSocket = 103

// Directory is where an environment of an application lives: in $XDG_STATE_HOME, by default ~/.local/state.
//
// It is not beside the application's files, because an environment outlives a checkout: `git clean` would take the socket
// and the state away from processes that run. For the same reason two checkouts of an application have one environment of
// a name, as they have on any other target.
func Directory(application, environment string, getenv func(string) string) (string, error) {
	base := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // XDG Base Directory Specification: relative paths are to be ignored
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", errors.New("neither XDG_STATE_HOME nor HOME names a directory for the environment's state; set one of them")
		}
		base = filepath.Join(home, ".local", "state")
	}
	for _, name := range []string{application, environment} {
		if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
			return "", fmt.Errorf("%q is no name for a directory", name)
		}
	}
	dir := filepath.Join(base, "pipeline", application, environment)
	if socket := filepath.Join(dir, socketFile); len(socket) > maxSocket {
		return "", fmt.Errorf("%s is too long for a socket by %d bytes; set XDG_STATE_HOME to a shorter directory", socket, len(socket)-maxSocket)
	}
	return dir, nil
}
