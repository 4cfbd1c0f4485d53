#!/bin/bash
# Build what `make bench` boots: the kernel and KVM's modules, stock and ours, from the sources of out/BASE/stock and
# out/BASE/ours, but configured as lab/bench/config says, in trees of their own, and the program that measures.
#
# The sources in these trees are hard links, so that a pair of them costs the disk only what is built. Incremental.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

BENCH=$OUT/$BASE/bench

# mirror TREE: what git tracks in out/BASE/TREE, with the same times, for make.
mirror() {
	local from=$OUT/$BASE/$1 to=$BENCH/$1
	[ -e "$from/.git" ] || die "$1 is not there yet" "Run 'make build BASE=$BASE' first."
	mkdir -p "$to"
	kgit -C "$from" ls-files -z | rsync -a --from0 --files-from=- --link-dest="$from" "$from/" "$to/"
	echo "gitdir: $from/.git" >"$to/.git"
}

# merge FILE CHANGES: FILE with its lines for an option replaced by those of CHANGES, or left out.
merge() {
	awk 'function option(line) { return match(line, /CONFIG_[A-Za-z0-9_]+/) ? substr(line, RSTART, RLENGTH) : "" }
	     NR == FNR { if (/^(without |# )?CONFIG_/) changed[option($0)] = 1; if (/^(# )?CONFIG_/) added = added $0 "\n"; next }
	     /^(# )?CONFIG_/ && option($0) in changed { next }
	     { print }
	     END { printf "%s", added }' "$2" "$1"
}

programs() {
	local usr=$OUT/$BASE/ours/usr/include p
	[ -f "$usr/linux/kvm.h" ] || die "the kernel's headers are not installed" "Run 'make build BASE=$BASE' first."
	mkdir -p "$BENCH/tests"
	for p in kvmclock_bench irqs_off; do
		gcc -static -O2 -Wall -Wextra -Werror -I "$usr" -o "$BENCH/tests/$p" "$ROOT/lab/bench"/{$p,samples,vm}.c
	done
}

need gcc rsync
lock bench-build
mkdir -p "$BENCH"
mirror stock
mirror ours
merge <(base_config) "$ROOT/lab/bench/config" >"$BENCH/config"
programs
export TESTS=no
IMAGE=$BENCH/image-irqs "$ROOT/lab/image.sh"
export TREES=$BENCH CONFIG=$BENCH/config LOGS=$OUT/logs/bench
"$ROOT/lab/build.sh" kernel ours
IMAGE=$BENCH/image "$ROOT/lab/image.sh"
