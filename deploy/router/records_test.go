package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// split is a router with two slots that share the traffic.
func split(t testing.TB, options router.Options, handler http.HandlerFunc) (r *router.Router, base string) {
	t.Helper()
	r = router.New(options)
	base = public(t, r)
	app := backend(t, handler)
	give(t, r, one(t, deploy.Blue, "v1", app.URL))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", app.URL)))
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 50, deploy.Green: 50}))
	return r, base
}

// ask sends one request with an API key, which is who the client is.
func ask(t testing.TB, url, key string, header ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("X-Api-Key", key)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response
}

func TestEveryRequestThatEndsHasOneRecord(t *testing.T) {
	r, base := split(t, router.Options{Exclude: []string{"/healthz"}}, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/items/7" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	require.NoError(t, r.SetRules(t.Context(), router.Routing{Rules: []router.Rule{{Name: "staff", Match: router.Match{Header: &router.Value{Name: "X-Staff"}}, Slot: deploy.Green}}}))
	sent := map[string]int{}
	for n := range 40 {
		response := ask(t, fmt.Sprintf("%s/items/%d?secret=hunter2", base, n%10), fmt.Sprint("key", n%5))
		sent[response.Header.Get(router.SlotHeader)]++
		ask(t, base+"/healthz", "probe")
	}
	ask(t, base+"/items/1", "key1", "X-Staff", "1")
	cohorts := map[string]bool{}
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		batch, err := r.Records(t.Context(), slot, router.Cursor{}, 0)
		require.NoError(t, err)
		chance := 0
		for i, record := range batch.Records {
			require.EqualValues(t, i+1, record.Sequence)
			require.Equal(t, "GET /items/:id", record.Route)
			require.Equal(t, 50, record.Weight)
			require.Len(t, record.Cohort, 16)
			require.Equal(t, record.Status == 500, record.Class == router.AppError)
			require.LessOrEqual(t, record.FirstByte, record.End)
			require.WithinDuration(t, time.Now(), record.Time, time.Minute)
			cohorts[record.Cohort] = true
			if record.By == router.ByChance {
				chance++
			} else {
				require.Equal(t, router.ByRule, record.By)
				require.Equal(t, "staff", record.Rule)
			}
		}
		require.Equal(t, sent[string(slot)], chance)
		data, err := json.Marshal(batch)
		require.NoError(t, err)
		require.NotContains(t, string(data), "key")
		require.NotContains(t, string(data), "hunter2")
	}
	require.Len(t, cohorts, 5, "a client is one cohort, whichever way it came")
	require.EqualValues(t, 40, r.Stats().Slots[0].Excluded+r.Stats().Slots[1].Excluded)
}

func TestAReaderThatWasKilledGoesOnWhereItWas(t *testing.T) {
	r := router.New(router.Options{Records: 8})
	base := public(t, r)
	app := backend(t, says("ok"))
	give(t, r, one(t, deploy.Blue, "v1", app.URL))
	client := newClient(t)
	get(t, client, base)
	get(t, client, base)
	first, err := r.Records(t.Context(), deploy.Blue, router.Cursor{}, 1)
	require.NoError(t, err)
	require.Len(t, first.Records, 1)
	again, err := r.Records(t.Context(), deploy.Blue, router.Cursor{}, 1)
	require.NoError(t, err)
	require.Equal(t, first, again, "reading takes nothing away")
	rest, err := r.Records(t.Context(), deploy.Blue, first.Next, 0)
	require.NoError(t, err)
	require.Len(t, rest.Records, 1)
	require.EqualValues(t, 2, rest.Records[0].Sequence)

	waiting := make(chan router.Batch, 1)
	go func() {
		batch, _ := r.Records(context.Background(), deploy.Blue, rest.Next, 0)
		waiting <- batch
	}()
	get(t, client, base)
	require.Len(t, (<-waiting).Records, 1, "a reader waits for the next one")

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	none, err := r.Records(short, deploy.Blue, router.Cursor{Stream: rest.Next.Stream, After: 3}, 0)
	require.NoError(t, err)
	require.Empty(t, none.Records)

	for range 20 {
		get(t, client, base)
	}
	late, err := r.Records(t.Context(), deploy.Blue, rest.Next, 0)
	require.NoError(t, err)
	require.EqualValues(t, 23-8-2, late.Lost)
	require.Len(t, late.Records, 8)
	require.EqualValues(t, 16, late.Records[0].Sequence)

	other, err := r.Records(t.Context(), deploy.Blue, router.Cursor{Stream: "of another router", After: 99}, 0)
	require.NoError(t, err)
	require.True(t, other.Restart)
	require.Len(t, other.Records, 8)
	_, err = r.Records(t.Context(), deploy.Green, router.Cursor{}, 0)
	require.ErrorContains(t, err, "slot green is not registered")
}

