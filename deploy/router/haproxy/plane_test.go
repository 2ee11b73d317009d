package haproxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/haproxy"
	"github.com/metaextract/pipeline/deploy/router/plane"
	"github.com/metaextract/pipeline/internal/host"
)

const patience = 20 * time.Second

// instance is a release whose only component answers its version.
func instance(t testing.TB, slot deploy.Slot, version string) deploy.Instance {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, version) }))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	return deploy.Instance{
		Slot: slot, Release: deploy.Release{Version: version, Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}},
		Endpoints: map[string]*url.URL{"app": u},
	}
}

func get(t testing.TB, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// fuse passes connections on to a socket until it blows: the connection after the last answers nothing, as when the program
// that drives HAProxy dies.
type fuse struct {
	path   string
	budget atomic.Int64
}

func newFuse(t *testing.T, to string) *fuse {
	t.Helper()
	f := &fuse{path: filepath.Join(filepath.Dir(to), "fuse.sock")}
	listener, err := net.Listen("unix", f.path)
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			if f.budget.Add(-1) < 0 {
				from.Close()
				continue
			}
			go func() {
				defer from.Close()
				admin, err := net.Dial("unix", to)
				if err != nil {
					return
				}
				defer admin.Close()
				go func() { _, _ = io.Copy(admin, from) }()
				_, _ = io.Copy(from, admin)
			}()
		}
	}()
	return f
}

// Whatever a call had sent when its program died, nobody sees half of it, and the same call by the next program does the
// whole.
func TestACallThatDiesBetweenTwoCommandsLeavesNothingHalf(t *testing.T) {
	o := options(t)
	s, driver := serve(t, o)
	f := newFuse(t, filepath.Join(o.Dir, haproxy.AdminSocket))
	driver.SetAdminSocket(f.path)
	f.budget.Store(1 << 40)
	blue, green, other := instance(t, deploy.Blue, "v1"), instance(t, deploy.Green, "v2"), instance(t, deploy.Green, "v3")
	toGreen := router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Path: "/r"}, Slot: deploy.Green}}}
	require.NoError(t, s.Register(t.Context(), blue))
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	died := 0
	for _, step := range []struct {
		name          string
		call          func() error
		before, after [2]string // what / and /r answer
	}{
		{"rules", func() error { return s.SetRules(t.Context(), toGreen) }, [2]string{"v1", "v1"}, [2]string{"v1", "v1"}},
		{"register", func() error { return s.Register(t.Context(), green) }, [2]string{"v1", "v1"}, [2]string{"v1", "v2"}},
		{"replace", func() error { return s.Register(t.Context(), other) }, [2]string{"v1", "v2"}, [2]string{"v1", "v3"}},
		{"shift", func() error { return s.Shift(t.Context(), map[deploy.Slot]int{deploy.Green: 100}) }, [2]string{"v1", "v3"}, [2]string{"v3", "v3"}},
		{"drain", func() error { _, err := s.Drain(t.Context(), deploy.Blue); return err }, [2]string{"v3", "v3"}, [2]string{"v3", "v3"}},
		{"shift back", func() error { return s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}) }, [2]string{"v3", "v3"}, [2]string{"v1", "v3"}},
		{"drain the other", func() error { _, err := s.Drain(t.Context(), deploy.Green); return err }, [2]string{"v1", "v3"}, [2]string{"v1", "v1"}},
		{"remove", func() error { return s.Remove(t.Context(), deploy.Green) }, [2]string{"v1", "v1"}, [2]string{"v1", "v1"}},
	} {
		for commands := int64(0); ; commands++ {
			require.Less(t, commands, int64(100), step.name)
			f.budget.Store(commands)
			err := step.call()
			f.budget.Store(1 << 40)
			now := [2]string{get(t, s.URL), get(t, s.URL+"/r")}
			if err == nil {
				assert.Equal(t, step.after, now, "%s in %d commands", step.name, commands)
				break
			}
			died++
			// The rule of a slot whose instance is being replaced is passed over meanwhile.
			assert.Contains(t, [][2]string{step.before, step.after, {step.before[0], "v1"}}, now, "%s after %d commands: %v", step.name, commands, err)
		}
	}
	t.Logf("%d calls died", died)
	require.Greater(t, died, 40)
}

