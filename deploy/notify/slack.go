package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// DefaultTimeout bounds one call of Slack's API, its retry included.
const DefaultTimeout = 5 * time.Second

// Slack posts to a channel with a bot token (scope chat:write). An incoming webhook would not do: it cannot update.
type Slack struct {
	Channel string        // id or name
	Token   string        // xoxb-…
	APIURL  string        // "" is Slack's own
	Timeout time.Duration // of one call; 0 is DefaultTimeout

	client  *slack.Client
	started chan delivery // of Started; nil when it was not called
}

// delivery is a message in the channel, or why it is not there.
type delivery struct {
	channel, timestamp string
	err                error
}

var _ Notifier = (*Slack)(nil)

// Started posts the message in the background.
func (s *Slack) Started(ctx context.Context, message Message) {
	s.started = make(chan delivery, 1)
	ctx = context.WithoutCancel(ctx)
	options := started(message)
	s.connect()
	go func() { s.started <- s.post(ctx, options) }()
}

// Finished puts the verdict into the message and the details into its thread.
func (s *Slack) Finished(ctx context.Context, message Message) (notes []string) {
	if message.Report == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // an interrupted run has a verdict too
	s.connect()
	note := func(what string, err error) {
		notes = append(notes, fmt.Sprintf("Slack: %s: %s", what, s.explain(err)))
	}
	var root delivery
	if s.started != nil {
		if root = <-s.started; root.err != nil {
			note("the message of the start was not posted", root.err)
		}
	}
	options := finished(message)
	if root.timestamp != "" {
		err := s.call(ctx, func(ctx context.Context) error {
			_, _, _, err := s.client.UpdateMessageContext(ctx, root.channel, root.timestamp, options...)
			return err
		})
		if err != nil {
			note("the message was not updated", err)
			if timedOut(err) {
				return notes
			}
			root = delivery{} // deleted, or too old to edit
		}
	}
	if root.timestamp == "" {
		if timedOut(root.err) {
			return notes // Slack does not answer: do not wait for it again
		}
		if root = s.post(ctx, options); root.err != nil {
			note("the verdict was not posted", root.err)
			return notes
		}
	}
	if blocks := details(message.Report); len(blocks) > 0 {
		err := s.call(ctx, func(ctx context.Context) error {
			_, _, err := s.client.PostMessageContext(ctx, root.channel, slack.MsgOptionTS(root.timestamp),
				slack.MsgOptionBlocks(blocks...), slack.MsgOptionText("Details", false), slack.MsgOptionDisableLinkUnfurl())
			return err
		})
		if err != nil {
			note("the details were not posted", err)
		}
	}
	return notes
}

// connect makes the client. It follows no redirect: the token goes to the address in the configuration only.
func (s *Slack) connect() {
	if s.client != nil {
		return
	}
	options := []slack.Option{slack.OptionHTTPClient(&http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})}
	if s.APIURL != "" {
		options = append(options, slack.OptionAPIURL(strings.TrimSuffix(s.APIURL, "/")+"/"))
	}
	s.client = slack.New(s.Token, options...)
}

// post posts a new message.
func (s *Slack) post(ctx context.Context, options []slack.MsgOption) (d delivery) {
	d.err = s.call(ctx, func(ctx context.Context) (err error) {
		d.channel, d.timestamp, err = s.client.PostMessageContext(ctx, s.Channel, options...)
		return err
	})
	if d.err == nil && d.timestamp == "" {
		d.err = errors.New("the answer has no message timestamp")
	}
	return d
}

// call makes one call within the timeout, and once more where Slack asks to wait for less than what is left of it.
func (s *Slack) call(ctx context.Context, call func(context.Context) error) error {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := call(ctx)
	var limited *slack.RateLimitedError
	if !errors.As(err, &limited) {
		return err
	}
	deadline, _ := ctx.Deadline()
	if time.Until(deadline) <= limited.RetryAfter {
		return err
	}
	select {
	case <-ctx.Done():
		return err
	case <-time.After(limited.RetryAfter):
		return call(ctx)
	}
}

func timedOut(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// hints say what to do about Slack's error codes.
var hints = map[string]string{
	"channel_not_found": "check notify.slack.channel; for a private channel, invite the bot",
	"not_in_channel":    "invite the bot to the channel",
	"is_archived":       "the channel is archived",
	"invalid_auth":      "check the bot token",
	"not_authed":        "the bot token is empty",
	"token_revoked":     "the bot token was revoked",
	"token_expired":     "the bot token has expired",
	"account_inactive":  "the bot was removed from the workspace",
	"missing_scope":     "the bot token needs the scope chat:write",
}

// explain is an error for people, without the token.
func (s *Slack) explain(err error) string {
	text := err.Error()
	var limited *slack.RateLimitedError
	switch {
	case timedOut(err):
		timeout := s.Timeout
		if timeout <= 0 {
			timeout = DefaultTimeout
		}
		text = fmt.Sprintf("no answer within %s", timeout)
	case errors.As(err, &limited):
		text = fmt.Sprintf("rate limited; it asked to wait %s", limited.RetryAfter)
	}
	if hint := hints[text]; hint != "" {
		text += ": " + hint
	}
	if s.Token != "" {
		for _, secret := range []string{s.Token, url.QueryEscape(s.Token), url.PathEscape(s.Token)} {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	const longest = 300
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strings.Join(strings.Fields(text), " ")
}
