#!/usr/bin/env bash
# The version of what is packaged, which grows with each commit: packaging/version.sh [DIRECTORY]
#
# 1.0+git265.670e087: the release to come, the number of commits, the last one. It is the package's, DKMS's and the modules'.
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"

RELEASED=1.0
TREE=${1:-$ROOT}

[ "$(kgit -C "$TREE" rev-parse --is-shallow-repository)" = false ] ||
	warn "not all commits are here: the version is lower than that of a whole clone ('git fetch --unshallow')"
dirty=
kgit -C "$TREE" diff --quiet HEAD || dirty=.dirty
echo "$RELEASED+git$(kgit -C "$TREE" rev-list --count HEAD).$(kgit -C "$TREE" rev-parse --short=7 HEAD)$dirty"
