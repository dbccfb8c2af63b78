# `make help` lists what can be made. Building and testing need only Go and make.

PREFIX            ?= /usr/local
DESTDIR           ?=
VERSION           ?= $(shell git describe --tags --always --dirty 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

GO           ?= go
FUZZTIME     ?= 30s
BENCHFLAGS   ?=
SYSTEMTESTFLAGS ?=
LINT_VERSION := 2.15.0

# The race detector needs a C compiler.
RACE ?= $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)
LINT := bin/golangci-lint-$(LINT_VERSION)

export SOURCE_DATE_EPOCH

.DEFAULT_GOAL := build
.PHONY: help build demo test test-faults test-system check lint fuzz bench cover install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile packaging/package.mk
	@echo
	@echo '  variables: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) VERSION=$(VERSION)'
	@echo '             SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) FUZZTIME=$(FUZZTIME) BENCHFLAGS=$(BENCHFLAGS)'

build: ## build bin/mtlsproxyd and bin/mtlsproxyctl
	$(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/...

demo: build ## show it at work; ctrl-c ends it
	bin/mtlsproxyd demo

test: ## run every test that can run here, with the race detector if there is a C compiler
	@$(if $(RACE),,echo 'SKIP the race detector: it needs a C compiler')
	@$(GO) run ./contrib/testreport $(RACE) -count=1 -skip '^TestRotation' ./...
	@echo 'alone, since they measure how soon a new certificate is in use:'
	@$(GO) run ./contrib/testreport $(RACE) -count=1 -run '^TestRotation' ./cmd/mtlsproxyd
	@$(if $(RACE),echo 'once more without the race detector: what it would distort'; \
		$(GO) run ./contrib/testreport -count=1 -run 'Alloc|SlowClients' ./service ./journal ./tlsclient/...)
	@if CGO_ENABLED=0 $(GO) run ./packaging/systemtest -can; then $(MAKE) --no-print-directory test-system; fi

test-faults: ## crash and damage the request log, for some minutes
	@MTLSPROXY_FAULTS=1 $(GO) run ./contrib/testreport -count=1 -timeout 20m -run Fault ./journal ./service ./cmd/mtlsproxyd

test-system: deb rpm ## install the packages and drive a real systemd; needs root
	CGO_ENABLED=0 $(GO) run ./packaging/systemtest -deb $(DEB) -rpm $(RPM) $(SYSTEMTESTFLAGS)

check: ## everything that looks at the source: gofmt, vet, go.mod, shellcheck, lint
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not as gofmt writes it:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff
	@if command -v shellcheck >/dev/null; then echo shellcheck; shellcheck .ci/run contrib/pki/mtlsproxy-pki; \
	else echo "SKIP shellcheck: it is not installed"; fi
	@$(MAKE) --no-print-directory lint
	@echo "check: ok"

lint: $(LINT) ## run golangci-lint
	$(LINT) run

# The first time, this compiles for some minutes.
$(LINT):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)
	@mv bin/golangci-lint $@

fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "fuzz $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

bench: build ## compare with nginx and HAProxy (about 15 minutes; BENCHFLAGS=-quick for one)
	$(GO) run ./contrib/bench $(BENCHFLAGS)

cover: ## measure what the tests and the demonstration cover together
	@rm -rf bin/cover && mkdir -p bin/cover/tests bin/cover/processes
	GOCOVERDIR=$(CURDIR)/bin/cover/processes $(GO) test -count=1 -cover -coverpkg=./... ./... -args -test.gocoverdir=$(CURDIR)/bin/cover/tests >bin/cover/log || { cat bin/cover/log; exit 1; }
	$(GO) build -cover -coverpkg=./... -o bin/cover/mtlsproxyd ./cmd/mtlsproxyd
	GOCOVERDIR=bin/cover/processes bin/cover/mtlsproxyd demo --once >/dev/null
	$(GO) tool covdata textfmt -i=bin/cover/tests,bin/cover/processes -o coverage.out
	@$(GO) tool covdata percent -i=bin/cover/tests,bin/cover/processes
	@$(GO) tool cover -func=coverage.out | tail -1

install: build ## install the programs under DESTDIR/PREFIX
	install -d '$(DESTDIR)$(PREFIX)/sbin' '$(DESTDIR)$(PREFIX)/bin'
	install -m 0755 bin/mtlsproxyd '$(DESTDIR)$(PREFIX)/sbin/mtlsproxyd'
	install -m 0755 bin/mtlsproxyctl '$(DESTDIR)$(PREFIX)/bin/mtlsproxyctl'
	touch -d '@$(SOURCE_DATE_EPOCH)' '$(DESTDIR)$(PREFIX)/sbin/mtlsproxyd' '$(DESTDIR)$(PREFIX)/bin/mtlsproxyctl'

include packaging/package.mk

clean: ## remove what was made
	rm -rf bin coverage.out
