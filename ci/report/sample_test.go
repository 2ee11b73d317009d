package report

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// began is when all samples began.
var began = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// at is a stage or step of a sample.
func at(name string, status Status, from, took float64, detail string, steps ...Stage) Stage {
	return Stage{
		Name: name, Status: status, Started: began.Add(time.Duration(from * float64(time.Second))), Seconds: took,
		Detail: detail, Steps: steps,
	}
}

func cachedStep(name, detail string) Stage {
	s := at(name, Passed, 0.2, 0, detail)
	s.Cached = true
	return s
}

// traffic is what eight clients see while the release is switched, rolled back and switched again.
func traffic(drops bool) *Traffic {
	random := rand.New(rand.NewPCG(1, 2))
	t := &Traffic{
		Requests: 0, Clients: 8, P50: 4.2, P95: 11.8, P99: 19.4,
		Marks: []Mark{{3.1, "switch to green"}, {6.3, "roll back to blue"}, {9.4, "forward to green"}},
	}
	for i := range 50 {
		at := float64(i) * 0.25
		slots := []string{"blue"}
		switch {
		case at >= 9.4, at >= 3.1 && at < 6.3:
			slots = []string{"green"}
		}
		if math.Abs(at-3.1) < 0.2 || math.Abs(at-6.3) < 0.2 || math.Abs(at-9.4) < 0.2 {
			slots = []string{"blue", "green"}
		}
		for _, slot := range slots {
			p := Point{At: at, Slot: slot, Requests: (90 + random.IntN(20)) / len(slots), P50: 3.8 + random.Float64(), P95: 9 + 3*random.Float64()}
			if slot == "green" && math.Mod(at, 3.2) < 0.5 {
				p.P95 += 9
			}
			if drops && slot == "green" && at >= 3.0 && at < 4 {
				p.Failed = 3 + random.IntN(9)
				t.Failed += p.Failed
			}
			t.Requests += p.Requests
			t.Points = append(t.Points, p)
		}
	}
	if drops {
		t.Errors = map[string]int{"status 502": t.Failed - 4, "connection reset by peer": 4}
	}
	return t
}

func passedSample() *Report {
	return &Report{
		Verdict: Proven, Application: "metaextract", Command: "rehearse", Release: "1.5.0",
		Running: "1.4.2, as production's /version says", Environment: "production", Runner: "host",
		Started: began, Seconds: 38.4, CISeconds: 14.2,
		Stages: []Stage{
			at("check", Passed, 0.1, 7.6, "", at("frontend/lint", Passed, 3.4, 2.4, ""), at("frontend/typecheck", Passed, 3.4, 4.3, ""),
				at("backend/lint", Passed, 4.0, 0.2, ""), at("backend/typecheck", Passed, 4.2, 3.0, ""), cachedStep("secrets", "")),
			at("test", Passed, 3.4, 8.9, "61 tests", at("frontend/unit", Passed, 5.8, 2.7, "18 tests, 1 flaky: uploads a photo"),
				at("frontend/property", Passed, 7.7, 2.2, "6 tests"), at("backend/unit", Passed, 7.2, 3.1, "24 tests"),
				cachedStep("backend/property", "5 tests"), at("backend/integration", Passed, 8.5, 3.8, "8 tests")),
			at("build", Passed, 0.1, 14.1, "", at("frontend/install", Passed, 0.1, 3.3, ""), cachedStep("backend/install", ""),
				at("frontend/bundle", Passed, 9.9, 1.6, "221 kB, 59 kB brotli"), at("backend/wheel", Passed, 11.5, 2.6, "")),
			at("database", Passed, 14.3, 2.4, "1 migration, 3 statements"),
			at("deploy", Passed, 16.7, 4.9, "green is ready after 1.8 s"),
			at("switch", Passed, 21.6, 3.4, ""), at("rollback", Passed, 25.0, 6.8, ""), at("verify", Passed, 31.8, 6.2, "3 requests"),
		},
		Traffic: traffic(false), Rollback: &Rollback{Seconds: 0.214, Proven: true},
		Database: &Database{
			Backup: &backup.Backup{
				Bytes: 1_284_113, SHA256: "8c4f1d0a5b3e7f96a2d1c0b9e8f7a6d5c4b3a291807f6e5d4c3b2a1908f7e6d5", Proven: true, Duration: 1310 * time.Millisecond,
				Tables: []checksum.Table{{Table: "extractions", Rows: 12_031, Checksum: "5f0ab3917c22de81"}, {Table: "files", Rows: 11_870, Checksum: "a94e0c73b1d5f260"}, {Table: "accounts", Rows: 42, Checksum: "03b7e91f5c8a2d46"}},
			},
			Migrations: migrations.Outcome{From: 1, To: 2, Elapsed: 41 * time.Millisecond, Applied: []migrations.Applied{{
				Version: 2, Name: "add_kind", Statements: 3, Duration: 12 * time.Millisecond,
				Evidence: evidence.Evidence{WALBytes: 24_576, Locks: []evidence.Lock{{Relation: "extractions", Mode: "AccessExclusiveLock"}, {Relation: "files", Mode: "ShareUpdateExclusiveLock"}}},
			}}},
		},
		Notes: []string{
			"images were not built: this host has no container engine",
			"the version that runs was taken from the tag v1.4.2: production answered /version with 404",
		},
		Path: ".pipeline/report.html",
	}
}

