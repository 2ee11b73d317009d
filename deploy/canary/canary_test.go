package canary

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ride is a canary on its ramp and the users who come.
type ride struct {
	*Canary
	t     *testing.T
	now   time.Time
	users int
}

func begin(t *testing.T, plan Plan) *ride {
	t.Helper()
	c, err := New(plan)
	require.NoError(t, err)
	return &ride{Canary: c, t: t, now: start}
}

// two is a ramp of two steps, of one and two minutes.
func two() Plan {
	return Plan{
		Steps: []Step{
			{Percent: 10, Least: time.Minute, Exposure: 20, MaxExcess: .2},
			{Percent: 50, Least: 2 * time.Minute, Exposure: 50, MaxExcess: .2},
		},
		WarmUp: 30 * time.Second, HoldBack: 5, Bake: 5 * time.Minute, Extend: 10 * time.Minute,
	}
}

func (r *ride) after(d time.Duration) *ride {
	r.now = r.now.Add(d)
	return r
}

// come lets users come to the canary who end so.
func (r *ride) come(n int, outcome Outcome) {
	for range n {
		r.users++
		r.Observe(Observation{At: r.now, Cohort: strconv.Itoa(r.users), Route: "GET /", Canary: true, Share: .1, Outcome: outcome})
	}
}

// is asks for a decision and returns it.
func (r *ride) is(do Action, percent int) Decision {
	r.t.Helper()
	d := r.Decide(r.now)
	require.Equal(r.t, do, d.Do, "%v", d.Reasons)
	require.Equal(r.t, percent, d.Percent)
	return d
}

func (r *ride) shift(percent int) {
	r.t.Helper()
	r.is(Shift, percent)
	r.is(Shift, percent) // until it was done
	r.Shifted(r.now)
}

func TestAGoodReleaseGoesAllTheWay(t *testing.T) {
	r := begin(t, two())
	r.shift(10)
	r.come(50, AppError) // of the warm-up
	r.after(30*time.Second).come(30, OK)
	assert.Equal(t, start.Add(90*time.Second), r.is(Hold, 10).Until)
	r.after(time.Minute).shift(50)
	r.after(2*time.Minute-1).come(49, OK)
	r.is(Hold, 50)
	assert.Equal(t, "49 of the 50 users that this step needs were on the canary", r.after(1).is(Hold, 50).Reasons[0],
		"those of the first step do not count")
	r.come(1, OK)
	r.shift(95)
	r.after(5*time.Minute).come(60, OK)
	r.is(Finish, 100)
	r.come(60, AppError)
	r.is(Finish, 100)
	require.Error(t, errOf(r.Proceed("somebody")))
}

func errOf(_ Decision, err error) error { return err }

func TestABadReleaseIsRolledBackAtOnce(t *testing.T) {
	r := begin(t, two())
	r.shift(10)
	r.after(31*time.Second).come(2, AppError)
	r.is(Hold, 10)
	r.come(1, Truncated)
	d := r.is(RollBack, 0)
	assert.Equal(t, "3 of 3 users who saw an error were on the canary, which has 10 % of the users: odds of 1 in 350 if it were as good as the stable release", d.Reasons[0])
	r.after(time.Hour)
	assert.Equal(t, d.Reasons, r.is(RollBack, 0).Reasons)
	require.ErrorContains(t, errOf(r.Proceed("somebody")), "has ended")
}

func TestAnOpenVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		then   Action
		users  int
		failed int
		want   Action
	}{
		"is a rollback by default":                         {"", 15, 0, RollBack},
		"is a question if the plan says so":                {Ask, 15, 0, Ask},
		"goes on if the plan says so":                      {Shift, 25, 3, Shift},
		"never goes on without exposure":                   {Shift, 15, 0, Ask},
		"never goes on in silence":                         {Shift, 0, 0, Ask},
		"never goes on while something is suspected of it": {Shift, 40, 2, Ask},
	} {
		t.Run(name, func(t *testing.T) {
			plan := two()
			plan.Inconclusive = c.then
			plan.Steps[0].MaxExcess = .01
			r := begin(t, plan)
			r.shift(10)
			r.after(31*time.Second).come(c.users-c.failed, OK)
			for n := range c.failed {
				if name == "goes on if the plan says so" { // a failure on the canary for nine on the stable release
					for m := range 9 {
						r.Observe(Observation{At: r.now, Cohort: strconv.Itoa(-1 - 9*n - m), Route: "GET /", Share: .1, Outcome: AppError})
					}
				}
				r.come(1, AppError)
			}
			r.after(time.Minute)
			assert.Equal(t, start.Add(90*time.Second+10*time.Minute), r.is(Hold, 10).Until)
			d := r.after(10 * time.Minute).Decide(r.now)
			assert.Equal(t, c.want, d.Do, "%v", d.Reasons)
			if c.want != Shift {
				assert.Equal(t, "still undecided 10m0s after the step's time", d.Reasons[0])
			}
		})
	}
}

