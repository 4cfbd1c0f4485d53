#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the crate's example in the cells of the table in kvmclock-vmm.rst that this machine's
# kernel has. Needs /dev/kvm and, beside this script unless $TOOLS says where, kvmclock, which
# tells what the kernel has, and vmm-rust. With $TEST_HOST set, the host's clocksource may be
# changed. Reports TAP; exits with 1 if a case failed.
tools=${TOOLS:-$(dirname "$0")}
clocksource=/sys/devices/system/clocksource/clocksource0
n=0
failed=0

# cell NAME WHO OPTION...: who restores the TSCs; the example itself says if they are wrong.
cell() {
	name=$1
	who=$2
	shift 2
	n=$((n + 1))
	if out=$("$tools/vmm-rust" "$@" 2>&1) &&
	   echo "$out" | grep -qx "TSCs restored by $who"; then
		echo "ok $n - $name"
	else
		failed=1
		echo "not ok $n - $name"
	fi
	echo "$out" | sed 's/^/# /'
}

# The master clock comes back with the TSC.
no_master_clock() {
	other=$(tr ' ' '\n' <$clocksource/available_clocksource | grep -v tsc | head -n 1)
	cell no_master_clock 'the VMM' "echo $other >$clocksource/current_clocksource && sleep 1"
	echo tsc >$clocksource/current_clocksource && sleep 1
}

probe=$("$tools/kvmclock" probe --json) || exit 1
case $probe in
*'"guest_tsc":true'*) best=KVM ;;
*) best='the VMM' ;;
esac

cell opted_in "$best"
cell differ "$best" -t
cell source_not_opted_in 'the VMM' -s
cell destination_not_opted_in 'the VMM' -d
cell neither_opted_in 'the VMM' -s -d
cell differ_not_opted_in 'the VMM' -s -d -t
[ -z "${TEST_HOST:-}" ] || no_master_clock
echo "1..$n"
exit $failed
