package haproxy

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
)

// Options is what the configuration fixes when HAProxy starts. Changing it takes a new start. What rules may look at is named
// here, and each name costs a look-up a request while rules are set.
type Options struct {
	// Dir is the data plane's directory: configuration, table and sockets. It must be for its owner only, as whoever can
	// write to the admin socket decides where requests go. A unix socket's path has at most 100 characters.
	Dir string
	// Bind is the addresses that clients connect to: "127.0.0.1:8080", ":80".
	Bind []string
	// Certificate is a file with the certificate chain and its key in PEM; HAProxy then speaks TLS on every address, and HTTP/2
	// with clients that can. Empty is plain text, for a HAProxy behind a proxy that has the certificate. A renewed one counts
	// from the next start on.
	Certificate string
	// Components is how many components with routes a release may have. Zero means 4.
	Components int
	// Headers and Cookies are the names that rules may look at.
	Headers, Cookies []string
	// Percentages is how many rules may have one: each is a draw of its own.
	Percentages int
	// CountryHeader is where a proxy in front says a client's country, for rules that look at it: CF-IPCountry.
	CountryHeader string
	// ResponseTimeout bounds the silence of an application, within an answer too. Zero means router.DefaultResponseTimeout.
	ResponseTimeout time.Duration
	// Grace bounds how long requests in flight may take when HAProxy is told to end. Zero means router.DefaultGrace.
	Grace time.Duration
	// Connections bounds how many clients are connected at once; each may take two file descriptors. Zero means what the
	// limit of file descriptors allows.
	Connections int
	// Threads is how many threads HAProxy uses. Zero leaves it to HAProxy: one for each core.
	Threads int
	// TrustForwarded keeps X-Forwarded-* of the request, for a HAProxy behind another proxy.
	TrustForwarded bool
	// Exclude are paths, health checks for instance, of which no record is kept.
	Exclude []string
	// Kept is how many records of a slot are kept for readers. Zero means router.DefaultRecords.
	Kept int
}

// Bounds of Options.
const (
	maxAttributes = 16
	maxComponents = 16
	maxSocketPath = 100
)

func (o Options) orDefaults() Options {
	for _, d := range []struct {
		value    *int
		fallback int
	}{{&o.Components, 4}, {&o.Kept, router.DefaultRecords}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if o.ResponseTimeout == 0 {
		o.ResponseTimeout = router.DefaultResponseTimeout
	}
	if o.Grace == 0 {
		o.Grace = router.DefaultGrace
	}
	return o
}

// check lets nothing through that could say something else in the configuration's language.
func (o Options) check() error {
	switch {
	case !filepath.IsAbs(o.Dir):
		return invalid(fmt.Sprintf("the directory %q is not absolute", o.Dir), "give its full path")
	case len(filepath.Join(o.Dir, recordsSocket)) > maxSocketPath:
		return invalid(fmt.Sprintf("the directory's path has %d characters", len(o.Dir)), fmt.Sprintf("give one whose sockets have at most %d", maxSocketPath))
	case len(o.Bind) == 0:
		return invalid("no address is given for clients", "give one like 127.0.0.1:8080")
	case o.Certificate != "" && (!filepath.IsAbs(o.Certificate) || !isPlain(strings.ReplaceAll(o.Certificate, "/", ""))):
		return invalid(fmt.Sprintf("the certificate's file %q cannot be told to HAProxy", o.Certificate), "give a full path of letters, digits, - _ .")
	case o.Components < 1 || o.Components > maxComponents:
		return invalid(fmt.Sprintf("%d components", o.Components), fmt.Sprintf("give 1 to %d", maxComponents))
	case len(o.Headers)+len(o.Cookies) > maxAttributes:
		return invalid(fmt.Sprintf("rules look at %d headers and cookies", len(o.Headers)+len(o.Cookies)), fmt.Sprintf("give at most %d", maxAttributes))
	case o.Percentages < 0 || o.Percentages > maxAttributes:
		return invalid(fmt.Sprintf("%d rules may have a percentage", o.Percentages), fmt.Sprintf("give at most %d", maxAttributes))
	case o.Connections < 0 || o.Threads < 0 || o.Kept < 0 || o.ResponseTimeout < time.Millisecond || o.Grace < time.Millisecond:
		return invalid("a number of the data plane's options is negative or too small", "leave it out for the default")
	}
	for _, address := range o.Bind {
		if _, _, err := net.SplitHostPort(address); err != nil || strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || strings.ContainsRune(`"'\#$,`, c) }) {
			return invalid(fmt.Sprintf("%q is not an address to listen on", address), "give one like 127.0.0.1:8080")
		}
	}
	names := slices.Concat(o.Headers, o.Cookies)
	if o.CountryHeader != "" {
		names = append(names, o.CountryHeader)
	}
	for _, name := range names {
		if !isPlain(name) {
			return invalid(fmt.Sprintf("%q is not a name of a header or cookie that HAProxy can be told", name), "use letters, digits, - _ .")
		}
	}
	return nil
}

func isPlain(name string) bool {
	return name != "" && len(name) <= 100 &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func invalid(what, do string) error {
	return &router.Error{Reason: router.Invalid, What: what, Do: do}
}

func conflict(what, do string) error {
	return &router.Error{Reason: router.Conflict, What: what, Do: do}
}
