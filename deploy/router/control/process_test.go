package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// asRouter makes the test binary a router: its value is the socket, an address or "take over", and the state file.
const asRouter = "ROUTER_TEST_AS_ROUTER"

func TestMain(m *testing.M) {
	if what := os.Getenv(asRouter); what != "" {
		var asked struct{ Socket, Listen, State string }
		err := json.Unmarshal([]byte(what), &asked)
		if err == nil {
			err = beRouter(asked.Socket, asked.Listen, asked.State)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// processLimits keep the life of a router that was replaced short.
var processLimits = router.Limits{Idle: 2 * time.Second}

func beRouter(socket, listen, state string) error {
	options := router.Options{State: state, Limits: processLimits, Grace: 2 * time.Second, Jitter: 100 * time.Millisecond}
	served := make(chan error, 2)
	ctx := context.Background()
	if listen == "" {
		t, err := control.TakeOver(ctx, socket)
		if err != nil {
			return err
		}
		r, err := router.Continue(t.Table, options)
		if err != nil {
			return err
		}
		go func() { served <- r.Serve(ctx, t.Listeners[0]) }()
		if err := t.Serving(); err != nil {
			return err
		}
		go func() { served <- control.NewServer(r).Serve(ctx, t.Commands) }()
		fmt.Println("serving on " + t.Listeners[0].Addr().String())
	} else {
		r, err := router.Load(state, options)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		commands, err := control.Listen(socket)
		if err != nil {
			return err
		}
		go func() { served <- r.Serve(ctx, listener) }()
		go func() { served <- control.NewServer(r).Serve(ctx, commands) }()
		fmt.Println("serving on " + listener.Addr().String())
	}
	return errors.Join(<-served, <-served)
}

// process is a router in a process of its own.
type process struct {
	cmd     *exec.Cmd
	address string
	ended   chan error
	stderr  *bytes.Buffer
}

func startRouter(t testing.TB, socket, listen, state string) *process {
	t.Helper()
	what, err := json.Marshal(map[string]string{"Socket": socket, "Listen": listen, "State": state})
	require.NoError(t, err)
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan error, 1), stderr: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), asRouter+"="+string(what))
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		_ = p.cmd.Wait()
		t.Fatalf("the router did not start: %s", p.stderr)
	}
	p.address = strings.TrimPrefix(lines.Text(), "serving on ")
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case err := <-p.ended:
		p.ended <- err
	case <-time.After(10 * time.Second):
	}
}

// end waits until the process has ended by itself.
func (p *process) end(t testing.TB) {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		require.NoError(t, err, "%s", p.stderr)
	case <-time.After(30 * time.Second):
		t.Fatal("the router that was replaced does not end")
	}
}

// place is a directory with a short name: a socket's path may have some 100 bytes.
func place(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// load is clients that keep their connections and mostly POST. A request that fails, or that net/http had to send twice,
// is a failure.
type load struct {
	stop           chan struct{}
	group          sync.WaitGroup
	answered, post atomic.Int64
	failed         atomic.Int64
	first          atomic.Value
}

func startLoad(base string, n int) *load {
	l := &load{stop: make(chan struct{})}
	for i := range n {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 20 * time.Second}
		l.group.Go(func() {
			defer client.CloseIdleConnections()
			for k := i; ; k++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := l.send(client, base, k); err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				}
				l.answered.Add(1)
			}
		})
	}
	return l
}

func (l *load) send(client *http.Client, base string, k int) error {
	method, size := http.MethodGet, 0
	if k%3 != 0 {
		method, size = http.MethodPost, 1+k%20_000
		l.post.Add(1)
	}
	attempts := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GetConn: func(string) { attempts++ }})
	request, err := http.NewRequestWithContext(ctx, method, base, bytes.NewReader(bytes.Repeat([]byte("x"), size)))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK || string(body) != fmt.Sprint(size):
		return fmt.Errorf("%s of %d bytes was answered %d %q", method, size, response.StatusCode, body)
	case attempts != 1:
		return fmt.Errorf("%s was sent %d times", method, attempts)
	}
	return nil
}

func (l *load) reach(t testing.TB, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return l.answered.Load() >= n }, time.Minute, 5*time.Millisecond, "clients stopped getting answers")
}

// lengths is an application that answers how long the body was.
func lengths(t testing.TB) string {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		n, _ := io.Copy(io.Discard, request.Body)
		fmt.Fprint(w, n)
	}))
	t.Cleanup(app.Close)
	return app.URL
}

