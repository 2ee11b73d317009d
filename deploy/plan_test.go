package deploy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/canary"
)

func frozen(t *testing.T, text string) Freeze {
	t.Helper()
	f, err := ParseFreeze(text)
	require.NoError(t, err)
	return f
}

func somePlan(t *testing.T) *Plan {
	return &Plan{
		Format: PlanFormat, Application: "shop", Environment: "production",
		From: PlannedRelease{Version: "v1", Digests: map[string]string{"web": "sha256:1", "api": "sha256:9"}}, To: PlannedRelease{Version: "v2", Source: "tag v2", Digests: map[string]string{"web": "sha256:2", "api": "sha256:9"}},
		Strategy: Canary,
		Steps: []PlannedStep{
			{State: Replacing, Slot: Blue, Release: "v1", Bound: 90 * time.Minute, Downtime: true}, {State: Done, Slot: Green, Release: "v2"},
		},
		Checks: []string{"freeze", "secrets"}, Gates: []string{"smoke"}, Approvals: PlannedApprovals{Needed: 2, Of: []string{"ada", "ben"}, Lasts: "4h"},
		Canary:     &canary.Plan{Steps: []canary.Step{{Percent: 5, Least: time.Minute, Exposure: 40, MaxExcess: .1}}, HoldBack: 5, Bake: time.Minute, Extend: time.Hour, Inconclusive: canary.Ask, Options: canary.Options{Metrics: []canary.Metric{{Name: "orders"}}}},
		Migrations: []PlannedMigration{{Version: 3, Name: "drop_old", SHA256: "abcdef0123456789", Class: "contract", Contract: "column a.b", NeededBy: []string{"v1"}}},
		Config:     map[string]string{"LOG_LEVEL": "5f"}, Secrets: map[string]string{"DB_PASSWORD": "6e"}, Disk: 2_500_000,
		Freeze: []Freeze{frozen(t, "fri 16:00 to mon 08:00 UTC")}, Override: &Override{By: "ada", Reason: "outage"},
	}
}

// leaves calls f for a copy of the plan in which one value is another one, for each value that there is.
func leaves(t *testing.T, f func(path string, changed *Plan)) {
	var count func(v reflect.Value, path string, change func(path string, v reflect.Value))
	count = func(v reflect.Value, path string, change func(string, reflect.Value)) {
		if _, is := v.Interface().(Freeze); is {
			change(path, v)
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				count(v.Field(i), path+"."+v.Type().Field(i).Name, change)
			}
		case reflect.Slice:
			change(path, v)
			for i := range v.Len() {
				count(v.Index(i), path+"[]", change)
			}
		case reflect.Pointer:
			change(path, v)
			if !v.IsNil() {
				count(v.Elem(), path, change)
			}
		default:
			change(path, v)
		}
	}
	total := 0
	count(reflect.ValueOf(somePlan(t)).Elem(), "plan", func(string, reflect.Value) { total++ })
	for n := range total {
		plan, at := somePlan(t), 0
		count(reflect.ValueOf(plan).Elem(), "plan", func(path string, v reflect.Value) {
			if at++; at != n+1 {
				return
			}
			switch v.Kind() {
			case reflect.String:
				v.SetString(v.String() + "x")
			case reflect.Bool:
				v.SetBool(!v.Bool())
			case reflect.Int, reflect.Int64:
				v.SetInt(v.Int() + 1)
			case reflect.Uint64:
				v.SetUint(v.Uint() + 1)
			case reflect.Float64:
				v.SetFloat(v.Float() + .5)
			case reflect.Map:
				v.SetMapIndex(reflect.ValueOf("another"), reflect.ValueOf("value"))
			case reflect.Slice:
				v.Set(v.Slice(0, 0))
			case reflect.Pointer:
				v.SetZero()
			case reflect.Struct:
				v.Set(reflect.ValueOf(frozen(t, "2026-12-20 to 2026-12-21 UTC")))
			default:
				t.Fatalf("%s is a %s", path, v.Kind())
			}
			f(path, plan)
		})
	}
}

