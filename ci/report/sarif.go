package report

import (
	"encoding/json"
	"net/url"
	"strings"
)

// sarifReport is SARIF 2.1.0, as far as it is read. The snippet of a finding and its message are never read:
// where the tool is a secret scanner they may hold the secret.
type sarifReport struct {
	Runs []struct {
		Tool struct {
			Driver struct {
				Name  string      `json:"name"`
				Rules []sarifRule `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		Results []struct {
			RuleID    string `json:"ruleId"`
			Locations []struct {
				PhysicalLocation struct {
					ArtifactLocation struct {
						URI string `json:"uri"`
					} `json:"artifactLocation"`
					Region struct {
						StartLine   int `json:"startLine"`
						StartColumn int `json:"startColumn"`
					} `json:"region"`
				} `json:"physicalLocation"`
			} `json:"locations"`
			PartialFingerprints struct {
				Commit string `json:"commitSha"`
			} `json:"partialFingerprints"`
			Suppressions []json.RawMessage `json:"suppressions"`
		} `json:"results"`
	} `json:"runs"`
}

type sarifRule struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	ShortDescription struct {
		Text string `json:"text"`
	} `json:"shortDescription"`
}

// sarif reads findings: the rule and the place, nothing of the file's content.
func (r reader) sarif(data []byte) []Failure {
	var report sarifReport
	if json.Unmarshal(data, &report) != nil {
		return nil
	}
	var failures []Failure
	for _, run := range report.Runs {
		about := map[string]string{}
		for _, rule := range run.Tool.Driver.Rules {
			about[rule.ID] = rule.ShortDescription.Text
		}
		for _, result := range run.Results {
			if len(result.Suppressions) > 0 {
				continue
			}
			f := Failure{Title: joinNonEmpty(": ", run.Tool.Driver.Name, result.RuleID)}
			f.Message = about[result.RuleID]
			if len(result.Locations) > 0 {
				place := result.Locations[0].PhysicalLocation
				f.File = r.tree.relative(uriPath(place.ArtifactLocation.URI))
				f.Line, f.Column = place.Region.StartLine, place.Region.StartColumn
			}
			if commit := line(result.PartialFingerprints.Commit); commit != "" {
				f.Message = joinNonEmpty("\n", f.Message, "in commit "+clip(commit, 40))
			}
			failures = append(failures, f)
		}
	}
	return failures
}

// uriPath is the path of a URI reference in a SARIF location.
func uriPath(uri string) string {
	if u, err := url.Parse(uri); err == nil && (u.Scheme == "" || u.Scheme == "file") && u.Path != "" {
		return u.Path
	}
	return strings.TrimPrefix(uri, "file://")
}
