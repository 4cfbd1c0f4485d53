#!/usr/bin/env bash
# What needs no package: that versions grow. packaging/test.sh
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"

TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

# verdict NAME COMMAND...
verdict() {
	local name=$1
	shift
	if "$@" >"$TMP/log" 2>&1; then pass "$name"; else fail "$name"; cat "$TMP/log"; fi
}

not() { ! "$@"; }

# Versions

commit() {
	kgit -C "$TMP/tree" -c user.name=test -c user.email=test@localhost commit -q --no-gpg-sign --allow-empty -m "$1"
}

version() { echo "$("$ROOT/packaging/version.sh" "$TMP/tree")-1~trixie"; }
newer() { echo "is '$2' newer than '$1'?"; dpkg --compare-versions "$2" gt "$1"; }

# From 9 to 10, where text and number sort differently.
versions() {
	local last=1.0-1~trixie n
	kgit init -q "$TMP/tree"
	for n in 1 2 3 4 5 6 7 8 9 10 11; do
		commit "$n"
		verdict "the version of commit $n is newer than the last one" newer "$last" "$(version)"
		last=$(version)
	done
	echo 1 >"$TMP/tree/file"
	kgit -C "$TMP/tree" add file
	verdict "what is not committed is newer, too" newer "$last" "$(version)"
	last=$(version)
	commit 12
	verdict "and the commit of it is newer again" newer "$last" "$(version)"
	verdict "an older version is not newer" not newer "$(version)" "$last"
}

need dpkg git
versions
totals
