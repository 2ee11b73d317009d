package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/internal/process"
)

// redisProgram is the server's program.
const redisProgram = "redis-server"

// Redis is a Redis server without persistence. It listens on 127.0.0.1 only.
type Redis struct {
	dir     string
	scratch *scratch // where the directory is ours
	port    int
	process *process.Process
}

// StartRedis starts a Redis server with its log in dir, which is made where it is not there; empty means a temporary
// directory that Close removes. ctx bounds the start alone; the server runs until Close or until this process ends,
// however it ends.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if _, err := process.LookPath(redisProgram, "", baseEnv()); err != nil {
		return nil, missingProgram(redisProgram)
	}
	s := &Redis{dir: dir}
	var err error
	if dir == "" {
		if s.scratch, err = newScratch(); err != nil {
			return nil, err
		}
		s.dir = s.scratch.dir
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, explain(fmt.Errorf("start Redis: %w", err), s.dir)
	}
	for range portAttempts {
		if err = s.start(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return s, nil
}

func (s *Redis) start(ctx context.Context) error {
	var err error
	if s.port, err = process.FreePort("127.0.0.1"); err != nil {
		return err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return explain(err, s.dir)
	}
	defer log.Close()
	s.process, err = process.Start(context.Background(), process.Spec{
		// No configuration file is read: all is said here.
		Args: []string{redisProgram, "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--save", "", "--appendonly", "no",
			"--dir", s.dir, "--daemonize", "no"},
		Dir: s.dir, Env: baseEnv(), Stdout: log, Stderr: log,
	})
	if err != nil {
		return err
	}
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			text := tail(s.logFile())
			if strings.Contains(text, "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("it ended: %w\n%s", s.process.Wait(), text)
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w: %w\n%s", context.Cause(ctx), err, tail(s.logFile()))
		case <-time.After(readyInterval):
		}
	}
}

// ping asks whether the server is there, and whether it is this one: another Redis may have taken the port meanwhile.
func (s *Redis) ping(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write([]byte("INFO server\r\n")); err != nil {
		return err
	}
	want := "process_id:" + strconv.Itoa(s.process.PID())
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := strings.TrimSpace(lines.Text()); {
		case line == want:
			return nil
		case strings.HasPrefix(line, "process_id:"), line == "":
			return fmt.Errorf("on its port is another server, which says %q", line)
		case strings.HasPrefix(line, "-"):
			return fmt.Errorf("it says %q", line)
		}
	}
	return errors.New("it closed the connection")
}

func (s *Redis) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's first database.
func (s *Redis) URL() string { return "redis://" + s.address() + "/0" }

// Close stops the server.
func (s *Redis) Close() error {
	var err error
	if s.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*stopPatience)
		defer cancel()
		err = s.process.Stop(ctx, 0) // it has nothing to save, and takes 100 ms to say so
	}
	_ = os.Remove(s.logFile())
	if s.scratch != nil {
		err = errors.Join(err, s.scratch.close())
	}
	return err
}

func (s *Redis) logFile() string { return filepath.Join(s.dir, "redis.log") }