func TestAChangeOfAnythingInAPlanChangesItsHash(t *testing.T) {
	seen := map[string]string{somePlan(t).Hash(): "nothing"}
	changes := 0
	leaves(t, func(path string, changed *Plan) {
		changes++
		hash := changed.Hash()
		if other, again := seen[hash]; again {
			t.Errorf("a change of %s has the hash of a change of %s", path, other)
		}
		seen[hash] = path
	})
	assert.Greater(t, changes, 50)
	for name, values := range map[string]func(*Plan) map[string]string{
		"a digest": func(p *Plan) map[string]string { return p.To.Digests }, "configuration": func(p *Plan) map[string]string { return p.Config },
		"a secret": func(p *Plan) map[string]string { return p.Secrets },
	} {
		p := somePlan(t)
		for key := range values(p) {
			values(p)[key] += "x"
		}
		assert.NotContains(t, seen, p.Hash(), name)
	}
	assert.Equal(t, somePlan(t).Hash(), somePlan(t).Hash())
}

func TestAPlanReadAgainHasItsHash(t *testing.T) {
	text, err := somePlan(t).Canonical()
	require.NoError(t, err)
	var again Plan
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, somePlan(t).Hash(), again.Hash())
}

func TestAPlanForPeopleShowsWhatTheyApprove(t *testing.T) {
	p := somePlan(t)
	assert.Equal(t, strings.ReplaceAll(`Deploy shop v2 to production, where v1 serves, by canary.
Plan HASH
From tag v2.
  api sha256:9, unchanged
  web sha256:2, was sha256:1
Checked before: freeze, secrets.
Passed before traffic: smoke.
Needs approval by 2 of ada, ben, good for 4h.
Configuration: LOG_LEVEL.
Secrets: DB_PASSWORD.
Disk: 2.5 MB.
Migration 3 drop_old: contract, sha256 abcdef012345; takes away: column a.b, needed by v1.
Frozen: fri 16:00 to mon 08:00 UTC.
A freeze is overridden by ada: outage
Canary: 5 % for 1m and 40 users, at most 10 % more failing; all but 5 % for 1m; undecided after 1h more: ask.
Steps:
  1. replacing blue (v1), at most 1h30m: DOWNTIME from here to shifting
  2. done green (v2)
`, "HASH", p.Hash()), p.Text())
}

func TestAPlansStepsAreWhatTheJournalSaysAfterwards(t *testing.T) {
	for _, strategy := range []Strategy{BlueGreen, Canary, Rolling, Recreate} {
		for _, first := range []bool{false, true} {
			name := string(strategy)
			if first {
				name += ", the first"
			}
			t.Run(name, func(t *testing.T) {
				s := newSite(strategy)
				d := s.command("d1")
				if !first {
					s = opened(t, strategy)
					d = s.now(t.Context(), t, "d1")
				}
				steps := d.Steps(s.release("v2"))
				require.NoError(t, d.Run(t.Context(), s.release("v2")))
				require.NoError(t, d.Retire(t.Context()))
				var planned, done []string
				for _, step := range steps {
					planned = append(planned, strings.Join([]string{string(step.State), string(step.Slot), step.Release}, " "))
				}
				for _, e := range s.of("d1") {
					text := strings.Join([]string{string(e.State), string(e.Slot), e.Release}, " ")
					if len(done) == 0 || done[len(done)-1] != text { // a ramp has several
						done = append(done, text)
					}
				}
				assert.Equal(t, planned, done)
			})
		}
	}
}

func TestAFingerprintTellsChangesAndNothingElse(t *testing.T) {
	key := []byte("key")
	one := Fingerprint(key, "NAME", "value")
	assert.Equal(t, one, Fingerprint(key, "NAME", "value"))
	for what, other := range map[string]string{
		"another value": Fingerprint(key, "NAME", "valuf"), "another name": Fingerprint(key, "NAMF", "value"), "another key": Fingerprint([]byte("kez"), "NAME", "value"),
		"another boundary": Fingerprint(key, "NAMEv", "alue"),
	} {
		assert.NotEqual(t, one, other, what)
	}
}
