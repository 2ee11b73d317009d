package process

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// portRest is how long a port that FreePort gave is not given again, so that its taker can bind it.
const portRest = 30 * time.Second

var given = struct {
	sync.Mutex
	at map[int]time.Time
}{at: map[int]time.Time{}}

// FreePort returns a TCP port on which nothing listens on the host, which is a name or an address of this machine.
// The same port is not returned twice within half a minute, but another program can take it before its user does:
// whoever starts a server on it must be ready to ask again.
func FreePort(host string) (int, error) {
	given.Lock()
	defer given.Unlock()
	for port, at := range given.at {
		if time.Since(at) > portRest {
			delete(given.at, port)
		}
	}
	for range 100 {
		var config net.ListenConfig
		listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return 0, fmt.Errorf("find a free port on %s: %w", host, err)
		}
		port := listener.Addr().(*net.TCPAddr).Port
		listener.Close()
		if _, taken := given.at[port]; !taken {
			given.at[port] = time.Now()
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port on %s: all that the system offers were given away a moment ago", host)
}
