#!/bin/bash
# Build what `make bench` boots: the kernel and KVM's modules, stock and ours, from the sources of out/BASE/stock and
# out/BASE/ours, but configured as lab/bench/config says, in trees of their own, and the program that measures.
#
# Incremental.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$ROOT/lab/variant.sh"

BENCH=$OUT/$BASE/bench

# program NAME [FILE...]: from NAME.c, these, and what all have.
program() {
	(cd "$ROOT/lab/bench" && gcc -static -O2 -Wall -Wextra -Werror -I "$usr" -o "$BENCH/tests/$1" "${@/%/.c}" samples.c vm.c)
}

programs() {
	local usr=$OUT/$BASE/ours/usr/include
	[ -f "$usr/linux/kvm.h" ] || die "the kernel's headers are not installed" "Run 'make build BASE=$BASE' first."
	mkdir -p "$BENCH/tests"
	program kvmclock_bench kinds
	program irqs_off
}

need gcc rsync
lock bench-build
mkdir -p "$BENCH"
mirror stock "$BENCH"
mirror ours "$BENCH"
merge <(base_config) "$ROOT/lab/bench/config" >"$BENCH/config"
programs
export TESTS=no
IMAGE=$BENCH/image-irqs "$ROOT/lab/image.sh"
export TREES=$BENCH CONFIG=$BENCH/config LOGS=$OUT/logs/bench
"$ROOT/lab/build.sh" kernel ours
IMAGE=$BENCH/image "$ROOT/lab/image.sh"