func TestMetricsAreInPrometheusFormatAndOnlyGrow(t *testing.T) {
	r, base := split(t, router.Options{}, says("ok"))
	for n := range 20 {
		ask(t, base, fmt.Sprint("k", n))
	}
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	require.NoError(t, r.Remove(t.Context(), deploy.Green))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, `v"3`, "http://127.0.0.1:1")))
	var out bytes.Buffer
	require.NoError(t, r.WriteMetrics(&out))
	text := out.String()
	sum, types := 0, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			require.False(t, types[name], "%s has two types", name)
			types[name] = true
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		require.Regexp(t, `^pipeline_router_[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? [0-9.e+-]+$`, line)
		if strings.HasPrefix(line, "pipeline_router_requests_total") {
			var n int
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &n)
			require.NoError(t, err)
			sum += n
		}
	}
	require.Equal(t, 20, sum, "what green counted is not lost with it")
	require.Contains(t, text, `pipeline_router_release_info{slot="green",release="v\"3"} 1`)
	require.Contains(t, text, `pipeline_router_request_seconds_bucket{slot="blue",le="+Inf"}`)
}

// buffer is a bytes.Buffer for two.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Buffer.Reset()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestTheAccessLogHoldsNoSecret(t *testing.T) {
	var log buffer
	_, base := split(t, router.Options{Access: &log}, says("ok"))
	ask(t, base+"/a?token=hunter2&page=3", "hunter2", "Cookie", "session=hunter2; "+router.CohortCookie+"=hunter2")
	eventually(t, func() bool { return strings.HasSuffix(log.String(), "\n") }, "the line is written")
	require.NotContains(t, log.String(), "hunter2")
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(log.String()), &line))
	require.Equal(t, "/a", line["path"])
	require.Equal(t, []any{"token", "page"}, line["query"])
	require.EqualValues(t, 200, line["status"])
	require.EqualValues(t, 2, line["bytes"])
	require.Equal(t, "chance", line["by"])
	require.Len(t, line["cohort"], 16)
}

// stuck is a disk that does not take anything.
type stuck struct{ free chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.free
	return len(p), nil
}

func TestADiskThatHangsDelaysNoRequest(t *testing.T) {
	disk := stuck{make(chan struct{})}
	r := router.New(router.Options{Access: disk})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("ok")).URL))
	client := newClient(t)
	for range 50 {
		_, body := get(t, client, base)
		require.Equal(t, "ok", body)
	}
	t.Cleanup(func() { close(disk.free) })
}

func TestAnExperimentNamesItsVariantToClientAndApplication(t *testing.T) {
	got := make(chan string, 64)
	r, base := split(t, router.Options{}, func(_ http.ResponseWriter, request *http.Request) { got <- request.Header.Get(router.VariantHeader) })
	require.NoError(t, r.SetRules(t.Context(), router.Routing{
		Rules: []router.Rule{{Name: "all", Experiment: "checkout"}},
		Experiments: []router.Experiment{{Name: "checkout", Variants: []router.Variant{
			{Name: "a", Weight: 50, Slot: deploy.Blue}, {Name: "b", Weight: 50, Slot: deploy.Green},
		}}},
	}))
	slots := map[string]string{"checkout=a": "blue", "checkout=b": "green"}
	seen := map[string]int{}
	for n := range 30 {
		response := ask(t, base, fmt.Sprint("client", n%15), router.VariantHeader, "forged")
		variant := response.Header.Get(router.VariantHeader)
		require.Equal(t, variant, <-got)
		require.Equal(t, slots[variant], response.Header.Get(router.SlotHeader))
		seen[variant]++
	}
	require.Len(t, seen, 2)
	cohorts := 0
	for _, v := range r.Stats().Experiments[0].Variants {
		cohorts += v.Cohorts
	}
	require.Equal(t, 15, cohorts)
}

