#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# There is one version of the library, and it exports what its header declares and its man
# page describes.
# Reports TAP; exits with 1 if a case failed.
#
# usage: test_version.sh DIRECTORY	where make has built
here=$(dirname "$0")
out=${1:-.}
n=0
failed=0

# same NAME WANTED GOT
same() {
	n=$((n + 1))
	if [ -n "$2" ] && [ "$2" = "$3" ]; then
		echo "ok $n - $1"
		return
	fi
	failed=1
	echo "not ok $n - $1"
	printf '%s\n' "$2" "instead of that:" "$3" | sed 's/^/# /'
}

number() { sed -n "s/^#define KVMCLOCK_VERSION_$1[[:space:]]*//p" "$here/libkvmclock.h"; }
newest_node() { sed -n 's/^LIBKVMCLOCK_\(.*\) {$/\1/p' "$here/libkvmclock.map" | tail -n 1; }
declared() {
	sed -nE 's/^[a-z].*[ *](kvmclock_[a-z_]+)\(.*/\1/p' "$here/libkvmclock.h" | sort
}
# errors FILE: those that a file names.
errors() { grep -oE 'KVMCLOCK_E_[A-Z_]+' "$here/$1" | sort -u; }
in_synopsis() {
	sed -nE 's/^\.BI? ".*[ *](kvmclock_[a-z_]+)\(.*/\1/p' "$here/libkvmclock.3" | sort
}
exported() {
	nm -D --defined-only "$out/libkvmclock.so.1" | sed -nE 's/.* T ([a-z_]+).*/\1/p' | sort
}

header=$(number MAJOR).$(number MINOR)
same "kvmclock --version" "kvmclock $header" "$("$out/kvmclock" --version)"
same "libkvmclock.pc" "$header" "$(sed -n 's/^Version: //p' "$out/libkvmclock.pc")"
same "newest version of symbols" "$header" "$(newest_node)"
same "exported functions" "$(declared)" "$(exported)"
same "functions in libkvmclock.3" "$(declared)" "$(in_synopsis)"
same "errors in libkvmclock.3" "$(errors libkvmclock.h)" "$(errors libkvmclock.3)"
echo "1..$n"
exit $failed
