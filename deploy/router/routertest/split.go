package routertest

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/plane"
)

func withoutTraffic(t *testing.T, s *Stage) {
	for range 2 {
		response := get(t, newClient(t), s.URL)
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		require.Equal(t, "1", response.Header.Get("Retry-After"))
		require.NoError(t, s.Register(bounded(t), one(t, deploy.Blue, "v1", start(t, says("ok")).url)))
	}
}

func signature(t *testing.T, s *Stage) {
	s.give(t, one(t, deploy.Green, "v2 of today", start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(router.SlotHeader, "forged")
		w.WriteHeader(http.StatusTeapot)
	}).url))
	response := get(t, newClient(t), s.URL)
	require.Equal(t, http.StatusTeapot, response.StatusCode)
	require.Equal(t, []string{"green"}, response.Header.Values(router.SlotHeader))
	require.Equal(t, []string{"v2 of today"}, response.Header.Values(router.ReleaseHeader))
	require.Empty(t, response.Cookies(), "one slot needs no cohort")
}

func components(t *testing.T, s *Stage) {
	instance := deploy.Instance{Slot: deploy.Blue, Release: deploy.Release{Version: "v1", Units: []deploy.Unit{
		{Component: "page", Routes: []string{"/page", "/a b"}}, {Component: "api", Routes: []string{"/page/api/"}}, {Component: "worker"},
	}}, Endpoints: map[string]*url.URL{}}
	for _, component := range []string{"page", "api"} {
		instance.Endpoints[component], _ = url.Parse(start(t, says(component)).url)
	}
	s.give(t, instance)
	for path, want := range map[string]string{
		"/page": "page", "/page/": "page", "/page?x=/page/api": "page", "/page/api": "api", "/page/api/x": "api", "/page/apix": "page", "/a%20b/c": "page",
	} {
		body := get(t, newClient(t), s.URL+path).Body
		assert.Equal(t, want, body, path)
	}
	for _, path := range []string{"/", "/pages", "/nowhere"} {
		response := get(t, newClient(t), s.URL+path)
		assert.Equal(t, http.StatusNotFound, response.StatusCode, path)
	}
}

func forwarded(t *testing.T, s *Stage) {
	seen := make(chan *http.Request, 1)
	s.give(t, one(t, deploy.Blue, "v1", start(t, func(_ http.ResponseWriter, request *http.Request) { seen <- request }).url))
	get(t, newClient(t), s.URL+"/a%2Fb?x=1;y=2&z", "Host", "shop.example", "X-Forwarded-For", "203.0.113.7", "Authorization", "Bearer t")
	got := <-seen
	require.Equal(t, "/a%2Fb?x=1;y=2&z", got.RequestURI)
	require.Equal(t, "shop.example", got.Host)
	require.Equal(t, "Bearer t", got.Header.Get("Authorization"))
	require.Equal(t, []string{"127.0.0.1"}, got.Header.Values("X-Forwarded-For"), "a client may not claim an address")
	require.Equal(t, []string{"shop.example"}, got.Header.Values("X-Forwarded-Host"))
	require.Equal(t, []string{"http"}, got.Header.Values("X-Forwarded-Proto"))
}

