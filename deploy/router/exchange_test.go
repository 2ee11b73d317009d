package router_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// seen is a request as an application read it.
type seen struct {
	Method, URI, Host, Body string
	Length                  int64
	Chunked                 bool
	Header, Trailer         http.Header
}

// noting is an application that notes what it reads and answers in as many ways as there are.
func noting(got chan<- seen) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		got <- seen{
			Method: request.Method, URI: request.RequestURI, Host: request.Host, Body: fmt.Sprintf("%d bytes, %x", len(body), sha256.Sum256(body)), Length: request.ContentLength,
			Chunked: slices.Contains(request.TransferEncoding, "chunked"), Header: request.Header, Trailer: request.Trailer,
		}
		w.Header()["X-Many"] = []string{"1", "2"}
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Add("Set-Cookie", "a=1")
		switch way := len(body) % 5; {
		case request.Method == http.MethodHead:
			w.Header().Set("Content-Length", "12345")
		case way == 0:
			w.WriteHeader(http.StatusNoContent)
		case way == 1:
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		case way == 2:
			for range 5 {
				_, _ = w.Write(bytes.Repeat([]byte("y"), 10_000))
				_ = http.NewResponseController(w).Flush()
			}
		case way == 3:
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "with a trailer")
			w.Header().Set("X-Sum", "42")
		default:
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(bytes.Repeat([]byte("z"), 200_000))
		}
	}
}

// The router has a proxy of its own for speed. What it makes of requests and answers is what net/http/httputil makes.
func TestRequestsAndAnswersAreThoseOfReverseProxy(t *testing.T) {
	got := make(chan seen, 16)
	app := backend(t, noting(got))
	endpoint, err := url.Parse(app.URL)
	require.NoError(t, err)
	plain := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(endpoint)
		p.Out.Host = p.In.Host
		p.Out.URL.RawQuery = p.In.URL.RawQuery
		p.SetXForwarded()
	}, Transport: &http.Transport{DisableCompression: true}})
	t.Cleanup(plain.Close)
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", app.URL))
	client := newClient(t)
	random := rand.New(rand.NewPCG(1, 2))
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"}
	paths := []string{"/", "/a/b", "/a%2Fb", "/%20x", "/a?b=c&d", "/?q=a;b", "/a//b", "/ü", "/a?%zz"}
	headers := []string{"Accept-Encoding", "X-Forwarded-For", "Forwarded", "Te", "User-Agent", "Cookie", "Authorization", "X-Some", "Cache-Control",
		"Proxy-Authorization", "Keep-Alive", "X-Forwarded-Proto", "If-None-Match", "Range"}
	for n := range 400 {
		method, path := methods[random.IntN(len(methods))], paths[random.IntN(len(paths))]
		size, chunked := random.IntN(3)*random.IntN(30_000)+random.IntN(5), random.IntN(3) == 0
		if method == "GET" || method == "HEAD" || method == "OPTIONS" {
			size = 0
		}
		header := http.Header{}
		for range random.IntN(5) {
			name := headers[random.IntN(len(headers))]
			value := "v" + strconv.Itoa(random.IntN(10))
			if name == "Te" {
				value = []string{"trailers", "gzip"}[random.IntN(2)]
			}
			header.Add(name, value)
		}
		if random.IntN(4) == 0 {
			header.Set("Connection", "X-Some, keep-alive")
		}
		ask := func(base string) (exchanged, error) {
			body := io.Reader(bytes.NewReader(bytes.Repeat([]byte("b"), size)))
			if chunked && size > 0 {
				body = io.NopCloser(body) // of unknown length
			}
			request, err := http.NewRequest(method, base+path, body)
			require.NoError(t, err)
			request.Header = header.Clone()
			request.Host = "shop.example"
			if chunked && size > 0 {
				request.Trailer = http.Header{"X-After": {"t"}}
			}
			response, err := client.Do(request)
			if err != nil {
				return exchanged{}, err
			}
			defer response.Body.Close()
			data, err := io.ReadAll(response.Body)
			response.Header.Del("Date")
			return exchanged{<-got, response.StatusCode, response.Header, response.Trailer, string(data)}, err
		}
		want, err := ask(plain.URL)
		for range 5 { // it breaks an answer off now and then while it writes a body
			if err == nil {
				break
			}
			want, err = ask(plain.URL)
		}
		require.NoError(t, err)
		have, err := ask(base)
		what := fmt.Sprintf("%d: %s %s %v, %d bytes, chunked %v", n, method, path, header, size, chunked)
		require.NoError(t, err, what)
		// Each closes its connections to the application in its own way.
		want.seen.Header.Del("Connection")
		have.seen.Header.Del("Connection")
		if chunked && size > 0 {
			require.Equal(t, "t", have.seen.Trailer.Get("X-After"), what)
		}
		want.seen.Trailer, have.seen.Trailer = nil, nil // ReverseProxy loses the values
		have.header.Del(router.SlotHeader)
		have.header.Del(router.ReleaseHeader)
		require.Equal(t, want, have, what)
	}
}

