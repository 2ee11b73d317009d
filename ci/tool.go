package ci

// toolFor is the tool of a component's runtimes.
func toolFor(node, python bool, images Images) Tool {
	switch {
	case node && python:
		return Tool{Name: "node+python", Image: images.Node, Programs: []string{"node", "npm", "python3"},
			Packages: []string{"python3", "python3-venv"}}
	case python:
		return Tool{Name: "python", Image: images.Python, Programs: []string{"python3"}}
	default:
		return Tool{Name: "node", Image: images.Node, Programs: []string{"node", "npm"}}
	}
}

// Gitleaks is the scanner's module and pinned version; bootstrap installs the same one.
const Gitleaks = "github.com/zricethezav/gitleaks/v8@v8.30.1"

// secretScan looks for credentials in the whole source with gitleaks, by its built-in rules or the application's own
// .gitleaks.toml. The report is redacted: it says where a secret is and never what.
func secretScan(images Images) *Step {
	const report = ".pipeline-gitleaks.sarif"
	return &Step{
		Name: "secrets", Kind: Secrets, Dir: ".",
		Tool: Tool{Name: "gitleaks", Image: images.Go, Programs: []string{"gitleaks"},
			Setup: [][]string{{"go", "install", Gitleaks}}},
		Inputs: append([]string{"**"}, ignored...),
		Run: [][]string{{"gitleaks", "dir", "--redact", "--no-banner", "--no-color", "--report-format", "sarif",
			"--report-path", report, "."}},
		Reports: []Report{{Format: SARIF, Path: report}},
		Timeout: DefaultTimeout,
	}
}