func refusals(t *testing.T, s *Stage) {
	application := start(t, says("ok"))
	s.give(t, one(t, deploy.Blue, "v1", application.url))
	ctx := bounded(t)
	_, drain := s.Drain(ctx, deploy.Blue)
	_, unread := s.Records(ctx, deploy.Green, router.Cursor{}, 1)
	for what, c := range map[string]struct {
		err  error
		want router.Reason
	}{
		"a slot that is not there":            {s.Shift(ctx, map[deploy.Slot]int{deploy.Green: 100}), router.Unknown},
		"weights that are not a whole":        {s.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 99}), router.Invalid},
		"a weight that is none":               {s.Shift(ctx, map[deploy.Slot]int{deploy.Blue: -1}), router.Invalid},
		"another instance where traffic goes": {s.Register(ctx, one(t, deploy.Blue, "v9", application.url)), router.Conflict},
		"the removal of a slot with traffic":  {s.Remove(ctx, deploy.Blue), router.Conflict},
		"the drain of a slot with traffic":    {drain, router.Conflict},
		"records of a slot that is not there": {unread, router.Unknown},
		"a release without components":        {s.Register(ctx, deploy.Instance{Slot: deploy.Green}), router.Invalid},
		"a rule that leads nowhere":           {s.SetRules(ctx, router.Routing{Rules: []router.Rule{{Name: "r"}}}), router.Invalid},
	} {
		var refused *router.Error
		if assert.ErrorAs(t, c.err, &refused, what) {
			assert.Equal(t, c.want, refused.Reason, "%s: %v", what, refused)
		}
	}
	require.Equal(t, deploy.Blue, s.slot(t, newClient(t), "/"))
	require.Equal(t, "v1", s.statusOf(t, deploy.Blue).Release)
	require.NoError(t, s.Remove(ctx, deploy.Green), "what is not there is removed")
	left, err := s.Drain(ctx, deploy.Green)
	require.NoError(t, err, "what is not there is idle")
	require.Zero(t, left)
}

func twice(t *testing.T, s *Stage) {
	instance := one(t, deploy.Blue, "v1", start(t, says("ok")).url)
	s.give(t, instance)
	s.slot(t, newClient(t), "/")
	require.Len(t, s.read(t, deploy.Blue, 1), 1)
	require.NoError(t, s.Register(bounded(t), instance))
	require.Equal(t, 100, s.statusOf(t, deploy.Blue).Weight)
	require.Len(t, s.read(t, deploy.Blue, 1), 1, "what was recorded is still there")
}

// people is how many cohorts the suite asks for. A share of them strays by three standard deviations at most in 997 of 1,000
// draws: 3 * sqrt(.25 / 800) is 5.3 %.
const (
	people    = 800
	tolerance = .06
)

func (s *Stage) draw(t testing.TB, client *http.Client, path string) map[string]bool {
	t.Helper()
	green := map[string]bool{}
	for i := range people {
		id := fmt.Sprint("person", i)
		if s.slot(t, client, path, cohort(id)...) == deploy.Green {
			green[id] = true
		}
	}
	return green
}

func shares(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 0)
	client := newClient(t)
	require.Empty(t, s.draw(t, client, "/"))
	for _, percent := range []int{1, 30} {
		s.shift(t, percent)
		assert.InDelta(t, float64(percent)/100, float64(len(s.draw(t, client, "/")))/people, tolerance, "%d %%", percent)
	}
	s.shift(t, 100)
	require.Len(t, s.draw(t, client, "/"), people)
}

func monotone(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 5)
	client := newClient(t)
	before := s.draw(t, client, "/")
	require.NotEmpty(t, before)
	for _, percent := range []int{25, 60} {
		s.shift(t, percent)
		now := s.draw(t, client, "/")
		for id := range before {
			require.True(t, now[id], "%s went back at %d %%", id, percent)
		}
		require.Greater(t, len(now), len(before))
		before = now
	}
	s.shift(t, 25)
	for id := range s.draw(t, client, "/") {
		require.True(t, before[id], "%s came when the weight fell", id)
	}
}

func issued(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 50)
	client, ids := newClient(t), map[string]bool{}
	for range 20 {
		response := get(t, client, s.URL)
		cookies := response.Cookies()
		require.Len(t, cookies, 1)
		require.Equal(t, router.CohortCookie, cookies[0].Name)
		require.True(t, cookies[0].HttpOnly)
		require.False(t, cookies[0].Secure, "it would never come back over plain HTTP")
		require.Equal(t, http.SameSiteLaxMode, cookies[0].SameSite)
		require.Equal(t, "/", cookies[0].Path)
		require.Positive(t, cookies[0].MaxAge)
		require.GreaterOrEqual(t, len(cookies[0].Value), 16)
		ids[cookies[0].Value] = true
		for range 3 {
			again := get(t, client, s.URL, cohort(cookies[0].Value)...)
			require.Equal(t, response.Header.Get(router.SlotHeader), again.Header.Get(router.SlotHeader))
			require.Empty(t, again.Cookies())
		}
	}
	require.Len(t, ids, 20)
}

