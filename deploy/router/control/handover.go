package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
)

// The handover is one request. The answer's first bytes carry the descriptors (SCM_RIGHTS, unix(7)) of the traffic's
// listeners, in order, and of the control socket's; its body is an estate. The process that took over says "serving" once
// it accepts connections, and the old one answers "yours" when it has stopped to, or "mine" where it goes on.
const (
	saysServing = "serving\n"
	saysYours   = "yours\n"
	saysMine    = "mine\n"
)

// handoverLimit bounds the time that the process which takes over needs to serve. Changes are refused that long.
const handoverLimit = 20 * time.Second

// maxEstate is how many descriptors are passed at most: the kernel allows 253 (unix(7), SCM_MAX_FD).
const maxEstate = 64

// estate is the body of the answer.
type estate struct {
	Listeners int             `json:"listeners"` // descriptors before the control socket's
	Table     json.RawMessage `json:"table"`
}

// handover gives the router to the process that asks.
func (s *Server) handover(w http.ResponseWriter, request *http.Request) {
	s.mu.Lock()
	commands := s.listener
	s.mu.Unlock()
	hijacker, ok := w.(http.Hijacker)
	if commands == nil || !ok {
		write(w, nil, &router.Error{Reason: router.Conflict, What: "the router serves no control socket", Do: "ask over the socket"})
		return
	}
	var connection *net.UnixConn
	err := s.router.Handover(func(left router.Estate) error {
		raw, _, err := hijacker.Hijack()
		if err != nil {
			return err
		}
		if connection, ok = raw.(*net.UnixConn); !ok {
			return errors.Join(errors.New("the control socket is not a unix socket"), raw.Close())
		}
		return give(connection, left, commands)
	})
	if connection == nil {
		write(w, nil, err)
		return
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(stopGrace))
	if err != nil {
		_, _ = io.WriteString(connection, saysMine)
		return
	}
	close(s.handed)
	_, _ = io.WriteString(connection, saysYours)
}

