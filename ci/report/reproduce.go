package report

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// own is the step's own command: what shows a failure again where nothing smaller is known.
func (r reader) own() string {
	command := r.command
	if len(command) == 0 && len(r.step.Run) > 0 {
		command = r.step.Run[len(r.step.Run)-1]
	}
	if len(command) == 0 {
		return ""
	}
	return r.inDir(quoteAll(command))
}

// jestCommand runs one test of one file again.
func (r reader) jestCommand(file, name, seed string) string {
	words := append(r.jestProgram(), "-t", quote(regexp.QuoteMeta(name)))
	if name == "" {
		words = words[:len(words)-2]
	}
	if seed != "" {
		words = append(words, "--seed="+quote(seed))
	}
	if file != "" {
		words = append(words, quote(r.tree.within(file)))
	}
	return r.inDir(strings.Join(words, " "))
}

// jestProgram is how the step itself starts Jest, without the options that only make its report.
func (r reader) jestProgram() []string {
	for _, command := range slices.Backward(r.step.Run) {
		if len(command) == 0 {
			continue
		}
		switch path.Base(command[0]) {
		case "npm", "pnpm", "yarn":
			script := command[:min(len(command), 2)]
			if len(command) > 2 && (command[1] == "run" || command[1] == "run-script") {
				script = command[:3]
			}
			if slices.Contains(script, "ci") || slices.Contains(script, "install") {
				continue
			}
			return append(strings.Fields(quoteAll(script)), "--")
		}
		if i := slices.IndexFunc(command, func(w string) bool { b := path.Base(w); return b == "jest" || b == "jest.js" }); i >= 0 {
			return append(r.environment("NODE_OPTIONS"), append([]string{"npx", "jest"}, options(command[i+1:], "--config", "-c", "--selectProjects")...)...)
		}
	}
	return append(r.environment("NODE_OPTIONS"), "npx", "jest")
}

// pytestCommand runs one test again.
func (r reader) pytestCommand(node, seed string, property bool) string {
	var words []string
	if property { // Hypothesis is deterministic, and its deadline off, where CI is set
		words = r.environment("CI")
	}
	words = append(words, "python", "-m", "pytest")
	if node != "" {
		words = append(words, quote(node))
	}
	if seed != "" {
		words = append(words, "--hypothesis-seed="+quote(seed))
	}
	return r.inDir(strings.Join(words, " "))
}

// options keeps the named options of a command, with their values.
func options(words []string, names ...string) []string {
	var kept []string
	for i := 0; i < len(words); i++ {
		name, _, joined := strings.Cut(words[i], "=")
		if !slices.Contains(names, name) {
			continue
		}
		kept = append(kept, quote(words[i]))
		if !joined && i+1 < len(words) {
			i++
			kept = append(kept, quote(words[i]))
		}
	}
	return kept
}

// environment is an assignment in front of a command, where the step sets the variable.
func (r reader) environment(name string) []string {
	if value := r.step.Env[name]; value != "" {
		return []string{name + "=" + quote(value)}
	}
	return nil
}

// inDir makes a command one to paste at the application's root, and says which services it needs.
func (r reader) inDir(command string) string {
	if r.tree.dir != "" {
		command = "cd " + quote(r.tree.dir) + " && " + command
	}
	var needs []string
	for _, s := range r.step.Services {
		needs = append(needs, line(s.Env))
	}
	if len(needs) > 0 {
		command += "  # needs " + strings.Join(needs, ", ")
	}
	return command
}

var unquoted = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes a word safe to paste into a shell.
func quote(word string) string {
	word = strings.Join(strings.FieldsFunc(plain(word), func(c rune) bool { return c == '\n' }), " ")
	if unquoted.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}
