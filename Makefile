# The front door. Every target calls a stage in lab/; 'make help' lists them.
#
#   BASE=7.3|6.12          the base kernel (bases/)
#   LAB=amd|intel|both     which emulated host
#   KVM=stock|ours|both    which KVM modules: 'make check' takes both unless told, 'make shell' takes ours
#   TEST="NAME..."         only these tests (lab/tests.list)
#   KERNEL=/path/to/tree   use this tree as the base instead of fetching Debian's package
#   RELEASE=trixie         which Debian 'make deb' builds for (packaging/releases)
#   VMM=qemu               the series for QEMU (vmm/qemu/) in place of the kernel's: make series, series-check, apply, fetch
#   JOBS=N                 parallel jobs; all processors unless told

VMM ?=
BASE ?= $(if $(VMM),7.2,7.3)
LAB ?= both
KVM ?=
TEST ?=
KERNEL ?=
RELEASE ?= trixie
JOBS ?= $(shell nproc)
export BASE VMM LAB KVM TEST KERNEL JOBS

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

##@ See what it does

.PHONY: demo
demo: build qemu ## migrate a Linux guest between two hosts and back: Debian's QEMU on stock and on ours, and a patched one; out/demo/
	@lab/demo/demo.sh

##@ Test it

.PHONY: check
check: build ## KUnit and all tests on the emulated hosts, stock and ours; fuzzers, bindings
	@lab/check.sh

.PHONY: check-slow
check-slow: build ## the tests that take minutes by nature
	@lab/check.sh slow

.PHONY: check-deb
check-deb: deb build ## install, upgrade and remove the packages, and boot Debian's own kernels with them
	@packaging/check.sh $(RELEASE)

.PHONY: check-deb-short
check-deb-short: deb build ## the same for one kernel, without DKMS, and with few tests: some minutes
	@packaging/check.sh $(RELEASE) short

.PHONY: check-qemu
check-qemu: build qemu ## guests under QEMU, Debian's and patched, migrated, paused, saved, reset (TEST="CASE..." only these)
	@vmm/qemu/tests/run.sh $(TEST)

.PHONY: check-qemu-short
check-qemu-short: build qemu ## the same for few guests: what .ci/run does
	@vmm/qemu/tests/run.sh short

.PHONY: fuzz
fuzz: setup ## the fuzzers in user space, lab/fuzz/ (TEST="NAME..." only these, RUNS=N that many inputs)
	@lab/fuzz.sh $(TEST)

.PHONY: model
model: setup ## the update protocol in all its states (spin), the arithmetic exhaustively at reduced width
	@lab/model/check.sh

.PHONY: bench
bench: build ## count what the clock costs, stock and ours, 1 to 1024 vCPUs; out/bench/
	@lab/bench/build.sh
	@lab/bench/bench.sh

.PHONY: bench-short
bench-short: build ## the same for 1 to 64 vCPUs after a KVM_SET_CLOCK: no cost per vCPU may grow
	@lab/bench/build.sh
	@lab/bench/bench.sh short

##@ Take it

.PHONY: deb
deb: setup ## Debian packages for exact kernels of Debian, the library, the tool: out/deb/ (RELEASE=trixie)
	@packaging/root.sh $(RELEASE)
	@packaging/build.sh $(RELEASE)

.PHONY: qemu
qemu: export VMM := qemu
qemu: export BASE := $(if $(filter qemu,$(VMM)),$(BASE),7.2)
qemu: setup ## QEMU with the series of vmm/qemu/: out/qemu/7.2/build/qemu-system-x86_64
	@lab/fetch.sh
	@lab/apply.py $(BASE)
	@vmm/qemu/build.sh

.PHONY: series
series: apply ## export the series for git am: out/series/BASE/
	@lab/series.sh

##@ Work on it

.PHONY: help
help: ## this list
	@echo 'make TARGET [BASE=7.3|6.12] [LAB=amd|intel|both] [KVM=stock|ours|both] [TEST="NAME..."] [KERNEL=/path/to/tree] [JOBS=N]'
	@sed -nE 's/^##@ (.*)/\n\1:/p; s/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '$$2 { $$0 = sprintf("  %-16s%s", $$1, $$2) } { print }'
	@echo
	@echo 'After an edit of the clock or of a test, back in a booted test in under a minute:'
	@echo '  make check LAB=amd KVM=ours TEST=kvmclock_abi'

.PHONY: shell
shell: build ## a shell in the emulated host (LAB=amd or intel)
	@lab/shell.sh

.PHONY: lint
lint: apply ## checkpatch, sparse, shellcheck, semantic patches all effective
	@lab/lint.sh

.PHONY: series-check
series-check: $(if $(VMM),qemu,build) series ## git am on the pristine base; every commit builds, is clean, boots where it has tests
	@$(if $(VMM),vmm/$(VMM),lab)/series-check.sh

##@ The stages, each of which does what it needs first

.PHONY: setup
setup: ## install the Debian packages that are missing (the only step that needs root)
	@lab/setup.sh

.PHONY: fetch
fetch: setup ## fetch the base kernel's source into out/BASE/stock
	@lab/fetch.sh

.PHONY: stock
stock: fetch ## build the base kernel and its KVM modules
	@lab/build.sh kernel

.PHONY: apply
apply: $(if $(VMM),fetch,stock) ## apply the series to a copy of the base, out/BASE/ours
	@lab/apply.py $(BASE)

.PHONY: build
build: apply ## build our KVM modules, the selftests and the tool
	@lab/build.sh ours selftests tools

.PHONY: clean
clean: ## remove all that is built; keeps the fetched base
	@lab/clean.sh

.PHONY: distclean
distclean: ## remove out/ altogether
	@rm -rf out
