package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

const secret = "ghp_mirrorsecret"

// github is as much of GitHub as the mirror uses.
type github struct {
	mu     sync.Mutex
	said   []string // what was asked of it, and done
	made   []map[string]any
	answer func(w http.ResponseWriter, r *http.Request) bool // answers in its place
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answer != nil && g.answer(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+secret {
		http.Error(w, `{"message":"Bad credentials"}`, http.StatusUnauthorized)
		return
	}
	var body map[string]any
	text, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(text, &body)
	path := strings.TrimPrefix(r.URL.Path, "/repos/acme/shop/")
	switch {
	case r.Method == http.MethodGet:
		g.said = append(g.said, "list")
		_ = json.NewEncoder(w).Encode(g.made)
	case path == "deployments":
		body["id"] = 100 + len(g.made)
		g.made = append(g.made, body)
		g.said = append(g.said, fmt.Sprint("deployment of ", body["ref"], " to ", body["environment"]))
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(body)
	default:
		g.said = append(g.said, fmt.Sprint(path, " ", body["state"], ": ", body["description"]))
		w.WriteHeader(http.StatusCreated)
	}
}

// mirrored is a ledger whose deployment d1 has been planned, shifted and done, and a mirror of it.
func mirrored(t *testing.T, g *github) (*Ledger, *Mirror, string) {
	address := pgtest.Database(t)
	options := quick
	options.Mirror = true
	l := open(t, address, options)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	write(t, lease, "d1", "v1", deploy.Planned, deploy.Shifting, deploy.Done)
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	m, err := NewMirror(l, MirrorOptions{Repository: "acme/shop", Token: secret, API: server.URL + "/"})
	require.NoError(t, err)
	return l, m, address
}

var inOrder = []string{"deployment of cv1 to production", "deployments/100/statuses queued: planned: because",
	"deployments/100/statuses in_progress: shifting: because", "deployments/100/statuses success: done: because"}

const dueNow = "UPDATE pipeline.github_outbox SET due_at = clock_timestamp() WHERE delivered_at IS NULL"

func TestTransitionsReachGitHubInOrder(t *testing.T) {
	g := &github{}
	l, m, _ := mirrored(t, g)
	b, err := l.Backlog(background)
	require.NoError(t, err)
	assert.Equal(t, 3, b.Waiting)
	var group sync.WaitGroup
	for range 4 { // processes that deliver at once
		group.Go(func() {
			_, err := m.Deliver(background)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	_, err = m.Deliver(background)
	require.NoError(t, err)
	assert.Equal(t, inOrder, g.said)
	b, err = l.Backlog(background)
	require.NoError(t, err)
	assert.Equal(t, "GitHub knows everything", b.String())
}

func TestGitHubAwayIsTriedAgainAndFailsNothing(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"broken": func(w http.ResponseWriter) { http.Error(w, "<html>", http.StatusBadGateway) },
		"limits": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3000")
			http.Error(w, "", http.StatusForbidden)
		},
		"refuses the token":  func(w http.ResponseWriter) { http.Error(w, `{"message":"Bad `+secret+`"}`, http.StatusUnauthorized) },
		"answers nonsense":   func(w http.ResponseWriter) { fmt.Fprint(w, "hello") },
		"answers without id": func(w http.ResponseWriter) { fmt.Fprint(w, "{}") },
		"hangs up":           func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			g := &github{answer: func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true }}
			l, m, address := mirrored(t, g)
			n, err := m.Deliver(background)
			require.NoError(t, err)
			assert.Zero(t, n)
			b, err := l.Backlog(background)
			require.NoError(t, err)
			assert.Equal(t, 3, b.Waiting)
			assert.NotEmpty(t, b.Error)
			assert.NotContains(t, b.String(), secret)
			if name == "limits" {
				assert.Equal(t, "true", pgtest.Value(t, address, "SELECT max(due_at) > clock_timestamp() + interval '40 minutes' FROM pipeline.github_outbox"))
			}
			g.answer = nil
			pgtest.Exec(t, address, dueNow)
			_, err = m.Deliver(background)
			require.NoError(t, err)
			assert.Equal(t, append([]string{"list"}, inOrder...), g.said)
			assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pipeline.github_outbox o WHERE o::text LIKE '%"+secret+"%'"))
		})
	}
}

func TestDeploymentWhoseAnswerGotLostIsFoundAgain(t *testing.T) {
	g := &github{}
	_, m, address := mirrored(t, g)
	g.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		recorder := httptest.NewRecorder()
		g.answer = nil
		g.mu.Unlock()
		g.ServeHTTP(recorder, r)
		g.mu.Lock()
		panic(http.ErrAbortHandler)
	}
	_, err := m.Deliver(background)
	require.NoError(t, err)
	pgtest.Exec(t, address, dueNow)
	_, err = m.Deliver(background)
	require.NoError(t, err)
	assert.Len(t, g.made, 1)
	assert.Equal(t, append([]string{inOrder[0], "list"}, inOrder[1:]...), g.said)
}

func TestWhatGitHubFindsWrongIsNotSentAgain(t *testing.T) {
	g := &github{answer: func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, `{"message":"No ref found for: cv1"}`, http.StatusUnprocessableEntity)
		return true
	}}
	l, m, _ := mirrored(t, g)
	_, err := m.Deliver(background)
	require.NoError(t, err)
	b, err := l.Backlog(background)
	require.NoError(t, err)
	assert.Equal(t, "0 messages to GitHub wait, 3 were refused: POST /deployments: GitHub answered 422: No ref found for: cv1", b.String())
}

func TestDeliveryEndsWithItsContext(t *testing.T) {
	_, m, _ := mirrored(t, &github{})
	ctx, cancel := context.WithCancel(background)
	cancel()
	m.Run(ctx, time.Hour) // returns
	_, err := m.Deliver(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestMirrorOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]MirrorOptions{
		"no repository":              {Token: secret},
		"a repository with a path":   {Token: secret, Repository: "acme/shop/../x"},
		"no token":                   {Repository: "acme/shop"},
		"a token with a line's end":  {Repository: "acme/shop", Token: secret + "\n"},
		"an address with a password": {Repository: "acme/shop", Token: secret, API: "https://ann:" + secret + "@example.com"},
		"an address that is none":    {Repository: "acme/shop", Token: secret, API: "github"},
	} {
		_, err := NewMirror(nil, o)
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), secret)
	}
	assert.Equal(t, strings.Repeat("ü", 139)+"…", shorten(strings.Repeat("ü", 200)))
	assert.Equal(t, []time.Duration{5 * time.Second, 10 * time.Second, time.Hour, time.Hour}, []time.Duration{delay(1), delay(2), delay(11), delay(1000)})
}
