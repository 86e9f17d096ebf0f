# Go downloads the toolchain that go.mod names if the installed one is older.
GO ?= go

.PHONY: help
help: ## Print this.
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

.PHONY: build
build: ## Build bin/millrace.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/millrace ./cmd/millrace

.PHONY: demo
demo: build ## Search and count 10,000 mails in a store made for it, and check the results.
	@$(GO) run ./bench/demo -millrace bin/millrace

.PHONY: test
test: deps ## Run all tests, built as users get them; race has those with cgo.
	CGO_ENABLED=0 $(GO) test ./...
	$(GO) vet -C bench/gateway ./...
	$(GO) test -C bench/gateway ./...

.PHONY: race
race: deps ## Run all tests under the race detector.
	$(GO) test -race -short ./...

.PHONY: soak-sandbox
soak-sandbox: deps ## Open 10,000 damaged modules in the sandbox, as root and as an ordinary user.
	$(GO) test -count=1 -timeout 30m -run '^(TestWasmMutants|TestOrdinaryUser)$$' ./sandbox/sandboxtest -soak

.PHONY: deps
deps: ## Install what the tests need beside Go (Debian; as root, else only say what is missing).
	@scripts/deps

.PHONY: lint
lint: ## Check formatting, vet, golangci-lint, known vulnerabilities.
	scripts/lint

.PHONY: bench
bench: deps ## Measure, with little data.
	SIZE=small $(GO) test -run '^$$' -bench . -benchtime 3x -timeout 30m ./bench

.PHONY: bench-main
bench-main: deps ## Measure what bench/RESULTS.md reports: 200,000 mails, 500 MB of words.
	SIZE=full $(GO) test -run '^$$' -bench . -benchtime 3x -timeout 4h ./bench
