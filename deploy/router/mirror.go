package router

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// MirrorHeader marks a copy, so that an application can leave out what must happen once.
const MirrorHeader = "X-Pipeline-Mirror"

// Mirror copies a share of the requests to a slot after they have been answered by another one, compares the two answers
// and drops the second. No client waits for it.
type Mirror struct {
	Slot    deploy.Slot `json:"slot"`
	Percent float64     `json:"percent"` // of the requests, each drawn for itself
	// Methods are those that may happen twice. Default: GET and HEAD. Others write: name them only where the slot has a
	// database of its own, or where the application looks at MirrorHeader.
	Methods []string `json:"methods,omitempty"`
	Headers []string `json:"headers,omitempty"` // of the answer, compared besides status and body. Default: Content-Type
	// Ignore are places of JSON bodies that differ by nature: items.*.created_at, **.request_id, $.items[0].id.
	Ignore  []string `json:"ignore,omitempty"`
	MaxBody int      `json:"max_body,omitempty"` // bytes of a body that are kept. Default: 64 KiB
}

// Bounds of mirroring.
const (
	defaultMirrorBody = 64 << 10
	maxMirrorBody     = 1 << 20
	mirrorQueue       = 64 // copies that wait or run: with both bodies some 12 MB by default
	mirrorRunning     = 4
	mirrorTimeout     = 30 * time.Second
	maxDifferences    = 20 // kept
	maxIgnored        = 64
)

func (m Mirror) check() error {
	wrong := func(what, do string) error { return invalid("the mirror "+what, do) }
	switch {
	case !isSlot(m.Slot):
		return wrong(fmt.Sprintf("leads to %q, which is not the name of a slot", m.Slot), "use blue or green")
	case !(m.Percent > 0 && m.Percent <= 100):
		return wrong(fmt.Sprintf("copies %v %% of the requests", m.Percent), "give more than 0 and at most 100")
	case m.MaxBody < 0 || m.MaxBody > maxMirrorBody:
		return wrong(fmt.Sprintf("keeps %d bytes of a body", m.MaxBody), fmt.Sprintf("give at most %d", maxMirrorBody))
	case len(m.Ignore) > maxIgnored || len(m.Headers) > maxIgnored || len(m.Methods) > maxIgnored:
		return wrong("has a list that is too long", fmt.Sprintf("give at most %d entries", maxIgnored))
	}
	for _, name := range slices.Concat(m.Headers, m.Methods) {
		if !isToken(name) {
			return wrong(fmt.Sprintf("names %q", name), "give names of headers and methods")
		}
	}
	return nil
}

// MirrorStatus is what was compared.
type MirrorStatus struct {
	Slot      deploy.Slot  `json:"slot"`
	Percent   float64      `json:"percent"`
	Same      int64        `json:"same"`
	Different int64        `json:"different"`
	Failed    int64        `json:"failed"`  // the slot did not answer; the serving one did
	Dropped   int64        `json:"dropped"` // not compared: too many at once, or a body was too large
	Samples   []Difference `json:"samples,omitempty"`
}

// Difference is one comparison that failed. It names places, not values, except for the status: answers hold personal data.
type Difference struct {
	Time   time.Time `json:"time"`
	Route  string    `json:"route"`
	What   []string  `json:"what"`
	Mirror string    `json:"release"`
}

// mirrorCounts outlives tables.
type mirrorCounts struct {
	same, different, failed, dropped atomic.Int64

	mu      sync.Mutex
	samples []Difference
}

func (c *mirrorCounts) note(d Difference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) >= maxDifferences {
		c.samples = slices.Delete(c.samples, 0, 1)
	}
	c.samples = append(c.samples, d)
}

// mirroring is a Mirror at work.
type mirroring struct {
	Mirror
	methods map[string]bool
	headers []string
	ignore  []pattern
	counts  *mirrorCounts
	queue   chan struct{} // a place for each copy that waits or runs
	running chan struct{}
	client  *http.Transport
}

func (m Mirror) start(counts *mirrorCounts, responseTimeout time.Duration) *mirroring {
	w := &mirroring{
		Mirror: m, methods: map[string]bool{}, counts: counts,
		queue: make(chan struct{}, mirrorQueue), running: make(chan struct{}, mirrorRunning),
		client: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: mirrorRunning, IdleConnTimeout: upstreamIdle,
			ResponseHeaderTimeout: responseTimeout, MaxResponseHeaderBytes: maxAnswerHeader,
		},
	}
	if w.MaxBody == 0 {
		w.MaxBody = defaultMirrorBody
	}
	methods := m.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodHead}
	}
	for _, method := range methods {
		w.methods[method] = true
	}
	headers := m.Headers
	if len(headers) == 0 {
		headers = []string{"Content-Type"}
	}
	for _, name := range headers {
		w.headers = append(w.headers, textproto.CanonicalMIMEHeaderKey(name))
	}
	for _, text := range m.Ignore {
		w.ignore = append(w.ignore, parsePattern(text))
	}
	return w
}

func (m *mirroring) status() *MirrorStatus {
	c := m.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return &MirrorStatus{
		Slot: m.Slot, Percent: m.Percent, Same: c.same.Load(), Different: c.different.Load(), Failed: c.failed.Load(),
		Dropped: c.dropped.Load(), Samples: slices.Clone(c.samples),
	}
}

