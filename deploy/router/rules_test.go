package router

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

// ruled is a table where blue has all traffic, green is idle, and rules are as given.
func ruled(t testing.TB, routing Routing) *table {
	t.Helper()
	require.NoError(t, routing.check())
	table := &table{salt: "s", routing: routing, entries: []entry{
		{slot: &slot{name: deploy.Blue}, weight: 100}, {slot: &slot{name: deploy.Green}},
	}}
	table.compile(nil)
	return table
}

func TestARuleMatchesWhatItNames(t *testing.T) {
	request := func(change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/api/items", nil)
		change(r)
		return r
	}
	plain := request(func(*http.Request) {})
	header := func(name, value string) *http.Request {
		return request(func(r *http.Request) { r.Header.Set(name, value) })
	}
	for what, c := range map[string]struct {
		match   Match
		request *http.Request
		green   bool
	}{
		"everything":                       {Match{}, plain, true},
		"a path":                           {Match{Path: "/api"}, plain, true},
		"a path with a slash at its end":   {Match{Path: "/api/"}, plain, true},
		"half a segment is no path":        {Match{Path: "/ap"}, plain, false},
		"a header with any value":          {Match{Header: &Value{Name: "x-beta"}}, header("X-Beta", "no"), true},
		"a header that is not there":       {Match{Header: &Value{Name: "X-Beta"}}, plain, false},
		"a header with a value":            {Match{Header: &Value{Name: "X-Beta", Equals: "1"}}, header("X-Beta", "1"), true},
		"a header with another value":      {Match{Header: &Value{Name: "X-Beta", Equals: "1"}}, header("X-Beta", "11"), false},
		"a header's prefix":                {Match{Header: &Value{Name: "User-Agent", Prefix: "Probe/"}}, header("User-Agent", "Probe/2"), true},
		"a cookie among others":            {Match{Cookie: &Value{Name: "beta", Equals: "1"}}, header("Cookie", "a=b; beta=1; c=d"), true},
		"a quoted cookie":                  {Match{Cookie: &Value{Name: "beta", Equals: "1"}}, header("Cookie", `beta="1"`), true},
		"a cookie whose name only ends so": {Match{Cookie: &Value{Name: "beta"}}, header("Cookie", "alphabeta=1"), false},
		"a country in any case":            {Match{Countries: []string{"NZ", "AU"}}, header("CF-IPCountry", "nz"), true},
		"another country":                  {Match{Countries: []string{"NZ"}}, header("CF-IPCountry", "DE"), false},
		"a country in a header of its own": {Match{Countries: []string{"NZ"}, CountryHeader: "x-geo"}, header("X-Geo", "NZ"), true},
		"everyone":                         {Match{Percent: 100}, plain, true},
		"all of several things":            {Match{Path: "/api", Header: &Value{Name: "X-Beta"}}, header("X-Beta", "1"), true},
		"one thing of several is no match": {Match{Path: "/other", Header: &Value{Name: "X-Beta"}}, header("X-Beta", "1"), false},
	} {
		table := ruled(t, Routing{Rules: []Rule{{Name: "r", Match: c.match, Slot: deploy.Green}}})
		got := choose(table, c.request)
		require.Equal(t, c.green, got.slot.name == deploy.Green, what)
		require.Equal(t, map[bool]By{true: ByRule, false: ByChance}[c.green], got.by, what)
	}
}

func TestTheFirstRuleThatLeadsSomewhereDecides(t *testing.T) {
	routing := Routing{Rules: []Rule{
		{Name: "gone", Slot: "violet"},
		{Name: "first", Match: Match{Path: "/a"}, Slot: deploy.Green},
		{Name: "second", Slot: deploy.Blue},
	}}
	table := ruled(t, routing)
	require.Equal(t, "first", choose(table, httptest.NewRequest(http.MethodGet, "/a", nil)).rule)
	require.Equal(t, "second", choose(table, httptest.NewRequest(http.MethodGet, "/b", nil)).rule)
	require.False(t, table.rules[0].active())

	table.edit(deploy.Green, func(e *entry) { e.draining = true })
	table.compile(nil)
	require.Equal(t, "second", choose(table, httptest.NewRequest(http.MethodGet, "/a", nil)).rule, "a slot that is drained gets nothing")
}

