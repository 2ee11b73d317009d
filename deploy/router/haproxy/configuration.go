package haproxy

import (
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// The files in a data plane's directory. The configuration names them without a path: HAProxy runs in the directory.
const (
	ConfigurationFile = "haproxy.cfg"
	AdminSocket       = "admin.sock"
	recordsSocket     = "records.sock"
	apologySocket     = "apology.sock"
	mapFile           = "table.map"
)

// whole is the number of parts that the cohorts' points are counted in: a rule may take as little as 0.0001 %.
const whole = 1_000_000

// ringBytes is the room for records that the collector has not read yet: some 80,000, a minute and more at 1,000 requests a
// second. HAProxy takes it from the start.
const ringBytes = 16 << 20

// recordLimit bounds one record in bytes.
const recordLimit = 2048

// uriLimit is how much of a path HAProxy keeps for the record, in bytes.
const uriLimit = 512

// attribute is something of a request that rules look at: what it is called in the table, and how HAProxy reads it.
type attribute struct{ Key, Fetch string }

func (o Options) attributes() []attribute {
	var all []attribute
	for i, name := range o.Headers {
		all = append(all, attribute{fmt.Sprint("h", i), "req.fhdr(" + name + ")"})
	}
	for i, name := range o.Cookies {
		all = append(all, attribute{fmt.Sprint("c", i), "req.cook(" + name + ")"})
	}
	if o.CountryHeader != "" {
		all = append(all, attribute{"country", "req.fhdr(" + o.CountryHeader + "),upper"})
	}
	return all
}

// backend is one component of a slot twice: with connections that are used again, and with one connection a request for
// methods that must not be sent twice. An application closes idle connections when it likes; what is then lost can be
// repeated where the method is safe, and only there.
type backend struct{ Name, Address string }

func backendName(slot deploy.Slot, component int) string {
	return fmt.Sprintf("%s.%d", slot, component)
}

// once is the twin of a backend that uses no connection twice.
const once = ".once"

// unset is the address of a server that nobody is registered for. Such a server is in maintenance.
const unset = "127.0.0.1:1"

func (t *table) backends(components int) []backend {
	var all []backend
	for _, name := range slots {
		for i := range components {
			b := backend{Name: backendName(name, i)}
			if s := t.find(name); s != nil && i < len(s.addresses) {
				b.Address = s.addresses[i]
			}
			all = append(all, b)
		}
	}
	return all
}

// configuration is the file that HAProxy starts with: the same for every table but for the addresses, so that a restart
// serves what was served.
func configuration(o Options, t *table) (string, error) {
	var text strings.Builder
	scheme := "http"
	if o.Certificate != "" {
		scheme = "https"
	}
	err := document.Execute(&text, map[string]any{
		"O": o, "Blue": deploy.Blue, "Green": deploy.Green, "Attributes": o.attributes(), "Backends": t.backends(o.Components),
		"Admin": AdminSocket, "Records": recordsSocket, "Apology": apologySocket, "Map": mapFile, "Whole": whole, "Percents": make([]struct{}, o.Percentages),
		"Ring": ringBytes, "RecordLimit": recordLimit, "URILimit": uriLimit, "Once": once, "Unset": unset,
		"Cookie": router.CohortCookie, "Age": int(cohortAge / time.Second), "Identity": router.DefaultIdentityHeaders,
		"SlotHeader": router.SlotHeader, "ReleaseHeader": router.ReleaseHeader, "Format": recordFormat, "Scheme": scheme,
	})
	return text.String(), err
}

// cohortAge is how long a client keeps its id, as with the project's own router.
const cohortAge = 7 * 24 * time.Hour

var document = template.Must(template.New(ConfigurationFile).Funcs(template.FuncMap{
	"ms": func(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) },
}).Parse(`# Written by the pipeline at every change. HAProxy runs in this directory and is never reloaded.
global
	stats socket unix@{{.Admin}} mode 600 level admin
	stats timeout 1m
	hard-stop-after {{ms .O.Grace}}
{{- if .O.Connections}}
	maxconn {{.O.Connections}}
{{- else}}
	fd-hard-limit 100000
{{- end}}
{{- if .O.Threads}}
	nbthread {{.O.Threads}}
{{- end}}
	tune.http.logurilen {{.URILimit}}

# What the collector has not read yet is kept here: datagrams would be lost while it is busy or not there.
ring records
	format raw
	maxlen {{.RecordLimit}}
	size {{.Ring}}
	timeout connect 1s
	timeout server 10s
	server collector unix@{{.Records}}

defaults
	mode http
	timeout http-request 10s
	timeout http-keep-alive 120s
	timeout client 60s
	timeout connect 5s
	timeout server {{ms .O.ResponseTimeout}}
	timeout tunnel 1h
	option abortonclose

# A request that the application did not answer is sent here in the end: HAProxy itself would close the client's connection
# and write no record, unless the request is the connection's first (abort_keep_alive in src/http_ana.c). What has a body
# of more than a buffer cannot be sent twice and ends like that still.
frontend apology
	bind unix@{{.Apology}} mode 600
	http-request return status 502 content-type text/plain string "the application did not answer\n"

frontend public
{{- range .O.Bind}}
	bind {{.}}{{if $.O.Certificate}} ssl crt {{$.O.Certificate}} alpn h2,http/1.1{{end}}
{{- end}}
	log ring@records format raw local0
	log-format "{{.Format}}"
	acl ruled var(txn.matching) -m int gt 0
	acl percental var(txn.percental) -m found
	acl draws var(txn.border) -m found
	acl draws var(txn.percental) -m found
	acl known var(txn.id) -m len gt 0

	http-request set-var(txn.at) date(0,us)
	http-request set-var(txn.path) path,url_dec,concat(/),hex

	# Each rule is a bit. What a request has leaves the bits of the rules that it meets; the lowest one left decides. A line
	# whose variable is not there does nothing.
	http-request set-var(txn.matching) str(rules),map_str({{.Map}})
	http-request set-var(txn.matching) str(path:),concat(,txn.path),map_beg({{.Map}},0),and(txn.matching) if ruled
{{- range .Attributes}}
	http-request set-var(txn.{{.Key}}) {{.Fetch}},hex,concat(.) if ruled
	http-request set-var(txn.matching) str({{.Key}}:),concat(,txn.{{.Key}}),map_beg({{$.Map}},0),and(txn.matching) if ruled
{{- end}}

	# Who asks is only of interest where something is drawn.
	http-request set-var(txn.slot) str(sole),map_str({{.Map}})
	http-request set-var(txn.border) str(split),map_str({{.Map}})
{{- if .Percents}}
	http-request set-var(txn.percents) str(percents),map_str({{.Map}}) if ruled
	http-request set-var(txn.percental) bool(true) if { var(txn.matching),and(txn.percents) gt 0 }
{{- end}}
	http-request set-var(txn.id) req.cook({{.Cookie}}),bytes(0,64) if draws
{{- range .Identity}}
	http-request set-var-fmt(txn.id) "{{.}}=%[req.fhdr({{.}})]" if draws !known { req.fhdr({{.}}) -m len gt 0 }
{{- end}}
	http-request set-var(txn.issued) uuid() if draws !known
	http-request set-var(txn.id) var(txn.issued)
	http-request set-var(txn.digest) str(salt),map_str({{.Map}}),concat(:,txn.id),sha2(256) if draws
{{- range $i, $_ := .Percents}}
	http-request set-var(txn.percent{{$i}}) str(percent{{$i}}),map_str({{$.Map}}) if percental
	http-request set-var(txn.keep{{$i}}) var(txn.percent{{$i}}),word(1,:)
	http-request set-var(txn.share{{$i}}) var(txn.percent{{$i}}),word(2,:)
	http-request set-var(txn.drawn{{$i}}) var(txn.percent{{$i}}),word(3,:),concat(:,txn.id),sha2(256),bytes(0,6),hex,hex2i,mod({{$.Whole}})
	http-request set-var(txn.matching) var(txn.matching),and(txn.keep{{$i}}) if { var(txn.drawn{{$i}}),sub(txn.share{{$i}}) ge 0 }
{{- end}}

	# Where several slots have weight, the shares lie side by side: below the border is {{.Blue}}, the rest is {{.Green}}.
	http-request set-var(txn.point) var(txn.digest),bytes(0,6),hex,hex2i,mod({{.Whole}})
	http-request set-var(txn.slot) str({{.Green}}) if { var(txn.border) -m found }
	http-request set-var(txn.slot) str({{.Blue}}) if { var(txn.point),sub(txn.border) lt 0 }
	http-request set-var(txn.bit) var(txn.matching),neg,and(txn.matching) if ruled
	http-request set-var(txn.rule) str(rule),concat(,txn.bit),map_str({{.Map}}) if ruled
	http-request set-var(txn.slot) var(txn.rule),word(1,:)

	http-request return status 503 content-type text/plain string "no release has traffic yet\n" hdr Retry-After 1 if !{ var(txn.slot) -m found }
	http-request set-var(txn.about) str(slot:),concat(,txn.slot),map_str({{.Map}})
	http-request set-var(txn.backend) var(txn.slot),concat(:,txn.path),map_beg({{.Map}})
	http-request return status 404 content-type text/plain string "no component of this release serves this path\n" if !{ var(txn.backend) -m found } or { method CONNECT }

{{if .O.TrustForwarded}}	http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if { req.fhdr(X-Forwarded-For) -m found }
	http-request set-header X-Forwarded-For %[src] if !{ req.fhdr(X-Forwarded-For) -m found }
	http-request set-header X-Forwarded-Host %[req.hdr(Host)] if !{ req.fhdr(X-Forwarded-Host) -m found }
	http-request set-header X-Forwarded-Proto {{$.Scheme}} if !{ req.fhdr(X-Forwarded-Proto) -m found }
	http-request set-var(txn.secure) str("; Secure") if { req.fhdr(X-Forwarded-Proto) https }
{{else}}	http-request set-header X-Forwarded-For %[src]
	http-request set-header X-Forwarded-Host %[req.hdr(Host)]
	http-request set-header X-Forwarded-Proto {{$.Scheme}}
{{end}}
	use_backend %[var(txn.backend)]{{.Once}} if !{ method GET HEAD OPTIONS }
	use_backend %[var(txn.backend)]

	http-response set-var(txn.first) date(0,us)
	http-response set-var(txn.streamed) int(1) if { res.hdr(Content-Type) -m beg -i text/event-stream }
	http-after-response set-status 502 if { status 503 } !{ var(txn.first) -m found } { var(txn.backend) -m found }
	http-after-response set-header {{.SlotHeader}} %[var(txn.slot)] if { var(txn.slot) -m found }
	http-after-response set-header {{.ReleaseHeader}} "%[var(txn.about),field(3,|,0)]" if { var(txn.about) -m found }
	http-after-response add-header Set-Cookie "{{.Cookie}}=%[var(txn.issued)]; Path=/; Max-Age={{.Age}}; HttpOnly; SameSite=Lax{{if .O.Certificate}}; Secure{{end}}%[var(txn.secure)]" if { var(txn.issued) -m found }
{{range .Backends}}
backend {{.Name}}
	balance first
	http-reuse safe
	retries 2
	option redispatch
	retry-on conn-failure empty-response
	server app {{if .Address}}{{.Address}}{{else}}{{$.Unset}} disabled{{end}} pool-purge-delay 2s
	server apology unix@{{$.Apology}}

backend {{.Name}}{{$.Once}}
	balance first
	http-reuse never
	option http-server-close
	retries 1
	option redispatch
	retry-on conn-failure empty-response
	server app {{if .Address}}{{.Address}}{{else}}{{$.Unset}} disabled{{end}}
	server apology unix@{{$.Apology}}
{{end}}`))
