package engine

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Application is one release: its files as the engine has them and as this process reads them.
type Application struct {
	rehearse.Application
	Directory *dagger.Directory
}

// Open reads the application in a directory, with the overlays laid over it. version is what the release is called; by
// default that is made of its content, which is all a directory tells.
func Open(ctx context.Context, client *dagger.Client, source *dagger.Directory, overlays []*dagger.Directory, version, origin string) (*Application, error) {
	for _, overlay := range overlays {
		source = source.WithDirectory("/", overlay)
	}
	// Relative to the function's working directory: from there alone the engine takes files back.
	dir, err := os.MkdirTemp(".", "source-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the source: %w", err)
	}
	if _, err := source.Export(ctx, dir); err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	if len(overlays) > 0 { // its identity becomes its content again, see Options.Source
		source = client.CurrentModule().Workdir(dir)
	}
	a := &Application{Directory: source}
	a.Version, a.Origin, a.Dir = version, origin, dir
	a.Files = &tree{FS: os.DirFS(dir), directory: source}
	if a.Config, err = config.Validate(os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("%w\n(pass the directory that holds %s with --source)", err, config.FileName)
	}
	if a.Version == "" {
		if a.Version, err = contentVersion(ctx, source); err != nil {
			return nil, err
		}
	}
	if a.Origin == "" {
		a.Origin = "directory " + a.Config.Name
	}
	return a, nil
}

// contentVersion is the beginning of the content's digest, as git shortens a commit.
func contentVersion(ctx context.Context, source *dagger.Directory) (string, error) {
	full, err := source.Digest(ctx)
	if err != nil {
		return "", fmt.Errorf("name the release: %w", err)
	}
	_, sum, _ := strings.Cut(full, ":")
	return sum[:min(12, len(sum))], nil
}

// tree is the files of an application that also says which directory of the engine they are.
type tree struct {
	fs.FS
	directory *dagger.Directory
}
