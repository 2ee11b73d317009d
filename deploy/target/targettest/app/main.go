// Command app is the application of targettest as one static program, for images that have nothing else in them: what
// app.py does, the static files of $ROOT where that is set, and modes that a container can be in and a process cannot.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	readHeader = 10 * time.Second
	// bite is how much memory the mode that eats memory takes at once, in bytes.
	bite = 4 << 20
)

func main() {
	name, mode := os.Getenv("NAME"), os.Getenv("MODE")
	fmt.Println(name, "starts")
	switch mode {
	case "exit":
		fmt.Fprintln(os.Stderr, "ModuleNotFoundError: No module named 'fastapi'")
		os.Exit(3)
	case "eat": // until the kernel says no
		var eaten [][]byte
		for {
			piece := make([]byte, bite)
			for i := range piece {
				piece[i] = 1
			}
			eaten = append(eaten, piece)
			fmt.Println("ate", len(eaten)*bite>>20, "MiB")
		}
	}
	if err := serve(name, mode); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(name, "ends")
}

func serve(name, mode string) error {
	quiet := make(chan os.Signal, 1)
	signal.Notify(quiet, syscall.SIGTSTP)
	go func() {
		for range quiet {
			fmt.Println("takes no new jobs")
		}
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	ending := make(chan struct{})
	server := &http.Server{Handler: answers(name, ending), ReadHeaderTimeout: readHeader}
	if root := os.Getenv("ROOT"); root != "" {
		server.Handler = http.FileServer(http.Dir(root))
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		for range signals {
			if mode == "stubborn" {
				fmt.Println("no")
				continue
			}
			close(ending)
			ended <- server.Shutdown(context.Background())
			return
		}
	}()
	fmt.Println(name, "listens")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// answers are those of app.py.
func answers(name string, ending <-chan struct{}) http.Handler {
	var waiting atomic.Int64
	answer := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, request *http.Request) {
			_, _ = io.Copy(io.Discard, request.Body)
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, text)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", answer(name))
	mux.HandleFunc("/environment", func(w http.ResponseWriter, _ *http.Request) {
		env := map[string]string{}
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		_ = json.NewEncoder(w).Encode(env)
	})
	mux.HandleFunc("/arguments", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(os.Args[1:]) })
	mux.HandleFunc("/waiting", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, waiting.Load()) })
	mux.HandleFunc("/wait", func(w http.ResponseWriter, request *http.Request) { // answers once the application has been told to end
		waiting.Add(1)
		<-ending
		answer("finished")(w, request)
	})
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) {
		fmt.Println("asked to exit")
		os.Exit(7)
	})
	mux.HandleFunc("/write", func(w http.ResponseWriter, request *http.Request) { // says whether it can write to a path
		if err := os.WriteFile(request.URL.Query().Get("to"), []byte("x"), 0o600); err != nil {
			answer(err.Error())(w, request)
			return
		}
		answer("written")(w, request)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, request *http.Request) {
		data, _ := os.ReadFile(request.URL.Query().Get("path"))
		answer(string(data))(w, request)
	})
	mux.HandleFunc("/directory", func(w http.ResponseWriter, request *http.Request) {
		dir, _ := os.Getwd()
		answer(dir)(w, request)
	})
	mux.HandleFunc("/fetch", func(w http.ResponseWriter, request *http.Request) { // asks another unit
		response, err := http.Get(request.URL.Query().Get("url")) //nolint:gosec,noctx // a test's application asks what the test says
		if err != nil {
			answer(err.Error())(w, request)
			return
		}
		defer response.Body.Close()
		data, _ := io.ReadAll(response.Body)
		answer(string(data))(w, request)
	})
	return mux
}
