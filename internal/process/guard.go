package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// Times of a guard.
const (
	// orphanGrace is the time between the stop signal and SIGKILL when the parent is gone. It is short, since nobody is
	// there to want the tree, and not zero, since a killed PostgreSQL leaves shared memory behind.
	orphanGrace = time.Second
	// leftoverGrace is the same for what a program left behind when it ended by itself.
	leftoverGrace = time.Second
	// killInterval is the time between two rounds of SIGKILL: a process may fork while we look at the list.
	killInterval = 20 * time.Millisecond
	// killPatience bounds those rounds. What survives them hangs in the kernel or belongs to another user.
	killPatience = 10 * time.Second
)

// init turns this process into a guard when Start started it as one. Nothing else of the program runs then.
func init() {
	if len(os.Args) > 0 && os.Args[0] == guardName {
		// Pdeathsig below fires when the *thread* that started the program ends; init runs on the main thread, which
		// ends last.
		runtime.LockOSThread()
		os.Exit(runGuard())
	}
}

// guard holds a program: it starts it, waits for it, ends it and all it started, and reports.
type guard struct {
	task   task
	child  int
	news   *json.Encoder
	exited chan report   // how the program ended, once
	empty  chan struct{} // closed when no child is left, adopted ones included
	orders chan order
	closed chan struct{} // the parent is gone
}

// runGuard does a guard's work and returns its exit code, that of the program.
func runGuard() int {
	syscall.CloseOnExec(ordersFD)
	syscall.CloseOnExec(newsFD)
	syscall.CloseOnExec(holdFD)
	orders, news := os.NewFile(ordersFD, "orders"), os.NewFile(newsFD, "news")
	if orders == nil || news == nil {
		fmt.Fprintln(os.Stderr, guardName+": is started by the pipeline, not by hand")
		return 2
	}
	g := &guard{
		news:   json.NewEncoder(news),
		exited: make(chan report, 1),
		empty:  make(chan struct{}),
		orders: make(chan order),
		closed: make(chan struct{}),
	}
	lines := bufio.NewReader(orders)
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &g.task)
	}
	if err != nil {
		return 2 // the parent ended before it said what to do, or this is no guard's pipe
	}
	adopt()
	g.child, err = syscall.ForkExec(g.task.Path, g.task.Args, &syscall.ProcAttr{
		Dir: g.task.Dir, Env: g.task.Env, Files: []uintptr{0, 1, 2}, Sys: childAttr(g.task.Credential),
	})
	if err != nil {
		failed := report{Error: "cannot run " + g.task.Path}
		errors.As(err, &failed.Errno)
		_ = g.news.Encode(failed)
		return 127
	}
	_ = g.news.Encode(report{PID: g.child})
	go g.reap()
	go g.listen(lines)
	last := g.hold()
	_ = g.news.Encode(last)
	if last.Signal != 0 {
		return 128 + int(last.Signal)
	}
	return last.Code
}

// listen reads orders until the parent is gone.
func (g *guard) listen(lines *bufio.Reader) {
	defer close(g.closed)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var o order
		if json.Unmarshal(line, &o) == nil {
			g.orders <- o
		}
	}
}

// reap waits for every child, those adopted from descendants that ended included, until there is none.
func (g *guard) reap() {
	defer close(g.empty)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return // ECHILD: none left
		case pid == g.child && status.Exited():
			g.exited <- report{Code: status.ExitStatus()}
		case pid == g.child && status.Signaled():
			g.exited <- report{Signal: status.Signal()}
		}
	}
}

// hold waits until the program and everything it started have ended, ending them when told to.
func (g *guard) hold() report {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	var (
		last     *report
		deadline <-chan time.Time // until SIGKILL
		half     <-chan time.Time // until the stop signal goes to all
		end      time.Time        // when deadline fires
	)
	stop := func(grace time.Duration) {
		if end.IsZero() && last == nil {
			_ = syscall.Kill(g.child, g.task.StopSignal)
			half = time.After(grace / 2)
		}
		if soon := time.Now().Add(grace); end.IsZero() || soon.Before(end) { // a later order may only shorten the wait
			end, deadline = soon, time.After(grace)
		}
	}
	closed := g.closed
	for {
		select {
		case <-g.empty:
			return g.ended(last)
		case ended := <-g.exited:
			last = &ended
			half = nil
			g.toAll(syscall.SIGTERM)
			if end.IsZero() {
				end, deadline = time.Now().Add(leftoverGrace), time.After(leftoverGrace)
			}
		case o := <-g.orders:
			stop(o.Grace)
		case <-closed:
			closed = nil
			stop(orphanGrace)
		case <-signals:
			stop(orphanGrace)
		case <-half:
			half = nil
			g.toAll(syscall.SIGTERM)
		case <-deadline:
			g.killAll()
			return g.ended(last)
		}
	}
}

// ended is how the program ended. One that outlived killAll counts as killed.
func (g *guard) ended(last *report) report {
	if last != nil {
		return *last
	}
	select {
	case ended := <-g.exited:
		return ended
	default:
		return report{Signal: syscall.SIGKILL}
	}
}

// toAll sends a signal once to everything below the guard but the program itself where it has had it.
func (g *guard) toAll(signal syscall.Signal) {
	for _, pid := range descendants(g.child) {
		if pid != g.child || signal != syscall.SIGTERM {
			_ = syscall.Kill(pid, signal)
		}
	}
}

// killAll ends everything below the guard.
func (g *guard) killAll() {
	patience := time.After(killPatience)
	for {
		// Stopped first, so that none forks a successor while the others are being killed.
		g.toAll(syscall.SIGSTOP)
		g.toAll(syscall.SIGKILL)
		select {
		case <-g.empty:
			return
		case <-patience:
			return
		case <-time.After(killInterval):
		}
	}
}