func TestRecordsWaitForACollector(t *testing.T) {
	o := options(t)
	s, driver := serve(t, o)
	require.NoError(t, s.Register(t.Context(), instance(t, deploy.Blue, "v1")))
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	get(t, s.URL+"/first")
	batch, err := s.Records(t.Context(), deploy.Blue, router.Cursor{}, 0)
	require.NoError(t, err)
	require.Len(t, batch.Records, 1)
	require.NoError(t, driver.Close())
	for n := range 50 {
		get(t, fmt.Sprint(s.URL, "/while-nobody-reads/", n))
	}
	next, err := haproxy.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, next.Close()) })
	cursor, seen := batch.Next, 0
	for seen < 50 {
		batch, err := next.Records(t.Context(), deploy.Blue, cursor, 0)
		require.NoError(t, err)
		require.Equal(t, seen == 0, batch.Restart, "another collector numbers its records anew")
		require.Zero(t, batch.Lost)
		for _, record := range batch.Records {
			require.Equal(t, "GET /while-nobody-reads/:id", record.Route)
		}
		cursor, seen = batch.Next, seen+len(batch.Records)
	}
	require.Equal(t, 50, seen)
}

func TestExcludedPathsHaveNoRecord(t *testing.T) {
	o := options(t)
	o.Exclude = []string{"/healthz"}
	s, _ := serve(t, o)
	require.NoError(t, s.Register(t.Context(), instance(t, deploy.Blue, "v1")))
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	get(t, s.URL+"/healthz")
	get(t, s.URL+"/healthz?again")
	get(t, s.URL+"/")
	batch, err := s.Records(t.Context(), deploy.Blue, router.Cursor{}, 0)
	require.NoError(t, err)
	require.Len(t, batch.Records, 1)
	require.Equal(t, "GET /", batch.Records[0].Route)
	status, err := s.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Slots[0].Excluded)
}

func TestWhatHAProxyCannotDoIsRefusedWithItsName(t *testing.T) {
	driver, err := haproxy.New(options(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, driver.Close()) })
	require.ErrorContains(t, driver.Pause(t.Context(), time.Second), string(plane.Pausing))
	for _, routing := range []router.Routing{
		{Rules: []router.Rule{{Name: "r", Match: router.Match{Countries: []string{"IS"}, CountryHeader: "X-Other"}, Slot: deploy.Green}}},
		{Rules: []router.Rule{{Name: "r", Slot: "purple"}}},
	} {
		var refused *router.Error
		require.ErrorAs(t, driver.SetRules(t.Context(), routing), &refused)
	}
	i := instance(t, deploy.Blue, "v1")
	for _, address := range []string{"https://127.0.0.1:1", "http://app.example:80", "http://127.0.0.1:80/below"} {
		i.Endpoints["app"], _ = url.Parse(address)
		var refused *router.Error
		require.ErrorAs(t, driver.Register(t.Context(), i), &refused, address)
	}
}

func TestAReleaseMayHaveAnyNameInOneLine(t *testing.T) {
	s, _ := serve(t, options(t))
	odd := `v1 "x" \ ; # <<  %[src] |'ä`
	require.NoError(t, s.Register(t.Context(), instance(t, deploy.Blue, odd)))
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	for range 2 {
		response, err := http.Get(s.URL)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, odd, response.Header.Get(router.ReleaseHeader))
		s.Restart(t)
	}
	var refused *router.Error
	require.ErrorAs(t, s.Register(t.Context(), instance(t, deploy.Green, "v2\nsole green")), &refused)
	require.Equal(t, odd, get(t, s.URL))
}