// Growing a percentage takes nobody out of the segment, and a segment is no echo of another.
func TestAPercentageGrowsWithoutMovingAnyoneOut(t *testing.T) {
	in := func(id string, percent float64) bool {
		table := ruled(t, Routing{Rules: []Rule{{Name: "r", Match: Match{Percent: percent}, Slot: deploy.Green}}})
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.AddCookie(&http.Cookie{Name: CohortCookie, Value: id})
		return choose(table, request).slot.name == deploy.Green
	}
	law := func(n uint32, a, b uint8) bool {
		low, high := float64(min(a, b)%100)+1, float64(max(a, b)%100)+1
		low, high = min(low, high), max(low, high)
		id := fmt.Sprint("client", n)
		return !in(id, low) || in(id, high)
	}
	require.NoError(t, quick.Check(law, &quick.Config{MaxCount: 3000}))
	const n = 5000
	inside := 0
	for i := range n {
		if in(fmt.Sprint("c", i), 20) {
			inside++
		}
	}
	require.InDelta(t, .2*n, inside, 5*math.Sqrt(n*.2*.8))
}

func abExperiment(weightB int) Routing {
	return Routing{
		Rules: []Rule{
			{Name: "testers", Match: Match{Header: &Value{Name: "X-Force-B"}}, Experiment: "checkout", Variant: "b"},
			{Name: "all", Experiment: "checkout"},
		},
		Experiments: []Experiment{{Name: "checkout", Variants: []Variant{
			{Name: "a", Weight: 100 - weightB, Slot: deploy.Blue}, {Name: "b", Weight: weightB, Slot: deploy.Green},
		}}},
	}
}

func TestAnExperimentIsStickyWeightedAndCountsEachCohortOnce(t *testing.T) {
	const n = 4000
	r := New(Options{})
	table := ruled(t, abExperiment(30))
	table.compile(r.exposed)
	moved := ruled(t, abExperiment(30))
	moved.salt = "another deployment"
	moved.compile(nil)
	variants := map[string]int{}
	for i := range n {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.AddCookie(&http.Cookie{Name: CohortCookie, Value: fmt.Sprint("c", i)})
		first, again := choose(table, request), choose(table, request)
		require.Equal(t, first.variant, again.variant)
		require.Equal(t, ByExperiment, first.by)
		require.Equal(t, first.variant.name, choose(moved, request).variant.name, "a deployment does not draw an experiment anew")
		variants[first.variant.name]++
	}
	require.InDelta(t, .3*n, variants["b"], 5*math.Sqrt(n*.3*.7))
	for _, name := range []string{"a", "b"} {
		cohorts, full, requests := r.exposed("checkout", name).status()
		require.Equal(t, variants[name], cohorts)
		require.EqualValues(t, 2*variants[name], requests)
		require.False(t, full)
	}
	forced := httptest.NewRequest(http.MethodGet, "/", nil)
	forced.Header.Set("X-Force-B", "1")
	before, _, _ := r.exposed("checkout", "b").status()
	got := choose(table, forced)
	after, _, _ := r.exposed("checkout", "b").status()
	require.Equal(t, "b", got.variant.name)
	require.Equal(t, ByRule, got.by)
	require.Equal(t, before, after, "who was not drawn is not counted")
}

func TestAVariantWhoseSlotIsGoneFallsBackToTheWeights(t *testing.T) {
	table := ruled(t, abExperiment(50)).without(deploy.Green)
	table.compile(nil)
	for i := range 50 {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.AddCookie(&http.Cookie{Name: CohortCookie, Value: fmt.Sprint("c", i)})
		require.Equal(t, deploy.Blue, choose(table, request).slot.name)
	}
}

func TestExposuresAreBounded(t *testing.T) {
	var e exposure
	for i := range uint64(maxExposed + 10) {
		e.add(i)
	}
	cohorts, full, requests := e.status()
	require.Equal(t, maxExposed, cohorts)
	require.True(t, full)
	require.EqualValues(t, maxExposed+10, requests)
}

