package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// The labels of every container that a target makes: they are all that a later run knows it by. None of them holds a
// value of the unit's environment.
const (
	labelApplication = "pipeline.application"
	labelEnvironment = "pipeline.environment"
	labelSlot        = "pipeline.slot"
	labelComponent   = "pipeline.component"
	labelRelease     = "pipeline.release"
	labelDeployment  = "pipeline.deployment"
	labelPort        = "pipeline.port" // where the unit listens within its container
	// labelComponents lists the components of the release, as JSON: what is missing is noticed.
	labelComponents = "pipeline.components"
	labelPrefix     = "pipeline."
)

// maxPart is the most characters of one part of a name: a label of DNS has 63 (RFC 1035, section 2.3.4).
const maxPart = 63

// containerName is also the name by which others of the network find the container. It tells every unit from every
// other one, so of two runs that start the same slot at the same time one is refused by Docker.
func (t *Target) containerName(slot deploy.Slot, component string) string {
	return strings.Join([]string{"pipeline", part(t.options.Application), part(t.options.Environment), part(string(slot)), part(component)}, ".")
}

// repository is the local name under which the image of a component is kept for rollbacks; its tag says when it was started and of which release.
func (t *Target) repository(component string) string {
	return t.repositories() + part(component)
}

// repositories begin with this, of all components. No registry has the name: ".local" is not resolved by DNS (RFC 6762).
func (t *Target) repositories() string {
	return kept + part(t.options.Application) + "/" + part(t.options.Environment) + "/"
}

const kept = "pipeline.local/"

var notInPart = regexp.MustCompile(`[^a-z0-9]+`)

// part makes one part of a name out of any text: lower-case letters, digits and single dashes, no dash at the ends. What
// is changed or cut gets a hash, so that different texts stay different.
func part(text string) string {
	name := strings.Trim(notInPart.ReplaceAllString(text, "-"), "-")
	if name == text && len(name) <= maxPart && name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(text))
	hash := hex.EncodeToString(sum[:4])
	name = strings.Trim(name[:min(len(name), maxPart-1-len(hash))], "-")
	if name == "" {
		return hash
	}
	return name + "-" + hash
}

var notInTag = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// maxTag is what the grammar of references ([\w][\w.-]{0,127}) leaves for a version.
const maxTag = 128 - len(startedFormat)

// tag makes the end of an image's tag out of a release's version.
func tag(version string) string {
	name := strings.TrimLeft(notInTag.ReplaceAllString(version, "-"), ".-")
	if name == version && len(name) <= maxTag && name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(version))
	hash := hex.EncodeToString(sum[:4])
	if name = name[:min(len(name), maxTag-1-len(hash))]; name == "" {
		return hash
	}
	return name + "-" + hash
}