// exchanged is a request as the application read it and the answer as the client did.
type exchanged struct {
	seen            seen
	status          int
	header, trailer http.Header
	body            string
}

// conversation is a raw connection to the router.
func conversation(t testing.TB, base string) (net.Conn, *bufio.Reader) {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	require.NoError(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	return connection, bufio.NewReader(connection)
}

func TestAnApplicationMayRefuseABodyBeforeItIsSent(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/refused" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		n, _ := io.Copy(io.Discard, request.Body)
		fmt.Fprint(w, n)
	}).URL))
	connection, in := conversation(t, base)
	fmt.Fprintf(connection, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	response, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode, "no 100 came before")
	require.True(t, response.Close)

	connection, in = conversation(t, base)
	fmt.Fprintf(connection, "POST /taken HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
	response, err = http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusContinue, response.StatusCode)
	_, err = connection.Write(make([]byte, 100_000))
	require.NoError(t, err)
	response, err = http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, _ := io.ReadAll(response.Body)
	require.Equal(t, "100000", string(body))
}

func TestAnAnswerThatComesBeforeTheEndOfTheBodyIsPassedOn(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	}).URL))
	connection, in := conversation(t, base)
	fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
	_, err := connection.Write(make([]byte, 20_000)) // and then nothing: the rest never comes
	require.NoError(t, err)
	response, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	require.Equal(t, "too much\n", string(body))
	require.True(t, response.Close, "the rest of the body must not be read as the next request")
	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).InFlight == 0 }, "the request ends")
}

func TestALargeUploadIsStreamed(t *testing.T) {
	const size = 64 << 20
	first := make(chan struct{})
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		_, _ = io.ReadFull(request.Body, make([]byte, 1<<16))
		close(first)
		n, _ := io.Copy(io.Discard, request.Body)
		fmt.Fprint(w, n+1<<16)
	}).URL))
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(make([]byte, 1<<20))
		<-first // the application reads before the client has sent it all
		block := make([]byte, 1<<20)
		for range size>>20 - 1 {
			_, _ = writer.Write(block)
		}
		_ = writer.Close()
	}()
	request, err := http.NewRequest(http.MethodPut, base, reader)
	require.NoError(t, err)
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	require.Equal(t, strconv.Itoa(size), string(body))
}

