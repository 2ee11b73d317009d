// Tests of the pipeline's Dagger module, by calling it as another module does: dagger -m tests check.
//
// Every group can be called alone: dagger -m tests check 'images*'.
package main

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Tests are the tests of the module, in groups.
type Tests struct {
	// +private
	Sample *dagger.Directory
	// +private
	Next *dagger.Directory
	// +private
	Faults *dagger.Directory
	// +private
	Single *dagger.Directory
	// +private
	Repository *dagger.Directory
}

// New takes the sample applications from the repository.
func New(
	// The sample application.
	// +defaultPath="/testdata/metaextract"
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", "**/dist"]
	sample *dagger.Directory,

	// Its next release, as an overlay.
	// +defaultPath="/testdata/next"
	next *dagger.Directory,

	// Faulty releases, an overlay each.
	// +defaultPath="/testdata/faults"
	faults *dagger.Directory,

	// Another application: Node and Python in one directory.
	// +defaultPath="/testdata/single-package"
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__"]
	single *dagger.Directory,

	// The repository's code.
	// +defaultPath="/"
	// +ignore=[".*", "*.md", "bench", "bin", "cmd", "docs", "scripts", "tests", "testdata", "**/testdata"]
	repository *dagger.Directory,
) *Tests {
	return &Tests{Sample: sample, Next: next, Faults: faults, Single: single, Repository: repository}
}

// faulty is the next release of the sample with a fault.
func (t *Tests) faulty(name string) *dagger.Directory {
	return t.Sample.WithDirectory("/", t.Next).WithDirectory("/", t.Faults.Directory(name))
}

// refused says whether an error is there and says all of what is wanted.
func refused(err error, want ...string) error {
	if err == nil {
		return fmt.Errorf("it passed and should have failed, saying %q", want)
	}
	return contains(err.Error(), want...)
}

// contains says what of the wanted is not in a text.
func contains(text string, want ...string) error {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return fmt.Errorf("%q is not in:\n%s", w, text)
		}
	}
	return nil
}
