package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/deploy/router/haproxy"
	"github.com/metaextract/pipeline/internal/process"
)

// haproxyProgram is the proxy's program. Debian has it where only root looks for programs.
const haproxyProgram = "haproxy"

// HAProxy is a HAProxy that runs with the files of a data plane's directory. See deploy/router/haproxy.
type HAProxy struct {
	dir     string
	grace   time.Duration
	process *process.Process
}

// StartHAProxy writes the files that HAProxy starts with (haproxy.Prepare) and starts it; it serves what it served last. ctx
// bounds the start alone: it runs until Close or until this process ends, however it ends. A port that is taken is an error.
func StartHAProxy(ctx context.Context, options haproxy.Options) (*HAProxy, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	program, err := process.LookPath(haproxyProgram, "", append(baseEnv(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/usr/local/sbin"))
	if err != nil {
		return nil, missingProgram(haproxyProgram)
	}
	if err := haproxy.Prepare(options); err != nil {
		return nil, err
	}
	p := &HAProxy{dir: options.Dir, grace: options.Grace}
	if err := p.start(ctx, program); err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("start HAProxy: %w", err)
	}
	return p, nil
}

func (p *HAProxy) start(ctx context.Context, program string) error {
	log, err := os.Create(p.logFile())
	if err != nil {
		return explain(err, p.dir)
	}
	defer log.Close()
	p.process, err = process.Start(context.Background(), process.Spec{
		Args: []string{program, "-db", "-f", haproxy.ConfigurationFile}, Dir: p.dir, Env: baseEnv(), Stdout: log, Stderr: log,
		StopSignal: syscall.SIGUSR1, // requests in flight end; SIGTERM cuts them off
	})
	if err != nil {
		return err
	}
	for {
		err := p.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			return fmt.Errorf("it ended: %w\n%s", p.process.Wait(), tail(p.logFile()))
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w: %w\n%s", context.Cause(ctx), err, tail(p.logFile()))
		case <-time.After(readyInterval):
		}
	}
}

// ping asks whether HAProxy is there, and whether it is this one: another may hold the socket.
func (p *HAProxy) ping(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, haproxy.AdminSocket))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := io.WriteString(conn, "show info\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !strings.Contains(string(answer), "\nPid: "+strconv.Itoa(p.process.PID())+"\n") {
		return errors.New("another HAProxy answers on its socket")
	}
	return nil
}

// Done is closed when HAProxy has ended.
func (p *HAProxy) Done() <-chan struct{} { return p.process.Done() }

// Close lets requests in flight end, within the options' Grace, and ends HAProxy. New clients are refused at once.
func (p *HAProxy) Close() error { return p.stop(p.grace + stopPatience) }

// Kill ends HAProxy at once and cuts off what is in flight.
func (p *HAProxy) Kill() error { return p.stop(0) }

func (p *HAProxy) stop(grace time.Duration) error {
	if p.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace+stopPatience)
	defer cancel()
	return p.process.Stop(ctx, grace)
}

func (p *HAProxy) logFile() string { return filepath.Join(p.dir, "haproxy.log") }