func TestABodyThatIsTooLargeOrTooSlowIsRefused(t *testing.T) {
	r := router.New(router.Options{Limits: router.Limits{Body: 100_000, BodyGrace: 200 * time.Millisecond, BodyRate: 1 << 20}})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		n, err := io.Copy(io.Discard, request.Body)
		fmt.Fprint(w, n, err)
	}).URL))
	for what, c := range map[string]struct {
		head, body string
		status     int
	}{
		"a length over the limit":  {"Content-Length: 100001", "", 413},
		"chunks over the limit":    {"Transfer-Encoding: chunked", "1ffff\r\n" + strings.Repeat("x", 0x1ffff) + "\r\n0\r\n\r\n", 413},
		"a small body that stops":  {"Content-Length: 1000", "begun", 408},
		"a large body that stops":  {"Content-Length: 90000", "begun", 408},
		"chunks that stop":         {"Transfer-Encoding: chunked", "5\r\nbegun\r\n", 408},
		"a body within the limits": {"Content-Length: 90000", strings.Repeat("x", 90000), 200},
	} {
		connection, in := conversation(t, base)
		fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s", c.head, c.body)
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err, what)
		require.Equal(t, c.status, response.StatusCode, what)
		require.Equal(t, c.status != 200, response.Close, what)
	}
	s := statusOf(t, r, deploy.Blue)
	require.EqualValues(t, 5, s.Refused)
	require.Zero(t, s.Gateway+s.Timeouts+s.AppErrors, "it is not the application's fault")
}

func TestWhatAServerSaysIntoAnIdleConnectionIsNoAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	said := make(chan struct{}, 8)
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
				_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				time.Sleep(50 * time.Millisecond)
				_, _ = io.WriteString(connection, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				said <- struct{}{}
				_, _ = io.Copy(io.Discard, connection)
			}()
		}
	}()
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", "http://"+listener.Addr().String()))
	for range 3 {
		response, body := get(t, newClient(t), base)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, "ok", body)
		<-said
		time.Sleep(150 * time.Millisecond) // beyond the time for which a connection is used without a look
	}
}

// An answer may come in pieces, and a byte early is no answer.
func TestAnAnswerThatComesInPiecesIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
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
				for _, piece := range []string{"H", "TTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-", "Encoding: chunked\r\n\r\n3\r\na", "bc\r\n", "2\r\nde\r\n0", "\r\n\r\n"} {
					_, _ = io.WriteString(connection, piece)
					time.Sleep(50 * time.Millisecond) // longer than the first glance
				}
			}()
		}
	}()
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", "http://"+listener.Addr().String()))
	_, body := get(t, newClient(t), base)
	require.Equal(t, "abcde", body)
}

func TestEarlyHintsArePassedOn(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "page")
	}).URL))
	var hints atomic.Value
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints.Store(fmt.Sprint(code, header.Get("Link")))
		return nil
	}})
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	require.Equal(t, "page", string(body))
	require.Equal(t, "103</style.css>; rel=preload", hints.Load())
	require.Empty(t, response.Header.Get("Link"), "a hint is no header of the answer")
}

func TestHTTP2IsSpokenWithAndWithoutTLS(t *testing.T) {
	app := backend(t, func(w http.ResponseWriter, request *http.Request) {
		n, _ := io.Copy(io.Discard, request.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, request.URL.RequestURI(), " ", request.Header.Get("X-Forwarded-Proto"), " ", n)
		w.Header().Set("X-Sum", "42")
	})
	cert, key := certificate(t, t.TempDir(), "first")
	loaded, err := router.LoadCertificate(cert, key, nil)
	require.NoError(t, err)
	plainOnly := new(http.Protocols)
	plainOnly.SetUnencryptedHTTP2(true)
	for scheme, c := range map[string]struct {
		options   router.Options
		transport *http.Transport
	}{
		"http":  {router.Options{PlainHTTP2: true}, &http.Transport{Protocols: plainOnly}},
		"https": {router.Options{TLS: loaded.Config()}, &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	} {
		r := router.New(c.options)
		base := scheme + strings.TrimPrefix(public(t, r), "http")
		give(t, r, one(t, deploy.Blue, "v1", app.URL))
		client := &http.Client{Transport: c.transport, Timeout: 20 * time.Second}
		for _, size := range []int{0, 5, 1 << 20} {
			response, err := client.Post(base+"/x?q=a", "text/plain", bytes.NewReader(make([]byte, size)))
			require.NoError(t, err, scheme)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			response.Body.Close()
			require.Equal(t, 2, response.ProtoMajor)
			require.Equal(t, fmt.Sprintf("/x?q=a %s %d", scheme, size), string(body))
			require.Equal(t, "42", response.Trailer.Get("X-Sum"))
			require.Equal(t, "blue", response.Header.Get(router.SlotHeader))
		}
		c.transport.CloseIdleConnections()
	}
}

// A request line is a line: what HTTP/2 allows in a field must not end it early.
func TestAQueryWithASpaceStaysOneRequest(t *testing.T) {
	got := make(chan seen, 1)
	r := router.New(router.Options{PlainHTTP2: true})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, noting(got)).URL))
	plainOnly := new(http.Protocols)
	plainOnly.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: plainOnly}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, base, nil)
	require.NoError(t, err)
	request.URL.RawQuery = "a HTTP/1.1"
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		require.Equal(t, "/?a%20HTTP/1.1", (<-got).URI)
	}
}