func keys(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 50)
	client := newClient(t)
	for _, header := range router.DefaultIdentityHeaders {
		met := map[deploy.Slot]bool{}
		for i := range 40 {
			key := fmt.Sprintf("Bearer %d", i)
			response := get(t, client, s.URL, header, key)
			require.Empty(t, response.Cookies())
			slot := deploy.Slot(response.Header.Get(router.SlotHeader))
			require.Equal(t, slot, s.slot(t, client, "/", header, key))
			met[slot] = true
		}
		require.Len(t, met, 2, header)
	}
}

func anew(t *testing.T, s *Stage) {
	application := start(t, says("ok"))
	s.both(t, application.url, 50)
	client := newClient(t)
	first := s.draw(t, client, "/")
	s.shift(t, 0)
	require.NoError(t, s.Remove(bounded(t), deploy.Green))
	require.NoError(t, s.Register(bounded(t), one(t, deploy.Green, "v3", application.url)))
	s.shift(t, 50)
	second := s.draw(t, client, "/")
	both := 0
	for id := range second {
		if first[id] {
			both++
		}
	}
	require.InDelta(t, .25, float64(both)/people, tolerance, "the same people must not always be first")
}

func rules(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 0)
	set := func(rules ...router.Rule) {
		t.Helper()
		require.NoError(t, s.SetRules(bounded(t), router.Routing{Rules: rules}))
	}
	header := func(v router.Value) router.Match { v.Name = "x-staff"; return router.Match{Header: &v} }
	cookie := func(v router.Value) router.Match { v.Name = Cookie; return router.Match{Cookie: &v} }
	to := func(slot deploy.Slot, name string, match router.Match) router.Rule {
		return router.Rule{Name: name, Match: match, Slot: slot}
	}
	set(
		to(deploy.Blue, "never", header(router.Value{Equals: "never"})),
		to(deploy.Green, "boss", header(router.Value{Equals: "the boss"})),
		to(deploy.Green, "team", header(router.Value{Prefix: "team-"})),
		to(deploy.Blue, "old", router.Match{Path: "/new/old"}),
		to(deploy.Green, "new", router.Match{Path: "/new"}),
		to(deploy.Green, "beta", cookie(router.Value{Equals: "1"})),
		to(deploy.Green, "any", router.Match{Path: "/any", Cookie: &router.Value{Name: Cookie}}),
		to(deploy.Green, "north", router.Match{Countries: []string{"is", "NO"}}),
	)
	client := newClient(t)
	for _, c := range []struct {
		name, path string
		headers    []string
		want       deploy.Slot
	}{
		{"nothing", "/", nil, deploy.Blue},
		{"a header's value", "/", []string{Header, "the boss"}, deploy.Green},
		{"a longer value", "/", []string{Header, "the boss's"}, deploy.Blue},
		{"a shorter value", "/", []string{Header, "the bos"}, deploy.Blue},
		{"a value in other letters", "/", []string{Header, "THE BOSS"}, deploy.Blue},
		{"a header's prefix", "/", []string{Header, "team-7"}, deploy.Green},
		{"a path", "/new", nil, deploy.Green},
		{"a path below", "/new/x?y", nil, deploy.Green},
		{"a path that only begins alike", "/newer", nil, deploy.Blue},
		{"an earlier rule", "/new/old/x", nil, deploy.Blue},
		{"an earlier rule of another kind", "/new/old/x", []string{Header, "team-7"}, deploy.Green},
		{"the first rule", "/new", []string{Header, "never"}, deploy.Blue},
		{"a cookie's value", "/", []string{"Cookie", "a=1; beta=1; c=2"}, deploy.Green},
		{"another value", "/", []string{"Cookie", "beta=2"}, deploy.Blue},
		{"any value, and a path", "/any", []string{"Cookie", "beta=2"}, deploy.Green},
		{"the path without the cookie", "/any", nil, deploy.Blue},
		{"a country", "/", []string{"CF-IPCountry", "IS"}, deploy.Green},
		{"a country in small letters", "/", []string{"CF-IPCountry", "no"}, deploy.Green},
		{"another country", "/", []string{"CF-IPCountry", "SE"}, deploy.Blue},
	} {
		assert.Equal(t, c.want, s.slot(t, client, c.path, c.headers...), c.name)
	}
	got, err := s.Rules(bounded(t))
	require.NoError(t, err)
	require.Len(t, got.Rules, 8)
	require.Equal(t, header(router.Value{Equals: "the boss"}), got.Rules[1].Match)

	require.NoError(t, s.Remove(bounded(t), deploy.Green))
	require.Equal(t, deploy.Blue, s.slot(t, client, "/new"), "a rule whose slot is not there is passed over")
	status, err := s.Status(bounded(t))
	require.NoError(t, err)
	require.Equal(t, router.RuleStatus{Name: "new", Active: false}, status.Rules[4])
	set()
	require.Equal(t, deploy.Blue, s.slot(t, client, "/", Header, "the boss"))
}

