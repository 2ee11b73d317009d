package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// Variables that make the test binary another program.
const (
	asSupervisor = "SUPERVISOR_TEST_AS_SUPERVISOR" // its value is the file that says where it dies
	asRouter     = "SUPERVISOR_TEST_AS_ROUTER"
	asClient     = "SUPERVISOR_TEST_AS_CLIENT"
	asKeeper     = "SUPERVISOR_TEST_AS_KEEPER" // set where the supervisor has one
)

// patience bounds every wait for what must happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == asRouter:
		err = beRouter(flagsOf(os.Args[2:]))
	case os.Getenv(asSupervisor) != "":
		err = beSupervisor(flagsOf(os.Args[1:]), os.Getenv(asSupervisor))
	case os.Getenv(asClient) != "":
		err = beClient(os.Getenv(asClient))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func flagsOf(args []string) map[string]string {
	flags := map[string]string{}
	for i := 0; i < len(args); i += 2 {
		flags[strings.TrimPrefix(args[i], "--")] = append(args, "")[i+1]
	}
	return flags
}

// dieAt kills this process at the point that a file names, once: the file goes with it.
func dieAt(file string) func(string) {
	return func(here string) {
		if point, err := os.ReadFile(file); err == nil && string(point) == here {
			_ = os.Remove(file)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

func beSupervisor(flags map[string]string, pointFile string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options := RunOptions{Dir: flags["dir"], Listen: flags["listen"], Version: "test", at: dieAt(pointFile)}
	switch _, kept := flags[strings.TrimPrefix(KeptFlag, "--")]; {
	case kept:
		var err error
		if options.Kept, err = NewKept(os.Stdin, os.Stdout); err != nil {
			return err
		}
	case os.Getenv(asKeeper) != "":
		return Keep(ctx, options.Dir, os.Args)
	}
	if os.Getenv(asRouter) != "" {
		options.Router = []string{os.Args[0], asRouter}
	}
	return Run(ctx, options)
}

func beRouter(flags map[string]string) error {
	grace, err := time.ParseDuration(flags["grace"])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	r, err := router.Load(flags["state"], router.Options{State: flags["state"], Grace: grace})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", flags["listen"])
	if err != nil {
		return err
	}
	commands, err := control.Listen(flags["socket"])
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	go func() { served <- r.Serve(ctx, listener) }()
	go func() { served <- control.NewServer(r).Serve(ctx, commands) }()
	return errorsOf(<-served, <-served)
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
