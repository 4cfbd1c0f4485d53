#!/bin/bash
# kvmclock_math.h in user space: it compiles there without a warning, by itself and optimised, and works. Silent if all is well.
set -euo pipefail
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT

for how in "gcc -O0" "gcc -O2" "gcc -O2 -fsanitize=undefined -fno-sanitize-recover" "clang -O2"; do
	# Words of their own.
	# shellcheck disable=SC2086
	$how -Wall -Wextra -Werror -I "$here/../../arch/x86/kvm" -o "$tmp/test" "$here/kvmclock_math.c"
	"$tmp/test"
done