func refusedSample() *Report {
	r := passedSample()
	r.Verdict, r.Seconds, r.Path = Refused, 21.9, ".pipeline/report.html"
	r.Reasons = []string{
		"test: frontend/unit failed: 1 of 18 tests, formatBytes › writes kibibytes with one digit",
		"test: frontend/property failed: 1 of 6 tests, found with seed -1536554471",
		"test: backend/property failed: 1 of 5 tests",
		"database: migration 2 add_kind holds ACCESS EXCLUSIVE on extractions and rewrites it",
		"traffic: the new release dropped requests after the switch",
	}
	r.Stages[1].Status = Failed
	r.Stages[1].Detail = "3 of 61 tests failed"
	for i, name := range []string{"frontend/unit", "frontend/property", "", "backend/property"} {
		if name != "" {
			r.Stages[1].Steps[i].Status = Failed
		}
	}
	r.Stages[1].Steps[3] = at("backend/property", Failed, 8.0, 2.1, "1 of 5 tests failed")
	r.Stages[1].Steps[0].Detail, r.Stages[1].Steps[1].Detail = "1 of 18 tests failed", "1 of 6 tests failed"
	r.Stages[6], r.Stages[7] = Stage{Name: "rollback", Status: Skipped}, Stage{Name: "verify", Status: Skipped}
	r.Stages[5].Status = Failed
	r.Failures = []Failure{
		{
			Stage: "test", Step: "frontend/unit", Title: "formatBytes › writes kibibytes with one digit",
			File: "frontend/src/format.test.ts", Line: 5, Column: 31,
			Message:   "Error: expect(received).toBe(expected) // Object.is equality\n\nExpected: \"2.0 KiB\"\nReceived: \"2.0 kB\"\n    at Object.toBe (frontend/src/format.test.ts:5:31)",
			Reproduce: "cd frontend && npx jest -t 'formatBytes writes kibibytes with one digit' src/format.test.ts",
		},
		{
			Stage: "test", Step: "frontend/property", Title: "bump › stays below 100", File: "frontend/src/format.property.test.ts",
			Message: "Error: Property failed after 1 tests\n\n[cause]: Error: Property failed by returning false",
			Seed:    "-1536554471", Shrinks: 28, Example: "[[100]]", Replay: `{ seed: -1536554471, path: "0:0:1:0:0:0:2:0:0", endOnFailure: true }`,
			Reproduce: "cd frontend && npx jest -t 'bump stays below 100' --seed=-1536554471 src/format.property.test.ts",
		},
		{
			Stage: "test", Step: "backend/property", Title: "test_kind_of_any_name", File: "backend/src/metaextract/extract.py", Line: 6,
			Message: "> return name.rsplit(\".\", 1)[1]\nIndexError: list index out of range",
			Example: "test_kind_of_any_name(name='')", Replay: "@reproduce_failure('6.170.15', b'AIA=')",
			Reproduce: "cd backend && CI=true python -m pytest tests/property/test_kind.py::test_kind_of_any_name",
		},
	}
	r.Traffic = traffic(true)
	r.Rollback = &Rollback{Seconds: 1.82, Failed: 4}
	m := &r.Database.Migrations.Applied[0]
	m.Rewrites, m.WALBytes, m.Duration = []string{"extractions"}, 41_900_000, 3100*time.Millisecond
	return r
}

