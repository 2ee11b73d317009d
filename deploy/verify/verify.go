// Package verify decides whether an instance may have traffic: it is ready, it is the release it claims to be, and it
// answers every request of the smoke test. It talks to the instance itself, past the router, and changes nothing.
package verify

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// Defaults.
const (
	DefaultStart   = 30 * time.Second // as kamal's deploy_timeout
	DefaultTimeout = 10 * time.Second
)

// Polling starts fast, so that a fast application is not kept waiting, and slows down, so that a slow one is not kept busy.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 500 * time.Millisecond
	// probeTimeout bounds one probe: an application that hangs is asked again.
	probeTimeout = 5 * time.Second
	maxAnswer    = 64 << 10
)

// Options of a verifier.
type Options struct {
	Requests []traffic.Request // the smoke test
	Timeout  time.Duration     // of each of them
}

// Verifier implements deploy.Verifier by HTTP.
type Verifier struct {
	options Options
	client  *http.Client
}

var _ deploy.Verifier = (*Verifier)(nil)

// New makes a verifier.
func New(options Options) *Verifier {
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	return &Verifier{options: options, client: &http.Client{
		// A connection of its own for each request: an application that is just starting may close the one before.
		Transport: &http.Transport{
			Proxy: nil, DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true, DisableCompression: true,
		},
		// A redirect is an answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
