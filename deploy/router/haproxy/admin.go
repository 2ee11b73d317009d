package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// admin speaks HAProxy's runtime API (management.txt section 9.3), one connection a command.
type admin struct{ socket string }

// adminPatience bounds one command: HAProxy answers within milliseconds, or it is gone.
const adminPatience = 10 * time.Second

// maxAnswer bounds an answer in bytes. The table is the largest.
const maxAnswer = 16 << 20

// run sends a line of commands, which may end in a payload, and returns what HAProxy says.
func (a admin) run(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return "", fmt.Errorf("reach HAProxy at %s: %w; is it running?", a.socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_, err = io.WriteString(conn, command+"\n")
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(io.LimitReader(conn, maxAnswer))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		verb, _, _ := strings.Cut(command, "\n")
		return "", fmt.Errorf("tell HAProxy %q: %w", verb, err)
	}
	return string(answer), nil
}

// do is run for commands that say nothing where they succeed.
func (a admin) do(ctx context.Context, command string) error {
	answer, err := a.run(ctx, command)
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != "" {
		verb, _, _ := strings.Cut(command, "\n")
		return fmt.Errorf("HAProxy refuses %q: %s", verb, answer)
	}
	return nil
}

// barrier returns once every request that was being routed when it was called has its backend and is counted there: to
// show a session, HAProxy stops its threads between two of their tasks (thread_isolate in src/stream.c), and a request is
// routed within one.
func (a admin) barrier(ctx context.Context) error {
	_, err := a.run(ctx, "show sess 0x1")
	return err
}

// entry is a line of the table.
type entry struct{ key, value string }

// maxPayload bounds a command: HAProxy reads it into one buffer of 16 KiB (tune.bufsize).
const maxPayload = 8 << 10

// replace makes entries the whole table, at once: the new version is built beside the one that requests see. What a
// caller leaves that dies before the last command is a version that nobody looks at; the next caller's begins anew.
func (a admin) replace(ctx context.Context, entries []entry) error {
	answer, err := a.run(ctx, "prepare map "+mapFile)
	if err != nil {
		return err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(answer), "New version created: ")
	if _, err := strconv.ParseUint(version, 10, 64); !ok || err != nil {
		return fmt.Errorf("HAProxy does not prepare a table: %s", strings.TrimSpace(answer))
	}
	var payload strings.Builder
	flush := func() error {
		if payload.Len() == 0 {
			return nil
		}
		defer payload.Reset()
		return a.do(ctx, "add map @"+version+" "+mapFile+" <<\n"+payload.String())
	}
	for _, e := range entries {
		line := e.key + " " + e.value + "\n"
		if payload.Len()+len(line) > maxPayload {
			if err := flush(); err != nil {
				return err
			}
		}
		payload.WriteString(line)
	}
	if err := flush(); err != nil {
		return err
	}
	return a.do(ctx, "commit map @"+version+" "+mapFile)
}

// table reads the table that requests see.
func (a admin) table(ctx context.Context) (map[string]string, error) {
	answer, err := a.run(ctx, "show map "+mapFile)
	if err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for line := range strings.Lines(answer) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 || !strings.HasPrefix(words[0], "0x") {
			return nil, fmt.Errorf("HAProxy does not show its table: %s", line)
		}
		entries[words[1]] = words[2]
	}
	return entries, nil
}

// server is one server as HAProxy has it.
type server struct {
	address string
	ready   bool
}

// What servers that take requests are in (management.txt, "show servers state"): running, and in no maintenance but the one
// of the configuration, which stays marked after it has been ended.
const running = "2"

var open = []string{"0", "4"}

// servers reads every backend's server.
func (a admin) servers(ctx context.Context) (map[string]server, error) {
	answer, err := a.run(ctx, "show servers state")
	if err != nil {
		return nil, err
	}
	_, text, _ := strings.Cut(answer, "# ")
	head, text, _ := strings.Cut(text, "\n")
	column := map[string]int{}
	for i, name := range strings.Fields(head) {
		column[name] = i
	}
	for _, name := range []string{"be_name", "srv_name", "srv_addr", "srv_port", "srv_op_state", "srv_admin_state"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("HAProxy shows servers without %s: %s", name, strings.TrimSpace(answer))
		}
	}
	all := map[string]server{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != len(column) || fields[column["srv_name"]] != "app" {
			continue
		}
		all[fields[column["be_name"]]] = server{
			address: net.JoinHostPort(fields[column["srv_addr"]], fields[column["srv_port"]]),
			ready:   fields[column["srv_op_state"]] == running && slices.Contains(open, fields[column["srv_admin_state"]]),
		}
	}
	return all, nil
}

// stat is what HAProxy counts of a backend.
type stat struct {
	current int   // sessions now
	total   int64 // sessions ever
}

func (a admin) stats(ctx context.Context) (map[string]stat, error) {
	answer, err := a.run(ctx, "show stat -1 2 -1") // backends only
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, errors.Join(fmt.Errorf("HAProxy shows no statistics: %.200s", answer), err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	all := map[string]stat{}
	for _, row := range rows[1:] {
		current, err := strconv.Atoi(row[column["scur"]])
		if err != nil {
			return nil, fmt.Errorf("HAProxy shows %q sessions: %w", row[column["scur"]], err)
		}
		total, err := strconv.ParseInt(row[column["stot"]], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("HAProxy shows %q sessions: %w", row[column["stot"]], err)
		}
		all[row[column["pxname"]]] = stat{current, total}
	}
	return all, nil
}
