#!/usr/bin/env bash
# Test of lab/boot.sh: which hosts are booted once more. Emulators are scripts here, which do one thing at their first boot, and
# another at their second.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../boot.sh"

RUN=$(mktemp -d) LIMIT=2
trap 'rm -rf "$RUN"' EXIT

# What an emulator does, which has RUN in its environment.
export RUN
# shellcheck disable=SC2016
panics='echo "Kernel panic - not syncing" >"$RUN/console.log"'
# shellcheck disable=SC2016
tests='echo "# begin 1 stock/load" >"$RUN/result.ktap"'
hangs='sleep 10'

# boots FIRST SECOND: how often it was booted, and how the last one ended.
boots() {
	rm -rf "${RUN:?}"/*
	touch "$RUN/console.log" "$RUN/result.ktap"
	# shellcheck disable=SC2016 # for the inner shell
	boot_host emulate bash -c 'echo >>"$RUN/boots"; if [ -d "$RUN/first" ]; then eval "$2"; else eval "$1"; fi' - "$1" "$2" 2>/dev/null
	echo "$(wc -l <"$RUN/boots") $(cat "$RUN/status")"
}

# expect WHAT WANTED GOT
expect() {
	if [ "$2" = "$3" ]; then pass "boot/$1"; else fail "boot/$1: '$3', not '$2'"; fi
}

expect "a host that runs its tests is booted once" "1 exit 0" "$(boots "$tests" "$tests")"
expect "one that fails in a test is booted once" "1 exit 7" "$(boots "$tests; exit 7" "$tests")"
expect "one that panics before its first test is booted once more" "2 exit 0" "$(boots "$panics" "$tests")"
expect "but not a third time" "2 exit 3" "$(boots "$panics" "$panics; exit 3")"
expect "one that hangs was given its time" "1 limit" "$(boots "$hangs" "$tests")"
(boots "$panics" "$tests") >/dev/null
expect "what the first one said is kept" "Kernel panic - not syncing" "$(cat "$RUN/first/console.log")"
totals
