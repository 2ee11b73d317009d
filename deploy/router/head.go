package router

import (
	"bufio"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// ForwardedFor and its like are the headers that tell an application about the client's connection.
const (
	forwardedFor   = "X-Forwarded-For"
	forwardedHost  = "X-Forwarded-Host"
	forwardedProto = "X-Forwarded-Proto"
)

// writeHead writes the request line and header. Everything in it came through net/http's parser, which lets no line break
// through, except the query's spaces: HTTP/2 has a field where HTTP/1 has a line.
func (x *exchange) writeHead(out *bufio.Writer, fresh bool) {
	request := x.request
	out.WriteString(request.Method)
	out.WriteByte(' ')
	out.WriteString(x.upstream.base)
	out.WriteString(target(request))
	out.WriteString(" HTTP/1.1\r\nHost: ")
	out.WriteString(request.Host)
	out.WriteString("\r\n")
	named := namedByConnection(request.Header)
	for name, values := range request.Header {
		if !endToEnd(name) || named != nil && named[name] {
			continue
		}
		for _, value := range values {
			field(out, name, value)
		}
	}
	x.forwarded(out)
	if x.choice.variant != nil {
		field(out, VariantHeader, x.choice.variant.label)
	}
	upgrade := upgradeOf(request.Header)
	switch {
	case upgrade != "":
		out.WriteString("Connection: Upgrade\r\n")
		field(out, "Upgrade", upgrade)
	case fresh:
		out.WriteString("Connection: close\r\n")
	}
	if tokens(request.Header["Te"], "trailers") {
		out.WriteString("Te: trailers\r\n")
	}
	x.framing(out)
	out.WriteString("\r\n")
}

func (x *exchange) framing(out *bufio.Writer) {
	request := x.request
	switch {
	case !hasBody(request):
		if request.Method == http.MethodPost || request.Method == http.MethodPut || request.Method == http.MethodPatch {
			out.WriteString("Content-Length: 0\r\n")
		}
	case request.ContentLength >= 0:
		out.WriteString("Content-Length: ")
		out.WriteString(strconv.FormatInt(request.ContentLength, 10))
		out.WriteString("\r\n")
	default:
		out.WriteString("Transfer-Encoding: chunked\r\n")
		for name := range request.Trailer {
			field(out, "Trailer", name)
		}
	}
}

func (x *exchange) forwarded(out *bufio.Writer) {
	request := x.request
	client := clientAddress(request)
	host, proto := request.Host, "http"
	if request.TLS != nil {
		proto = "https"
	}
	if x.router.options.TrustForwarded {
		if before := request.Header[forwardedFor]; len(before) > 0 {
			client = strings.Join(before, ", ") + ", " + client
		}
		if value := request.Header.Get(forwardedProto); value != "" {
			proto = value
		}
		if value := request.Header.Get(forwardedHost); value != "" {
			host = value
		}
	}
	field(out, forwardedFor, client)
	field(out, forwardedHost, host)
	field(out, forwardedProto, proto)
}

// clientAddress is the address at the other end of the connection.
func clientAddress(request *http.Request) string {
	host, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		return request.RemoteAddr
	}
	return host
}

func target(request *http.Request) string {
	uri := request.URL.RequestURI()
	if strings.IndexByte(uri, ' ') >= 0 {
		uri = strings.ReplaceAll(uri, " ", "%20")
	}
	return uri
}

func field(out *bufio.Writer, name, value string) {
	out.WriteString(name)
	out.WriteString(": ")
	out.WriteString(value)
	out.WriteString("\r\n")
}

// endToEnd says whether a request's header is passed on as it is. The others are about one connection (RFC 9110 section
// 7.6.1), are set by the router, or could only be forged.
func endToEnd(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Host", "Forwarded", forwardedFor, forwardedHost, forwardedProto,
		VariantHeader, MirrorHeader:
		return false
	}
	return true
}

// namedByConnection is the headers that Connection makes hop-by-hop, nil for none.
func namedByConnection(header http.Header) map[string]bool {
	var named map[string]bool
	for _, value := range header["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			switch token = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(token)); token {
			case "", "Close", "Keep-Alive", "Upgrade":
			default:
				if named == nil {
					named = map[string]bool{}
				}
				named[token] = true
			}
		}
	}
	return named
}

// upgradeOf is the protocol that a message asks to change to, "" for none.
func upgradeOf(header http.Header) string {
	if protocol := header["Upgrade"]; len(protocol) == 1 && tokens(header["Connection"], "upgrade") {
		return protocol[0]
	}
	return ""
}

// tokens says whether a list of tokens has one, whatever its case.
func tokens(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// copyHeader moves an answer's header to the client's. The slices are not copied: nobody else has them.
func copyHeader(to, from http.Header) {
	named := namedByConnection(from)
	for name, values := range from {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding",
			"Upgrade", SlotHeader, ReleaseHeader, VariantHeader:
			continue
		}
		if named != nil && named[name] {
			continue
		}
		if len(to[name]) > 0 {
			to[name] = append(to[name], values...)
		} else {
			to[name] = values
		}
	}
}

func hasBody(request *http.Request) bool { return request.Body != nil && request.Body != http.NoBody }
