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
	CGO_ENABLED=0 $(GO) test -timeout 30m ./...
	$(GO) test -C bench/gateway ./...
	$(GO) test -C deploy/check ./...
	$(GO) test -C internal/crashfs/mount ./...

.PHONY: race
race: deps ## Run all tests under the race detector.
	$(GO) test -race -short -timeout 30m ./...

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
bench-main: deps ## Measure what bench/RESULTS.md reports: 200,000 mails, 4 GB of words.
	SIZE=full $(GO) test -run '^$$' -bench . -benchtime 3x -timeout 4h ./bench

.PHONY: bench-shuffle
bench-shuffle: deps ## Measure netpipes, sorting, grouping and counting beside what people do by hand; SIZE=mid or full is more than a quick look.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench Netpipe -benchtime 2s -count 3 ./shuffle ./shuffle/flight
	$(GO) test -run '^$$' -bench '^Benchmark(Sorter|Merge|Section)$$' -benchtime 300ms ./shuffle
	$(GO) test -run '^$$' -bench '^Benchmark(Sort|GroupBy|Overlap|WordCount|Skew)$$' -benchtime 1x -timeout 8h ./bench

.PHONY: bench-cluster
bench-cluster: deps ## Measure jobs on several nodes: a search on those of a Swift beside one through its proxy; a job by a cluster and in one process; a new leader; ten thousand nodes, simulated.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench Swift -benchtime 3x -timeout 60m ./bench/cluster
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench '^Benchmark(Path|Submit)$$' -benchtime 10x -timeout 60m ./internal/clustertest
	$(GO) test -run '^$$' -bench '^BenchmarkResume$$' -benchtime 3x -timeout 60m ./bench
	$(GO) test -run '^$$' -bench '^BenchmarkPlacement$$' -benchtime 1x -cpu 1 -timeout 60m ./placement/sim

.PHONY: bench-sandbox
bench-sandbox: export LATENCY = $(CURDIR)/bin/latency
bench-sandbox: deps ## Measure what a jail, a job's start, one object and the end of a guest take; draw bench/latency.svg.
	rm -rf $(LATENCY)
	mkdir -p $(LATENCY)
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/.*(empty|regexp)' -benchtime 100000x -timeout 60m ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/(native-split|plain)' -benchtime 100000x -timeout 60m ./internal/runner
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/.*(address|hostsearch)' -benchtime 10000x -timeout 60m ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'Object/(native-object|wasm-go-fresh)' -benchtime 2000x -timeout 60m ./internal/runner ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench 'JobStart|Runner|Jail' -benchtime 200x -timeout 60m ./internal/local ./internal/agent ./sandbox
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench Stop -benchtime 50x -timeout 60m ./sandbox/sandboxtest
	cp $(LATENCY)/latency.svg bench/latency.svg

.PHONY: bench-scale
bench-scale: ## Simulate a thousand nodes, many times; draw docs/scale.svg.
	$(GO) test -count=1 -run '^TestPicture$$' -timeout 60m ./placement/sim -sim.picture $(CURDIR)/docs/scale.svg

FUZZTIME ?= 15m

.PHONY: fuzz
fuzz: ## Run each fuzzer for FUZZTIME (15m).
	@for pkg in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
		done; \
	done

.PHONY: soak-simulation
soak-simulation: ## Simulate a million jobs, each on a schedule of faults of its own.
	$(GO) test -count=1 -v -run '^TestSimulation$$' -timeout 60m ./internal/coordinator -sim.count 1000000

.PHONY: soak-metamorphic
soak-metamorphic: deps ## Run a thousand jobs by engines, stores, splits, budgets and so on that are chosen by chance: the output is always the same.
	$(GO) test -count=1 -v -run '^TestSame$$' -timeout 120m ./internal/chaos -same.count 1000

.PHONY: soak-kills
soak-kills: deps ## Kill five hundred runners and millraces at random moments of five jobs: the output is always the same.
	$(GO) test -count=1 -v -run '^TestKills$$' -timeout 120m ./internal/chaos -kill.count 500

.PHONY: soak-hotkey
soak-hotkey: deps ## Reduce a key with a hundred million values, as WebAssembly and native.
	$(GO) test -count=1 -v -run '^TestHotKey$$' -timeout 120m ./cmd/millrace -hot 100000000

.PHONY: soak-cluster
soak-cluster: ## Check 200 histories of job logs on three servers that are killed, stopped and cut off; fill their disks.
	$(GO) test -count=1 -v -run '^(TestHistories|TestPartitions|TestFullDisks)$$' -timeout 120m ./internal/cluster -cluster.histories 200

.PHONY: soak-power
soak-power: deps ## Cut the power of servers of job logs, alone and of three, and of the disk of an output, 200 times each.
	$(GO) test -count=1 -v -run '^TestPowerLoss$$' -timeout 180m ./internal/cluster -power.losses 200
	$(GO) test -count=1 -v -run '^TestPowerLoss$$' -timeout 60m ./internal/chaos -power.losses 200

.PHONY: test-cluster
test-cluster: deps ## Run five jobs at a time on a cluster of three servers, four agents and a Swift in network namespaces, in peace and under faults.
	$(GO) test -count=1 -v -run '^TestCluster$$' -timeout 30m ./internal/chaos -site.runs 15

.PHONY: soak-chaos
soak-chaos: deps ## Run 300 jobs on that cluster under random kills, stops, partitions, slow links and full disks: the output is always the same.
	$(GO) test -count=1 -v -run '^TestCluster$$' -timeout 6h ./internal/chaos -site.runs 300

.PHONY: soak-sandbox
soak-sandbox: deps ## Restore a guest a million times; open 10,000 damaged modules, in a jail and in jobs, as root and as an ordinary user.
	SANDBOX_SOAK=1000000 $(GO) test -count=1 -v -run '^TestCanaries$$' -timeout 60m ./sandbox
	$(GO) test -count=1 -timeout 30m -run '^(TestWasmMutants|TestOrdinaryUser)$$' ./sandbox/sandboxtest -soak
	$(GO) test -count=1 -timeout 3h -run '^(TestWasmMutants|TestOrdinaryUser)$$' ./internal/agent -soak
