#!/usr/bin/env bash
# Run a command beside other builds, to see that it passes on a busy machine: lab/busy.sh COMMAND..., e.g. lab/busy.sh make check
#
#   BUILDS=3        how many builds' worth of load: each is as many compilers as there are processors
#   LIMIT=7200      seconds after which the command is given up
#
# The exit status is the command's, unless a compiler has ended before it. The compilers end with it, or with this script.
set -euo pipefail
. "$(dirname "$0")/common.sh"

BUILDS=${BUILDS:-3} LIMIT=${LIMIT:-7200}

# One compiler after the other, as in a build, for as long as the one that has begun it is there.
compile() {
	local end=$((SECONDS + LIMIT + 60)) file
	while [ $SECONDS -lt $end ]; do
		for file in "$ROOT"/tools/kvm/kvmclock/*.c; do
			kill -0 $$ 2>/dev/null || return 0
			gcc -O2 -w -D_GNU_SOURCE -I"$ROOT/tools/kvm/kvmclock" -c -o /dev/null "$file" || return 0
		done
	done
}

all_run() {
	local pid
	for pid in "${compilers[@]}"; do
		kill -0 "$pid" 2>/dev/null || return
	done
}

[ $# -gt 0 ] || die "no command" "lab/busy.sh make check"
need gcc timeout
compilers=() command=()
# shellcheck disable=SC2317 # by the trap
end() { kill "${command[@]}" "${compilers[@]}" 2>/dev/null || true; }
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
for ((i = 0; i < BUILDS * $(nproc); i++)); do
	compile &
	compilers+=($!)
done
sleep 2
all_run || die "a compiler has ended at once" "Try: gcc -O2 -Itools/kvm/kvmclock -c tools/kvm/kvmclock/*.c"
info "${#compilers[@]} compilers beside: $*"
# In the background, so that a signal to this script finds it waiting.
timeout --kill-after=30 "$LIMIT" "$@" &
command=($!)
rc=0
wait "${command[0]}" || rc=$?
command=()
all_run || die "a compiler has ended before the command, which ended with $rc: there was less load than that"
info "load average at the end: $(cut -d ' ' -f 1-3 /proc/loadavg); exit $rc"
exit $rc