// give sends the estate and waits until the other process serves.
func give(connection *net.UnixConn, left router.Estate, commands net.Listener) error {
	body, err := json.Marshal(estate{Listeners: len(left.Listeners), Table: left.Table})
	if err != nil {
		return err
	}
	if len(left.Listeners)+1 > maxEstate {
		return fmt.Errorf("%d listeners are too many", len(left.Listeners))
	}
	_ = connection.SetDeadline(time.Now().Add(handoverLimit))
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	err = withDescriptors(append(left.Listeners, commands), func(descriptors []int) error {
		n, _, err := connection.WriteMsgUnix([]byte(head), syscall.UnixRights(descriptors...), nil)
		if err == nil && n < len(head) {
			_, err = io.WriteString(connection, head[n:])
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := connection.Write(body); err != nil {
		return err
	}
	said, err := bufio.NewReaderSize(connection, 64).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the other process does not serve: %w", err)
	}
	if said != saysServing {
		return fmt.Errorf("the other process said %q", said)
	}
	return nil
}

// withDescriptors calls use with the listeners' descriptors, which stay open that long.
func withDescriptors(listeners []net.Listener, use func([]int) error) error {
	var descriptors []int
	var next func(rest []net.Listener) error
	next = func(rest []net.Listener) error {
		if len(rest) == 0 {
			return use(descriptors)
		}
		listener, ok := rest[0].(syscall.Conn)
		if !ok {
			return fmt.Errorf("the listener on %s has no file descriptor", rest[0].Addr())
		}
		raw, err := listener.SyscallConn()
		if err != nil {
			return err
		}
		var inner error
		err = raw.Control(func(fd uintptr) {
			descriptors = append(descriptors, int(fd))
			inner = next(rest[1:])
		})
		return errors.Join(err, inner)
	}
	return next(listeners)
}

// Takeover is what another router gave.
type Takeover struct {
	Table     []byte         // for router.Continue
	Listeners []net.Listener // for Router.Serve
	Commands  net.Listener   // for Server.Serve, once Serving has returned

	connection *net.UnixConn
	in         *bufio.Reader
}

// TakeOver asks the router behind a socket for its listeners. Serve them, then call Serving; or give up with Close.
func TakeOver(ctx context.Context, path string) (*Takeover, error) {
	wrap := func(err error) error { return fmt.Errorf("take over from the router at %s: %w", path, err) }
	raw, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, wrap(err)
	}
	t := &Takeover{connection: raw.(*net.UnixConn)}
	if err := t.receive(ctx, path); err != nil {
		t.Close()
		return nil, wrap(err)
	}
	return t, nil
}

func (t *Takeover) receive(ctx context.Context, path string) error {
	defer context.AfterFunc(ctx, func() { _ = t.connection.SetDeadline(time.Unix(1, 0)) })()
	_ = t.connection.SetDeadline(time.Now().Add(handoverLimit))
	if _, err := io.WriteString(t.connection, "POST "+version+"/handover HTTP/1.1\r\nHost: router\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	first := make([]byte, 4096)
	rights := make([]byte, syscall.CmsgSpace(4*maxEstate))
	n, m, _, _, err := t.connection.ReadMsgUnix(first, rights)
	if err != nil {
		return err
	}
	descriptors, err := parseRights(rights[:m])
	defer func() {
		for _, descriptor := range descriptors {
			_ = syscall.Close(descriptor) // a listener has one of its own
		}
	}()
	if err != nil {
		return err
	}
	t.in = bufio.NewReader(io.MultiReader(strings.NewReader(string(first[:n])), t.connection))
	left, err := readEstate(t.in, len(descriptors))
	if err != nil {
		return err
	}
	t.Table = left.Table
	for i, descriptor := range descriptors {
		listener, err := listenerOf(descriptor)
		if err != nil {
			return err
		}
		if i < left.Listeners {
			t.Listeners = append(t.Listeners, listener)
			continue
		}
		commands, ok := listener.(*net.UnixListener)
		if !ok {
			return errors.Join(errors.New("the control socket is not a unix socket"), listener.Close())
		}
		commands.SetUnlinkOnClose(false)
		t.Commands = &socket{UnixListener: commands, path: path}
	}
	return nil
}

// readEstate reads the answer of the router, of which so many descriptors came.
func readEstate(in *bufio.Reader, descriptors int) (left estate, err error) {
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return left, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxMessage+1))
	switch {
	case err != nil:
		return left, err
	case len(body) > maxMessage:
		return left, errors.New("the estate is over 1 MiB")
	case response.StatusCode != http.StatusOK:
		var refused router.Error
		if json.Unmarshal(body, &refused) == nil && refused.What != "" {
			return left, &refused
		}
		return left, fmt.Errorf("it answered %s; is it another version?", response.Status)
	}
	if err := json.Unmarshal(body, &left); err != nil {
		return left, err
	}
	if left.Listeners < 1 || left.Listeners+1 != descriptors {
		return left, fmt.Errorf("%d listeners were announced, %d descriptors came", left.Listeners, descriptors)
	}
	return left, nil
}

func parseRights(data []byte) (descriptors []int, err error) {
	messages, err := syscall.ParseSocketControlMessage(data)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		some, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return descriptors, err
		}
		descriptors = append(descriptors, some...)
	}
	for _, descriptor := range descriptors {
		syscall.CloseOnExec(descriptor)
	}
	return descriptors, nil
}

func listenerOf(descriptor int) (net.Listener, error) {
	copied, err := syscall.Dup(descriptor)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(copied)
	file := os.NewFile(uintptr(copied), "listener")
	defer file.Close()
	return net.FileListener(file)
}

// Serving tells the old router that this process accepts connections on its listeners, and returns once the old one has
// stopped to. An error means that the old one goes on: this process must end, without closing what it did not make.
//
// An old router that ends without a word has died; this process is the only one then.
func (t *Takeover) Serving() error {
	_ = t.connection.SetDeadline(time.Now().Add(handoverLimit))
	if _, err := io.WriteString(t.connection, saysServing); err != nil {
		return nil //nolint:nilerr // nobody is there any more
	}
	said, err := t.in.ReadString('\n')
	switch {
	case said == saysYours:
		return t.connection.Close()
	case said == saysMine:
		return errors.Join(errors.New("take over: the other router goes on"), t.connection.Close())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.Join(errors.New("take over: the other router does not say whether it goes on"), t.connection.Close())
	default:
		return nil
	}
}

// Close gives the listeners back: the other router, which still serves them, goes on. The files of sockets stay.
func (t *Takeover) Close() {
	for _, listener := range t.Listeners {
		_ = listener.Close()
	}
	if mine, ok := t.Commands.(*socket); ok {
		_ = mine.leave()
	}
	_ = t.connection.Close()
}
