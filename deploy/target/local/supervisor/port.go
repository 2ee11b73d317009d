package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// host is where everything listens.
const host = "127.0.0.1"

// The ports that units get. They are below those that Linux gives to outgoing connections (ip_local_port_range, from 32768
// on), so that none of them takes the port of a unit while it is down, and above those that services are known by.
const (
	firstPort = 20000
	ports     = 10000
)

// choosePorts gives a port to each unit that has none.
func (s *supervisor) choosePorts(ctx context.Context, start *startMessage) error {
	taken := map[int]bool{}
	s.mu.Lock()
	for _, other := range s.slots {
		for _, u := range other.start.Release.Units {
			taken[u.Port] = true
		}
	}
	if _, port, err := net.SplitHostPort(s.listen); err == nil {
		n, _ := strconv.Atoi(port)
		taken[n] = true
	}
	s.mu.Unlock()
	for i, u := range start.Release.Units {
		if u.Port != 0 {
			continue
		}
		port, err := freePort(ctx, taken)
		if err != nil {
			return err
		}
		taken[port] = true
		start.Release.Units[i].Port = port
	}
	return nil
}

// freePort is a port that nobody has and that is not taken. At random, as two environments may look at the same time.
func freePort(ctx context.Context, taken map[int]bool) (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(ports)
		if taken[port] {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("find a free port: of 1000 between %d and %d none was free", firstPort, firstPort+ports-1)
}
