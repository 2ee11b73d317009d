package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// requestTimeout bounds one request to GitHub.
	requestTimeout = 15 * time.Second
	// longestAnswer of GitHub's that is read.
	longestAnswer = 4 << 20
	// longestDescription that GitHub takes (docs.github.com/rest/deployments/statuses).
	longestDescription = 140
	githubAPI          = "https://api.github.com"
)

// MirrorOptions say where deployments are shown.
type MirrorOptions struct {
	Repository string // owner/name
	Token      string // with the permission deployments: write
	API        string // of GitHub Enterprise: https://HOST/api/v3; default is github.com's
	// LogURL and EnvironmentURL are shown as links; empty for none.
	LogURL         func(Deployment) string
	EnvironmentURL func(environment string) string
	// Client sends; nil for one of its own.
	Client *http.Client
}

// Mirror shows deployments on GitHub, from the ledger's outbox, into which transitions go when Options.Mirror is set. GitHub is
// not asked for anything that decides; a deployment neither waits for it nor fails with it.
type Mirror struct {
	ledger  *Ledger
	options MirrorOptions
}

var repository = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)

// NewMirror makes a mirror.
func NewMirror(l *Ledger, options MirrorOptions) (*Mirror, error) {
	if !repository.MatchString(options.Repository) {
		return nil, fmt.Errorf("mirror to GitHub: the repository is %q: write owner/name", options.Repository)
	}
	if options.Token == "" || strings.ContainsFunc(options.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("mirror to GitHub: the token is empty, or has characters that no token has (it is not shown)")
	}
	if options.API == "" {
		options.API = githubAPI
	}
	options.API = strings.TrimSuffix(options.API, "/")
	if u, err := url.Parse(options.API); err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("mirror to GitHub: the API's address is no URL such as https://github.example.com/api/v3")
	}
	if options.Client == nil {
		options.Client = &http.Client{}
	}
	return &Mirror{ledger: l, options: options}, nil
}

// Run delivers until the context ends, looking into the outbox that often. What goes wrong is in Ledger.Backlog.
func (m *Mirror) Run(ctx context.Context, every time.Duration) {
	for {
		_, _ = m.Deliver(ctx)
		if pg.Pause(ctx, every) != nil {
			return
		}
	}
}

// Deliver sends what is due and returns how many messages GitHub took. Its error is the ledger's; what GitHub or the network
// refused stays in the outbox, with why.
func (m *Mirror) Deliver(ctx context.Context) (delivered int, err error) {
	for ctx.Err() == nil {
		message, found, err := m.ledger.next(ctx)
		if err != nil || !found {
			return delivered, err
		}
		err = m.send(ctx, message)
		var answer *githubError
		switch {
		case err == nil:
			delivered++
			err = m.ledger.delivered(ctx, message)
		case errors.As(err, &answer) && answer.final():
			err = m.ledger.refusedBy(ctx, message, m.redact(err))
		default:
			wait := delay(message.attempts)
			if answer != nil {
				wait = max(wait, answer.after)
			}
			err = m.ledger.failed(ctx, message, m.redact(err), min(wait, 24*time.Hour))
		}
		if err != nil {
			return delivered, err
		}
	}
	return delivered, context.Cause(ctx)
}

// send tells GitHub of one transition.
func (m *Mirror) send(ctx context.Context, message message) error {
	if message.github == 0 {
		id, err := m.create(ctx, message)
		if err != nil {
			return err
		}
		if err := m.ledger.keep(ctx, message.deployment.ID, id); err != nil {
			return err
		}
		message.github = id
	}
	status := map[string]any{"state": githubState(message.state), "description": shorten(string(message.state) + ": " + message.detail), "auto_inactive": true}
	if message.detail == "" {
		status["description"] = string(message.state)
	}
	if m.options.LogURL != nil {
		status["log_url"] = m.options.LogURL(message.deployment)
	}
	if m.options.EnvironmentURL != nil {
		status["environment_url"] = m.options.EnvironmentURL(message.deployment.Environment)
	}
	return m.request(ctx, http.MethodPost, "/deployments/"+strconv.FormatInt(message.github, 10)+"/statuses", status, nil)
}

// githubDeployment is one as GitHub shows it.
type githubDeployment struct {
	ID      int64           `json:"id"`
	Payload json.RawMessage `json:"payload"`
}

// payload is what we give a deployment, to know it again.
type payload struct {
	Deployment string `json:"pipeline_deployment"`
	Release    string `json:"release"`
	Kind       Kind   `json:"kind"`
}

// create makes the deployment, unless an attempt whose answer was lost has made it.
func (m *Mirror) create(ctx context.Context, message message) (id int64, err error) {
	d := message.deployment
	ref := message.commit
	if ref == "" {
		ref = d.Release // a tag
	}
	if message.attempts > 1 {
		var there []githubDeployment
		query := url.Values{"environment": {d.Environment}, "ref": {ref}, "per_page": {"100"}}
		if err := m.request(ctx, http.MethodGet, "/deployments?"+query.Encode(), nil, &there); err != nil {
			return 0, err
		}
		for _, g := range there {
			var p payload
			if json.Unmarshal(g.Payload, &p) == nil && p.Deployment == d.ID {
				return g.ID, nil
			}
		}
	}
	var made githubDeployment
	err = m.request(ctx, http.MethodPost, "/deployments", map[string]any{
		"ref": ref, "environment": d.Environment, "auto_merge": false, "required_contexts": []string{}, "description": shorten(string(d.Kind) + " " + d.Release),
		"production_environment": d.Environment == "production", "payload": payload{Deployment: d.ID, Release: d.Release, Kind: d.Kind},
	}, &made)
	if err == nil && made.ID == 0 {
		err = errors.New("GitHub answered without an id")
	}
	return made.ID, err
}

// githubError is an answer that is none of success.
type githubError struct {
	what    string
	status  int
	after   time.Duration // not before
	message string
}

func (e *githubError) Error() string {
	return fmt.Sprintf("%s: GitHub answered %d: %s", e.what, e.status, e.message)
}

// final says whether the same request will be refused again. A token or a repository can be put right, and the limit ends.
func (e *githubError) final() bool {
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return e.status >= 400 && e.status < 500
}

func (m *Mirror) request(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, m.options.API+"/repos/"+m.options.Repository+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+m.options.Token)
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	request.Header.Set("User-Agent", "metaextract-pipeline")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := m.options.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(text, &said)
		e := &githubError{what: method + " " + path, status: response.StatusCode, message: said.Message}
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			e.after = time.Duration(min(seconds, 24*3600)) * time.Second
		}
		return e
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			return fmt.Errorf("%s %s: GitHub's answer: %w", method, path, err)
		}
	}
	return nil
}

// redact is the text of an error without the token, which an answer may repeat.
func (m *Mirror) redact(err error) string {
	return clean(strings.ReplaceAll(err.Error(), m.options.Token, "***"))
}

// githubState is GitHub's word for a state.
func githubState(s deploy.State) string {
	switch s {
	case deploy.Planned:
		return "queued"
	case deploy.Done:
		return "success"
	case deploy.RolledBack, deploy.Failed:
		return "failure"
	}
	return "in_progress"
}

// shorten cuts a text to what GitHub takes.
func shorten(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > longestDescription {
		runes = append(runes[:longestDescription-1], '…')
	}
	return string(runes)
}
