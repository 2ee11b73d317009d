package host

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"github.com/metaextract/pipeline/ci"
)

// pipelineVar makes this test binary a pipeline that runs steps in the given cache until it is killed.
const pipelineVar = "HOST_TEST_PIPELINE"

// clusters is a cache that tests of PostgreSQL share: to initialise a cluster takes seconds.
var clusters string

func TestMain(m *testing.M) {
	if cache := os.Getenv(pipelineVar); cache != "" {
		os.Exit(pipeline(cache))
	}
	dir, err := os.MkdirTemp("", "host-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clusters = filepath.Join(dir, "cache")
	code := m.Run()
	removeTree(dir)
	os.Exit(code)
}

// The steps of that pipeline: one that fills a layer, and one that has PostgreSQL, Redis and what npm leaves: a tree of
// shells and Node.js, some of it in sessions of its own.
var (
	filling = ci.Step{Name: "install", Kind: ci.Install, Dir: ".", Env: map[string]string{}, Run: [][]string{
		{"sh", "-c", `echo half >half; echo installing; test -e "$GO" || sleep 600; echo whole >whole`},
	}}
	serving = ci.Step{
		Name: "integration", Kind: ci.Integration, Dir: ".",
		Services: []ci.Service{{Kind: ci.Postgres, Env: "DATABASE_URL"}, {Kind: ci.Redis, Env: "REDIS_URL"}},
		Run: [][]string{{"sh", "-c", `
setsid sh -c 'node -e "setInterval(() => {}, 1000)" & node -e "process.on(\"SIGTERM\", () => {}); setInterval(() => {}, 1000)"' &
(setsid node -e "setInterval(() => {}, 1000)" &)
node -e 'require("child_process").spawn("sh", ["-c", "sleep 600; true"], {detached: true}); console.log("serving"); setInterval(() => {}, 1000)'
`}},
	}
)

// pipeline is what cmd/pipeline does: run, and stop at Ctrl-C.
func pipeline(cache string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := New(Options{Source: filepath.Dir(cache), CacheDir: cache, Log: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	defer r.Close()
	results, err := r.Run(ctx, filling, serving)
	fmt.Fprintln(os.Stderr, results, err)
	if !ci.OK(results) {
		return 1
	}
	return 0
}
