# The commands of this repository. `make run` and `make test` install what they need first (scripts/bootstrap).
export PATH := $(CURDIR)/bin:$(PATH)
export CGO_ENABLED ?= 0

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
SAMPLE := testdata/metaextract --overlay testdata/next --from testdata/metaextract

.PHONY: run test bench lint generate build bootstrap clean help

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: bootstrap build ## rehearse the sample application: on a Dagger engine where one answers, on this machine otherwise
	pipeline rehearse $(SAMPLE)

test: NEEDS = tests
test: bootstrap build ## every test, with real Jest, pytest, PostgreSQL and Redis
	scripts/test

bench: bootstrap build ## compare with the checklist done by hand, golang-migrate and pg_dump; writes bench/results.json
	go run ./bench

lint: bin/golangci-lint ## go vet, golangci-lint, formatting
	go vet ./...
	golangci-lint run ./...

generate: ## the Dagger bindings (needs an engine) and pipeline.schema.json
	dagger develop
	cd tests && dagger develop
	go generate ./...

build:
	go build -o bin/ ./cmd/pipeline

bootstrap:
	@scripts/bootstrap $(NEEDS)

bin/golangci-lint:
	GOBIN=$(CURDIR)/bin go install $(GOLANGCI_LINT)

clean: ## remove everything that the commands above made, in this directory and in the user's cache
	rm -rf bin .pipeline bench/results.json
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/pipeline"
