#!/usr/bin/env bash
# All fast tests on the AMD host under kernels that watch themselves: lab/sanitize/ has one file for each. Whatever they
# report fails the run, unless lab/known.list names it.
#
#   make check-sanitize                                 kcsan, kasan and rt, one after the other
#   make check-sanitize SAN=kasan TEST=kvmclock_abi     one of them, one test
#   make check-sanitize SAN=kcsan KVM=both CPUS=4       stock's modules as well; on a host with four processors
#   SAN=kasan lab/sanitize.sh shell                     a shell in that host
#
# The kernels are built in out/BASE/SAN, from sources that are hard links to those of out/BASE; selftests and tools are those of
# out/BASE, from `make build`. Runs are in out/run/BASE-SAN, measurements in out/results/SAN.
set -euo pipefail
KVM=${KVM:-ours} VERB=${1:-check}
. "$(dirname "$0")/common.sh"
. "$ROOT/lab/variant.sh"
export KVM LAB=amd

# build SAN: its kernel and modules, stock and ours. Incremental.
build() {
	local dir=$OUT/$BASE/$1 environment
	mkdir -p "$dir"
	mirror stock "$dir"
	mirror ours "$dir"
	merge <(merge <(base_config) "$ROOT/lab/sanitize/config") "$ROOT/lab/sanitize/$1" >"$dir/config"
	mapfile -t environment < <(said environment "$ROOT/lab/sanitize/$1")
	env "${environment[@]}" BUILD_LOCK="trees-$1" TREES="$dir" CONFIG="$dir/config" LOGS="$OUT/logs/$1" "$ROOT/lab/build.sh" kernel ours
}

# under SAN COMMAND...: with its image, command line and patience, and runs of its own.
under() {
	local dir=$OUT/$BASE/$1 file=$ROOT/lab/sanitize/$1 command=("${@:2}")
	env SAN="$1" TREES="$dir" IMAGE="$dir/image" RUNDIR="$OUT/run/$BASE-$1" RESULTS="$OUT/results/$1" LOGS="$OUT/logs/$1" \
		APPEND="$(said boot "$file") ${APPEND:-}" SLOWER="$(said slower "$file")" "${command[@]}"
}

need gcc rsync
read -ra sans <<<"${SAN:-kcsan kasan rt}"
for san in "${sans[@]}"; do
	[[ $san != config && -f $ROOT/lab/sanitize/$san ]] ||
		die "unknown SAN=$san" "Known: $(cd "$ROOT/lab/sanitize" && printf '%s\n' * | grep -vx config | paste -sd ' ')"
done
for san in "${sans[@]}"; do
	lock "build-$san"
	build "$san"
	exec {LOCK_FD}>&-
	case $VERB in
	check) info "$san"; count under "$san" "$ROOT/lab/check.sh" ;;
	shell) under "$san" "$ROOT/lab/shell.sh" ;;
	build) ;;
	*) die "unknown verb '$VERB'" "Verbs: check shell build" ;;
	esac
done
[ "$VERB" != check ] || totals
