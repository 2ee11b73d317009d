package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/metaextract/pipeline/deploy/router/control"
	"github.com/metaextract/pipeline/deploy/target/local"
	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/internal/redact"
)

// Times of the router.
const (
	// routerGrace is how long requests in flight may go on when the environment ends.
	routerGrace = 10 * time.Second
	// routerStop is SIGTERM to SIGKILL. The signal comes a second time after half of it, and a router that is told twice
	// ends at once: it is more than twice the grace.
	routerStop = 25 * time.Second
	// routerPatience bounds the wait for its control socket.
	routerPatience = 20 * time.Second
)

// router is a process of its own: a crash of it does not touch the units.
type routerProcess struct {
	listen  string
	process *process.Kept
	log     *local.Log
}

func startRouter(ctx context.Context, s *supervisor) (r *routerProcess, err error) {
	if err := s.chooseListen(ctx); err != nil {
		return nil, err
	}
	r = &routerProcess{listen: s.listen}
	if r.log, err = local.OpenLog(s.path(routerLog), MaxLog, redact.Of()); err != nil {
		return nil, err
	}
	args := slices.Concat(s.options.Router, []string{
		"--socket", s.path(routerSocket), "--state", s.path(routerState), "--listen", r.listen, "--grace", routerGrace.String(),
	})
	r.process, err = process.Keep(ctx, process.Spec{Args: args, Dir: s.options.Dir, Stdout: r.log, Stderr: r.log, Hold: s.held}, process.Keeping{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the router: %w", err), r.log.Close())
	}
	if err := r.ready(ctx, s.path(routerSocket)); err != nil {
		r.stop(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("start the router on %s: %w; its log says:\n%s", r.listen, err, r.log.Tail())
	}
	return r, nil
}

// chooseListen gives the router an address, once and for all.
func (s *supervisor) chooseListen(ctx context.Context) error {
	if s.listen == "" {
		port, err := freePort(ctx, nil)
		if err != nil {
			return err
		}
		s.listen = net.JoinHostPort(host, strconv.Itoa(port))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.save()
}

// ready waits until the router can be driven.
func (r *routerProcess) ready(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, routerPatience)
	defer cancel()
	client := control.NewClient(socket)
	for {
		_, err := client.Status(ctx)
		if err == nil {
			return nil
		}
		if now := r.process.Status(); now.Ends > 0 {
			return fmt.Errorf("it ended: %w", now.Last)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *routerProcess) status() UnitStatus {
	now := r.process.Status()
	usage, _ := r.process.Usage() // nothing where the system does not tell
	out := UnitStatus{
		Component: "router", URL: "http://" + r.listen, PID: now.PID, UpMS: now.Up.Milliseconds(), Ends: now.Ends,
		Processes: usage.Processes, ResidentBytes: usage.Resident, MemoryBytes: usage.Proportional, CPUMS: usage.CPU.Milliseconds(),
	}
	if now.PID == 0 && now.Last != nil {
		out.Problem = now.Last.Error()
	}
	return out
}

// stop lets requests in flight end. It says what it ended, once.
func (r *routerProcess) stop(ctx context.Context) string {
	select {
	case <-r.process.Done():
		return ""
	default:
	}
	said := "router on " + r.listen
	if err := r.process.Stop(ctx, routerStop); err != nil {
		said += ", with trouble: " + err.Error()
	}
	_ = r.log.Close() // what it could not write it says in its tail
	return said
}
