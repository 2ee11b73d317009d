package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/internal/config"
)

func TestEnvironmentOfARef(t *testing.T) {
	c := &config.Config{Environments: map[string]config.Environment{
		"production": {Tags: []string{"v*", "!v*-*"}, Branches: []string{"release/lts"}},
		"staging":    {Branches: []string{"main", "release/*"}, Tags: []string{"v*-rc.*"}},
		"preview":    {Branches: []string{"feature/**", "!feature/**/wip"}},
		"lab":        {Branches: []string{"exp-*"}},
		"bench":      {Branches: []string{"*-bench"}},
		"manual":     {},
	}}
	for _, test := range []struct {
		name string
		ref  config.Ref
		want string
		why  string
	}{
		{"a branch by its name", config.Ref{Branch: "main"}, "staging", `branch main matches "main" of environment staging`},
		{"a branch by a glob", config.Ref{Branch: "release/1.2"}, "staging", `branch release/1.2 matches "release/*" of environment staging`},
		{"a name wins over another's glob", config.Ref{Branch: "release/lts"}, "production", `branch release/lts matches "release/lts" of environment production`},
		{"one star stops at a slash", config.Ref{Branch: "release/1/2"}, "", `no environment takes branch release/1/2`},
		{"two stars do not", config.Ref{Branch: "feature/a/b"}, "preview", `branch feature/a/b matches "feature/**" of environment preview`},
		{"an exclamation mark takes out again", config.Ref{Branch: "feature/a/wip"}, "", `no environment takes branch feature/a/wip`},
		{"a release", config.Ref{Tag: "v1.2.3"}, "production", `tag v1.2.3 matches "v*" of environment production`},
		{"a pre-release", config.Ref{Tag: "v1.2.3-rc.1"}, "staging", `tag v1.2.3-rc.1 matches "v*-rc.*" of environment staging`},
		{"a pre-release that nobody takes", config.Ref{Tag: "v1.2.3-beta"}, "", `no environment takes tag v1.2.3-beta`},
		{"the tag wins over the branch", config.Ref{Branch: "main", Tag: "v1.2.3"}, "production", `tag v1.2.3 matches "v*" of environment production`},
		{"the branch decides where nobody takes the tag", config.Ref{Branch: "main", Tag: "nightly"}, "staging", `no environment takes tag nightly; branch main matches "main" of environment staging`},
		{"neither is taken", config.Ref{Branch: "topic", Tag: "nightly"}, "", `no environment takes tag nightly; no environment takes branch topic`},
		{"a tag is no branch", config.Ref{Tag: "main"}, "", `no environment takes tag main`},
		{"two environments: neither", config.Ref{Branch: "exp-bench"}, "", `branch exp-bench matches "*-bench" of bench and "exp-*" of lab: take it out of all but one with an entry that starts with !`},
		{"nothing is known", config.Ref{}, "", `neither a branch nor a tag is known`},
	} {
		t.Run(test.name, func(t *testing.T) {
			name, env, ok, why := c.Environment(test.ref)
			assert.Equal(t, test.want, name)
			assert.Equal(t, test.want != "", ok)
			assert.Equal(t, test.why, why)
			assert.Equal(t, c.Environments[test.want], env)
		})
	}
}

func TestRefFromEnv(t *testing.T) {
	for _, test := range []struct {
		name   string
		env    map[string]string
		want   config.Ref
		source string
		ok     bool
	}{
		{"a laptop", map[string]string{"HOME": "/home/me", "BRANCH_NAME": "main", "GITHUB_REF": "refs/heads/main"}, config.Ref{}, "", false},
		{"GitHub, a push to a branch", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/feature/a", "GITHUB_REF_TYPE": "branch"}, config.Ref{Branch: "feature/a"}, "GitHub Actions", true},
		{"GitHub, a tag", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/tags/v1.0.0", "GITHUB_REF_TYPE": "tag"}, config.Ref{Tag: "v1.0.0"}, "GitHub Actions", true},
		{"GitHub, a ref without prefix", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "v1.0.0", "GITHUB_REF_TYPE": "tag"}, config.Ref{Tag: "v1.0.0"}, "GitHub Actions", true},
		{"GitHub, a pull request", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "topic", "GITHUB_BASE_REF": "main"}, config.Ref{}, "GitHub Actions, pull request from topic", false},
		{"GitHub, a pull request that runs on its base", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_TYPE": "branch", "GITHUB_HEAD_REF": "topic"}, config.Ref{}, "GitHub Actions, pull request from topic", false},
		{"GitHub, a pull request without head", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/pull/7/merge"}, config.Ref{}, "GitHub Actions, pull request", false},
		{"GitHub, the merge queue", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/gh-readonly-queue/main/pr-7-abc"}, config.Ref{}, "GitHub Actions, merge queue", false},
		{"GitLab, a branch", map[string]string{"GITLAB_CI": "true", "CI_COMMIT_BRANCH": "main"}, config.Ref{Branch: "main"}, "GitLab CI", true},
		{"GitLab, a tag", map[string]string{"GITLAB_CI": "true", "CI_COMMIT_TAG": "v1"}, config.Ref{Tag: "v1"}, "GitLab CI", true},
		{"GitLab, a merge request", map[string]string{"GITLAB_CI": "true", "CI_MERGE_REQUEST_IID": "7", "CI_COMMIT_REF_NAME": "topic"}, config.Ref{}, "GitLab CI, merge request !7", false},
		{"CircleCI, a branch, of which there also is a pull request", map[string]string{"CIRCLECI": "true", "CIRCLE_BRANCH": "main", "CIRCLE_PULL_REQUEST": "https://example.com/pull/7"}, config.Ref{Branch: "main"}, "CircleCI", true},
		{"CircleCI, a tag", map[string]string{"CIRCLECI": "true", "CIRCLE_TAG": "v1"}, config.Ref{Tag: "v1"}, "CircleCI", true},
		{"CircleCI, a pull request from a fork", map[string]string{"CIRCLECI": "true", "CIRCLE_BRANCH": "pull/7"}, config.Ref{}, "CircleCI, pull request 7", false},
		{"CircleCI, a pull request by its number", map[string]string{"CIRCLECI": "true", "CIRCLE_BRANCH": "main", "CIRCLE_PR_NUMBER": "7"}, config.Ref{}, "CircleCI, pull request 7", false},
		{"Jenkins, a branch", map[string]string{"JENKINS_URL": "https://ci/", "BRANCH_NAME": "main"}, config.Ref{Branch: "main"}, "Jenkins", true},
		{"Jenkins, a tag", map[string]string{"JENKINS_URL": "https://ci/", "BRANCH_NAME": "v1", "TAG_NAME": "v1"}, config.Ref{Tag: "v1"}, "Jenkins", true},
		{"Jenkins, a change", map[string]string{"JENKINS_URL": "https://ci/", "BRANCH_NAME": "PR-7", "CHANGE_ID": "7"}, config.Ref{}, "Jenkins, pull request 7", false},
		{"Jenkins, a job that is not multibranch", map[string]string{"JENKINS_URL": "https://ci/", "GIT_BRANCH": "origin/main"}, config.Ref{Branch: "main"}, "Jenkins", true},
		{"a CI job without ref", map[string]string{"GITLAB_CI": "true"}, config.Ref{}, "GitLab CI, neither branch nor tag", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ref, source, ok := config.RefFromEnv(func(name string) string { return test.env[name] })
			assert.Equal(t, test.want, ref)
			assert.Equal(t, test.source, source)
			assert.Equal(t, test.ok, ok)
		})
	}
}
