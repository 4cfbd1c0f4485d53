#!/usr/bin/env bash
# Fuzz code that computes with, or reads, what comes from outside: each lab/fuzz/*.c is one target for clang's libFuzzer.
#
#   make fuzz                                   all targets, each with the number of inputs that it names: seconds
#   make fuzz TEST=kvmclock_math RUNS=100000000
#                                               one target (or several), for as long as that takes
#   lab/fuzz.sh [NAME...]                       the same
#
# A target is a function int fuzz_input(const u8 *data, size_t size), which returns 0 or does not return. libFuzzer knows it
# as LLVMFuzzerTestOneInput(), a name that checkpatch does not like. The opening comment of a target says what it needs:
# 'fuzz: -runs=N' and other options of libFuzzer, and if need be 'cc: ' with options of clang and files beside its own, at
# paths of the repository. lab/fuzz/corpus/NAME/ has inputs to start from.
#
# A run starts from these alone and from a seed that is always the same, so it can be repeated. What it collects is in
# out/fuzz/corpus/NAME, inputs that failed stay in out/fuzz/crashes/.
set -euo pipefail
. "$(dirname "$0")/common.sh"
RUNS=${RUNS:-}
FUZZ=out/fuzz
# Real seconds for the inputs that a target names, on a machine that has other things to do.
LIMIT=300

targets() { basename -s .c lab/fuzz/*.c; }

# option NAME WORD: what the target's comment says behind 'WORD:'.
option() { sed -n "s/^ \* $2: //p" "lab/fuzz/$1.c"; }

build_target() {
	local cc
	read -ra cc <<<"$(option "$1" cc)"
	clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wall -Wextra -Werror \
		-I arch/x86/kvm -I tools/kvm/kvmclock -Dfuzz_input=LLVMFuzzerTestOneInput -o "$FUZZ/$1" "lab/fuzz/$1.c" "${cc[@]}"
}

# run_target NAME OPTION...: begin from nothing but the target's own corpus.
run_target() {
	local name=$1 corpus=("$FUZZ/corpus/$1") own=lab/fuzz/corpus/$1
	shift
	[ ! -d "$own" ] || corpus+=("$own")
	rm -rf "${corpus[0]}"
	mkdir -p "${corpus[0]}"
	"$FUZZ/$name" -seed=1 -timeout=10 -print_final_stats=1 -artifact_prefix="$FUZZ/crashes/$name-" "$@" "${corpus[@]}"
}

# fuzz NAME: one result.
fuzz() {
	local name=$1 log=$LOGS/fuzz-$1.log options wanted inputs crash rc=0
	read -ra options <<<"$(option "$name" fuzz)"
	if [ -n "$RUNS" ]; then options+=("-runs=$RUNS"); else options+=("-max_total_time=$LIMIT"); fi
	wanted=$(printf '%s\n' "${options[@]}" | sed -n 's/^-runs=//p' | tail -n 1)
	[ -n "$wanted" ] || { fail "fuzz/$name: it names no -runs="; return; }

	build_target "$name" >"$log" 2>&1 || { fail "fuzz/$name: does not compile"; head -n 30 "$log"; return; }
	info "$name: $wanted inputs"
	run_target "$name" "${options[@]}" >"$log" 2>&1 || rc=$?
	inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	crash=$(sed -n 's/.*Test unit written to //p' "$log")

	if [ -n "$crash" ]; then
		fail "fuzz/$name: failed after ${inputs:-?} inputs; see it again: $FUZZ/$name $crash"
	elif [ $rc -ne 0 ]; then
		fail "fuzz/$name: ended with exit status $rc after ${inputs:-?} inputs"
	elif [ "${inputs:-0}" -lt "$wanted" ]; then
		fail "fuzz/$name: ${inputs:-0} of $wanted inputs in $LIMIT s"
	else
		pass "fuzz/$name: $inputs inputs"
		return
	fi
	grep -vE '^#[0-9]+|^INFO:|^stat::' "$log" | head -n 20 || true
}

need clang
cd "$ROOT"
lock fuzz
mkdir -p "$FUZZ/crashes" "$LOGS"
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(targets)
for name in "${names[@]}"; do
	[ -f "lab/fuzz/$name.c" ] || die "no target lab/fuzz/$name.c" "Known: $(targets | xargs)"
	fuzz "$name"
done
totals
