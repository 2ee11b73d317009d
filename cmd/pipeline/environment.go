package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/source"
)

func environmentCommand() *cobra.Command {
	var format, branch, tag string
	cmd := &cobra.Command{
		Use: "environment [DIR]", Short: "Say which environment the branch or tag deploys to, and why", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tree, err := source.Open(cmd.Context(), directoryOf(args), nil, "")
			if err != nil {
				return err
			}
			app, err := load(tree)
			if err != nil {
				return err
			}
			ref, from := config.Ref{Branch: branch, Tag: tag}, "the command line"
			if branch == "" && tag == "" {
				ref, from = currentRef(cmd.Context(), tree.Dir)
			}
			name, _, ok, why := app.Config.Environment(ref)
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]any{"environment": name, "branch": ref.Branch, "tag": ref.Tag, "found": ok, "why": why, "from": from})
			}
			if !ok {
				name = "none"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s (from %s)\n", name, why, from)
			return nil
		},
	}
	cmd.Flags().StringVar(&branch, "branch", "", "decide for this branch instead of the checked-out one")
	cmd.Flags().StringVar(&tag, "tag", "", "decide for this tag")
	output(cmd, &format)
	return cmd
}

// currentRef is the branch or tag that CI names, or the checked-out one.
func currentRef(ctx context.Context, dir string) (config.Ref, string) {
	// CI that says "a pull request" has said that there is nothing to deploy.
	if ref, from, _ := config.RefFromEnv(os.Getenv); from != "" {
		return ref, from
	}
	repository, err := source.Find(ctx, dir)
	if err != nil {
		return config.Ref{}, "nothing: " + err.Error()
	}
	return config.Ref{Branch: repository.Branch(ctx), Tag: repository.Tag(ctx)}, "git"
}

// deployedTimeout bounds asking an environment what it runs.
const deployedTimeout = 10 * time.Second

// words are what can be a version in an answer: {"release":"v1.4.0"}, "v1.4.0-3-g2f1a9c1".
var words = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._/+-]*`)

// deployedRef asks the environment for its version and returns the git ref that it names.
func deployedRef(ctx context.Context, dir string, environment config.Environment) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deployedTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(environment.URL, "/")+"/version", nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s answered %s", request.URL, answer.Status)
	}
	repository, err := source.Find(ctx, dir)
	if err != nil {
		return "", err
	}
	for _, word := range words.FindAllString(string(body), -1) {
		if _, err := repository.Commit(ctx, word); err == nil {
			return word, nil
		}
	}
	return "", errors.New("its version path names no tag or commit of this repository")
}
