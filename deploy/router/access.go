package router

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// accessQueue is how many lines may wait for the disk.
const accessQueue = 8192

// accessLog writes a line of JSON for each request, in a goroutine of its own. What does not fit its queue is counted and
// dropped: a slow disk must not be a slow application.
type accessLog struct {
	queue   chan accessLine
	dropped atomic.Int64
	logger  *slog.Logger
}

// accessLine has no cookie, no header and no value of the query: they hold tokens and personal data.
type accessLine struct {
	at                        time.Time
	method, host, path, query string
	proto                     string
	status                    int
	class                     outcome
	sent                      int64
	first, took               time.Duration
	slot, release             string
	by                        By
	rule, variant             string
	cohort                    uint64
}

func newAccessLog(to io.Writer) *accessLog {
	handler := slog.NewJSONHandler(to, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}})
	return &accessLog{queue: make(chan accessLine, accessQueue), logger: slog.New(handler)}
}

func (a *accessLog) add(x *exchange, took time.Duration) {
	line := accessLine{
		at: x.started, method: x.request.Method, host: x.request.Host, path: x.request.URL.Path, query: x.request.URL.RawQuery,
		proto: x.request.Proto, status: x.status, class: x.outcome, sent: x.sent, first: x.first, took: took,
		slot: string(x.slot.name), release: x.slot.instance.Release, by: x.choice.by, rule: x.choice.rule, cohort: x.choice.cohort,
	}
	if x.choice.variant != nil {
		line.variant = x.choice.variant.label
	}
	select {
	case a.queue <- line:
	default:
		a.dropped.Add(1)
	}
}

// run writes until ctx ends, and then what is queued, for at most flush.
func (a *accessLog) run(ctx context.Context, flush time.Duration) {
	for {
		select {
		case line := <-a.queue:
			a.write(line)
			continue
		case <-ctx.Done():
		}
		break
	}
	for end := time.Now().Add(flush); time.Now().Before(end); {
		select {
		case line := <-a.queue:
			a.write(line)
		default:
			return
		}
	}
}

func (a *accessLog) write(line accessLine) {
	attributes := []slog.Attr{
		slog.String("method", line.method), slog.String("host", line.host), slog.String("path", line.path),
		slog.String("proto", line.proto), slog.Int("status", line.status), slog.String("outcome", outcomeNames[line.class]),
		slog.Int64("bytes", line.sent), slog.Float64("first_ms", line.first.Seconds()*1000),
		slog.Float64("end_ms", line.took.Seconds()*1000), slog.String("slot", line.slot), slog.String("release", line.release),
		slog.String("by", string(line.by)),
	}
	if keys := queryKeys(line.query); len(keys) > 0 {
		attributes = append(attributes, slog.Any("query", keys))
	}
	if line.rule != "" {
		attributes = append(attributes, slog.String("rule", line.rule))
	}
	if line.variant != "" {
		attributes = append(attributes, slog.String("variant", line.variant))
	}
	if line.cohort != 0 {
		attributes = append(attributes, slog.String("cohort", fmt.Sprintf("%016x", line.cohort)))
	}
	record := slog.NewRecord(line.at, slog.LevelInfo, "", 0)
	record.AddAttrs(attributes...)
	_ = a.logger.Handler().Handle(context.Background(), record) // a full disk is not the request's fault
}

var outcomeNames = [...]string{
	answered: "answered", badGateway: "bad_gateway", gatewayTimeout: "timeout", truncated: "truncated",
	clientAborted: "client_aborted", refused: "refused",
}

// queryKeys is the names in a query, without their values.
func queryKeys(query string) []string {
	var keys []string
	for pair := range strings.SplitSeq(query, "&") {
		key, _, found := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(key); err == nil {
			key = unescaped
		}
		// A query without "=" may be a value alone: /callback?TOKEN.
		if found && key != "" && len(keys) < 32 && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