func TestAPersonDecides(t *testing.T) {
	plan := two()
	plan.Inconclusive = Ask
	r := begin(t, plan)
	require.ErrorContains(t, errOf(r.Proceed("alice")), "has not begun")
	r.shift(10)
	r.after(time.Hour).is(Ask, 10)
	d, err := r.Proceed("alice")
	require.NoError(t, err)
	assert.Equal(t, []string{"alice decided to go on"}, d.Reasons)
	r.shift(50)
	r.Abort("bob")
	assert.Equal(t, []string{"bob decided to roll back"}, r.is(RollBack, 0).Reasons)

	bad := begin(t, plan)
	bad.shift(10)
	bad.after(time.Minute).come(3, AppError)
	require.ErrorContains(t, errOf(bad.Proceed("alice")), "worse than the stable release")
}

func TestWhatSyntheticTrafficWouldHelp(t *testing.T) {
	r := begin(t, two())
	r.shift(10)
	r.after(31*time.Second).come(12, OK)
	d := r.after(time.Minute).is(Hold, 10)
	assert.Equal(t, 80, d.Synthetic, "8 of 20 users are lacking, of ten one is on the canary")
	r.come(8, OK)
	r.is(Shift, 50)
}

func TestAClockThatGoesBackOnlyWaits(t *testing.T) {
	r := begin(t, two())
	r.shift(10)
	r.after(31*time.Second).come(30, OK)
	r.after(-time.Hour).is(Hold, 10)
	r.after(2*time.Hour).is(Shift, 50)
}

func TestPlansThatCannotWorkAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"percentages must rise from 1 to 99": func(p *Plan) { p.Steps[1].Percent = 10 },
		"what comes after the last is bake":  func(p *Plan) { p.Steps[1].Percent = 100 },
		"an exposure of 1 user or more":      func(p *Plan) { p.Steps[0].Exposure = 0 },
		"is no share of users":               func(p *Plan) { p.Steps[0].MaxExcess = 2 },
		"hold_back 60 %":                     func(p *Plan) { p.HoldBack = 60 },
		"bake -1s must not be negative":      func(p *Plan) { p.Bake = -time.Second },
		`inconclusive "finish" must be`:      func(p *Plan) { p.Inconclusive = Finish },
		"alpha 0.7 must be":                  func(p *Plan) { p.Options.Alpha = .7 },
		"confidence 0.1 must be":             func(p *Plan) { p.Options.Confidence = .1 },
		"max_ratio 1 must be":                func(p *Plan) { p.Options.MaxRatio = 1 },
		"give each metric a name":            func(p *Plan) { p.Options.Metrics = []Metric{{Kind: Pairs}} },
		`kind "p99" must be`:                 func(p *Plan) { p.Options.Metrics = []Metric{{Name: "x", Kind: "p99"}} },
		"allowed_failures 2 must be":         func(p *Plan) { p.Options.Metrics = []Metric{{Name: "x", Kind: Checks, AllowedFailures: 2}} },
	} {
		t.Run(want, func(t *testing.T) {
			plan := two()
			change(&plan)
			_, err := New(plan)
			require.ErrorContains(t, err, want)
		})
	}
}

func TestTheDefaultPlanCanBePassed(t *testing.T) {
	c, err := New(Plan{})
	require.NoError(t, err)
	users := 0
	for _, step := range c.plan.Steps {
		users += step.Exposure
		assert.LessOrEqual(t, UpperShare(0, users, .025), step.MaxExcess, "at %d %%, if nobody fails among those whom the steps need", step.Percent)
	}
}