func TestAMirrorComparesAndDropsWithoutTheClientNoticing(t *testing.T) {
	hold := make(chan struct{})
	seen := make(chan *http.Request, 64)
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path": %q, "at": 1, "body": 1}`, request.URL.Path)
	}).URL))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, func(w http.ResponseWriter, request *http.Request) {
		<-hold
		seen <- request
		w.Header().Set("Content-Type", "application/json")
		body := 1
		if request.URL.Path == "/differs" {
			w.WriteHeader(http.StatusInternalServerError)
			body = 2
		}
		fmt.Fprintf(w, `{"path": %q, "at": 2, "body": %d}`, request.URL.Path, body)
	}).URL)))
	require.NoError(t, r.SetMirror(t.Context(), &router.Mirror{Slot: deploy.Green, Percent: 100, Ignore: []string{"at"}}))
	client := newClient(t)
	get(t, client, base+"/same?x=1")
	get(t, client, base+"/differs")
	response, err := client.Post(base+"/same", "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	response.Body.Close()
	// All were answered while the mirror hangs.
	eventually(t, func() bool { return statusOf(t, r, deploy.Green).InFlight == 2 }, "copies are in flight, for drains to see")
	close(hold)
	eventually(t, func() bool { m := r.Stats().Mirror; return m.Same == 1 && m.Different == 1 }, "both are compared")
	copied := <-seen
	require.Equal(t, "1", copied.Header.Get(router.MirrorHeader))
	m := r.Stats().Mirror
	require.Zero(t, m.Dropped+m.Failed)
	require.Len(t, m.Samples, 1)
	require.Equal(t, "GET /differs", m.Samples[0].Route)
	require.Equal(t, []string{"status 500, not 200", "body at $.body"}, m.Samples[0].What)
	require.Zero(t, statusOf(t, r, deploy.Green).Requests, "a copy is no request of the slot")
	require.EqualValues(t, 3, statusOf(t, r, deploy.Blue).Requests)

	require.NoError(t, r.SetMirror(t.Context(), &router.Mirror{Slot: deploy.Green, Percent: 100, Methods: []string{"POST"}, Ignore: []string{"at"}, MaxBody: 64}))
	response, err = client.Post(base+"/same", "text/plain", strings.NewReader("hello"))
	require.NoError(t, err)
	response.Body.Close()
	response, err = client.Post(base+"/same", "text/plain", strings.NewReader(strings.Repeat("x", 65)))
	require.NoError(t, err)
	response.Body.Close()
	eventually(t, func() bool { m := r.Stats().Mirror; return m.Same == 2 && m.Dropped == 1 }, "by opt-in, and bounded")
	require.NoError(t, r.SetMirror(t.Context(), nil))
	require.Nil(t, r.Stats().Mirror)
	for _, wrong := range []router.Mirror{{}, {Slot: "green"}, {Slot: "green", Percent: 101}, {Slot: "green", Percent: 1, MaxBody: 1 << 30}, {Slot: "green", Percent: 1, Methods: []string{"A B"}}} {
		require.Error(t, r.SetMirror(t.Context(), &wrong))
	}
}

func TestAFullMirrorDropsAndDelaysNobody(t *testing.T) {
	hold := make(chan struct{})
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("ok")).URL))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, func(http.ResponseWriter, *http.Request) { <-hold }).URL)))
	t.Cleanup(func() { close(hold) })
	require.NoError(t, r.SetMirror(t.Context(), &router.Mirror{Slot: deploy.Green, Percent: 100}))
	client := newClient(t)
	for range 100 {
		_, body := get(t, client, base)
		require.Equal(t, "ok", body)
	}
	eventually(t, func() bool { return r.Stats().Mirror.Dropped == 100-64 }, "what has no place is dropped")
}

func TestRulesExperimentsAndMirrorsSurviveARestart(t *testing.T) {
	path := t.TempDir() + "/state"
	first, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	give(t, first, one(t, deploy.Blue, "v1", "http://127.0.0.1:1"))
	routing := router.Routing{Rules: []router.Rule{{Name: "staff", Match: router.Match{Cookie: &router.Value{Name: "staff"}, Percent: 12.5}, Slot: deploy.Green}}}
	require.NoError(t, first.SetRules(t.Context(), routing))
	require.NoError(t, first.SetMirror(t.Context(), &router.Mirror{Slot: deploy.Green, Percent: 5}))
	require.NoError(t, first.Register(t.Context(), one(t, deploy.Green, "v2", "http://127.0.0.1:2")))
	_, err = first.Drain(t.Context(), deploy.Green)
	require.NoError(t, err)
	second, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	require.Equal(t, routing, second.Rules())
	require.Equal(t, first.Stats(), second.Stats())
	require.True(t, second.Stats().Slots[1].Draining)
}