func TestWithACertificateClientsSpeakTLS(t *testing.T) {
	o := options(t)
	pair := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	t.Cleanup(pair.Close)
	key, err := x509.MarshalPKCS8PrivateKey(pair.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	o.Certificate = filepath.Join(o.Dir, "certificate.pem")
	require.NoError(t, os.WriteFile(o.Certificate, append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), 0o600))
	s, _ := serve(t, o)
	seen := make(chan string, 1)
	application := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		seen <- request.Header.Get("X-Forwarded-Proto")
	}))
	t.Cleanup(application.Close)
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		i := instance(t, slot, "v1")
		i.Endpoints["app"], err = url.Parse(application.URL)
		require.NoError(t, err)
		require.NoError(t, s.Register(t.Context(), i))
	}
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 50, deploy.Green: 50}))
	roots := x509.NewCertPool()
	roots.AddCert(pair.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + o.Bind[0])
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, "HTTP/2.0", response.Proto)
	require.Equal(t, "https", <-seen)
	require.Len(t, response.Cookies(), 1)
	require.True(t, response.Cookies()[0].Secure)
}

func TestBehindAnotherProxyItsWordIsTaken(t *testing.T) {
	o := options(t)
	o.TrustForwarded = true
	s, _ := serve(t, o)
	seen := make(chan http.Header, 2)
	application := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { seen <- request.Header }))
	t.Cleanup(application.Close)
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		i := instance(t, slot, "v1")
		i.Endpoints["app"], _ = url.Parse(application.URL)
		require.NoError(t, s.Register(t.Context(), i))
	}
	require.NoError(t, s.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 50, deploy.Green: 50}))
	for _, scheme := range []string{"https", ""} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
		require.NoError(t, err)
		want := "http"
		if scheme != "" {
			want = scheme
			request.Header.Set("X-Forwarded-Proto", scheme)
			request.Header.Set("X-Forwarded-For", "203.0.113.7")
			request.Header.Set("X-Forwarded-Host", "shop.example")
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		response.Body.Close()
		got := <-seen
		require.Equal(t, []string{want}, got.Values("X-Forwarded-Proto"))
		require.Equal(t, scheme == "https", response.Cookies()[0].Secure)
		if scheme == "" {
			require.Equal(t, []string{"127.0.0.1"}, got.Values("X-Forwarded-For"))
			require.Equal(t, []string{o.Bind[0]}, got.Values("X-Forwarded-Host"))
			continue
		}
		require.Equal(t, []string{"203.0.113.7, 127.0.0.1"}, got.Values("X-Forwarded-For"))
		require.Equal(t, []string{"shop.example"}, got.Values("X-Forwarded-Host"))
	}
}

func TestOptionsThatWouldSaySomethingElseAreRefused(t *testing.T) {
	for name, change := range map[string]func(*haproxy.Options){
		"no address":            func(o *haproxy.Options) { o.Bind = nil },
		"an address with more":  func(o *haproxy.Options) { o.Bind = []string{"127.0.0.1:80 ssl"} },
		"two lines":             func(o *haproxy.Options) { o.Headers = []string{"X\n\tbind :81"} },
		"another certificate":   func(o *haproxy.Options) { o.Certificate = "/a b.pem" },
		"a call":                func(o *haproxy.Options) { o.Cookies = []string{"a),lower("} },
		"a relative directory":  func(o *haproxy.Options) { o.Dir = "here" },
		"too long a directory":  func(o *haproxy.Options) { o.Dir = "/" + fmt.Sprintf("%0100d", 0) },
		"too many components":   func(o *haproxy.Options) { o.Components = 1000 },
		"a negative connection": func(o *haproxy.Options) { o.Connections = -1 },
	} {
		o := options(t)
		change(&o)
		var refused *router.Error
		require.ErrorAs(t, haproxy.Prepare(o), &refused, name)
	}
}

func TestATableThatCannotBeReadIsNotOverwritten(t *testing.T) {
	o := options(t)
	path := filepath.Join(o.Dir, "table.map")
	require.NoError(t, os.WriteFile(path, []byte("border 1000000\n"), 0o600))
	_, err := host.StartHAProxy(t.Context(), o)
	require.ErrorContains(t, err, path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "border 1000000\n", string(data))
}