// take begins to remember a request that is drawn, nil for the others.
func (m *mirroring) take(request *http.Request, serving *slot) *capture {
	if serving.name == m.Slot || !m.methods[request.Method] || upgradeOf(request.Header) != "" ||
		m.Percent < 100 && rand.Float64()*100 >= m.Percent {
		return nil
	}
	return &capture{mirror: m, hash: sha256.New()}
}

// capture is what a copy needs: the request's body, and the answer that the client got.
type capture struct {
	mirror    *mirroring
	sent      []byte
	sentLarge bool
	status    int
	header    http.Header
	kept      []byte
	large     bool
	hash      hash.Hash
}

func (c *capture) upload(data []byte) {
	if c.sentLarge = c.sentLarge || len(c.sent)+len(data) > c.mirror.MaxBody; !c.sentLarge {
		c.sent = append(c.sent, data...)
	}
}

// head notes the answer's header. It is copied: net/http goes on with the original.
func (c *capture) head(response *http.Response) {
	c.status, c.header = response.StatusCode, http.Header{"Content-Type": response.Header["Content-Type"]}
	for _, name := range c.mirror.headers {
		c.header[name] = response.Header[name]
	}
}

func (c *capture) body(data []byte) {
	c.hash.Write(data)
	if c.large = c.large || len(c.kept)+len(data) > c.mirror.MaxBody; !c.large {
		c.kept = append(c.kept, data...)
	}
}

// compare sends the copy, in a goroutine of its own, if there is room for it.
func (c *capture) compare(x *exchange) {
	m := c.mirror
	if c.sentLarge {
		m.counts.dropped.Add(1)
		return
	}
	select {
	case m.queue <- struct{}{}:
	default:
		m.counts.dropped.Add(1)
		return
	}
	request := &http.Request{Method: x.request.Method, URL: x.request.URL, Host: x.request.Host, Header: http.Header{}}
	for name, values := range x.request.Header {
		if endToEnd(name) {
			request.Header[name] = values
		}
	}
	request.Header[forwardedFor] = []string{clientAddress(x.request)}
	request.Header[MirrorHeader] = []string{"1"}
	if x.request.Header["User-Agent"] == nil {
		request.Header["User-Agent"] = nil // or net/http adds its own
	}
	route := *x.router.routes.of(request.Method, request.URL.Path)
	go func() {
		defer func() { <-m.queue }()
		m.running <- struct{}{}
		defer func() { <-m.running }()
		x.router.mirrorTo(c, request, route)
	}()
}

// mirrorTo sends a copy to the mirror's slot, where it counts as in flight and as nothing else.
func (r *Router) mirrorTo(c *capture, request *http.Request, route string) {
	m := c.mirror
	r.mu.RLock()
	e, ok := r.table.find(m.Slot)
	if ok && !e.draining {
		e.slot.flight.add()
	}
	r.mu.RUnlock()
	if !ok || e.draining {
		m.counts.dropped.Add(1)
		return
	}
	defer e.slot.flight.done()
	component, ok := e.slot.routes.Component(request.URL.Path)
	if !ok {
		m.counts.different.Add(1)
		m.counts.note(Difference{Time: time.Now().UTC(), Route: route, What: []string{"no component serves the path"}, Mirror: e.slot.instance.Release})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), mirrorTimeout)
	defer cancel()
	different, err := m.try(ctx, c, request, e.slot.upstreams[component])
	switch {
	case err != nil:
		m.counts.failed.Add(1)
		different = []string{"no answer"} // the error may hold an address
	case len(different) == 0:
		m.counts.same.Add(1)
		return
	default:
		m.counts.different.Add(1)
	}
	m.counts.note(Difference{Time: time.Now().UTC(), Route: route, What: different, Mirror: e.slot.instance.Release})
}

func (m *mirroring) try(ctx context.Context, c *capture, request *http.Request, to *upstream) (different []string, err error) {
	to.mu.Lock()
	scheme := map[bool]string{true: "https", false: "http"}[to.tls != nil]
	to.mu.Unlock()
	address := *request.URL
	address.Scheme, address.Host, address.User = scheme, to.address, nil
	if to.base != "" {
		if address.RawPath != "" {
			address.RawPath = to.base + address.RawPath
		}
		base, err := url.PathUnescape(to.base)
		if err != nil {
			return nil, err
		}
		address.Path = base + address.Path
	}
	copied := request.WithContext(ctx)
	copied.URL = &address
	if len(c.sent) > 0 {
		copied.Body, copied.ContentLength = io.NopCloser(bytes.NewReader(c.sent)), int64(len(c.sent))
	}
	response, err := m.client.RoundTrip(copied)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	other := capture{mirror: m, hash: sha256.New()}
	other.head(response)
	// A stream without an end is cut by ctx.
	if _, err := io.Copy(bodyWriter{&other}, response.Body); err != nil {
		return nil, err
	}
	return m.differences(c, &other), nil
}

type bodyWriter struct{ *capture }

func (w bodyWriter) Write(data []byte) (int, error) {
	w.body(data)
	return len(data), nil
}
