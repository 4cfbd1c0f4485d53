#!/usr/bin/env bash
# One target for several bases, one after the other; where one fails, the others have their turn all the same. Where the
# target counts results, the last line sums them up.
#
#   make check BASES="7.3 6.12"     BASES="7.3 6.12" lab/bases.sh check
set -euo pipefail
# shellcheck disable=SC2153 # make exports it
read -ra bases <<<"$BASES"
unset BASES
. "$(dirname "$0")/common.sh"
target=$1 rc=0

mkdir -p "$LOGS"
for base in "${bases[@]}"; do
	log=$LOGS/$target-$base.log
	info "$target, base $base"
	make -C "$ROOT" --no-print-directory "$target" BASE="$base" 2>&1 | tee "$log" || rc=$?
	if tail -n 1 "$log" | grep -qE '^[0-9]+ passed, '; then count tail -n 1 "$log"; fi
done
if [ $((PASSED + FAILED + SKIPPED)) -gt 0 ]; then totals || rc=1; fi
exit $rc
