#!/usr/bin/env bash
# What can be checked in all cases there are: the update protocol (publish.pml, by spin) and the arithmetic at reduced width
# (math.c). A mutation of the protocol is one result: it has to be found.
#
#   make model                                  everything, with the numbers: two minutes
#   lab/model/check.sh                          the same
set -euo pipefail
. "$(dirname "$0")/../common.sh"
LIMIT=150
MODEL=$ROOT/lab/model
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

# search NAME OPTION...: build the verifier, and let it search; what it says is in $TMP/log.
search() {
	local dir=$TMP/$1
	shift
	mkdir "$dir"
	cd "$dir"
	spin -a "$@" "$MODEL/publish.pml" >"$TMP/log" 2>&1 || return 1
	gcc -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -w -o pan pan.c >>"$TMP/log" 2>&1 || return 1
	timeout "$LIMIT" ./pan -m100000 -w24 >>"$TMP/log" 2>&1 || true
}

# holds NAME OPTION...: no error in any state, and none was left out.
holds() {
	local name=$1
	if search "$@" && grep -q 'errors: 0$' "$TMP/log" && ! grep -q 'Search not completed\|max search depth' "$TMP/log"; then
		pass "model/$name: $(awk '/states, stored/ { print $1 }' "$TMP/log") states"
	else
		fail "model/$name"
		tail -n 20 "$TMP/log"
	fi
}

# caught NAME OPTION...: some property is violated.
caught() {
	local name=$1
	if search "$@" && grep -qE '^pan:1: (assertion violated|invalid end state)' "$TMP/log"; then
		pass "model/$name: caught, $(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$TMP/log")"
	else
		fail "model/$name: not caught"
	fi
}

math() {
	local cases
	gcc -O2 -Wall -Wextra -Werror -I "$ROOT/arch/x86/kvm" -o "$TMP/math" "$MODEL/math.c"
	if cases=$(timeout "$LIMIT" "$TMP/math"); then pass "model/math: $cases"; else fail "model/math: $cases"; fi
}

need spin
math
holds two-vcpus -DVCPUS=2
holds three-vcpus-no-paging -DSETS=1 -DPAGE_OUTS=0
caught no-kick -DNO_KICK -DVCPUS=2
caught no-last-look -DNO_LAST_LOOK -DVCPUS=2
caught no-second-look -DNO_SECOND_LOOK -DVCPUS=2
caught boot-vcpu-forgotten -DNO_BOOT -DVCPUS=2
caught own-forgotten -DNO_OWN -DVCPUS=2
caught generation-late -DGEN_LATE -DVCPUS=2
caught no-lock -DNO_LOCK -DVCPUS=2
caught not-tried-again -DNO_RETRY -DVCPUS=2
caught failure-noted-as-done -DNOTE_FAILED -DVCPUS=2
caught boot-vcpu-waited-for -DWAIT_BOOT -DVCPUS=2
caught no-end -DNO_END -DVCPUS=2 -DSETS=1 -DPAGE_OUTS=2
totals
