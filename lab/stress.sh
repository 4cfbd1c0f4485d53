#!/usr/bin/env bash
# The clock under load, faults and attack, for longer than `make check` has time: the AMD host with 4 processors, ours only.
#
#   make stress [DURATION=120]      DURATION: seconds of the emulated host for each phase
#
# The modules are loaded anew for each test. Judged as all runs are (lab/report.py); behind that, what was done and read, as
# lines of NAME VALUE UNIT. Everything about the run is in out/run/BASE/amd-stress.
set -euo pipefail
. "$(dirname "$0")/common.sh"
DURATION=${DURATION:-120}
RUN=$OUT/run/$BASE/amd-stress

[[ $DURATION =~ ^[1-9][0-9]*$ ]] || die "DURATION=$DURATION" "It is a number of seconds."

# round TEST: modules loaded, the test, modules unloaded. Who creates 64 VMs, or waits for hangs, takes some minutes besides.
round() { printf 'ours load 60 1\nours %s %d 1\nours unload 60 1\n' "$1" $((3 * DURATION + 900)); }

lock run-stress
"$ROOT/lab/image.sh"
rm -rf "$RUN"
mkdir -p "$RUN"
{
	round "kvmclock_stress:-t:$DURATION:-c:64:-m:64"
	round "kvmclock_attack:-t:$DURATION"
	round "kvmclock_fault:-a:-n:$((DURATION * 2))"
} >"$RUN/plan"
CPUS=4 try "$(grep -c kvmclock_ "$RUN/plan") tests of $DURATION s a phase" "$LOGS/stress.log" \
	"$ROOT/lab/boot-amd.sh" "$RUN" $((12 * DURATION + 3600))
count env RESULTS="$RESULTS" BASE="$BASE" python3 -B "$ROOT/lab/report.py" check "$RUN"
sed -nE 's/^# > # measure ((stress|fault|attack)\..*)$/\1/p' "$RUN/result.ktap" | grep -vE '^fault\.[a-z_]+\.places' || true
totals
