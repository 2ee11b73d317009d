package config

import (
	"regexp"

	"github.com/bmatcuk/doublestar/v4"
)

// format is what a text must look like. Its pattern is written in what RE2 and ECMAScript share, because the JSON Schema
// carries it too.
type format struct {
	pattern string
	what    string // what the text has to be
	hint    string // what to write
	private bool   // may be a secret: no message shows it
}

// formats, by the name that the tags is and keyis give.
var formats = map[string]format{
	"name": {`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`, "a name",
		"write lower-case letters, digits and dashes, a letter first", false},
	"path": {`^[^/\\][^\\]*$`, "a relative path",
		"write it relative and with forward slashes", false},
	"package": {`^[a-z0-9][a-z0-9+.-]+$`, "a Debian package",
		"write the package's name alone: ffmpeg", false},
	"route": {`^/[^*?#\s]*$`, "a path prefix",
		"start with a slash and use no wildcard: /api takes everything below it", false},
	"urlpath": {`^/[^\s#]*$`, "a path",
		"start with a slash: /healthz", false},
	"glob": {`^!?[^\s!][^\s]*$`, "a glob",
		"write a name or a glob: main, release/*, v*", false},
	"variable": {`^[A-Za-z_][A-Za-z0-9_]*$`, "the name of a variable",
		"write letters, digits and underscores: DATABASE_URL", false},
	"header": {`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`, "the name of a header",
		"write it without colon: Accept", false},
	"url": {`^https?://[^\s/]+`, "an address",
		"start with https:// or http://", false},
	"version": {`^[1-9][0-9]*(\.[0-9]+)*$`, "a version",
		`write the major version: "17"`, false},
	// Dagger's own URI forms, so that a reference means the same with an engine and without.
	"reference": {`^(env://[A-Za-z_][A-Za-z0-9_]*|(file|cmd|op|vault|libsecret|gcp|aws\+sm|aws\+ps)://\S.*)$`, "a reference to a secret",
		"write where the secret is, not the secret: env://NAME, file://PATH, op://, vault:// or cmd://", true},
	"size": {`^[0-9]+(\.[0-9]+)?(B|[kKMGT]B)$`, "a size",
		"write a number and a unit: 500MB, 2GB", false},
	"agekey": {`^age1[02-9ac-hj-np-z]{58}$`, "a public key of age",
		"write what age-keygen prints as public key: age1…", false},
	"duration": {`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, "a duration",
		"write a number and a unit: 500ms, 30s, 5m", false},
}

var patterns = func() map[string]*regexp.Regexp {
	compiled := map[string]*regexp.Regexp{}
	for name, f := range formats {
		compiled[name] = regexp.MustCompile(f.pattern)
	}
	return compiled
}()

// fits says whether a text has the format.
func fits(name, text string) bool {
	if !patterns[name].MatchString(text) {
		return false
	}
	switch name {
	case "glob":
		return doublestar.ValidatePattern(text)
	default:
		return true
	}
}
