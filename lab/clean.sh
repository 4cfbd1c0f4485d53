#!/usr/bin/env bash
# Remove all that is built; what was fetched stays, and the base is pristine again.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ -d "$OUT" ] || exit 0
for dir in "$OUT"/*; do
	if [ -d "$dir/stock/.git" ]; then
		info "cleaning out/$(basename "$dir")"
		kgit -C "$dir/stock" clean -qxdff
		kgit -C "$dir/stock" checkout -q -f base
		find "$dir" -mindepth 1 -maxdepth 1 ! -name stock ! -name dl ! -name base.txt -exec rm -rf {} +
	elif [ "$dir" != "$OUT/emulator" ]; then
		rm -rf "$dir"
	fi
done
