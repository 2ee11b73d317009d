package survey

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Server is a server that the application uses.
type Server struct {
	Name string // "postgres", "redis"
	Env  string // the variable the sources read its URL from, "" where none was found
	Why  string // the dependency that tells of it
}

// drivers, by the server they talk to.
var drivers = []struct {
	server       string
	node, python []string
	variable     *regexp.Regexp
	usual        string
}{
	{"postgres",
		[]string{"pg", "postgres", "drizzle-orm", "@neondatabase/serverless", "pg-promise", "slonik"},
		[]string{"psycopg", "psycopg2", "psycopg2-binary", "asyncpg", "sqlalchemy", "sqlmodel", "pg8000"},
		regexp.MustCompile(`^([A-Z0-9]+_)*(DATABASE|POSTGRES|POSTGRESQL|PG|DB)_?(CONNECTION_)?(URL|URI|DSN)$`), "DATABASE_URL"},
	{"redis",
		[]string{"redis", "ioredis", "bullmq", "connect-redis"},
		[]string{"redis", "arq", "rq", "fastapi-cache2", "aioredis"},
		regexp.MustCompile(`^([A-Z0-9]+_)*REDIS_?(URL|URI|DSN)$`), "REDIS_URL"},
}

// Servers returns the servers that the packages' dependencies tell of. postgres says that one is needed anyway.
func (r *Repository) Servers(postgres bool) []Server {
	variables := r.variables()
	var found []Server
	for _, d := range drivers {
		why := ""
		for _, p := range r.Packages {
			for _, name := range d.node {
				if why == "" && p.Node != nil && p.Node.uses(name) && !(name == "drizzle-orm" && p.Node.uses("better-sqlite3", "mysql2", "@libsql/client")) {
					why = name + " in " + path.Join(p.Dir, PackageJSON)
				}
			}
			for _, name := range d.python {
				if why == "" && p.Python != nil && p.Python.uses(name) {
					why = name + " in " + path.Join(p.Dir, p.Python.File())
				}
			}
		}
		if why == "" && postgres && d.server == "postgres" {
			why = "the migrations"
		}
		if why == "" {
			continue
		}
		s := Server{Name: d.server, Why: why}
		for _, v := range variables {
			if d.variable.MatchString(v) && (s.Env == "" || v == d.usual) {
				s.Env = v
			}
		}
		found = append(found, s)
	}
	return found
}

var (
	readsVariable = regexp.MustCompile(`(?:process\.env\.|["'])([A-Z][A-Z0-9_]*)`)
	// A pydantic settings field is read from the variable of the same name in upper case.
	settingsField = regexp.MustCompile(`(?m)^\s+([a-z0-9_]+_(?:url|uri|dsn))\s*:\s`)
)

// variables returns what may be names of environment variables in the sources, sorted.
func (r *Repository) variables() []string {
	var found []string
	for _, p := range r.Packages {
		for _, f := range r.sources(p, false, p.extensions()...) {
			text := r.Source(f)
			for _, m := range readsVariable.FindAllStringSubmatch(text, -1) {
				found = append(found, m[1])
			}
			if strings.Contains(text, "BaseSettings") {
				for _, m := range settingsField.FindAllStringSubmatch(text, -1) {
					found = append(found, strings.ToUpper(m[1]))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// programs that applications call or load, and the Debian packages they come in.
var programs = []struct {
	debian string
	python []string       // distributions that need it
	named  *regexp.Regexp // how sources name the program
}{
	{"libimage-exiftool-perl", []string{"pyexiftool"}, regexp.MustCompile(`["'/]exiftool["']`)},
	{"ffmpeg", []string{"ffmpeg-python", "pydub"}, regexp.MustCompile(`["'/](ffmpeg|ffprobe)["']`)},
	{"libmagic1", []string{"python-magic"}, nil},
	{"tesseract-ocr", []string{"pytesseract"}, regexp.MustCompile(`["'/]tesseract["']`)},
	{"poppler-utils", []string{"pdf2image"}, regexp.MustCompile(`["'/](pdftotext|pdftoppm|pdfinfo)["']`)},
	{"imagemagick", nil, regexp.MustCompile(`["'/](magick|mogrify)["']`)},
	{"libvips42", []string{"pyvips"}, nil},
	{"libcairo2", []string{"cairosvg"}, nil},
}

// Debian is a Debian package that an application needs.
type Debian struct{ Name, Why string }

// Debians returns the Debian packages that a package's dependencies and sources tell of.
func (r *Repository) Debians(p Package) []Debian {
	var found []Debian
	for _, program := range programs {
		why := ""
		for _, name := range program.python {
			if p.Python != nil && p.Python.uses(name) {
				why = name
			}
		}
		for _, f := range r.sources(p, false, p.extensions()...) {
			if why == "" && program.named != nil && program.named.MatchString(r.Source(f)) {
				why = relative(p.Dir, f)
			}
		}
		if why != "" {
			found = append(found, Debian{program.debian, why})
		}
	}
	return found
}
