package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// launchLimit bounds the start of a supervisor: it may have to wait for an earlier one's processes.
const launchLimit = lockPatience + routerPatience + 10*time.Second

// launch starts a supervisor in a session of its own, so that no signal of a terminal reaches it, and waits until one
// answers.
func launch(ctx context.Context, c *Client) error {
	o := c.options
	if len(o.Launch) == 0 {
		return errors.New("no supervisor runs")
	}
	ctx, cancel := context.WithTimeout(ctx, launchLimit)
	defer cancel()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(o.Dir, ownLog), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	env := o.LaunchEnv
	if env == nil {
		env = []string{}
	}
	cmd := &exec.Cmd{
		Path: o.Launch[0], Args: slices.Concat(o.Launch, []string{"--dir", o.Dir, "--listen", o.Listen}),
		Env: env, Dir: "/", Stdout: log, Stderr: log, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("launch the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if status, err := c.Status(ctx); err == nil {
			return only(ctx, status, cmd.Process, ended)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("launch the supervisor: %w; it goes on: see %s", context.Cause(ctx), log.Name())
		case err := <-ended:
			if err != nil {
				said, _ := io.ReadAll(io.NewSectionReader(log, before, 4<<10))
				return fmt.Errorf("launch the supervisor: %w: %s", err, strings.TrimSpace(string(said)))
			}
			ended = nil // another one was faster, and answers in a moment
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// only waits for the supervisor that was launched where it is another one that answers: it sees that and ends. Should that
// not happen it is killed; otherwise it could take the environment up again after the other one's end.
func only(ctx context.Context, status Status, launched *os.Process, ended <-chan error) error {
	if ended == nil || status.PID == launched.Pid || status.Keeper == launched.Pid {
		return nil
	}
	select {
	case <-ended: //nolint:errcheck // whatever it says: the other one serves
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), launched.Kill())
	}
}

// remove removes the directory of an environment once nothing of it runs. errServed is that a supervisor runs again.
func remove(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	held, err := acquire(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(dir), held.Close())
}
