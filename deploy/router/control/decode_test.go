package control

import (
	"bufio"
	"bytes"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router"
)

func TestAPollIsReadAsItWasWritten(t *testing.T) {
	want := poll{from: router.Cursor{Stream: "a b&c", After: 1 << 63}, limit: 5, wait: 10 * time.Second}
	query, err := url.ParseQuery(want.query())
	require.NoError(t, err)
	got, err := parsePoll(query)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// Whatever the query is, it is a poll within bounds or an error that says what to do.
func FuzzPoll(f *testing.F) {
	f.Add("stream=x&after=7&limit=100&wait_ms=1000")
	f.Add("after=-1")
	f.Add("wait_ms=99999999999999999999")
	f.Add("aftr=1")
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		p, err := parsePoll(query)
		if err != nil {
			var refused *router.Error
			require.ErrorAs(t, err, &refused)
			require.NotEmpty(t, refused.Do)
			return
		}
		require.GreaterOrEqual(t, p.limit, 0)
		require.LessOrEqual(t, p.wait, maxPoll)
		require.GreaterOrEqual(t, p.wait, time.Duration(0))
	})
}

// Whatever another process answers to a takeover, it is an estate that fits the descriptors, or an error.
func FuzzEstate(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"listeners\":1,\"table\":{}}"), 2)
	f.Add([]byte("HTTP/1.1 409 Conflict\r\nContent-Length: 43\r\n\r\n{\"reason\":\"conflict\",\"error\":\"a\",\"do\":\"b\"}"), 0)
	f.Add([]byte("HTTP/1.1 404 Not Found\r\n\r\n"), 0)
	f.Fuzz(func(t *testing.T, data []byte, descriptors int) {
		left, err := readEstate(bufio.NewReader(bytes.NewReader(data)), descriptors)
		if err == nil {
			require.Equal(t, descriptors, left.Listeners+1)
			require.Positive(t, left.Listeners)
		}
	})
}

// Whatever comes as ancillary data, reading it does not fail otherwise than by an error.
func FuzzRights(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 16 && data[12] == 1 { // SCM_RIGHTS: its numbers would be set close-on-exec, and may be ours
			return
		}
		_, _ = parseRights(data)
	})
}
