package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func asHTML(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, WriteHTML(&b, r))
	return b.String()
}

// element is an element of a page with the elements it is in.
type element struct {
	xml.StartElement
	within []string
	text   string
}

func (e element) attribute(name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// elements reads a page; it fails where elements do not nest, as browsers only repair.
func elements(t *testing.T, page string) (all []element) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = false
	d.AutoClose = []string{"meta"}
	d.Entity = xml.HTMLEntity
	var open []string
	var at []int
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			require.Empty(t, open)
			return all
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			all = append(all, element{StartElement: token.Copy(), within: append([]string{}, open...)})
			open, at = append(open, token.Name.Local), append(at, len(all)-1)
		case xml.EndElement:
			require.Equal(t, open[len(open)-1], token.Name.Local)
			open, at = open[:len(open)-1], at[:len(at)-1]
		case xml.CharData:
			if len(at) > 0 {
				all[at[len(at)-1]].text += string(token)
			}
		}
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	for name, r := range samples() {
		t.Run(name, func(t *testing.T) {
			page := asHTML(t, r)
			for _, e := range elements(t, page) {
				assert.NotContains(t, []string{"script", "link", "img", "iframe", "object", "form", "a", "base"}, e.Name.Local)
				for _, a := range e.Attr {
					assert.False(t, strings.HasPrefix(a.Name.Local, "on"), "no handlers: %s", a.Name.Local)
					assert.NotContains(t, []string{"style", "src", "href"}, a.Name.Local, "a strict policy allows no inline style")
				}
			}
			assert.NotContains(t, stylesheet, "url(")
			assert.NotContains(t, stylesheet, "@import")
			assert.Contains(t, page, `content="default-src &#39;none&#39;; style-src &#39;sha256-`)
			assert.NotContains(t, page, "ZgotmplZ", "html/template refused a value")
		})
	}
}

func TestThePageIsAccessible(t *testing.T) {
	for name, r := range samples() {
		t.Run(name, func(t *testing.T) {
			all := elements(t, asHTML(t, r))
			ids, tables, captions := map[string]int{}, 0, 0
			for i, e := range all {
				if id := e.attribute("id"); id != "" {
					ids[id]++
				}
				switch e.Name.Local {
				case "html":
					assert.NotEmpty(t, e.attribute("lang"))
				case "table":
					tables++
				case "caption":
					captions++
				case "th":
					assert.NotEmpty(t, e.attribute("scope"))
				case "svg":
					if !within(e, "svg") && e.attribute("aria-hidden") == "" && !hidden(all, i) {
						assert.Equal(t, "img", e.attribute("role"))
						assert.NotEmpty(t, e.attribute("aria-label")+e.attribute("aria-labelledby"))
					}
				}
			}
			for _, e := range all {
				for id := range strings.FieldsSeq(e.attribute("aria-labelledby")) {
					assert.Equal(t, 1, ids[id], id)
				}
			}
			for id, n := range ids {
				assert.Equal(t, 1, n, id)
			}
			assert.Equal(t, tables, captions)
		})
	}
}

func within(e element, name string) bool {
	for _, n := range e.within {
		if n == name {
			return true
		}
	}
	return false
}

// hidden says whether an element before the i-th one that holds it is hidden from screen readers: the legend.
func hidden(all []element, i int) bool {
	for j := i; j >= 0; j-- {
		if len(all[j].within) < len(all[i].within) && all[j].attribute("aria-hidden") == "true" {
			return all[j].Name.Local == "ul"
		}
		if all[j].Name.Local == "figure" || all[j].Name.Local == "section" {
			return false
		}
	}
	return false
}

func TestThePageSaysTheVerdictFirst(t *testing.T) {
	page := asHTML(t, refusedSample())
	order := []string{"<h1>", "REFUSED", refusedSample().Reasons[0][:20], "What failed", "frontend/src/format.test.ts:5:31", "npx jest -t &#39;formatBytes",
		"Stages", "Traffic", "switch to green", "Rollback drill", "ACCESS EXCLUSIVE", "Backup proven", "Notes", "images were not built"}
	last := 0
	for _, text := range order {
		at := strings.Index(page[last:], text)
		require.GreaterOrEqual(t, at, 0, "%q after what is before it", text)
		last += at
	}
}

func TestTheChartsShowSlotsErrorsAndMarks(t *testing.T) {
	all := elements(t, asHTML(t, refusedSample()))
	count := map[string]int{}
	for _, e := range all {
		count[e.Name.Local+"."+e.attribute("class")]++
	}
	assert.Equal(t, 1, count["path.slot-blue p95"])
	assert.Equal(t, 1, count["path.slot-green p50"])
	assert.Equal(t, 6, count["line.mark"], "three marks in two charts")
	assert.Equal(t, 3, count["text.mark wide"])
	assert.Equal(t, 4, count["rect.lost"])
	assert.Equal(t, 8, count["rect.drop"])

	all = elements(t, asHTML(t, passedSample()))
	bars, cached := 0, 0
	for _, e := range all {
		if e.attribute("class") == "bar" {
			bars++
		}
		if e.Name.Local == "tr" && strings.Contains(e.attribute("class"), "cached") {
			cached++
		}
	}
	assert.Equal(t, 22, bars, "every stage and step that ran")
	assert.Equal(t, 3, cached)
}

func TestTextFromOutsideIsNoMarkup(t *testing.T) {
	page := asHTML(t, hostileSample())
	body := page[strings.Index(page, "<body"):]
	for _, evil := range []string{"<script", "<img", "</style>", "\x1b", "\u202e"} {
		assert.False(t, strings.Contains(body, evil), evil)
	}
	assert.Equal(t, 1, strings.Count(page, "</style>"))
}

func TestColoursHaveEnoughContrast(t *testing.T) {
	light, dark := themes(t)
	for name, theme := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, pair := range [][2]string{
			{"ink", "page"}, {"ink", "card"}, {"ink", "sunk"}, {"soft", "page"}, {"soft", "card"}, {"soft", "sunk"},
			{"good", "card"}, {"bad", "card"}, {"warn", "card"}, {"good", "sunk"}, {"bad", "sunk"},
			{"good", "good-wash"}, {"bad", "bad-wash"}, {"warn", "warn-wash"},
		} {
			assert.GreaterOrEqual(t, contrast(t, theme[pair[0]], theme[pair[1]]), 4.5, "%s: text in %s on %s", name, pair[0], pair[1])
		}
		for _, line := range []string{"blue", "green", "violet", "amber", "drop"} {
			assert.GreaterOrEqual(t, contrast(t, theme[line], theme["card"]), 3.0, "%s: %s in a chart", name, line)
		}
	}
}

var cssVariable = regexp.MustCompile(`--([\w-]+): (#[0-9a-f]{3,6})\b`)

// themes are the colours of the style sheet.
func themes(t *testing.T) (light, dark map[string]string) {
	t.Helper()
	first, rest, ok := strings.Cut(stylesheet, "@media screen and (prefers-color-scheme: dark)")
	require.True(t, ok)
	second, _, _ := strings.Cut(rest, "\n}\n")
	read := func(css string) map[string]string {
		colours := map[string]string{}
		for _, m := range cssVariable.FindAllStringSubmatch(css, -1) {
			colours[m[1]] = m[2]
		}
		return colours
	}
	return read(first), read(second)
}

// contrast is the ratio of WCAG 2.2, 1.4.3.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of a colour: #rgb or #rrggbb.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	require.NotEmpty(t, colour)
	hex := colour[1:]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	require.NoError(t, err)
	channel := func(shift int) float64 {
		v := float64(n>>shift&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}
