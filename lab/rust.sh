#!/usr/bin/env bash
# The unit tests of the crate in tools/kvm/kvmclock/rust: by rustc alone, and by cargo without a network, from what Debian packages.
# Usage: lab/rust.sh
set -euo pipefail
. "$(dirname "$0")/common.sh"
# Debian's compiler, whatever else there is: the oldest that the crate builds with.
PATH=/usr/bin:$PATH

# crate_tests NAME TARGET: what make TARGET tests there, each test that libtest reports.
crate_tests() {
	local name=$1 log=$LOGS/rust-$1.log rc=0 planned seen=0 verdict test
	plain_make -C "$ROOT/tools/kvm/kvmclock/rust" -s --no-print-directory O="$OUT/rust" RUSTFLAGS='-D warnings' "$2" >"$log" 2>&1 || rc=$?
	planned=$(awk '/^running [0-9]+ tests?$/ { n += $2 } END { print n + 0 }' "$log")
	while read -r verdict test; do
		seen=$((seen + 1))
		case $verdict in
		ok) PASSED=$((PASSED + 1)) ;;
		ignored) skip "rust/$name: $test" ;;
		*) fail "rust/$name: $test" ;;
		esac
	done < <(sed -nE 's/^test (.*) \.\.\. ([a-zA-Z]+).*/\2 \1/p' "$log")
	if [ $rc -eq 0 ] && [ $seen -eq "$planned" ] && [ $seen -gt 0 ]; then
		printf 'ok       rust/%s: %d tests\n' "$name" $seen
	else
		tail -n 25 "$log" >&2
		fail "rust/$name: exit $rc, $seen of $planned tests"
	fi
}

need rustc cargo
mkdir -p "$LOGS"
lock rust
crate_tests rustc check
crate_tests cargo check-cargo
totals
