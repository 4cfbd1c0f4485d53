# The front door. Every target calls a stage in lab/; 'make help' lists them.
#
#   BASE=7.3|6.12          the base kernel (bases/)
#   BASES="7.3 6.12"       the target for each of these, one after the other
#   LAB=amd|intel|both     which emulated host
#   KVM=stock|ours|both    which KVM modules: 'make check' takes both unless told, 'make shell' takes ours
#   TEST="NAME..."         only these tests (lab/tests.list); for 'make series-check', only these commits: TEST="0003 0007"
#   ONLY=base              'make check' and 'make lint' without what is the same on each base
#   AGAIN=yes              'make series-check' also of what passed before, when all was the same
#   KERNEL=/path/to/tree   use this tree as the base instead of fetching Debian's package
#   RELEASE=trixie         which Debian 'make deb' builds for (packaging/releases)
#   MODULE_KEY=, MODULE_CERT=   what 'make deb' signs modules with (packaging/README.md)
#   QEMU=7.2|10.0          which QEMU 'make qemu' builds, 'make deb-qemu' packs, and 'make check-qemu' runs (vmm/qemu/bases/)
#   VMM=qemu               the series for QEMU (vmm/qemu/) in place of the kernel's: make series, series-check, apply, fetch
#   DURATION=120           how long 'make stress' runs each phase, in seconds of the emulated host
#   SAN=kcsan|kasan|rt     which kernel 'make check-sanitize' boots, lab/sanitize/: all three unless told
#   JOBS=N                 parallel jobs; all processors unless told

VMM ?=
# What was asked for; targets set these variables themselves.
VMM_ASKED := $(VMM)
BASE_ASKED := $(if $(filter command environment,$(firstword $(origin BASE))),$(BASE))
BASE ?= $(if $(VMM),7.2,7.3)
BASES ?=
LAB ?= both
KVM ?=
TEST ?=
KERNEL ?=
SAN ?=
RELEASE ?= trixie
QEMU ?= $(if $(VMM),$(BASE),7.2)
QEMU := $(QEMU)
DURATION ?= 120
JOBS ?= $(shell nproc)
GOALS := $(MAKECMDGOALS)
export GOALS BASE BASES VMM LAB KVM TEST KERNEL SAN QEMU DURATION JOBS

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

ifneq ($(BASES),)

.PHONY: $(MAKECMDGOALS)
$(MAKECMDGOALS):
	@lab/bases.sh $@

else

##@ See what it does

# The base whose kernel is this machine's own, unless one was asked for.
DEMO_BASE = $(or $(BASE_ASKED),$(shell lab/demo/base.sh),$(BASE))
# That one, or another where its source cannot be had.
AVAILABLE = lab/available.sh $(if $(BASE_ASKED),only)

.PHONY: demo demo-build
demo demo-build: export override BASE := $(DEMO_BASE)
demo demo-build: export SETUP := demo
demo: setup ## migrate a Linux guest between two hosts and back, on mainline's KVM and on ours with a patched QEMU: a picture, out/demo/
	@BASE=$$($(AVAILABLE)) && export BASE && lab/demo/build.sh && lab/demo/demo.sh migration

# What demo does before it measures anything.
demo-build: setup
	@BASE=$$($(AVAILABLE)) && export BASE && lab/demo/build.sh

.PHONY: demo-ways
demo-ways: build ## carry a small guest in all ways, also with a scaled TSC and across a kexec: a table, out/demo/ways.tsv
	@lab/demo/demo.sh ways

##@ Test it

.PHONY: check check-base
check: setup ## KUnit and all tests on the emulated hosts, stock and ours; fuzzers, bindings, the Rust crate
	@base=$$($(AVAILABLE)) && $(MAKE) check-base BASE="$$base" GOALS="$(GOALS)"

check-base: build
	@lab/check.sh

.PHONY: check-slow
check-slow: build ## the tests that take minutes by nature
	@lab/check.sh slow

.PHONY: check-sanitize
check-sanitize: build ## the fast tests on the AMD host under kernels with KCSAN, KASAN, PREEMPT_RT (SAN=kcsan, kasan or rt: only that)
	@lab/sanitize.sh

