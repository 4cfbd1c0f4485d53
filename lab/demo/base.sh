#!/usr/bin/env bash
# Print the base whose binary kernel belongs to this machine's Debian release, so that modules for it can be built here: the demo's. With
# an argument, whether that base is one: lab/demo/base.sh [BASE]
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")

of_release() { [[ $(sed -n 's/^suite=//p' "$ROOT/bases/$1/base") =~ ^$release(-|$) ]]; }

if [ $# -gt 0 ]; then
	of_release "$1"
	exit
fi
for base in $(cd "$ROOT/bases" && printf '%s\n' * | sort -rV); do
	if of_release "$base"; then
		echo "$base"
		exit
	fi
done