func TestCONNECTIsRefused(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("no")).URL))
	connection, in := conversation(t, base)
	fmt.Fprintf(connection, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	response, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

func TestAClientThatGoesAwayDuringAnUploadEndsTheRequestAtTheApplication(t *testing.T) {
	ended := make(chan error, 1)
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(_ http.ResponseWriter, request *http.Request) {
		_, err := io.Copy(io.Discard, request.Body)
		ended <- err
	}).URL))
	reader, writer := io.Pipe()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base, reader)
	require.NoError(t, err)
	go func() {
		_, _ = writer.Write(make([]byte, 1<<20))
		leave()
		_ = writer.CloseWithError(io.ErrClosedPipe) // net/http waits for the body it reads
	}()
	_, err = newClient(t).Do(request)
	require.Error(t, err)
	require.Error(t, <-ended, "half a body must not look whole")
	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).Aborted == 1 }, "it is the client's doing")
}

// Whatever headers an answer has, a client gets each as often as the application sent it.
func TestHeadersOfAnAnswerAreNeitherLostNorDoubled(t *testing.T) {
	header := http.Header{"X-A": {"1"}, "X-B": {"1", "2"}, "Set-Cookie": {"a=1", "b=2"}, "Vary": {"Cookie"}}
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) { maps.Copy(w.Header(), header) }).URL))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, func(w http.ResponseWriter, _ *http.Request) { maps.Copy(w.Header(), header) }).URL)))
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 50, deploy.Green: 50}))
	response, _ := get(t, newClient(t), base)
	for name, values := range header {
		if name == "Set-Cookie" {
			require.Len(t, response.Header[name], 3, "the cohort's is added")
			continue
		}
		require.Equal(t, values, response.Header[name])
	}
}

func TestAClientThatTakesNothingIsCutOff(t *testing.T) {
	r := router.New(router.Options{ResponseTimeout: 200 * time.Millisecond, Limits: router.Limits{Write: 300 * time.Millisecond}})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 256 { // more than all buffers on the way take
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}).URL))
	connection, _ := conversation(t, base)
	fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).Aborted == 1 }, "it is given up, and is not the application's fault")
}

// net/http ends a stream of HTTP/2 at its write deadline even if nothing is to be written.
func TestAQuietStreamOfEventsOutlivesTheWriteDeadline(t *testing.T) {
	r := router.New(router.Options{PlainHTTP2: true, ResponseTimeout: 100 * time.Millisecond, Limits: router.Limits{Write: 100 * time.Millisecond}})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 2 {
			fmt.Fprintf(w, "data: %d\n", n)
			_ = http.NewResponseController(w).Flush()
			if n == 0 {
				time.Sleep(1500 * time.Millisecond) // the deadline is at 1.1 s
			}
		}
	}).URL))
	for _, unencrypted := range []bool{true, false} {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(unencrypted)
		protocols.SetHTTP1(!unencrypted)
		transport := &http.Transport{Protocols: protocols}
		response, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, base, nil))
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, "data: 0\ndata: 1\n", string(body))
		response.Body.Close()
		transport.CloseIdleConnections()
	}
}