func TestRulesThatCannotWorkAreRefused(t *testing.T) {
	experiment := abExperiment(50).Experiments
	rule := func(r Rule) Routing { return Routing{Rules: []Rule{r}, Experiments: experiment} }
	for text, routing := range map[string]Routing{
		`"" is not the name of a rule`:                           rule(Rule{Slot: deploy.Blue}),
		"leads to a slot and an experiment, or to neither":       rule(Rule{Name: "r"}),
		"leads to experiment x, which is not there":              rule(Rule{Name: "r", Experiment: "x"}),
		"leads to variant z, which experiment checkout does not": rule(Rule{Name: "r", Experiment: "checkout", Variant: "z"}),
		"has a variant but no experiment":                        rule(Rule{Name: "r", Slot: deploy.Blue, Variant: "a"}),
		`matches the path "api"; begin it with a slash`:          rule(Rule{Name: "r", Slot: deploy.Blue, Match: Match{Path: "api"}}),
		"matches 101 %":                                   rule(Rule{Name: "r", Slot: deploy.Blue, Match: Match{Percent: 101}}),
		"matches NaN %":                                   rule(Rule{Name: "r", Slot: deploy.Blue, Match: Match{Percent: math.NaN()}}),
		`matches a header or cookie named "a b"`:          rule(Rule{Name: "r", Slot: deploy.Blue, Match: Match{Header: &Value{Name: "a b"}}}),
		"wants a value and a prefix of X":                 rule(Rule{Name: "r", Slot: deploy.Blue, Match: Match{Cookie: &Value{Name: "X", Equals: "1", Prefix: "1"}}}),
		`leads to "a/b", which is not the name of a slot`: rule(Rule{Name: "r", Slot: "a/b"}),
		"rule r is there twice":                           {Rules: []Rule{{Name: "r", Slot: deploy.Blue}, {Name: "r", Slot: deploy.Green}}},
		"65 rules and 0 experiments are too many":         {Rules: make([]Rule, 65)},
		"has 1 variants; give it 2 to 8":                  {Experiments: []Experiment{{Name: "e", Variants: []Variant{{Name: "a", Weight: 100, Slot: deploy.Blue}}}}},
		"has weights that add up to 90":                   {Experiments: []Experiment{{Name: "e", Variants: []Variant{{Name: "a", Weight: 50, Slot: deploy.Blue}, {Name: "b", Weight: 40, Slot: deploy.Green}}}}},
		`has a variant named "a", or two of them`:         {Experiments: []Experiment{{Name: "e", Variants: []Variant{{Name: "a", Weight: 50, Slot: deploy.Blue}, {Name: "a", Weight: 50, Slot: deploy.Green}}}}},
	} {
		require.ErrorContains(t, routing.check(), text)
	}
}

