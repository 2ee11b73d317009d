package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slacktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci/report"
)

const token = "xoxb-not-a-real-token/+"

// call is one call that a test's server got.
type call struct {
	method, channel, timestamp, thread, text, authorization string
	blocks                                                  slack.Blocks
}

// recorder answers like Slack and remembers.
type recorder struct {
	mu    sync.Mutex
	calls []call
}

func (r *recorder) handle(c slacktest.Customize) {
	for _, method := range []string{"chat.postMessage", "chat.update"} {
		c.Handle("/"+method, func(w http.ResponseWriter, q *http.Request) {
			fmt.Fprint(w, r.record(method, q))
		})
	}
}

func (r *recorder) record(method string, q *http.Request) string {
	_ = q.ParseForm()
	c := call{
		method: method, channel: q.Form.Get("channel"), timestamp: q.Form.Get("ts"), thread: q.Form.Get("thread_ts"),
		text: q.Form.Get("text"), authorization: q.Form.Get("token") + q.Header.Get("Authorization"),
	}
	_ = json.Unmarshal([]byte(q.Form.Get("blocks")), &c.blocks)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
	ts := c.timestamp
	if ts == "" {
		ts = fmt.Sprintf("1700000000.%06d", len(r.calls))
	}
	return fmt.Sprintf(`{"ok":true,"channel":"C024BE91L","ts":%q,"text":%q}`, ts, c.text)
}

// serve starts slack-go's own test server with what a test puts in.
func serve(t *testing.T, bind slacktest.Binder) *Slack {
	t.Helper()
	server := slacktest.NewTestServer(bind)
	server.Start()
	t.Cleanup(server.Stop)
	return &Slack{Channel: "releases", Token: token, APIURL: server.GetAPIURL()}
}

func start() Message {
	return Message{
		Application: "metaextract", Release: "1.5.0", From: "1.4.2", Environment: "production",
		Who: "a <maintainer> & co", Where: "GitHub Actions", Link: "https://ci.example.com/runs/7",
	}
}

func refused() Message {
	m := start()
	m.Report = &report.Report{
		Verdict: report.Refused, Application: "metaextract", Release: "1.5.0", Command: "rehearse",
		Reasons: []string{"frontend/unit failed: 1 of 18 tests <b>&"},
		Failures: []report.Failure{{
			Step: "frontend/unit", Title: "formatBytes › writes kibibytes", File: "frontend/src/format.test.ts", Line: 5,
			Message: "Expected: \"2.0 KiB\"\nReceived: \"2.0 kB\" <!channel> ```", Seed: "-15", Example: "[[100]]",
			Reproduce: "cd frontend && npx jest -t 'formatBytes writes kibibytes'",
		}},
		Traffic:  &report.Traffic{Requests: 5027, P50: 4.2, P95: 11.8, P99: 19.4},
		Rollback: &report.Rollback{Seconds: 0.214, Proven: true},
		Notes:    []string{"images were not built: no engine"},
		Path:     ".pipeline/report/report.html",
	}
	return m
}

func TestOneMessageIsPostedThenUpdatedAndItsThreadHasTheDetails(t *testing.T) {
	r := &recorder{}
	s := serve(t, r.handle)
	s.Started(t.Context(), start())
	assert.Empty(t, s.Finished(t.Context(), refused()))

	require.Len(t, r.calls, 3)
	posted, updated, thread := r.calls[0], r.calls[1], r.calls[2]
	assert.Equal(t, "chat.postMessage", posted.method)
	assert.Equal(t, "releases", posted.channel)
	assert.Contains(t, posted.authorization, token)
	assert.Contains(t, shown(posted), "Rehearsing metaextract 1.5.0")
	assert.Contains(t, shown(posted), "a &lt;maintainer&gt; &amp; co")
	assert.Contains(t, shown(posted), "<https://ci.example.com/runs/7|Open the run>")

	assert.Equal(t, "chat.update", updated.method)
	assert.Equal(t, "C024BE91L", updated.channel, "chat.update takes an id, not a name")
	assert.Equal(t, "1700000000.000001", updated.timestamp)
	assert.Equal(t, "REFUSED: metaextract 1.5.0 must not be released. frontend/unit failed: 1 of 18 tests &lt;b&gt;&amp;", updated.text)
	assert.Contains(t, shown(updated), "5,027 requests, 0 dropped · p50 4.2 ms, p95 12 ms, p99 19 ms")
	assert.Contains(t, shown(updated), "proven, back on the old release in 214 ms")

	assert.Equal(t, "chat.postMessage", thread.method)
	assert.Equal(t, "1700000000.000001", thread.thread)
	assert.Contains(t, shown(thread), "`frontend/src/format.test.ts:5` · frontend/unit")
	assert.Contains(t, shown(thread), "&lt;!channel&gt; '''", "no mention and no way out of the code block")
	assert.Contains(t, shown(thread), "```cd frontend &amp;&amp; npx jest -t 'formatBytes writes kibibytes'```")
	assert.Contains(t, shown(thread), "images were not built")
}

// shown is all text of a call's blocks.
func shown(c call) string {
	var b strings.Builder
	for _, block := range c.blocks.BlockSet {
		if s, ok := block.(*slack.SectionBlock); ok {
			if s.Text != nil {
				b.WriteString(s.Text.Text + "\n")
			}
			for _, f := range s.Fields {
				b.WriteString(f.Text + "\n")
			}
		}
	}
	return b.String()
}

func TestTheHandlersOfSlackGoAcceptTheMessage(t *testing.T) {
	server := slacktest.NewTestServer()
	server.Start()
	defer server.Stop()
	s := &Slack{Channel: "releases", Token: token, APIURL: server.GetAPIURL()}
	assert.Empty(t, s.Finished(t.Context(), refused()), "they decode every block")
}

