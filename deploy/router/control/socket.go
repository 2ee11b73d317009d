package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Listen makes the socket, which only its owner can connect to. A socket that a dead router left behind is replaced; one
// that is answered is an error.
//
// The socket is made under another name and renamed once its permissions are set: between bind and chmod it would have
// those of the umask, and a rename cannot delete a socket that another router has just made.
func Listen(path string) (net.Listener, error) {
	dialer := net.Dialer{Timeout: time.Second}
	if connection, err := dialer.DialContext(context.Background(), "unix", path); err == nil {
		_ = connection.Close()
		return nil, fmt.Errorf("listen on %s: another router answers there; stop it, take over from it, or use another socket", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("listen on %s: it exists and is no socket; move it away or use another path", path)
	}
	making := filepath.Join(filepath.Dir(path), "."+rand.Text()[:8])
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(making, 0o600)
	if err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), listener.Close(), os.Remove(making))
	}
	return &socket{UnixListener: listener, path: path}, nil
}

// socket removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

// Close implements net.Listener.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if err == nil && s.path != "" {
		_ = os.Remove(s.path)
	}
	return err
}

// leave closes the socket without removing its file: another process listens on it.
func (s *socket) leave() error { return s.UnixListener.Close() }