func percentage(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 0)
	draw := func(percent float64) map[string]bool {
		require.NoError(t, s.SetRules(bounded(t), router.Routing{Rules: []router.Rule{
			{Name: "half", Match: router.Match{Path: "/some", Percent: percent}, Slot: deploy.Green},
			{Name: "none", Match: router.Match{Path: "/none", Percent: 100}, Slot: deploy.Blue},
		}}))
		return s.draw(t, newClient(t), "/some")
	}
	few, many := draw(12.5), draw(50)
	assert.InDelta(t, .125, float64(len(few))/people, tolerance)
	assert.InDelta(t, .5, float64(len(many))/people, tolerance)
	for id := range few {
		require.True(t, many[id], id)
	}
	client := newClient(t)
	response := get(t, client, s.URL+"/some")
	require.Len(t, response.Cookies(), 1, "a draw needs an id")
	response = get(t, client, s.URL+"/other")
	require.Empty(t, response.Cookies())
}

func abilities(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 0)
	able := s.Abilities()
	require.Empty(t, plane.Missing(able, plane.All()), "an ability that nobody knows")
	ctx := bounded(t)
	experiment := router.Routing{
		Rules: []router.Rule{{Name: "r", Experiment: "e"}},
		Experiments: []router.Experiment{{Name: "e", Variants: []router.Variant{
			{Name: "a", Weight: 0, Slot: deploy.Blue}, {Name: "b", Weight: 100, Slot: deploy.Green},
		}}},
	}
	odd := router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Header: &router.Value{Name: "X-Unheard-Of"}}, Slot: deploy.Green}}}
	for _, c := range []struct {
		need    plane.Ability
		routing router.Routing
		headers []string
	}{{plane.Experiments, experiment, nil}, {plane.AnyAttribute, odd, []string{"X-Unheard-Of", "1"}}} {
		require.Equal(t, []plane.Ability{c.need}, plane.Needs(c.routing, []string{Header}, []string{Cookie}))
		err := s.SetRules(ctx, c.routing)
		if len(plane.Missing([]plane.Ability{c.need}, able)) > 0 {
			require.ErrorContains(t, err, string(c.need))
			require.Equal(t, deploy.Blue, s.slot(t, newClient(t), "/", c.headers...))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, deploy.Green, s.slot(t, newClient(t), "/", c.headers...))
	}
}
