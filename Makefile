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

.PHONY: bench-sandbox
bench-sandbox: deps ## Measure what a jail, a job's start and the mapping of one object take.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/.*(empty|regexp)' -benchtime 100000x -timeout 60m ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/(native-split|plain)' -benchtime 100000x -timeout 60m ./internal/runner
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/(native-object|wasm-go-fresh)' -benchtime 2000x -timeout 60m ./internal/runner ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'JobStart|Runner|Jail' -benchtime 200x -timeout 60m ./internal/local ./internal/agent ./sandbox

.PHONY: bench-shuffle
bench-shuffle: deps ## Measure netpipes, beside bare sockets and bare Arrow Flight.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench Netpipe -benchtime 2s -count 3 ./shuffle ./shuffle/flight

.PHONY: soak-sandbox
soak-sandbox: deps ## Restore a guest a million times, open 10,000 damaged modules, as root and as an ordinary user.
	SANDBOX_SOAK=1000000 $(GO) test -count=1 -v -run '^TestCanaries$$' -timeout 60m ./sandbox
	$(GO) test -count=1 -timeout 30m -run '^(TestWasmMutants|TestOrdinaryUser)$$' ./sandbox/sandboxtest -soak
