package config

import (
	"regexp"
	"strings"
)

var referencePattern = regexp.MustCompile(formats["reference"].pattern)

// IsReference says whether a value is a reference to a secret: env://NAME, file://PATH, op://vault/item/field, …
func IsReference(value string) bool { return referencePattern.MatchString(value) }

// issued matches credentials that carry the mark of who issued them.
var issued = regexp.MustCompile(`xox[abeprs]-|xapp-[0-9]|gh[opsur]_[A-Za-z0-9]{20}|github_pat_|glpat-|` +
	`\b(AKIA|ASIA)[A-Z0-9]{16}\b|\b[sr]k_live_|-----BEGIN [A-Z ]*PRIVATE KEY|hooks\.slack\.com/services/|\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE`)

// urlPassword matches a URL with a password in it.
var urlPassword = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@`)

// secretName matches names of variables that hold a secret. It asks for the last word: TOKEN_TTL is none.
var secretName = regexp.MustCompile(`(?i)(^|_)(password|passwd|secret|token|credentials?|(api|secret|private|access|signing|encryption)_?key)$`)

// publicName matches the prefixes by which build tools tell variables that end up in the browser.
var publicName = regexp.MustCompile(`^(VITE|NEXT_PUBLIC|REACT_APP|PUBLIC)_`)

// plain matches values that are no secret whatever the variable is called.
var plain = regexp.MustCompile(`^([0-9]+|true|false|)$`)

// secretIn says why the value of a variable seems to be a secret, "" where it does not.
func secretIn(variable, value string) string {
	switch {
	case IsReference(value):
		return ""
	case urlPassword.MatchString(value):
		return "holds a URL with a password"
	case secretName.MatchString(variable) && !publicName.MatchString(variable) && !plain.MatchString(value):
		return "is a secret by its name, but its value is written here"
	default:
		return ""
	}
}

func referenceHint(variable string) string {
	return "write a reference such as env://" + strings.ToUpper(variable)
}
