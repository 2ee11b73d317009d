package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

func routerCommand() *cobra.Command {
	var serve routerServe
	cmd := &cobra.Command{
		Use: "router", Short: "Serve the traffic splitter, controlled over a unix socket", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve.run(cmd.Context()) },
	}
	var socket string
	cmd.PersistentFlags().StringVar(&socket, "socket", "pipeline-router.sock", "unix socket for control; only its owner may use it")
	serve.socket = &socket
	serve.flags(cmd)
	cmd.AddCommand(routerUpgradeCommand(&socket), routerStatusCommand(&socket), routerShiftCommand(&socket), routerDrainCommand(&socket),
		routerPauseCommand(&socket), routerResumeCommand(&socket), routerRulesCommand(&socket), routerMirrorCommand(&socket))
	return cmd
}

func routerUpgradeCommand(socket *string) *cobra.Command {
	serve := routerServe{socket: socket, takeOver: true}
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Take over from the running router, without a gap, and serve in its place", Args: cobra.NoArgs,
		Long: "upgrade asks the router behind the socket for its listeners and serves in its place, with this program and these\n" +
			"flags. No connection is refused or reset: the old process answers the clients that are connected to it, tells each\n" +
			"with its answer to connect again, and ends when the last one has gone. Where this process cannot serve, the old one\n" +
			"goes on.",
		RunE: func(cmd *cobra.Command, _ []string) error { return serve.run(cmd.Context()) },
	}
	serve.flags(cmd)
	return cmd
}

// routerServe is a router process.
type routerServe struct {
	socket   *string
	takeOver bool

	listen, state, metrics string
	cert, key, accessLog   string
	timeout, grace         time.Duration
	maxBody                int64
	exclude, identity      []string
	byAddress, trust, h2c  bool
}

func (s *routerServe) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	if !s.takeOver { // the listener is the old router's
		f.StringVar(&s.listen, "listen", "127.0.0.1:8080", "address for the traffic")
	}
	f.StringVar(&s.state, "state", "pipeline-router.json", "file that holds the table, so that a restart goes on where it was")
	f.StringVar(&s.metrics, "metrics", "", "address for Prometheus, besides the control socket: 127.0.0.1:9145")
	f.StringVar(&s.cert, "tls-cert", "", "certificate (PEM) to speak TLS with; read again when it changes")
	f.StringVar(&s.key, "tls-key", "", "its key (PEM)")
	f.StringVar(&s.accessLog, "access-log", "", "file for a line of JSON a request, - for standard output")
	f.DurationVar(&s.timeout, "response-timeout", router.DefaultResponseTimeout, "how long the application may take for the first byte of an answer")
	f.DurationVar(&s.grace, "grace", router.DefaultGrace, "how long requests may go on when the router is told to end")
	f.Int64Var(&s.maxBody, "max-body", 0, "bytes that a request's body may have; 0 for any number")
	f.StringSliceVar(&s.exclude, "exclude", nil, "paths that are not counted: /healthz")
	f.StringSliceVar(&s.identity, "identity", router.DefaultIdentityHeaders, "headers that tell clients without cookies apart")
	f.BoolVar(&s.byAddress, "identity-address", false, "tell clients apart by their address where nothing else does, instead of by a cookie")
	f.BoolVar(&s.trust, "trust-forwarded", false, "keep X-Forwarded-*: for a router behind another proxy only")
	f.BoolVar(&s.h2c, "http2", false, "understand HTTP/2 without TLS, too")
}

func (s *routerServe) options() (options router.Options, closeLog func(), err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	options = router.Options{
		State: s.state, ResponseTimeout: s.timeout, Grace: s.grace, TrustForwarded: s.trust, PlainHTTP2: s.h2c,
		Exclude: s.exclude, Identity: router.Identity{Headers: s.identity, Address: s.byAddress},
		Limits: router.Limits{Body: s.maxBody}, Logger: logger,
	}
	closeLog = func() {}
	if (s.cert == "") != (s.key == "") {
		return options, closeLog, errors.New("--tls-cert and --tls-key belong together: give both or neither")
	}
	if s.cert != "" {
		certificate, err := router.LoadCertificate(s.cert, s.key, logger)
		if err != nil {
			return options, closeLog, infrastructure(err)
		}
		options.TLS = certificate.Config()
	}
	switch s.accessLog {
	case "":
	case "-":
		options.Access = os.Stdout
	default:
		file, err := os.OpenFile(s.accessLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return options, closeLog, infrastructure(fmt.Errorf("open access log: %w", err))
		}
		options.Access, closeLog = file, func() { _ = file.Close() }
	}
	return options, closeLog, nil
}

