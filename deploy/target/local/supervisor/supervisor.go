// Package supervisor makes the local target outlive the command that deploys: one supervisor process for each environment
// holds the processes of its slots and its router, and a Client drives it over a unix socket as a deploy.Target. The
// pipeline's command is both: `pipeline supervisor` calls Keep, which has itself run again to call Run, a release opens a
// Client, `pipeline down` calls Down.
//
// An environment's directory holds everything: the lock, the sockets, the state, the logs. Only its owner may enter it.
//
//	lock              flock(2), held until the supervisor and the last process of its units are gone
//	control.sock      of the supervisor
//	state.json        what runs in the slots; replaced atomically; no secret is in it
//	router.sock       of the router, see deploy/router/control
//	router.json       the router's state
//	slots/            logs and home directories of the units
//	router.log, supervisor.log
//
// # When something is killed
//
// A command: what it had asked for is done or not done at all. A start whose command is gone before the answer is taken
// back, so the slot is empty; a stop is finished.
//
// A unit or the router: it is started again, see internal/process.Keep, with the same port. The router goes on with its
// state; units know nothing of it.
//
// The supervisor: its units and its router end with it within seconds (internal/process), since nobody would know them.
// Its keeper, a small process above it, starts another one, which waits until the last of them is gone and then starts each
// slot anew that was running, on the same ports, so that the router leads to it as before. A slot that was being started or
// stopped is empty. Users have no answer meanwhile.
//
// The keeper: the supervisor ends with it. The next command launches both anew, which goes on as above, but that variables
// whose values are secrets are not on disk, only in the keeper's memory: a slot that needs some stays lost until a Client
// brings them, which Open does.
//
// # Upgrade
//
// A command of another version uses the supervisor that runs, as long as they speak the same version of the protocol.
// The router and what starts again is of the supervisor's version even when its file was replaced. To change it, end the
// environment by `pipeline down` and release again, or end keeper or supervisor with SIGTERM: that ends everything gracefully
// and keeps the state, and the next command starts all of it anew. Either way the environment is away for a moment.
//
// # Protocol
//
// JSON over HTTP on control.sock. Paths begin with the protocol's version. A body is one JSON value without unknown keys,
// of at most 4 MiB. Durations are whole milliseconds, but in a release, which is a deploy.Release as encoding/json has it.
//
//	GET    /v1/status                 -> Status
//	PUT    /v1/slots/{slot}           {"token", "release", "env", "secrets", "memory"} -> {"endpoints": {"api": "http://…"}}
//	GET    /v1/slots/{slot}/alive     -> {"problem": ""}
//	GET    /v1/slots/{slot}/logs      -> {"api": "…"}
//	POST   /v1/slots/{slot}/restore   {"secrets"} -> {"problem": ""}
//	POST   /v1/slots/{slot}/quiet     its units without routes are asked to end and not started again
//	POST   /v1/slots/{slot}/wake      until they are woken
//	DELETE /v1/slots/{slot}           {"limit_ms", "token"}: only what was started with the token, if there is one
//	POST   /v1/down                   -> {"ended": ["router on 127.0.0.1:8080", …]}, then the supervisor ends
//
// A refusal is {"reason", "error"} with status 400 (invalid) or 409 (conflict). Whatever else goes wrong has status 500.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/local"
)

// The files of an environment's directory.
const (
	lockFile     = "lock"
	socketFile   = "control.sock"
	stateFile    = "state.json"
	slotsDir     = "slots"
	routerSocket = "router.sock"
	routerState  = "router.json"
	routerLog    = "router.log"
	ownLog       = "supervisor.log"
)

// MaxLog bounds each log file, in bytes. As many again are kept of what was before.
const MaxLog = 10 << 20

// endGrace bounds the end of an environment: what is left of its units then is killed, whatever their own bound is.
const endGrace = 5 * time.Minute

// homeInterval is the time between two looks whether the environment's directory is still there.
const homeInterval = time.Second

// RunOptions are a supervisor's.
type RunOptions struct {
	// Dir is the environment's directory. It is made.
	Dir string
	// Listen is the address of the router's traffic. Empty, it is a free port of 127.0.0.1. What the environment has had
	// before counts.
	Listen string
	// Router is the command line that serves as a router with these flags added: --socket, --state, --listen, --grace.
	// Empty: there is no router.
	Router []string
	// Version is the program's, for Status.
	Version string
	// Kept is the supervisor's keeper; nil where there is none.
	Kept *Kept

	at func(point string) // for tests: called where a kill is tried
}

