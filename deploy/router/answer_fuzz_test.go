package router_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// Whatever an application answers, the client gets one answer of valid HTTP, or half of one and the end of the connection;
// and nothing of it is taken for the answer to the next request.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "garbage", "",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", "HTTP/1.1 000 X\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n",
		"HTTP/1.1 200 \nTrAnsfer-EnCoding:Chunked\n\n",
	} {
		f.Add([]byte(seed))
	}
	answers := make(chan []byte, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f, err)
	f.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				if _, err := http.ReadRequest(bufio.NewReader(connection)); err != nil {
					return
				}
				select {
				case answer := <-answers:
					_, _ = connection.Write(answer)
				case <-time.After(time.Second):
				}
			}()
		}
	}()
	var log buffer
	r := router.New(router.Options{
		ResponseTimeout: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	base := public(f, r)
	give(f, r, one(f, deploy.Blue, "v1", "http://"+listener.Addr().String()))
	f.Fuzz(func(t *testing.T, answer []byte) {
		answers <- answer
		connection, in := conversation(t, base)
		fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		response, err := http.ReadResponse(in, nil)
		for err == nil && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			response, err = http.ReadResponse(in, nil)
		}
		require.NotContains(t, log.String(), "panic serving")
		log.Reset()
		if err != nil { // nothing of a broken answer has been sent yet
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			return
		}
		require.NotEqual(t, 101, response.StatusCode, "nobody asked for it")
		require.Equal(t, "blue", response.Header.Get(router.SlotHeader))
		_, err = io.ReadAll(response.Body)
		if err == nil && !response.Close {
			// The connection is still in order: what comes next is the answer to what is asked next.
			answers <- []byte("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")
			fmt.Fprintf(connection, "POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			next, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			require.Equal(t, 418, next.StatusCode)
		}
	})
}
