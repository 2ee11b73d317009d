package config

import "strings"

// RefFromEnv reads what a CI system says it is building. source names the system, and what is built where that is no
// push to a branch or of a tag.
//
// ok is false where there is nothing to deploy. With a source that is final (a pull request: the caller must not fall
// back to what git has checked out); without one no CI system was recognised.
func RefFromEnv(getenv func(string) string) (ref Ref, source string, ok bool) {
	for _, system := range []struct {
		name   string
		detect string // the variable that is set in every job of the system
		read   func(getenv func(string) string) (Ref, string)
	}{
		{"GitHub Actions", "GITHUB_ACTIONS", githubRef},
		{"GitLab CI", "GITLAB_CI", gitlabRef},
		{"CircleCI", "CIRCLECI", circleRef},
		{"Jenkins", "JENKINS_URL", jenkinsRef},
	} {
		if getenv(system.detect) == "" {
			continue
		}
		ref, other := system.read(getenv)
		switch {
		case other != "":
			return Ref{}, system.name + ", " + other, false
		case ref == Ref{}:
			return Ref{}, system.name + ", neither branch nor tag", false
		default:
			return ref, system.name, true
		}
	}
	return Ref{}, "", false
}

// mergeQueue is the prefix of the branches that GitHub makes for its merge queue: tested, never deployed.
const mergeQueue = "gh-readonly-queue/"

func githubRef(getenv func(string) string) (Ref, string) {
	ref := getenv("GITHUB_REF")
	// GITHUB_HEAD_REF is set for pull requests only. It is asked first: for pull_request_target GITHUB_REF is the base
	// branch, which would deploy a stranger's change.
	if head := getenv("GITHUB_HEAD_REF"); head != "" {
		return Ref{}, "pull request from " + head
	}
	if strings.HasPrefix(ref, "refs/pull/") {
		return Ref{}, "pull request"
	}
	if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		return Ref{Tag: tag}, ""
	}
	branch := strings.TrimPrefix(ref, "refs/heads/")
	if getenv("GITHUB_REF_TYPE") == "tag" {
		return Ref{Tag: branch}, ""
	}
	if strings.HasPrefix(branch, mergeQueue) {
		return Ref{}, "merge queue"
	}
	return Ref{Branch: branch}, ""
}

func gitlabRef(getenv func(string) string) (Ref, string) {
	if id := getenv("CI_MERGE_REQUEST_IID"); id != "" {
		return Ref{}, "merge request !" + id
	}
	return Ref{Branch: getenv("CI_COMMIT_BRANCH"), Tag: getenv("CI_COMMIT_TAG")}, ""
}

func circleRef(getenv func(string) string) (Ref, string) {
	branch := getenv("CIRCLE_BRANCH")
	// CIRCLE_PULL_REQUEST is no sign: it is also set for a push to a branch that some pull request starts from.
	if n := getenv("CIRCLE_PR_NUMBER"); n != "" {
		return Ref{}, "pull request " + n
	}
	if n, ok := strings.CutPrefix(branch, "pull/"); ok {
		return Ref{}, "pull request " + n
	}
	return Ref{Branch: branch, Tag: getenv("CIRCLE_TAG")}, ""
}

func jenkinsRef(getenv func(string) string) (Ref, string) {
	if id := getenv("CHANGE_ID"); id != "" {
		return Ref{}, "pull request " + id
	}
	if tag := getenv("TAG_NAME"); tag != "" { // BRANCH_NAME is the tag too then
		return Ref{Tag: tag}, ""
	}
	if branch := getenv("BRANCH_NAME"); branch != "" {
		return Ref{Branch: branch}, ""
	}
	return Ref{Branch: strings.TrimPrefix(getenv("GIT_BRANCH"), "origin/")}, "" // not a multibranch job
}
