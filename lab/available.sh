#!/usr/bin/env bash
# Fetch the base, or another one where its source is nowhere to be had: prints which (make demo, make check). With an argument,
# or with a tree of the user's own, only that base.
#
#   lab/available.sh [only]
set -euo pipefail
. "$(dirname "$0")/common.sh"
asked=${1:-$KERNEL} others=()
exec 3>&1 1>&2

# Status 3 says that there is nothing to fetch; all else is an error of its own, which has been told.
fetch() {
	local rc=0
	BASE=$1 OTHERS=yes "$ROOT/lab/fetch.sh" || rc=$?
	[ $rc -eq 0 ] || [ $rc -eq 3 ] || exit $rc
	return $rc
}

if [ -n "$asked" ]; then
	"$ROOT/lab/fetch.sh"
	echo "$BASE" >&3
	exit
fi
known_base
if fetch "$BASE"; then
	echo "$BASE" >&3
	exit
fi
mapfile -t others < <(cd "$ROOT/bases" && printf '%s\n' * | sort -rV | grep -vxF "$BASE")
for base in "${others[@]}"; do
	info "$BASE cannot be had: trying the base $base in its place"
	if fetch "$base"; then
		warn "the base is $base, because the source of $BASE is nowhere to be had"
		echo "$base" >&3
		exit
	fi
done
die "no base can be had: $BASE ${others[*]}" "Run the same command again with a network." \
    "Or use a tree that you have: make ${GOALS:-check} BASE=$BASE KERNEL=/path/to/linux-$BASE"
