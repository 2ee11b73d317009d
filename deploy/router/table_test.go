package router

import (
	"crypto/rand"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func splitOf(salt string, green int) *table {
	return newTable(salt,
		entry{slot: &slot{name: deploy.Blue}, weight: 100 - green},
		entry{slot: &slot{name: deploy.Green}, weight: green})
}

func TestRaisingAWeightMovesNobodyAwayFromTheSlotThatGrows(t *testing.T) {
	law := func(id, salt string, a, b uint8) bool {
		low, high := int(a)%101, int(b)%101
		if low > high {
			low, high = high, low
		}
		point := share(id, salt)
		before, after := splitOf(salt, low).at(point), splitOf(salt, high).at(point)
		return before.slot.name != deploy.Green || after.slot.name == deploy.Green
	}
	require.NoError(t, quick.Check(law, &quick.Config{MaxCount: 20_000}))
}

func TestACohortStaysOnItsSlotWhileWeightsStay(t *testing.T) {
	law := func(id, salt string, weight uint8) bool {
		green := int(weight) % 101
		first, again := splitOf(salt, green), splitOf(salt, green)
		return first.at(share(id, salt)).slot.name == again.at(share(id, salt)).slot.name
	}
	require.NoError(t, quick.Check(law, nil))
}

func TestSharesAreAsWeightedAndUnrelatedBetweenSalts(t *testing.T) {
	const n = 20_000
	green, both := 0, 0
	for i := range n {
		id := fmt.Sprintf("client-%d", i)
		first := splitOf("monday", 10).at(share(id, "monday")).slot.name == deploy.Green
		second := splitOf("tuesday", 10).at(share(id, "tuesday")).slot.name == deploy.Green
		if first {
			green++
		}
		if first && second {
			both++
		}
	}
	// Four standard deviations of a binomial.
	require.InDelta(t, .10*n, green, 4*math.Sqrt(n*.1*.9))
	require.InDelta(t, .01*n, both, 4*math.Sqrt(n*.01*.99))
}

func TestEveryPointBelongsToASlot(t *testing.T) {
	for green := range 101 {
		for _, point := range []float64{0, 50, 99, math.Nextafter(100, 0)} {
			require.NotNil(t, splitOf("s", green).at(point), "green %d, point %v", green, point)
		}
	}
	law := func(id, salt string) bool { p := share(id, salt); return p >= 0 && p < 100 }
	require.NoError(t, quick.Check(law, nil))
}

func TestACookieIsSetOnlyWhileTrafficIsSplit(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	chosen := choose(splitOf("s", 0), request)
	require.Equal(t, deploy.Blue, chosen.slot.name)
	require.Empty(t, chosen.newCohort)

	chosen = choose(splitOf("s", 50), request)
	require.NotEmpty(t, chosen.newCohort)
	request.AddCookie(&http.Cookie{Name: CohortCookie, Value: chosen.newCohort})
	again := choose(splitOf("s", 50), request)
	require.Empty(t, again.newCohort)
	require.Equal(t, chosen.slot.name, again.slot.name)
	require.Equal(t, chosen.cohort, again.cohort)
}

func TestAnOverlongCohortIsReplaced(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.AddCookie(&http.Cookie{Name: CohortCookie, Value: rand.Text() + rand.Text() + rand.Text()})
	require.NotEmpty(t, choose(splitOf("s", 50), request).newCohort)
}

var byHeaders = Identity{}.canonical()

func choose(t *table, request *http.Request) choice { return t.pick(request, &byHeaders, false) }

func TestTheLongestPrefixWins(t *testing.T) {
	routes, err := NewRoutes([]deploy.Unit{
		{Component: "page", Routes: []string{"/"}},
		{Component: "api", Routes: []string{"/api", "/health/"}},
		{Component: "files", Routes: []string{"/api/files"}},
		{Component: "worker"},
	})
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/": "page", "/about": "page", "/api": "api", "/api/": "api", "/api/x": "api", "/apix": "page", "/health": "api",
		"/api/files": "files", "/api/files/1": "files", "/api/filesystem": "api", "": "page", "*": "",
	} {
		got, ok := routes.Component(path)
		require.Equal(t, want, got, path)
		require.Equal(t, want != "", ok, path)
	}
}

func TestRoutesThatCannotWorkAreRefused(t *testing.T) {
	_, err := NewRoutes([]deploy.Unit{{Component: "a", Routes: []string{"/x"}}, {Component: "b", Routes: []string{"/x/"}}})
	require.ErrorContains(t, err, "components a and b both serve /x/; give each path prefix to one component")
	_, err = NewRoutes([]deploy.Unit{{Component: "a", Routes: []string{"api"}}})
	require.ErrorContains(t, err, `write "/api"`)
}