func TestAClientIsKnownByItsCookieThenItsKeyThenItsAddress(t *testing.T) {
	headers, address := Identity{}.canonical(), Identity{Address: true}.canonical()
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.RemoteAddr = "192.0.2.7:1234"
	id := func(identity Identity, trust bool) (sent, issued string) {
		c := client{request: request, identity: &identity, trust: trust}
		sent = c.sent()
		c.id()
		return sent, c.issued
	}
	sent, issued := id(headers, false)
	require.Empty(t, sent)
	require.Len(t, issued, 26)
	sent, issued = id(address, false)
	require.Equal(t, "\x00192.0.2.7", sent)
	require.Empty(t, issued)
	request.Header.Set("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	sent, _ = id(address, false)
	require.Equal(t, "\x00192.0.2.7", sent, "a client may not choose its address")
	sent, _ = id(address, true)
	require.Equal(t, "\x00203.0.113.9", sent, "the proxy in front says who connected to it")
	request.Header.Set("Authorization", "Bearer t")
	sent, _ = id(address, true)
	require.Equal(t, "Authorization\x00Bearer t", sent)
	request.AddCookie(&http.Cookie{Name: CohortCookie, Value: "abc"})
	sent, _ = id(headers, false)
	require.Equal(t, "abc", sent)
}

func TestRoutesHaveNoIdsAndAreBounded(t *testing.T) {
	for path, want := range map[string]string{
		"/": "GET /", "": "GET /", "/items": "GET /items", "/items/42": "GET /items/:id", "/v1/items/": "GET /v1/items",
		"/u/8f14e45f-ceea-467f-a0e6-1a2b3c4d5e6f/x": "GET /u/:id/x", "/mail/me@example.com": "GET /mail/:id", "//a//b": "GET /a/b",
		"/reset/eyJhbGciOiJIUzI1NiJ9abcdef": "GET /reset/:id", "/a/b/c/d/e/f/g/h": "GET /a/b/c/d/e/f/…", "/mp3": "GET /mp3",
	} {
		require.Equal(t, want, string(normalise(nil, "GET", path)), path)
	}
	var names routeNames
	for i := range 3 * maxRoutes {
		names.of("GET", fmt.Sprintf("/%c%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, 'q'))
	}
	require.LessOrEqual(t, len(*names.names.Load()), maxRoutes+9)
	require.Equal(t, "GET other", *names.of("GET", "/zzzzz"))
	require.Equal(t, "OTHER other", *names.of("BREW", "/zzzzz"))
}

// Whatever is sent, framed and cut, the end of a frame is found where it is.
func TestTheEndsOfFramesAreFound(t *testing.T) {
	law := func(sizes []uint16, cuts []uint8, masked bool) bool {
		var data []byte
		ends := map[int]bool{}
		for _, size := range sizes {
			mask := byte(0)
			if masked {
				mask = 0x80
			}
			switch {
			case size < 126:
				data = append(data, 0x82, mask|byte(size))
			case size%2 == 0:
				data = append(data, 0x82, mask|126, byte(size>>8), byte(size))
			default:
				data = append(data, 0x82, mask|127, 0, 0, 0, 0, 0, 0, byte(size>>8), byte(size))
			}
			if masked {
				data = append(data, 1, 2, 3, 4)
			}
			data = append(data, make([]byte, size)...)
			ends[len(data)] = true
		}
		var f frames
		at := 0
		for n := 0; at < len(data); n++ {
			cut := 1
			if len(cuts) > 0 {
				cut = 1 + int(cuts[n%len(cuts)])*300
			}
			piece := data[at:min(at+cut, len(data))]
			for len(piece) > 0 {
				read, ended := f.next(piece)
				at += read
				if ended != ends[at] || ended != f.between() {
					return false
				}
				piece = piece[read:]
			}
		}
		return f.between()
	}
	require.NoError(t, quick.Check(law, &quick.Config{MaxCount: 150}))
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}], "at": "x"}`), []byte(`{"a": [1, {"b": 2}], "at": "y"}`), "**.at")
	f.Fuzz(func(t *testing.T, a, b []byte, ignore string) {
		x, errX := readJSON(a)
		y, errY := readJSON(b)
		if errX != nil || errY != nil {
			return
		}
		d := differ{ignore: []pattern{parsePattern(ignore)}}
		d.compare(nil, x, x)
		require.Empty(t, d.places, "a value is like itself")
		d.compare(nil, x, y)
		require.LessOrEqual(t, len(d.places), maxPlaces)
		back := differ{ignore: d.ignore}
		back.compare(nil, y, x)
		require.Equal(t, len(d.places) == 0, len(back.places) == 0, "differing is mutual")
	})
}

func TestDifferencesAreNamedByTheirPlace(t *testing.T) {
	for what, c := range map[string]struct {
		a, b   string
		ignore []string
		places []string
	}{
		"the same":                    {`{"a": 1, "b": [1, 2]}`, `{"b": [1, 2], "a": 1}`, nil, nil},
		"a value":                     {`{"a": {"b": 1}}`, `{"a": {"b": 2}}`, nil, []string{"body at $.a.b"}},
		"a missing key":               {`{"a": 1}`, `{}`, nil, []string{"body at $.a"}},
		"a longer list":               {`[1]`, `[1, 2]`, nil, []string{"body at $.length"}},
		"a kind":                      {`{"a": [1]}`, `{"a": {"0": 1}}`, nil, []string{"body at $.a"}},
		"what is ignored by its path": {`{"items": [{"id": 1, "n": 1}]}`, `{"items": [{"id": 2, "n": 1}]}`, []string{"$.items[*].id"}, nil},
		"what is ignored anywhere":    {`{"a": {"at": 1}, "at": 1}`, `{"a": {"at": 2}}`, []string{"**.at"}, nil},
		"numbers as they are written": {`1.0`, `1`, nil, []string{"body at $."}},
	} {
		a, err := readJSON([]byte(c.a))
		require.NoError(t, err)
		b, err := readJSON([]byte(c.b))
		require.NoError(t, err)
		d := differ{}
		for _, text := range c.ignore {
			d.ignore = append(d.ignore, parsePattern(text))
		}
		d.compare(nil, a, b)
		slices.Sort(d.places)
		require.Equal(t, c.places, d.places, what)
	}
}
