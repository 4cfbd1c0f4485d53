#!/usr/bin/env bash
# What needs no package: that versions grow, that modules which would not load are refused. packaging/test.sh
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"
. "$ROOT/packaging/secure-boot.sh"

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

# Secure Boot: a machine, as files

EFIVARS=$TMP/efivars LOCKDOWN=$TMP/lockdown SIG_ENFORCE=$TMP/sig_enforce
GLOBAL=8be4df61-93ca-11d2-aa0d-00e098032b8c SHIM=605dab50-e046-4300-abb6-3dd810dd8b23
KEY=11:22:33

# machine [VARIABLE=BYTE...]: with these EFI variables only.
machine() {
	rm -rf "$EFIVARS" "$LOCKDOWN" "$SIG_ENFORCE"
	[ $# -eq 0 ] || mkdir "$EFIVARS"
	local v
	for v; do
		# shellcheck disable=SC2059 # the byte is an escape of the format
		printf "\\6\\0\\0\\0\\$((${v#*=}))" >"$EFIVARS/${v%=*}"
	done
}

# Stands in for the tool.
mokutil() { [ "$*" = --list-enrolled ] && printf '[key 1]\nSHA1 Fingerprint: %s\n' "$KEY"; }

refused() {
	local name=$1 said
	shift
	if said=$(would_load "$@" 2>&1 | tr -s '\n ' ' '; exit "${PIPESTATUS[0]}"); then fail "$name: they are put in place"; else pass "$name: refused, ${said##*KVM: }"; fi
}

loads() { verdict "$1: they are put in place" would_load "${@:2}"; }

signatures() {
	machine
	loads "no EFI, not signed" ''
	machine "SecureBoot-$GLOBAL=0"
	loads "Secure Boot off, not signed" ''
	machine "SecureBoot-$GLOBAL=1"
	refused "Secure Boot on, not signed" ''
	refused "Secure Boot on, signed with another key" 44:55:66
	loads "Secure Boot on, signed with an enrolled key" $KEY
	machine "SecureBoot-$GLOBAL=1" "SetupMode-$GLOBAL=1"
	loads "Secure Boot on in setup mode, not signed" ''
	machine "SecureBoot-$GLOBAL=1" "MokSBStateRT-$SHIM=1"
	loads "Secure Boot on, and shim does not verify; not signed" ''
	machine
	echo 'none [integrity] confidentiality' >"$LOCKDOWN"
	refused "locked down, not signed" ''
	echo '[none] integrity confidentiality' >"$LOCKDOWN"
	loads "not locked down, not signed" ''
	echo Y >"$SIG_ENFORCE"
	refused "signatures enforced, not signed" ''
	echo N >"$SIG_ENFORCE"
	loads "signatures not enforced, not signed" ''
}

need dpkg git od
versions
signatures
totals
