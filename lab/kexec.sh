#!/usr/bin/env bash
# Prepare a run of the AMD host in which it goes on with another kernel by kexec, that takes its TSC for one of another
# frequency, while the record of a guest waits: a live update of the host.
#
#   lab/kexec.sh RUN PROGRAM...     then lab/boot-amd.sh RUN
#
# A PROGRAM is a test, or lab/live-update: it is run as `PROGRAM save FILE` before, and as `PROGRAM restore FILE` behind.
set -euo pipefail
. "$(dirname "$0")/common.sh"
RUN=${1:?the directory of the run} SLOWER=${SLOWER:-1}
shift

# each VERB: what the plan has of all programs.
each() {
	local verb=$1 program
	shift
	for program; do
		echo "ours $program:$verb:/lab/$program.saved $((60 * SLOWER)) 1"
	done
}

need gcc
mkdir -p "$RUN/extra/lab" "$RUN/extra/tests"
gcc -O2 -Wall -Wextra -static -o "$RUN/extra/tests/kexec" "$ROOT/lab/kexec.c"
cp "$STOCK/arch/x86/boot/bzImage" "$RUN/extra/lab/"
install -m 755 "$ROOT/lab/live-update" "$RUN/extra/tests/"
{
	echo "ours load $((60 * SLOWER)) 1"
	each save "$@"
	echo "ours kexec $((120 * SLOWER)) 1"
	echo "ours load $((60 * SLOWER)) 1"
	each restore "$@"
	echo "ours unload $((60 * SLOWER)) 1"
} >"$RUN/plan"