// Whatever is observed and decided: a canary that was saved and restored at any moment, again and again, does what one
// does that never stopped.
func TestRestoredIsContinued(t *testing.T) {
	for seed := range uint64(15) {
		random := seeded(100 + seed)
		plan := two()
		plan.Inconclusive = []Action{RollBack, Ask, Shift}[random.IntN(3)]
		plan.Options = Options{Synthetic: random.IntN(2) == 0, Metrics: []Metric{{Name: "orders", Kind: Pairs}, {Name: "balance", Kind: Checks}}}
		continued, err := New(plan)
		require.NoError(t, err)
		restored := continued
		fails := []float64{.002, .05}[random.IntN(2)]
		now := start
		for step := range 1500 {
			if step%50 == 0 {
				saved := text(t, restored)
				restored = &Canary{}
				require.NoError(t, json.Unmarshal([]byte(saved), restored))
				require.Equal(t, saved, text(t, restored))
			}
			now = now.Add(time.Duration(random.IntN(2000)) * time.Millisecond)
			replay := rand.NewPCG(seed, uint64(step))
			one := act(t, continued, rand.New(replay), now, fails)
			replay.Seed(seed, uint64(step))
			require.Equal(t, one, act(t, restored, rand.New(replay), now, fails))
		}
		require.Equal(t, text(t, continued), text(t, restored))
	}
}

// act is what may happen in a moment, and the decision then.
func act(t *testing.T, c *Canary, random *rand.Rand, now time.Time, fails float64) Decision {
	t.Helper()
	switch random.IntN(12) {
	case 0:
		require.NoError(t, c.Pair("orders", random.Float64(), random.Float64()))
	case 1:
		require.NoError(t, c.Check("balance", random.Float64() < .97))
	case 2:
		d := c.Decide(now)
		if d.Do == Shift {
			c.Shifted(now)
		}
		return d
	default:
		share := float64(c.plan.percent(c.state.Step)) / 100
		o := Observation{
			At: now, Cohort: strconv.Itoa(random.IntN(2000)), Route: strconv.Itoa(random.IntN(3)), Share: share,
			Canary: random.Float64() < share, Latency: time.Duration(random.IntN(1e8)), Synthetic: random.IntN(4) == 0,
		}
		if random.Float64() < fails {
			o.Outcome = Outcome(random.IntN(int(Aborted) + 1))
		}
		c.Observe(o)
	}
	return Decision{}
}

func FuzzStates(f *testing.F) {
	c, err := New(two())
	require.NoError(f, err)
	c.Shifted(start)
	for n := range 5 {
		c.Observe(Observation{At: start.Add(time.Hour), Cohort: strconv.Itoa(n), Canary: n > 1, Share: .1, Outcome: Outcome(n)})
	}
	saved, err := json.Marshal(c)
	require.NoError(f, err)
	f.Add(saved)
	f.Add([]byte(`{"plan":{"steps":[{"percent":1}]},"judge":{}}`))
	f.Add([]byte(`{"judge":{"known":{"seen":[{"kept":"","halved":70},{}],"strata":{"x":null}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Canary
		if json.Unmarshal(data, &c) != nil {
			return
		}
		c.Observe(Observation{At: start, Cohort: "1", Canary: true, Share: .5, Latency: time.Second})
		c.Observe(Observation{At: start, Cohort: "2", Share: .5, Latency: time.Second, Outcome: AppError})
		_, err := json.Marshal(c.Decide(start.Add(time.Hour)))
		require.NoError(t, err)
		text(t, &c)
	})
}

func TestStatesThatWereNeverSavedAreRefused(t *testing.T) {
	c, err := New(two())
	require.NoError(t, err)
	good := text(t, c)
	for name, edit := range map[string]func(known map[string]any){
		"a set that was halved a hundred times": func(k map[string]any) { k["in_step"] = map[string]any{"kept": "", "halved": 100} },
		"a probability of 2": func(k map[string]any) {
			k["failures"] = map[string]any{"tallies": []any{map[string]any{"p": 2, "hits": 1}}}
		},
		"a count below zero": func(k map[string]any) {
			k["latency"] = map[string]any{"process": map[string]any{"tallies": []any{map[string]any{"p": .5, "hits": -1}}}}
		},
		"an empty stratum":          func(k map[string]any) { k["strata"] = map[string]any{"x": nil} },
		"an empty metric":           func(k map[string]any) { k["metrics"] = map[string]any{"x": nil} },
		"a ring without that place": func(k map[string]any) { k["thresholds"] = map[string]any{"x": map[string]any{"next": -1}} },
	} {
		t.Run(name, func(t *testing.T) {
			var state map[string]any
			require.NoError(t, json.Unmarshal([]byte(good), &state))
			edit(state["judge"].(map[string]any)["known"].(map[string]any))
			require.ErrorContains(t, json.Unmarshal([]byte(text(t, state)), &Canary{}), "read canary")
		})
	}
}