func TestTheVerdictIsPostedAnewWhenTheStartWasNot(t *testing.T) {
	r := &recorder{}
	first := true
	s := serve(t, func(c slacktest.Customize) {
		c.Handle("/chat.postMessage", func(w http.ResponseWriter, q *http.Request) {
			if first {
				first = false
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, r.record("chat.postMessage", q))
		})
	})
	s.Started(t.Context(), start())
	notes := s.Finished(t.Context(), refused())
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0], "the message of the start was not posted")
	require.Len(t, r.calls, 2)
	assert.Contains(t, r.calls[0].text, "REFUSED")
	assert.Equal(t, "1700000000.000001", r.calls[1].thread)
}

func TestTheVerdictIsPostedAnewWhenTheMessageIsGone(t *testing.T) {
	r := &recorder{}
	s := serve(t, func(c slacktest.Customize) {
		c.Handle("/chat.update", answer(`{"ok":false,"error":"message_not_found"}`))
		r.handle(c)
	})
	s.Started(t.Context(), start())
	notes := s.Finished(t.Context(), refused())
	assert.Equal(t, []string{"Slack: the message was not updated: message_not_found"}, notes)
	require.Len(t, r.calls, 3)
	assert.Equal(t, "1700000000.000002", r.calls[2].thread, "the thread belongs to the new message")
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func TestFailuresOfSlackAreNotesThatSayWhatToDo(t *testing.T) {
	for body, want := range map[string]string{
		`{"ok":false,"error":"channel_not_found"}`: "channel_not_found: check notify.slack.channel",
		`{"ok":false,"error":"invalid_auth"}`:      "invalid_auth: check the bot token",
		`{"ok":false,"error":"missing_scope"}`:     "the bot token needs the scope chat:write",
		`{"ok":true}`:                              "no message timestamp",
		`<html>not Slack`:                          "invalid character",
		``:                                         "EOF",
	} {
		t.Run(body, func(t *testing.T) {
			s := serve(t, func(c slacktest.Customize) { c.Handle("/chat.postMessage", answer(body)) })
			notes := s.Finished(t.Context(), refused())
			require.Len(t, notes, 1)
			assert.Contains(t, notes[0], want)
		})
	}
}

// server is a plain one, for what slacktest does not do.
func server(t *testing.T, handler http.HandlerFunc) *Slack {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return &Slack{Channel: "releases", Token: token, APIURL: web.URL}
}

func TestAServerThatNeverAnswersIsWaitedForOnce(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	s := server(t, func(_ http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		select {
		case <-release:
		case <-q.Context().Done():
		}
	})
	defer close(release)
	s.Timeout = 50 * time.Millisecond
	s.Started(t.Context(), start())
	notes := s.Finished(t.Context(), refused())
	assert.Equal(t, []string{"Slack: the message of the start was not posted: no answer within 50ms"}, notes)
	assert.EqualValues(t, 1, asked.Load())
}

func TestStartedDoesNotWait(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		fmt.Fprint(w, `{"ok":false,"error":"not_in_channel"}`)
	})
	s.Started(t.Context(), start())
	<-entered // the server holds the call, and Started has returned
	close(release)
	assert.Equal(t, "not_in_channel", (<-s.started).err.Error())
}

func TestARateLimitIsWaitedForWhereThereIsTime(t *testing.T) {
	asked := 0
	s := server(t, func(w http.ResponseWriter, q *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, (&recorder{}).record("chat.postMessage", q))
	})
	m := start()
	m.Report = &report.Report{Verdict: report.Proven}
	assert.Empty(t, s.Finished(t.Context(), m))
	assert.Equal(t, 2, asked)
}

func TestALongRateLimitIsNotWaitedFor(t *testing.T) {
	asked := 0
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	notes := s.Finished(t.Context(), refused())
	assert.Equal(t, []string{"Slack: the verdict was not posted: rate limited; it asked to wait 30s"}, notes)
	assert.Equal(t, 1, asked)
}

func TestAnInterruptedRunIsToldToo(t *testing.T) {
	r := &recorder{}
	s := serve(t, r.handle)
	ctx, cancel := context.WithCancel(t.Context())
	s.Started(ctx, start())
	cancel()
	assert.Empty(t, s.Finished(ctx, refused()))
	assert.Len(t, r.calls, 3)
}

func TestTheTokenIsInNoNote(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		t.Error("a redirect was followed to " + q.Host)
	}))
	defer elsewhere.Close()
	redirects := server(t, func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	echoes := server(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ok":false,"error":"bad token %s"}`, token)
	})
	for name, s := range map[string]*Slack{
		"nobody listens":    {Channel: "releases", Token: token, APIURL: closed.URL},
		"no such scheme":    {Channel: "releases", Token: token, APIURL: "gopher://slack/" + token},
		"not a URL":         {Channel: "releases", Token: token, APIURL: "http://[::1/" + token},
		"redirects":         redirects,
		"repeats the token": echoes,
	} {
		t.Run(name, func(t *testing.T) {
			s.Started(t.Context(), start())
			notes := s.Finished(t.Context(), refused())
			assert.NotEmpty(t, notes)
			for _, note := range notes {
				assert.NotContains(t, note, "not-a-real-token")
				assert.NotContains(t, note, "\n")
			}
		})
	}
}

func TestAllTellsEveryNotifier(t *testing.T) {
	r := &recorder{}
	one, other := serve(t, r.handle), serve(t, r.handle)
	broken := server(t, answer(`{"ok":false,"error":"is_archived"}`))
	all := All{one, broken, other}
	all.Started(t.Context(), start())
	notes := all.Finished(t.Context(), refused())
	assert.Len(t, r.calls, 6)
	assert.Len(t, notes, 2)
}
