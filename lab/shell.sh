#!/usr/bin/env bash
# A shell in an emulated host, with KVM's modules (KVM=stock|ours) loaded. `exit` ends the host; on AMD, Ctrl-A x kills it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ "$LAB" != both ] || LAB=amd
case $LAB in amd|intel) ;; *) die "LAB=$LAB" "Known: amd, intel" ;; esac
[ "$KVM" != both ] || KVM=ours
dir=$(mktemp -d "$OUT/shell.XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$ROOT/lab/image.sh"
echo "shell $KVM" >"$dir/plan"
info "booting the $LAB host with KVM=$KVM"
INTERACTIVE=1 "$ROOT/lab/boot-$LAB.sh" "$dir" 86400