.PHONY: check-deb
check-deb: setup deb ## install, upgrade and remove the packages, and boot Debian's own kernels with them
	@packaging/selftests.sh $(RELEASE)
	@packaging/check.sh $(RELEASE)

.PHONY: check-deb-short
check-deb-short: setup deb ## the same for one kernel of each base, without DKMS, and with few tests: some minutes
	@packaging/selftests.sh $(RELEASE)
	@packaging/check.sh $(RELEASE) short

.PHONY: check-qemu
check-qemu: build qemu ## guests under QEMU, Debian's and patched, migrated, paused, saved, reset (TEST="CASE...", QEMU=10.0)
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

.PHONY: stress
stress: build ## load, faults and attack, for long: 64 vCPUs, 64 VMs, 4 processors (DURATION=seconds of each phase)
	@lab/stress.sh

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
deb: export SETUP := deb
deb: setup ## Debian packages for exact kernels of Debian, the library, the tool: out/deb/ (RELEASE=trixie)
	@packaging/root.sh $(RELEASE)
	@packaging/build.sh $(RELEASE)

.PHONY: rpm
rpm: export SETUP := rpm
rpm: setup ## RPM packages of the library and the tool: out/rpm/
	@packaging/rpm/build.sh

.PHONY: qemu
qemu: export VMM := qemu
qemu: override export BASE := $(QEMU)
qemu: setup ## QEMU with the series of vmm/qemu/: out/qemu/7.2/build/qemu-system-x86_64 (QEMU=10.0)
	@$(if $(filter qemu,$(VMM_ASKED) $(GOALS)),,KERNEL=) lab/fetch.sh
	@lab/apply.py $(BASE)
	@vmm/qemu/build.sh

.PHONY: deb-qemu
deb-qemu: export VMM := qemu
deb-qemu: override export BASE := $(QEMU)
deb-qemu: export SETUP := deb
deb-qemu: setup ## Debian's source package of QEMU with that series in it: out/qemu/7.2/deb/ (QEMU=10.0)
	@lab/fetch.sh
	@lab/apply.py $(BASE)
	@lab/series.sh
	@vmm/qemu/deb.sh

.PHONY: series
series: export SETUP := series
series: apply ## export the series for git am: out/series/BASE/
	@lab/series.sh

.PHONY: release
release: export SETUP := series
release: setup ## patches of all bases, packed, and what to tag: out/series/kvmclock-vN-BASE.tar.gz
	@lab/release.sh check
	@$(MAKE) series BASES="$(notdir $(wildcard bases/*))" VMM=
	@lab/release.sh pack

##@ Work on it

.PHONY: help
help: ## this list
	@echo 'make TARGET [BASE=7.3|6.12 or BASES="7.3 6.12"] [LAB=amd|intel|both] [KVM=stock|ours|both] [TEST="NAME..."] [KERNEL=/path/to/tree] [JOBS=N]'
	@sed -nE 's/^##@ (.*)/\n\1:/p; s/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '$$2 { $$0 = sprintf("  %-16s%s", $$1, $$2) } { print }'
	@echo
	@echo 'After an edit of the clock or of a test, back in a booted test in under a minute:'
	@echo '  make check LAB=amd KVM=ours TEST=kvmclock_abi'

.PHONY: shell
shell: build ## a shell in the emulated host (LAB=amd or intel)
	@lab/shell.sh

.PHONY: results
results: ## write lab/RESULTS.md and README's table from the last runs
	@python3 -B lab/results.py

.PHONY: lint
lint: stock apply ## checkpatch, sparse, shellcheck, semantic patches all effective
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
apply: fetch ## apply the series to a copy of the base, out/BASE/ours
	@lab/apply.py $(BASE)

.PHONY: build
build: stock apply ## build our KVM modules, the selftests, the tool and the examples
	@lab/build.sh ours selftests tools rust

.PHONY: clean
clean: ## remove all that is built; keeps the fetched base
	@lab/clean.sh

.PHONY: distclean
distclean: ## remove out/ altogether
	@rm -rf out

endif
