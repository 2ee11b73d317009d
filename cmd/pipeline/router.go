package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

func routerCommand() *cobra.Command {
	var listen, socket, state string
	cmd := &cobra.Command{
		Use: "router", Short: "Serve the traffic splitter, controlled over a unix socket", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveRouter(cmd.Context(), listen, socket, state)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address for the traffic")
	cmd.Flags().StringVar(&socket, "socket", "pipeline-router.sock", "unix socket for control; only its owner may use it")
	cmd.Flags().StringVar(&state, "state", "pipeline-router.json", "file that holds the table, so that a restart goes on where it was")
	return cmd
}

func serveRouter(ctx context.Context, listen, socket, state string) error {
	r, err := router.Load(state, router.Options{})
	if err != nil {
		return infrastructure(err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return infrastructure(fmt.Errorf("listen for traffic: %w; choose another address with --listen", err))
	}
	commands, err := control.Listen(socket)
	if err != nil {
		return infrastructure(errors.Join(err, listener.Close()))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 2)
	go func() { served <- r.Serve(ctx, listener) }()
	go func() { served <- control.NewServer(r).Serve(ctx, commands) }()
	fmt.Printf("router: traffic on %s, control on %s\n", listener.Addr(), socket)
	err = <-served
	cancel()
	if other := <-served; err == nil {
		err = other
	}
	if err != nil {
		return infrastructure(err)
	}
	return nil
}