// supervisor is the process that holds an environment.
type supervisor struct {
	options RunOptions
	held    *os.File // the lock
	started time.Time
	target  *local.Target
	router  *routerProcess
	down    chan struct{} // closed when the environment has been ended for good

	changes sync.Map // slot -> *sync.Mutex, held while it is started or stopped

	mu     sync.Mutex // guards what follows
	listen string
	slots  map[deploy.Slot]*slot
	ending bool
}

// Run supervises an environment until ctx ends, which ends everything that runs and keeps the state, or until a Client
// says down, which removes it. There is one supervisor of an environment: where another answers Run returns nil at once.
func Run(ctx context.Context, options RunOptions) error {
	if options.at == nil {
		options.at = func(string) {}
	}
	held, err := acquire(ctx, options.Dir)
	if errors.Is(err, errServed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("supervise %s: %w", options.Dir, err)
	}
	defer held.Close()
	options.at("locked")
	s := &supervisor{options: options, held: held, started: time.Now(), down: make(chan struct{})}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("supervise %s: %w", options.Dir, err)
	}
	return nil
}

func (s *supervisor) path(name string) string { return filepath.Join(s.options.Dir, name) }

func (s *supervisor) run(ctx context.Context) (err error) {
	if err := os.Chmod(s.options.Dir, 0o700); err != nil { // it may have been there
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path(slotsDir), 0o700); err != nil {
		return err
	}
	s.target, err = local.New(local.Options{Dir: s.path(slotsDir), Keep: true, MaxLog: MaxLog, Hold: s.held})
	if err != nil {
		return err
	}
	defer func() { // whatever else there is to say; after a down there is nothing
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
		defer cancel()
		s.end(bounded)
	}()
	for _, name := range s.lost() {
		s.options.at("restoring")
		_ = s.restore(ctx, name, nil) // the slot says why it is lost
	}
	s.options.at("restored")
	if len(s.options.Router) > 0 {
		if s.router, err = startRouter(ctx, s); err != nil {
			return err
		}
	}
	s.options.at("routing")
	listener, err := listen(s.path(socketFile))
	if err != nil {
		return err
	}
	s.options.at("listening")
	s.options.Kept.tell(news{Serving: true})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.stayHome(ctx, cancel)
	return s.serve(ctx, listener)
}

// stayHome ends the supervisor when its directory has been removed or replaced: the next command would launch another one
// beside it, that knows nothing of what runs.
func (s *supervisor) stayHome(ctx context.Context, end context.CancelCauseFunc) {
	look := time.NewTicker(homeInterval)
	defer look.Stop()
	for s.home() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
	end(errors.New("the environment's directory was removed while it was up"))
}

// home says whether the directory's lock is the one that is held. Where that cannot be seen it is taken to be.
func (s *supervisor) home() bool {
	mine, err := s.held.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(s.path(lockFile))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	return os.SameFile(mine, there)
}

// serve answers until ctx ends or the environment has been ended.
func (s *supervisor) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Close()
	select {
	case err := <-served:
		return fmt.Errorf("serve control: %w", err)
	case <-ctx.Done():
		s.hide()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
		defer cancel()
		s.end(bounded)
		err := server.Shutdown(bounded) // what is being answered gets its answer
		if !s.home() {
			err = errors.Join(context.Cause(ctx), err)
		}
		return err
	case <-s.down:
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(bounded) // once the answer has been sent
		s.options.at("removing")
		return errors.Join(err, os.RemoveAll(s.options.Dir))
	}
}

// hide takes the socket away, so that no new command finds the supervisor while it ends.
func (s *supervisor) hide() {
	if s.home() {
		_ = os.Remove(s.path(socketFile))
	}
}

// end ends the router and every slot, in the order that loses no request, and says what it ended.
func (s *supervisor) end(ctx context.Context) (ended []string) {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	if s.router != nil {
		if said := s.router.stop(ctx); said != "" {
			ended = append(ended, said)
		}
	}
	s.options.at("drained")
	for _, one := range s.describe() {
		ended = append(ended, "slot "+string(one.Slot)+", release "+one.Release)
	}
	if err := s.target.Close(ctx); err != nil {
		ended = append(ended, "with trouble: "+err.Error())
	}
	return ended
}

// listen makes the control socket. The lock is held: what is there is left from a supervisor that was killed.
//
// It is made under another name and renamed once its permissions are set, so that a client finds it only when it is whole.
func listen(path string) (net.Listener, error) {
	making := path + ".new"
	if err := os.RemoveAll(making); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(making, 0o600)
	if err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the control socket: %w", err), listener.Close())
	}
	return listener, nil
}
