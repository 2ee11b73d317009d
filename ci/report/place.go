package report

import (
	"path"
	"regexp"
	"strings"

	"github.com/metaextract/pipeline/ci"
)

// tree turns paths as a tool wrote them into paths relative to the application's root. A runner copies a step's files
// to a directory of its own, so absolute paths in reports and logs name a place that is gone.
type tree struct {
	dir  string // the step's directory, "" for the root
	root string // where the runner had the application's root; "" where nothing tells
	tops []string
}

// roots are the phrases by which tools give away where they ran.
var roots = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^rootdir: (/\S+)`),
	regexp.MustCompile(`(?:file://)?(/[^\s()"'<>:]*?)/node_modules/`),
}

// enoughEvidence is how many paths are looked at before the search is given up.
const enoughEvidence = 100

// newTree looks for the place where the step ran in what it wrote.
func newTree(step ci.Step, evidence ...string) tree {
	t := tree{dir: strings.Trim(path.Clean("/"+step.Dir), "/")}
	for _, glob := range step.Inputs {
		top, _, _ := strings.Cut(strings.TrimPrefix(glob, "!"), "/")
		if top != "" && !strings.ContainsAny(top, "*?[{") {
			t.tops = append(t.tops, top)
		}
	}
	expressions := roots
	for _, known := range append([]string{t.dir}, t.tops...) {
		if known != "" {
			expressions = append(expressions[:len(expressions):len(expressions)], regexp.MustCompile(`(?:file://)?(/[^\s()"'<>:]*?)(?:/`+regexp.QuoteMeta(known)+`)/`))
		}
	}
	for _, expression := range expressions {
		for _, text := range evidence {
			for _, m := range expression.FindAllStringSubmatch(text, enoughEvidence) {
				if systemPath(m[1]) {
					continue
				}
				t.root = m[1]
				if root, ok := strings.CutSuffix(m[1], "/"+t.dir); ok && t.dir != "" {
					t.root = root
				}
				return t
			}
		}
	}
	return t
}

// systemPath says whether a path belongs to the machine, not to the application.
func systemPath(p string) bool {
	for _, prefix := range []string{"/usr/", "/lib/", "/opt/", "/proc/", "/dev/", "/etc/"} {
		if strings.HasPrefix(p+"/", prefix) {
			return true
		}
	}
	return false
}

// relative is the path from the application's root, or the path as it is where it does not belong to the application.
func (t tree) relative(p string) string {
	p = strings.TrimPrefix(p, "file://")
	p = strings.ReplaceAll(p, `\`, "/")
	if p == "" {
		return ""
	}
	if !strings.HasPrefix(p, "/") {
		return strings.TrimPrefix(path.Join("/", t.dir, p), "/")
	}
	p = path.Clean(p)
	if t.root != "" {
		if rest, ok := strings.CutPrefix(p, t.root+"/"); ok {
			return rest
		}
	}
	if systemPath(p) {
		return p
	}
	if t.dir != "" {
		if i := strings.Index(p, "/"+t.dir+"/"); i >= 0 {
			return p[i+1:]
		}
		return p
	}
	for _, top := range t.tops {
		if strings.HasSuffix(p, "/"+top) {
			return top
		}
		if i := strings.Index(p, "/"+top+"/"); i >= 0 {
			return p[i+1:]
		}
	}
	return p
}

// clean takes the runner's directory out of a text, where a path begins with it.
func (t tree) clean(text string) string {
	if t.root == "" || t.root == "/" {
		return text
	}
	root := t.root + "/"
	var b strings.Builder
	for {
		i := strings.Index(text, root)
		if i < 0 {
			break
		}
		before := strings.TrimSuffix(text[:i], "file://")
		if inner := before == text[:i] && i > 0 && strings.ContainsRune(pathRunes, rune(text[i-1])); inner {
			before = text[:i+len(root)]
		}
		b.WriteString(before)
		text = text[i+len(root):]
	}
	b.WriteString(text)
	return b.String()
}

// pathRunes end a part of a path: a slash after one of them does not begin a path.
const pathRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/@"

// within is a path relative to the application's root as seen from the step's directory.
func (t tree) within(p string) string {
	if t.dir == "" {
		return p
	}
	if rest, ok := strings.CutPrefix(p, t.dir+"/"); ok {
		return rest
	}
	return strings.Repeat("../", strings.Count(t.dir, "/")+1) + p
}

// foreign says whether a path is code of a library or of the machine.
func foreign(p string) bool {
	return p == "" || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "node:") || strings.HasPrefix(p, "<") ||
		strings.Contains("/"+p, "/node_modules/") || strings.Contains(p, "site-packages/") || strings.Contains("/"+p, "/.venv/")
}
