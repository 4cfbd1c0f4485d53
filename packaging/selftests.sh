#!/usr/bin/env bash
# Build the selftests of all bases that a release's packages have kernels of: packaging/selftests.sh RELEASE
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"

BASES=$(cut -d ' ' -f 1 "$OUT/deb/$1-packages/kernels" | sort -u | paste -sd ' ') exec "$ROOT/lab/bases.sh" build