func brokenSample() *Report {
	return &Report{
		Verdict: Broken, Application: "metaextract", Command: "rehearse", Release: "1.5.0", Running: "1.4.2, from the tag v1.4.2", Runner: "host",
		Reasons: []string{"PostgreSQL did not start: initdb is not on PATH; install postgresql, or set PIPELINE_POSTGRES to a server's URL"},
		Started: began, Seconds: 3.2, CISeconds: 3.1,
		Stages: []Stage{
			at("check", Passed, 0.1, 2.4, "", at("backend/lint", Passed, 0.1, 2.4, "")),
			at("test", Failed, 0.1, 3.1, "", at("backend/unit", Passed, 0.1, 2.9, "24 tests"), at("backend/integration", Failed, 0.2, 0.1, "PostgreSQL did not start")),
			{Name: "build", Status: Skipped}, {Name: "database", Status: Skipped}, {Name: "switch", Status: Skipped}, {Name: "rollback", Status: Skipped},
		},
		Failures: []Failure{{
			Stage: "test", Step: "backend/integration", Title: "PostgreSQL did not start: initdb is not on PATH",
			Message:   "PostgreSQL did not start: initdb is not on PATH\ninstall postgresql, or set PIPELINE_POSTGRES to a server's URL",
			Reproduce: "cd backend && python -m pytest tests/integration  # needs DATABASE_URL",
		}},
		Notes: []string{"nothing was deployed"},
	}
}

// evil is text from outside that is more than text where somebody does not escape it.
const evil = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`|\n::error::x\x1b[31m\u202e ##[error]x [a](javascript:alert(1)) {{.}} @everyone"

// hostileSample has markup, control sequences and commands wherever text comes from outside.
func hostileSample() *Report {
	r := refusedSample()
	r.Application, r.Command, r.Release, r.Running, r.Environment, r.Runner, r.Path = evil, evil, evil, evil, evil, evil, evil
	r.Reasons, r.Notes = []string{evil}, []string{evil}
	for i := range r.Stages {
		r.Stages[i].Name, r.Stages[i].Detail = evil, evil
		for j := range r.Stages[i].Steps {
			r.Stages[i].Steps[j].Name, r.Stages[i].Steps[j].Detail = evil, evil
		}
	}
	for i := range r.Failures {
		r.Failures[i] = Failure{evil, evil, evil, evil, 1, 2, evil + "\n```\n" + evil, evil, evil, 3, evil, evil}
	}
	r.Traffic.Errors = map[string]int{evil: 3}
	for i := range r.Traffic.Points {
		r.Traffic.Points[i].Slot = evil
	}
	r.Traffic.Marks = []Mark{{1, evil}, {math.NaN(), "x"}, {math.Inf(1), "x"}, {-4, "x"}}
	r.Traffic.Points = append(r.Traffic.Points, Point{At: math.NaN(), Slot: "x"}, Point{At: 2, Slot: "x", P95: math.Inf(1)})
	r.Database.Backup.SHA256, r.Database.Backup.Tables[0].Table, r.Database.Backup.Tables[0].Checksum = evil, evil, evil
	a := &r.Database.Migrations.Applied[0]
	a.Name, a.Rewrites, a.Locks = evil, []string{evil}, []evidence.Lock{{Relation: evil, Mode: evil}}
	return r
}

func samples() map[string]*Report {
	return map[string]*Report{
		"passed": passedSample(), "refused": refusedSample(), "broken": brokenSample(), "hostile": hostileSample(),
		"migrations-proven":  withRehearsal(passedSample(), provenRehearsal()),
		"migrations-refused": withRehearsal(refusedSample(), refusedRehearsal()),
		"migrations-many":    withRehearsal(refusedSample(), manyStatements()),
		"migrations-hostile": withRehearsal(hostileSample(), hostileRehearsal()),
		"migrations-nothing": withRehearsal(passedSample(), &rehearsal.Report{Verdict: rehearsal.Proven, Drift: &rehearsal.Drift{}}),
		"migrations-broken":  withRehearsal(brokenSample(), &rehearsal.Report{}),
	}
}

// TestWriteSamples writes the samples as HTML into the directory that PIPELINE_REPORT_SAMPLES names, to be looked at.
func TestWriteSamples(t *testing.T) {
	dir := os.Getenv("PIPELINE_REPORT_SAMPLES")
	if dir == "" {
		t.Skip("PIPELINE_REPORT_SAMPLES names no directory")
	}
	for name, r := range samples() {
		file, err := os.Create(filepath.Join(dir, name+".html"))
		require.NoError(t, err)
		require.NoError(t, WriteHTML(file, r))
		require.NoError(t, file.Close())
	}
}
