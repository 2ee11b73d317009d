// Package study measures by simulation how often rules of canary analysis roll back a healthy release, and how many users
// meet a failure before they roll back a broken one: ours (deploy/canary), those of Flagger, Argo Rollouts and Kayenta, and
// two tests that are often proposed. `pipeline canary study` prints its tables; docs/canary.md keeps a run of it. It
// decides nothing about a deployment.
package study

// Cell is a kind of traffic that the rules are tried on: one request a second, by default 5,000 of them.
type Cell struct {
	Name    string
	Group   string // what --cells selects, beside the name
	Healthy bool   // the canary is as good as the stable release: rolling back is false

	Shares   []float64 // the canary's share of the users, for equal parts of the traffic
	Requests int
	Users    int // who send the requests; 0 for a new one each time
	// Stable and Canary are the probabilities that a request fails.
	Stable, Canary float64
	// From Outage on, a ninth of the requests fails with OutageRate on both slots.
	Outage     int
	OutageRate float64
	// Segment is the share of users whose requests fail with probability SegmentRate on both slots.
	Segment, SegmentRate float64
	// Retry is the share of all requests that one client sends, which fail on both slots.
	Retry float64
	// Accounts is the share of users who are broken for either release: each retries 1 + Exp(10) times.
	Accounts float64
	// Slower, if not 0, gives requests a latency, log-normal around 100 ms with sigma 0.6, on the canary so many times that.
	Slower float64
	// Rare is the share of requests that go to a rarely used route, which on the canary fails with probability RareRate.
	Rare, RareRate float64
	// Client are the probabilities of a 4xx answer on stable and canary.
	Client [2]float64
	// Everything feeds our rule with latencies and two metrics of the application as well.
	Everything bool
}

// ramp is a canary's way to half of the users.
var ramp = []float64{.01, .05, .10, .25, .50}

func at(share float64) []float64 { return []float64{share} }

// Cells are what the tables are made of.
func Cells() []Cell {
	cells := []Cell{
		{Name: "1 % share, 0.5 % fail", Shares: at(.01), Stable: .005},
		{Name: "5 % share, 0.5 % fail", Shares: at(.05), Stable: .005},
		{Name: "10 % share, 0.5 % fail", Shares: at(.10), Stable: .005},
		{Name: "25 % share, 0.5 % fail", Shares: at(.25), Stable: .005},
		{Name: "50 % share, 0.5 % fail", Shares: at(.50), Stable: .005},
		{Name: "10 % share, 2 % fail", Shares: at(.10), Stable: .02},
		{Name: "10 % share, 10 % fail", Shares: at(.10), Stable: .10},
		{Name: "ramp 1-5-10-25-50 %, 0.5 % fail", Shares: ramp, Stable: .005},
		{Name: "ramp, outage: 20 % fail for 9 minutes", Shares: ramp, Stable: .002, Outage: 2000, OutageRate: .20},
		{Name: "10 %, one client of 1,000 users retries without end", Shares: at(.10), Users: 1000, Stable: .001, Retry: .10},
		{Name: "10 %, 2 % of 1,000 users broken and retrying", Shares: at(.10), Users: 1000, Accounts: .02},
		{Name: "10 %, 3 % of 1,000 users in a failing segment", Shares: at(.10), Users: 1000, Stable: .001, Segment: .03, SegmentRate: .5},
		{Name: "10 %, 4xx from 1 % to 5 %", Shares: at(.10), Stable: .005, Client: [2]float64{.01, .05}},
		{Name: "20 %, latency x1", Group: "latency", Shares: at(.20), Slower: 1},
		{Name: "10 %, 1 % fail, latency and two metrics too", Group: "latency", Shares: at(.10), Stable: .01, Slower: 1, Everything: true},
	}
	for i := range cells {
		cells[i].Healthy = true
		cells[i].Canary = cells[i].Stable
	}
	broken := func(name string, share, stable, canary float64) Cell {
		return Cell{Name: name, Shares: at(share), Stable: stable, Canary: canary}
	}
	cells = append(cells,
		broken("1 % share, all fail", .01, .005, 1),
		broken("5 % share, all fail", .05, .005, 1),
		broken("10 % share, all fail", .10, .005, 1),
		broken("10 % share, 50 % fail", .10, .005, .5),
		broken("10 % share, 10 % fail", .10, .005, .1),
		broken("10 % share, 3 % fail", .10, .005, .03),
		broken("10 % share, 2 % fail, none on stable", .10, 0, .02),
		broken("50 % share, 10 % fail", .50, .005, .1),
		broken("50 % share, 3 % fail", .50, .005, .03),
		Cell{Name: "10 %, a route of 3 % of requests broken, 2 % fail elsewhere", Shares: at(.10), Stable: .02, Canary: .02, Rare: .03, RareRate: 1},
		Cell{Name: "20 %, latency x1.2", Group: "latency", Shares: at(.20), Slower: 1.2},
		Cell{Name: "20 %, latency x1.5", Group: "latency", Shares: at(.20), Slower: 1.5},
		Cell{Name: "20 %, latency x2", Group: "latency", Shares: at(.20), Slower: 2},
	)
	for i := range cells {
		cells[i].Requests = 5000
		if cells[i].Group == "" {
			cells[i].Group = "faulty"
			if cells[i].Healthy {
				cells[i].Group = "healthy"
			}
		}
	}
	return cells
}
