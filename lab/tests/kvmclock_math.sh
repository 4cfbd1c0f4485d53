#!/bin/bash
# kvmclock_math.h in user space: it compiles there without a warning, by itself and optimised, and works. Silent if all is well.
set -euo pipefail
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT

for how in -O0 -O2 "-O2 -fsanitize=undefined -fno-sanitize-recover"; do
	# The options are words of their own.
	# shellcheck disable=SC2086
	gcc -Wall -Wextra -Werror $how -I "$here/../../arch/x86/kvm" -o "$tmp/test" "$here/kvmclock_math.c"
	"$tmp/test"
done
