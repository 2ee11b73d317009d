// Takes a push of a Node, Python, PostgreSQL and Redis application to proven production: checks, tests, builds, images,
// migrations, and the rehearsal of a release under traffic, rollback included.
//
// Every function works on the directory that holds the application's pipeline.yaml. Name it once for all functions
// (dagger call --source DIR test) or for one (dagger call test --source DIR); without either it is the root of the
// repository that the module is used in.
package main

import (
	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Pipeline is the pipeline of one application.
type Pipeline struct {
	// The application: the directory that holds pipeline.yaml.
	Source *dagger.Directory
	// +private
	NodeImage string
	// +private
	PythonImage string
	// +private
	GoImage string
	// +private
	CaddyImage string
	// +private
	Repository string
}

// New makes the pipeline of an application.
func New(
	// The application: the directory that holds pipeline.yaml.
	// +defaultPath="/"
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,

	// Image of Node components: Debian, with node and npm.
	// +default="node:24-slim"
	nodeImage string,

	// Image of Python components: Debian, with python3 and venv.
	// +default="python:3.13-slim"
	pythonImage string,

	// Image that builds the secret scanner.
	// +default="golang:1.26"
	goImage string,

	// Image that serves static files.
	// +default="caddy:2"
	caddyImage string,

	// Address of the application's sources, for the labels of its images.
	// +optional
	repository string,
) *Pipeline {
	return &Pipeline{
		Source: source, NodeImage: nodeImage, PythonImage: pythonImage, GoImage: goImage, CaddyImage: caddyImage, Repository: repository,
	}
}

// of is the same pipeline of another application, where one is given.
func (m *Pipeline) of(source *dagger.Directory) *Pipeline {
	if source == nil {
		return m
	}
	other := *m
	other.Source = source
	return &other
}

func (m *Pipeline) images() ci.Images {
	return ci.Images{Node: m.NodeImage, Python: m.PythonImage, Go: m.GoImage}
}
