//go:build engine

package engine

import (
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/targettest"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/recipe"
)

func TestTargetConformance(t *testing.T) {
	resolv, _ := os.ReadFile("/etc/resolv.conf")
	if !strings.Contains(string(resolv), ".dagger.local") {
		t.Skip("needs the engine's network, where services have addresses: dagger -m tests call target-conformance")
	}
	client := dagger.Connect()
	images := &images{client: client, made: map[string]*dagger.Container{}}
	targettest.Run(t, targettest.Suite{
		New: func(*testing.T) deploy.Target { return NewTarget(client, images.find) },
		Artifact: func(t *testing.T, files map[string]string) string {
			return images.make(uploaded(t, client, files), files)
		},
	})
}

// images are made of files: one that serves files where there is a page, one with Python otherwise.
type images struct {
	client *dagger.Client
	mu     sync.Mutex
	made   map[string]*dagger.Container
}

func (i *images) make(dir *dagger.Directory, files map[string]string) string {
	image := i.client.Container().From(ci.PythonImage).WithDirectory(recipe.Root, dir)
	for name := range files {
		if path.Base(name) == "index.html" {
			r := &recipe.Recipe{Dir: "web", Static: "dist", Env: map[string]string{"ROOT": path.Join(recipe.Root, path.Dir(name)), "HOME": "/tmp"}}
			image = static(i.client, "caddy:2", r, dir.Directory(path.Dir(name)))
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	reference := "targettest:" + string(rune('a'+len(i.made)))
	i.made[reference] = image
	return reference
}

func (i *images) find(reference string) (*dagger.Container, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	image, ok := i.made[reference]
	return image, ok
}
