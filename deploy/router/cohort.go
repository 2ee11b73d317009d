package router

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// CohortCookie holds the random id that keeps a client on one slot while traffic is split. The router sets it only then.
const CohortCookie = "pipeline_cohort"

// cohortAge is how long a client keeps its id: longer than any ramp.
const cohortAge = 7 * 24 * time.Hour

// maxCohort bounds what is hashed: an id of ours is 26 characters long.
const maxCohort = 64

// Identity says by what a client is known. The router's cookie always comes first.
type Identity struct {
	// Headers identify a client without the cookie, the first that it sends: programs keep no cookies, but each has its key.
	// Nil means DefaultIdentityHeaders.
	Headers []string
	// Address takes the client's address for one that sent none of them, and no cookie is set then: for clients that keep no
	// cookies and have no keys. Everyone behind one address is then in one cohort.
	Address bool
}

// DefaultIdentityHeaders is what programs authenticate with.
var DefaultIdentityHeaders = []string{"X-Api-Key", "Authorization"}

func (i Identity) canonical() Identity {
	if i.Headers == nil {
		i.Headers = DefaultIdentityHeaders
	}
	headers := make([]string, len(i.Headers))
	for n, name := range i.Headers {
		headers[n] = textproto.CanonicalMIMEHeaderKey(name)
	}
	i.Headers = headers
	return i
}

// client is who sent a request. Its id is never stored or written down: what leaves the router is a hash with a secret salt.
type client struct {
	request  *http.Request
	identity *Identity
	trust    bool
	known    string
	looked   bool
	issued   string
}

// id is the client's id; one that has none gets one, which goes out as a cookie.
func (c *client) id() string {
	if id := c.sent(); id != "" {
		return id
	}
	if c.issued == "" {
		c.issued = rand.Text()
	}
	return c.issued
}

// sent is the id that came with the request, "" for none.
func (c *client) sent() string {
	if c.looked {
		return c.known
	}
	c.looked = true
	if id := cookieValue(c.request.Header, CohortCookie); id != "" && len(id) <= maxCohort {
		c.known = id
		return c.known
	}
	for _, name := range c.identity.Headers {
		if values := c.request.Header[name]; len(values) > 0 && values[0] != "" {
			c.known = name + "\x00" + values[0]
			return c.known
		}
	}
	if c.identity.Address {
		c.known = "\x00" + c.address()
	}
	return c.known
}

// address is the client's: behind a proxy that is trusted, the one that this proxy saw.
func (c *client) address() string {
	if c.trust {
		if values := c.request.Header[forwardedFor]; len(values) > 0 {
			last := values[len(values)-1]
			if at := strings.LastIndexByte(last, ','); at >= 0 {
				last = last[at+1:]
			}
			return strings.TrimSpace(last)
		}
	}
	return clientAddress(c.request)
}

// cookieValue is the value of a cookie, "" for none. http.Request.Cookie would parse all of them, for every request.
func cookieValue(header http.Header, name string) string {
	for _, line := range header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimLeft(part, " ")
			if len(part) > len(name) && part[len(name)] == '=' && part[:len(name)] == name {
				return strings.Trim(strings.TrimRight(part[len(name)+1:], " "), `"`)
			}
		}
	}
	return ""
}

func cohortCookie(request *http.Request, id string) string {
	cookie := http.Cookie{
		Name: CohortCookie, Value: id, Path: "/", MaxAge: int(cohortAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: request.TLS != nil || request.Header.Get(forwardedProto) == "https",
	}
	return cookie.String()
}

// digest is a cohort's fixed point in [0, 100), uniform over ids and unrelated from one salt to the next, so that the same
// people are not always first to get a new release; and a number to tell cohorts apart by.
func digest(id, salt string) (point float64, cohort uint64) {
	var room [160]byte
	text := append(room[:0], salt...)
	text = append(text, 0)
	text = append(text, id...)
	sum := sha256.Sum256(text)
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53) * 100, binary.BigEndian.Uint64(sum[8:16])
}

func share(id, salt string) float64 {
	point, _ := digest(id, salt)
	return point
}