func (s *routerServe) run(ctx context.Context) error {
	options, closeLog, err := s.options()
	if err != nil {
		return err
	}
	defer closeLog()
	if s.takeOver {
		return s.runAfter(ctx, options)
	}
	r, err := router.Load(s.state, options)
	if err != nil {
		return infrastructure(err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return infrastructure(fmt.Errorf("listen for traffic: %w; choose another address with --listen", err))
	}
	commands, err := control.Listen(*s.socket)
	if err != nil {
		return infrastructure(errors.Join(err, listener.Close()))
	}
	p := s.processes(ctx, r)
	defer p.cancel()
	p.traffic(listener)
	p.commands(commands)
	fmt.Printf("router: traffic on %s, control on %s\n", listener.Addr(), *s.socket)
	return p.wait()
}

// runAfter serves in the place of another process.
func (s *routerServe) runAfter(ctx context.Context, options router.Options) error {
	t, err := control.TakeOver(ctx, *s.socket)
	if err != nil {
		return infrastructure(err)
	}
	r, err := router.Continue(t.Table, options)
	if err != nil {
		t.Close()
		return infrastructure(err)
	}
	p := s.processes(ctx, r)
	defer p.cancel()
	for _, listener := range t.Listeners {
		p.traffic(listener)
	}
	if err := t.Serving(); err != nil {
		t.Close()
		return infrastructure(err)
	}
	p.commands(t.Commands)
	fmt.Printf("router: took over; traffic on %s, control on %s\n", t.Listeners[0].Addr(), *s.socket)
	return p.wait()
}

// routerProcesses is what runs until one of it fails or the context ends. After a handover each ends by itself.
type routerProcesses struct {
	ctx    context.Context
	cancel context.CancelFunc
	router *router.Router
	served chan error
	n      int
	side   string
}

func (s *routerServe) processes(ctx context.Context, r *router.Router) *routerProcesses {
	ctx, cancel := context.WithCancel(ctx)
	return &routerProcesses{ctx: ctx, cancel: cancel, router: r, served: make(chan error, 64), side: s.metrics}
}

func (p *routerProcesses) traffic(listener net.Listener) {
	p.n++
	go func() { p.served <- p.router.Serve(p.ctx, listener) }()
}

func (p *routerProcesses) commands(listener net.Listener) {
	p.n++
	go func() { p.served <- control.NewServer(p.router).Serve(p.ctx, listener) }()
}

func (p *routerProcesses) wait() error {
	stop, err := p.publish()
	if err != nil {
		p.cancel()
	}
	for range p.n {
		one := <-p.served
		stop() // also where another process takes over, which wants the address
		if one != nil {
			p.cancel() // the others end too
		}
		err = errors.Join(err, one)
	}
	if err != nil {
		return infrastructure(err)
	}
	return nil
}

// publish serves the metrics on an address of their own, if there is one.
func (p *routerProcesses) publish() (stop func(), err error) {
	if p.side == "" {
		return func() {}, nil
	}
	listener, err := listenPatiently(p.ctx, p.side)
	if err != nil {
		return func() {}, fmt.Errorf("listen for metrics: %w; choose another address with --metrics", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.router.Metrics())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(listener) }() // ends by Close
	return func() { _ = server.Close() }, nil
}

// sidePatience is for how long the address of the metrics is waited for: the router that was replaced leaves it.
const sidePatience = 5 * time.Second

func listenPatiently(ctx context.Context, address string) (listener net.Listener, err error) {
	ctx, cancel := context.WithTimeout(ctx, sidePatience)
	defer cancel()
	var config net.ListenConfig
	for {
		listener, err = config.Listen(ctx, "tcp", address)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readInput reads a file, or standard input for "-".
func readInput(cmd *cobra.Command, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<20))
	}
	return os.ReadFile(path)
}
