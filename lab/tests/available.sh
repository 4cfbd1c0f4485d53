#!/usr/bin/env bash
# Test of lab/available.sh and lab/fetch.sh: which base it is where mirrors and archive lack a package. In a copy of the scripts,
# with an apt that reads no mirror, and with addresses at which nobody is.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT
git -C "$ROOT" ls-files -z lab bases | (cd "$ROOT" && cpio --quiet -0 -pdm "$DIR/repo")
sed -i 's,^snapshot=.*,snapshot=http://127.0.0.1:9/snapshot,' "$DIR"/repo/bases/*/base
mkdir "$DIR/bin"
cat >"$DIR/bin/apt-get" <<'END'
#!/bin/sh
for suite in bookworm bookworm-security trixie trixie-security; do
	case "$*" in *--print-uris*) echo "'http://127.0.0.1:9/debian/dists/$suite/InRelease' x 0" ;; esac
done
case "$*" in *--print-uris*) exit 0 ;; esac
exit 100
END
chmod 755 "$DIR/bin/apt-get"
# Nobody is there a second later, either.
echo 'Acquire::Retries::Delay "false";' >"$DIR/apt.conf"

# available [ARGUMENT...]: what it prints, its status, and what it says in $DIR/said.
available() {
	local rc=0 out
	out=$(env -u http_proxy -u https_proxy -u KERNEL -u VMM APT_CONFIG="$DIR/apt.conf" PATH="$DIR/bin:$PATH" BASE=7.3 GOALS=demo \
		"$DIR/repo/lab/available.sh" "$@" 2>"$DIR/said") || rc=$?
	echo "$out $rc"
}

# have BASE: as if it had been fetched.
have() {
	mkdir -p "$DIR/repo/out/$1/stock/.git"
	echo "base: $1" >"$DIR/repo/out/$1/stock/.git/base.txt"
}

# expect WHAT WANTED GOT
expect() {
	if [ "$2" = "$3" ]; then pass "available/$1"; else fail "available/$1: '$3', not '$2'"; cat "$DIR/said"; fi
}

says() { if grep -qF -- "$2" "$DIR/said"; then pass "available/$1"; else fail "available/$1"; cat "$DIR/said"; fi; }

expect "no base can be had" " 1" "$(available)"
says "the pool was tried" "trying version $(sed -n 's/^tested=//p' "$ROOT/bases/7.3/base") at http://127.0.0.1:9/debian"
says "the archive was tried" "at http://127.0.0.1:9/snapshot"
says "the other base was tried" "7.3 cannot be had: trying the base 6.12 in its place"
says "the error has a command that works" "make demo BASE=7.3 KERNEL=/path/to/linux-7.3"
have 6.12
expect "the other base" "6.12 0" "$(available)"
says "it is said that it is another" "the base is 6.12, because the source of 7.3 is nowhere to be had"
expect "not where this one was asked for" " 1" "$(available only)"
says "its error has a command that works" "make demo BASE=7.3 KERNEL=/path/to/linux-7.3"
have 7.3
expect "this one where it is there" "7.3 0" "$(available)"
expect "nothing is said of it" "" "$(cat "$DIR/said")"
totals
