package router

import "time"

// Defaults of Options.
const (
	DefaultResponseTimeout = 60 * time.Second
	DefaultGrace           = 30 * time.Second
	// DefaultJitter spreads the clients of WebSockets that connect again.
	DefaultJitter = 5 * time.Second
)

// Limits bound what clients may do. Zero means the default, which is named with its reason.
type Limits struct {
	// Header bounds the time a client takes for its headers: 10 s. Slowloris sends them for ever.
	Header time.Duration
	// HeaderBytes bounds their size: 64 KiB. Node accepts 16, uvicorn 64, nginx 32.
	HeaderBytes int
	// Body bounds a request's body in bytes. Zero is no bound: uploads are streamed and cost the router nothing; what is too
	// large is the application's to say.
	Body int64
	// BodyGrace and BodyRate are how slowly a body may come: for BodyGrace at any rate, from then on at BodyRate bytes a
	// second over all. 20 s and 500, which are those of Apache's mod_reqtimeout.
	BodyGrace time.Duration
	BodyRate  int64
	// Write bounds the time that a client takes nothing of its answer: 60 s, which is nginx's send_timeout. For the first
	// bytes of an answer it is the response timeout, if that is longer.
	Write time.Duration
	// Silence bounds the time in which nothing comes on a stream or a WebSocket: 1 h. An application that wants to keep one
	// for longer sends something, as it must for every proxy on the way.
	Silence time.Duration
	// Idle bounds a client's idle connection: 120 s, above the 60 s after which common load balancers give one up, so that
	// the balancer closes first and never writes into a connection that the router is closing.
	Idle time.Duration
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&l.Header, 10 * time.Second}, {&l.BodyGrace, 20 * time.Second}, {&l.Write, time.Minute},
		{&l.Silence, time.Hour}, {&l.Idle, 2 * time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 64 << 10
	}
	if l.BodyRate <= 0 {
		l.BodyRate = 500
	}
	return l
}

// Limits towards the application that are not options, with the reason for each.
const (
	// upstreamIdle must be below the application's own keep-alive, or the router writes into a connection that the
	// application is closing: Node closes after 5 s, uvicorn after 5 s.
	upstreamIdle = 4 * time.Second
	// upstreamIdleConns is how many idle connections a slot keeps to each component; net/http's default of 2 makes a
	// new connection for nearly every request under load.
	upstreamIdleConns = 256
	dialTimeout       = 5 * time.Second
	maxAnswerHeader   = 256 << 10
	// maxInformational is how many 1xx answers may come before the answer; net/http's Transport allows as many.
	maxInformational = 5
	wireBuffer       = 4 << 10
)