func TestRoutersReplaceEachOtherUnderLoadWithoutALostRequest(t *testing.T) {
	dir := place(t)
	socket, state := filepath.Join(dir, "s"), filepath.Join(dir, "state")
	current := startRouter(t, socket, "127.0.0.1:0", state)
	base := "http://" + current.address
	client := control.NewClient(socket)
	app := lengths(t)
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", app)))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	require.NoError(t, client.SetRules(t.Context(), router.Routing{Rules: []router.Rule{{Name: "api", Match: router.Match{Path: "/api"}, Slot: deploy.Green}}}))

	const upgrades, perUpgrade = 4, 800
	l := startLoad(base, 8)
	old := []*process{}
	for n := range upgrades {
		l.reach(t, l.answered.Load()+perUpgrade)
		next := startRouter(t, socket, "", state)
		require.Equal(t, current.address, next.address)
		old = append(old, current)
		current = next
		// The new one has the table and the socket.
		status, err := client.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, 100, status.Slots[0].Weight)
		require.Len(t, status.Rules, 1)
		require.NoError(t, client.Register(t.Context(), instance(t, deploy.Green, fmt.Sprintf("g%d", n), app)))
	}
	l.reach(t, l.answered.Load()+perUpgrade)
	for _, process := range old {
		process.end(t) // while clients go on: each has moved to the new one
	}
	close(l.stop)
	l.group.Wait()
	t.Logf("%d upgrades, %d requests (%d POST), %d failed", upgrades, l.answered.Load(), l.post.Load(), l.failed.Load())
	require.Zero(t, l.failed.Load(), "first: %v", l.first.Load())
	require.FileExists(t, socket)
}

func TestAProcessThatTakesOverAndDiesChangesNothing(t *testing.T) {
	socket := filepath.Join(place(t), "s")
	r := router.New(router.Options{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	commands, err := control.Listen(socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- r.Serve(ctx, listener) }()
	go func() { ended <- control.NewServer(r).Serve(ctx, commands) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
	})
	client := control.NewClient(socket)
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", lengths(t))))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))

	var taken *control.Takeover
	require.Eventually(t, func() bool { // until Serve has begun
		taken, err = control.TakeOver(t.Context(), socket)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	require.Len(t, taken.Listeners, 1)
	require.NotEmpty(t, taken.Table)
	taken.Close()
	// A change waits for the end of the handover, and is made then.
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Green, "v2", "http://127.0.0.1:1")))
	response, err := http.Get("http://" + listener.Addr().String())
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.False(t, r.Stats().Retiring)
	require.FileExists(t, socket)

	require.NoError(t, client.Pause(t.Context(), time.Minute))
	_, err = control.TakeOver(t.Context(), socket)
	require.ErrorContains(t, err, "the router is paused; resume it first")
}

func TestAWebSocketOfARouterThatWasReplacedIsClosedWithServiceRestart(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		socket, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err != nil {
				return
			}
			_ = socket.WriteMessage(kind, message)
		}
	}))
	t.Cleanup(app.Close)
	dir := place(t)
	socket, state := filepath.Join(dir, "s"), filepath.Join(dir, "state")
	old := startRouter(t, socket, "127.0.0.1:0", state)
	client := control.NewClient(socket)
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", app.URL)))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	conversation, _, err := websocket.DefaultDialer.Dial("ws://"+old.address, nil)
	require.NoError(t, err)
	defer conversation.Close()
	startRouter(t, socket, "", state)
	require.NoError(t, conversation.WriteMessage(websocket.TextMessage, []byte("still")))
	_, answer, err := conversation.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "still", string(answer), "it stays where it is")
	_, _, err = conversation.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseServiceRestart), "%v", err)
	old.end(t)
}

// A router is killed again and again while its table is changed. Whoever starts next serves what was acknowledged last, or
// the change that was under way.
func TestARouterThatIsKilledGoesOnWithItsLastState(t *testing.T) {
	dir := place(t)
	socket, state := filepath.Join(dir, "s"), filepath.Join(dir, "state")
	app := lengths(t)
	running := startRouter(t, socket, "127.0.0.1:0", state)
	client := control.NewClient(socket)
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", app)))
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Green, "v2", app)))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	acknowledged := 0
	for round := range 12 {
		killed := make(chan struct{})
		changes := 0
		var tried int
		for {
			tried = (acknowledged + 7) % 101
			if err := client.Shift(t.Context(), map[deploy.Slot]int{deploy.Green: tried, deploy.Blue: 100 - tried}); err != nil {
				break
			}
			acknowledged = tried
			if changes++; changes == 1+round%4 {
				go func() {
					_ = running.cmd.Process.Signal(syscall.SIGKILL)
					close(killed)
				}()
			}
		}
		<-killed
		running.kill()
		running = startRouter(t, socket, "127.0.0.1:0", state)
		status, err := client.Status(t.Context())
		require.NoError(t, err)
		require.Contains(t, []int{acknowledged, tried}, status.Slots[1].Weight)
		acknowledged = status.Slots[1].Weight
		response, err := http.Get("http://" + running.address)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
}

func TestARouterThatDiesWhileItIsReplacedIsReplacedAllTheSame(t *testing.T) {
	dir := place(t)
	socket, state := filepath.Join(dir, "s"), filepath.Join(dir, "state")
	old := startRouter(t, socket, "127.0.0.1:0", state)
	client := control.NewClient(socket)
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", lengths(t))))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	taken, err := control.TakeOver(t.Context(), socket)
	require.NoError(t, err)
	old.kill()
	r, err := router.Continue(taken.Table, router.Options{State: state})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- r.Serve(ctx, taken.Listeners[0]) }()
	require.NoError(t, taken.Serving())
	go func() { ended <- control.NewServer(r).Serve(ctx, taken.Commands) }()
	response, err := http.Get("http://" + old.address)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	status, err := client.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, status.Slots[0].Requests)
	cancel()
	require.NoError(t, errors.Join(<-ended, <-ended))
	require.NoFileExists(t, socket, "it is this process's now")
}
