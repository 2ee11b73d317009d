package haproxy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// asked is a request as rules see it.
type asked struct {
	path           string
	header, cookie *string
	country        string
}

// lookup is HAProxy's map_beg: the value of the longest key that a text begins with.
func lookup(entries map[string]string, text string) bits {
	for n := len(text); n >= 0; n-- {
		if value, ok := entries[text[:n]]; ok {
			set, _ := strconv.ParseInt(value, 10, 64)
			return bits(set)
		}
	}
	return 0
}

// find does what the configuration does with a request, but for the draws.
func find(entries map[string]string, a asked) string {
	set := lookup(map[string]string{"": entries["rules"]}, "")
	set &= lookup(entries, "path:"+encode(a.path+"/"))
	for key, value := range map[string]*string{"h0": a.header, "c0": a.cookie, "country": &a.country} {
		if value == nil || key == "country" && *value == "" {
			set &= lookup(entries, key+":")
			continue
		}
		text := *value
		if key == "country" {
			text = strings.ToUpper(text)
		}
		set &= lookup(entries, key+":"+encode(text)+end)
	}
	return entries["rule"+number(set&-set)]
}

// meets is what a rule says.
func meets(m router.Match, a asked) bool {
	value := func(v *router.Value, got *string) bool {
		return v == nil || got != nil && (v.Equals == "" || *got == v.Equals) && strings.HasPrefix(*got, v.Prefix)
	}
	path := strings.TrimRight(m.Path, "/")
	country := len(m.Countries) == 0
	for _, one := range m.Countries {
		country = country || strings.EqualFold(one, a.country)
	}
	return (a.path == path || strings.HasPrefix(a.path, path+"/")) && value(m.Header, a.header) && value(m.Cookie, a.cookie) && country
}

func TestTheTableFindsTheFirstRuleThatARequestMeets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	values := []string{"", "a", "ab", "abc", "b", "a b", "ä", "."}
	paths := []string{"/", "/a", "/a/b", "/ab", "/a/b/c", "/A"}
	some := func(name string) *router.Value {
		switch random.IntN(4) {
		case 0:
			return &router.Value{Name: name, Equals: pick(values...)}
		case 1:
			return &router.Value{Name: name, Prefix: pick(values...)}
		default:
			return nil
		}
	}
	found := 0
	for range 3000 {
		table := newTable()
		table.Slots = []slot{{Slot: deploy.Blue}, {Slot: deploy.Green, Draining: random.IntN(4) == 0}}
		for n := range random.IntN(10) {
			m := router.Match{Header: some("x-staff"), Cookie: some("beta")}
			if random.IntN(2) == 0 {
				m.Path = pick(paths...)
			}
			if random.IntN(4) == 0 {
				m.Countries = []string{pick("is", "NO"), pick("SE", "is")}
			}
			table.Routing.Rules = append(table.Routing.Rules, router.Rule{
				Name: fmt.Sprint("r", n), Match: m, Slot: deploy.Slot(pick("blue", "green")),
			})
		}
		entries := map[string]string{}
		for _, e := range table.rules(Options{Headers: []string{"X-Staff"}, Cookies: []string{"beta"}}) {
			require.NotContains(t, entries, e.key)
			require.NotContains(t, e.key, " ")
			entries[e.key] = e.value
		}
		for range 20 {
			a := asked{path: pick(paths...), country: pick("", "IS", "no", "FR")}
			if random.IntN(2) == 0 {
				header := pick(values...)
				a.header = &header
			}
			if random.IntN(2) == 0 {
				cookie := pick(values...)
				a.cookie = &cookie
			}
			want := ""
			for _, rule := range table.Routing.Rules {
				if !table.find(rule.Slot).Draining && meets(rule.Match, a) {
					want = string(rule.Slot) + ":" + rule.Name
					found++
					break
				}
			}
			require.Equal(t, want, find(entries, a), "%+v of %+v", a, table.Routing.Rules)
		}
	}
	require.Greater(t, found, 5000)
}

func TestATableIsRememberedAsItWas(t *testing.T) {
	o := Options{Headers: []string{"X"}}.orDefaults()
	table := newTable()
	for i, name := range slots {
		table.Slots = append(table.Slots, slot{
			Slot: name, Weight: 40 + 20*i, Stream: "S" + string(name), addresses: []string{"127.0.0.1:80", "[::1]:8080"},
			Registration: router.Registration{Release: "v1 \"of\" <today>|#", Backends: []router.Backend{
				{Component: "a", URL: "http://localhost", Routes: []string{"/", "/a b"}},
				{Component: "b", URL: "http://[::1]:8080", Routes: []string{"/b/"}},
			}},
		})
	}
	for n := range 60 {
		table.Routing.Rules = append(table.Routing.Rules, router.Rule{
			Name: fmt.Sprint("rule", n), Match: router.Match{Header: &router.Value{Name: "X", Equals: strings.Repeat("ä ", 200) + fmt.Sprint(n)}}, Slot: deploy.Green,
		})
	}
	entries, err := table.entries(o)
	require.NoError(t, err)
	kept := map[string]string{}
	for _, e := range entries {
		require.Less(t, len(e.key)+len(e.value), maxPayload)
		require.NotContains(t, e.key+e.value, "\n")
		require.NotContains(t, kept, e.key)
		kept[e.key] = e.value
	}
	again, err := remember(kept, o.Components)
	require.NoError(t, err)
	require.Equal(t, table, again)
	require.Equal(t, "400000", kept["split"])
	delete(kept, "memory1")
	_, err = remember(kept, o.Components)
	require.Error(t, err)
}
