#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2317 # cases are called by name
#
# Move the built-in guest by every way that this machine's kernel has, and run the examples.
# Needs /dev/kvm and, beside this script unless $KVMCLOCK and $EXAMPLES say where, kvmclock,
# vmm, vmm-lib and test_busy. With $TEST_HOST set, the host's clocksource may be changed.
# Reports TAP; exits with 1 if a case failed, 3 if a guest crashed, and 4 if there is no KVM.
#
# usage: test_kvm.sh [MS]	milliseconds that a guest runs between two moves; 300 unless told
kvmclock=${KVMCLOCK:-$(dirname "$0")/kvmclock}
examples=${EXAMPLES:-$(dirname "$0")}
run=${1:-300}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
failed=0

ok() {
	n=$((n + 1))
	echo "ok $n - $1"
}

not_ok() {
	n=$((n + 1))
	failed=1
	echo "not ok $n - $1"
	[ ! -s "$dir/err" ] || sed 's/^/# /' "$dir/err"
	[ ! -s "$dir/json" ] || sed 's/^/# /' "$dir/json"
}

skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

# tool EXPECTED ARG...: run the tool with its output in files, and compare its exit code.
# A guest that does not run to its end is no result, neither of the clock nor of the tool.
tool() {
	want=$1
	shift
	"$kvmclock" "$@" >"$dir/json" 2>"$dir/err"
	got=$?
	[ $got -eq "$want" ] && return
	if grep -q "ended with KVM's exit reason" "$dir/err"; then
		echo "Bail out! kvmclock $*: $(cat "$dir/err")"
		exit 3
	fi
	echo "# kvmclock $*: exit $got instead of $want" >>"$dir/err"
	return 1
}

# value KEY: of the last report.
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$dir/json"; }

# within KEY LIMIT: its magnitude is at most LIMIT.
within() {
	v=$(value "$1")
	[ -n "$v" ] && [ "$v" != null ] && [ "${v#-}" -le "$2" ] && return
	echo "# $1 is '$v', not within $2" >>"$dir/err"
	return 1
}

is() {
	[ "$(value "$1")" = "$2" ] && return
	echo "# $1 is '$(value "$1")', not '$2'" >>"$dir/err"
	return 1
}

has() { grep -q "\"$1\":true" "$dir/probe"; }

# case_is NAME COMMAND...: one case.
case_is() {
	name=$1
	shift
	: >"$dir/json"
	if "$@"; then ok "$name"; else not_ok "$name"; fi
}

save() { tool 0 save --json --run "$run" "$@"; }
restore() { tool 0 restore --json --run "$run" "$@"; }
measure() { echo "# measure $1 $(value "$2") $3"; }

# What a way has to keep. A guest that is restored by another way than plain sees time
# go on, and what it can be off by is what the tool says, and some microseconds where
# two calls have to do what one does.
check_move() {
	case $1 in
	exact|same-host|guest) limit=4 ;;
	offset) limit=20000 ;;
	*) return 0 ;;
	esac
	measure "$1.relation_step" relation_step_ns ns
	measure "$1.relation_error" relation_error_ns ns
	within relation_step_ns "$limit" && within relation_error_ns "$limit" && within tsc_back 0
}

move() {
	save "$dir/guest" && restore --way "$1" "$dir/guest" && is way "$1" && check_move "$1"
}

move_auto() {
	best=$(sed -n 's/.*"best_way":"\([a-z-]*\)".*/\1/p' "$dir/probe")
	save "$dir/guest" && restore "$dir/guest" && is way "$best" && check_move "$best"
}

move_old_record() {
	save --way offset "$dir/guest" && restore "$dir/guest" &&
		grep -q saved-inexact "$dir/json" &&
		within relation_error_ns 20000
}

# The differences between vCPUs' TSCs, by the TSC that the second save finds.
move_skewed() {
	save --vcpus 3 --skew 4000000000 "$dir/guest" &&
		restore --way "$1" --save "$dir/next" "$dir/guest" && within tsc_back 0 &&
		restore --way "$1" "$dir/next" && within tsc_back 0 &&
		within relation_error_ns 100000
}

# What the guest itself has written to its TSCs, all or one of them. Stock does not follow that.
move_written() {
	save --vcpus 3 --write-tsc "$1" "$dir/guest" && within tsc_back 0 &&
		restore --save "$dir/next" "$dir/guest" && within tsc_back 0 &&
		restore "$dir/next" && within tsc_back 0 || return 1
	if has guest_tsc; then check_move exact && within anchor_ahead 0; fi
}

move_socket() {
	"$kvmclock" save --json --run "$run" "$1" >"$dir/json2" 2>"$dir/err2" &
	restore "$2"
	rc=$?
	wait $!
	rc2=$?
	cat "$dir/err2" >>"$dir/err"
	[ "$rc" -eq 0 ] && [ "$rc2" -eq 0 ]
}

# What the destination has read and does not take has not been moved.
move_refused() {
	timeout 30 "$kvmclock" save --json --run "$run" "unix-listen:$dir/socket" \
		>"$dir/json2" 2>"$dir/err2" &
	tool 3 restore --way exact "unix:$dir/socket"
	rc=$?
	wait $!
	[ $? -eq 1 ] && [ "$rc" -eq 0 ] && grep -q 'not accepted' "$dir/err2"
}

# To a second host and back, the same guest all the while.
move_chain() {
	save "$dir/a" && restore --save "$dir/b" "$dir/a" && within tsc_back 0 &&
		restore --save "$dir/c" "$dir/b" && within tsc_back 0 &&
		restore "$dir/c" && within tsc_back 0
}

move_scaled() {
	khz=$(sed -n 's/.*"host_khz":\([0-9]*\).*/\1/p' "$dir/probe")
	save --khz $((khz * 3 / 7)) "$dir/guest" && restore "$dir/guest" &&
		within relation_error_ns 100000
}

# byte FILE OFFSET: another value there.
corrupt() {
	cp "$dir/guest" "$dir/bad"
	was=$(od -A n -t u1 -j "$1" -N 1 "$dir/guest")
	# shellcheck disable=SC2059 # an octal escape
	printf "\\$(printf %03o $((255 - was)))" |
		dd of="$dir/bad" bs=1 seek="$1" conv=notrunc 2>/dev/null
	tool 4 restore --json "$dir/bad"
}

truncated() {
	dd if="$dir/guest" of="$dir/bad" bs=1 count="$1" 2>/dev/null
	tool 4 restore --json "$dir/bad"
}

# Without hardware that adds an offset, a KVM may leave each guest the host's TSC.
moves_tscs() {
	save "$dir/guest" && restore --policy start-over "$dir/guest" && ! is cycles_moved 0
}

# What passes between the restore and the first reading is the time of some calls.
move_frozen() {
	save "$dir/guest" && sleep 1 && restore --policy freeze "$dir/guest" && is elapsed_ns 0 &&
		within relation_step_ns 20000 && within tsc_back 0 && within clock_back 0 &&
		within clock_gap_ns 500000000
}

# Both clocks begin at 0: the guest, which is not reset here, sees them go back.
move_over() {
	save "$dir/guest" && tool 0 restore --json --run 1 --policy start-over "$dir/guest" &&
		is elapsed_ns 0 && within clock_error_ns 500000000 && within tsc_error_ns 500000000
}

move_stopped() {
	save "$dir/guest" && restore --stopped "$dir/guest" || return 1
	if has guest_stopped; then grep -q '"set_flags":\[[^]]*"GUEST_STOPPED"' "$dir/json"; fi
}

# example WHO PROGRAM OPTION...: the example finds its guest right, and who restored the TSCs.
example() {
	who=$1
	program=$2
	shift 2
	"$examples/$program" -c 'sleep 0.5' "$@" >"$dir/json" 2>"$dir/err" &&
		grep -q "restored by $who" "$dir/json"
}

tracing=/sys/kernel/tracing
event=events/kvm/kvm_clock_line

# The clocksource while a guest is away. The master clock comes back with the TSC.
clocksource=/sys/devices/system/clocksource/clocksource0
other_clocksource() { tr ' ' '\n' <"$clocksource/available_clocksource" | grep -v tsc | head -n 1; }
without_master_clock() {
	example "$@" -c "echo $(other_clocksource) >$clocksource/current_clocksource && sleep 1"
	rc=$?
	echo tsc >"$clocksource/current_clocksource" && sleep 1
	return "$rc"
}

# The cells of the table in kvmclock-vmm.rst that one kernel has: source, destination.
examples() {
	if has guest_tsc; then
		case_is vmm example KVM vmm
		case_is vmm_differ example KVM vmm -t
		case_is vmm_lib example 'the way exact' vmm-lib
		case_is vmm_lib_differ example 'the way exact' vmm-lib -t
	else
		case_is vmm example 'the VMM' vmm
		case_is vmm_lib example 'the way offset' vmm-lib
	fi
	case_is vmm_source_not_opted_in example 'the VMM' vmm -s
	case_is vmm_destination_not_opted_in example 'the VMM' vmm -d
	case_is vmm_neither_opted_in example 'the VMM' vmm -s -d
	case_is vmm_lib_destination_not_opted_in example 'the way offset' vmm-lib -d
	case_is vmm_lib_neither_opted_in example 'the way offset' vmm-lib -s -d
	if [ "${TEST_HOST:-}" ] && [ "$(other_clocksource)" ]; then
		case_is vmm_no_master_clock without_master_clock 'the VMM' vmm
		case_is vmm_lib_no_master_clock without_master_clock 'the way offset' vmm-lib
	else
		skip vmm_no_master_clock "the clocksource is not ours to change"
		skip vmm_lib_no_master_clock "the clocksource is not ours to change"
	fi
}

no_file() { tool 1 restore "$dir/nothing" && grep -q 'No such file' "$dir/err"; }
# no_guest CONTENT WORDS: a file that is something else, and what is said of it.
no_guest() {
	printf %s "$1" >"$dir/other"
	tool 4 restore "$dir/other" && grep -q "$2" "$dir/err"
}
bad_usage() { tool 2 "$@" && grep -q 'help' "$dir/err"; }
not_offered() { tool 3 restore --way "$1" "$dir/guest" && [ -s "$dir/err" ]; }
# What the kernel says of the module, or that it says nothing.
probe_module() {
	version=null
	[ ! -r /sys/module/kvm/version ] || version=$(cat /sys/module/kvm/version)
	if has guest_tsc; then kvm=kvmclock; else kvm=stock; fi
	tool 0 probe --json && is kvm "$kvm" && is module_version "$version"
}

# The best way is there, and exact is where the kernel has it.
probe_require() {
	tool 0 probe --json && best=$(value best_way) && tool 0 probe --require "$best" &&
		tool 0 probe --require plain || return 1
	if has guest_tsc; then
		tool 0 probe --require exact
	else
		tool 3 probe --require exact && grep -q KVM_CLOCK_GUEST_TSC "$dir/err" &&
			[ -s "$dir/json" ]
	fi
}

vm_runs() { "$examples/test_busy" >"$dir/json" 2>"$dir/err"; }
move_monotonic() {
	save --monotonic "$dir/guest" && restore --monotonic "$dir/guest" &&
		within clock_back 0
}
no_monotonic() { tool 3 save --monotonic "$dir/guest"; }
foreign_khz() { tool 1 save --khz 1000 "$dir/other" && grep -q frequency "$dir/err"; }

# As Prometheus wants it, whatever the kernel shows.
watch_prometheus() {
	tool 0 watch --prometheus "$pid" &&
		grep -q "^kvmclock_vcpus{vm=\"$pid-.*} 2\$" "$dir/json" &&
		! grep -vE '^(# (HELP|TYPE) .*|kvmclock_[a-z_]+\{.*\} [0-9.]+)$' \
			"$dir/json" &&
		if has guest_tsc; then
			grep -q '^kvmclock_updates_total{.*} [1-9]' "$dir/json" &&
				grep -q '^kvmclock_master_clock{.*} 1$' "$dir/json"
		else
			! grep -q '^kvmclock_clock_seconds{' "$dir/json"
		fi
}

# The second list knows what has changed, and how fast the clock is, to what a slow host
# takes to read it.
watch_twice() {
	"$kvmclock" watch --json "$pid" 2>"$dir/err" | sed -n '2{p;q}' >"$dir/json"
	if has guest_tsc; then
		within drift_ppb 10000000 &&
			grep -q '"since_last":{"clock_updates":[0-9]' "$dir/json"
	else
		is drift_ppb null &&
			grep -q '"since_last":{"clock_updates":null,' "$dir/json"
	fi
}

# The events of one VM, which has its time restored meanwhile, and not those of the other.
# Nothing stays of it.
watch_events() {
	"$kvmclock" restore --json --run "$run" "unix-listen:$dir/socket" >/dev/null 2>"$dir/err" &
	mover=$!
	"$kvmclock" watch --events "$mover" >"$dir/json" 2>"$dir/err2" &
	watcher=$!
	instance=$tracing/instances/kvmclock-$watcher
	for _ in $(seq 60); do
		[ "$(cat "$instance/$event/enable" 2>/dev/null)" != 1 ] || break
		sleep 1
	done
	"$kvmclock" save --json --run "$run" "unix:$dir/socket" >/dev/null 2>>"$dir/err"
	wait "$mover"
	moved=$?
	sleep 1
	kill "$watcher"
	wait "$watcher"
	rc=$?
	cat "$dir/err2" >>"$dir/err"
	[ "$moved" -eq 0 ] && [ "$rc" -eq 0 ] && [ ! -d "$instance" ] &&
		grep -q 'kvm_clock_line: cause set .* new tsc [0-9]' "$dir/json" &&
		! grep -v "vm kvm-$mover\$" "$dir/json" >>"$dir/err"
}
no_events() { tool 3 watch --events && grep -q kvm_clock_line "$dir/err"; }

# A VM that runs meanwhile is listed, with its vCPUs, and with its clock where the kernel shows it.
watch_once() {
	"$kvmclock" save --run 3600000 "$dir/watched" >/dev/null 2>&1 &
	pid=$!
	for _ in $(seq 60); do
		! "$kvmclock" watch --once --json "$pid" | grep -q '"vcpus":2' || break
		sleep 1
	done
	sleep 1
	tool 0 watch --once --json "$pid" && is pid "$pid" && is vcpus 2 && is command kvmclock &&
		within uptime_s 600 && is drift_ppb null && watch_prometheus && watch_twice &&
		if has guest_tsc; then is mode master && is clock_raised 0; else is mode null; fi
	rc=$?
	"$kvmclock" watch --once | sed 's/^/# /'
	kill "$pid"
	wait "$pid"
	return "$rc"
}

if ! "$kvmclock" probe --json >"$dir/probe" 2>"$dir/err"; then
	cat "$dir/err"
	exit 4
fi
sed 's/^/# /' "$dir/probe"

case_is probe grep -q '^{"kvm":"[a-z]*",.*}$' "$dir/probe"
case_is probe_module probe_module
case_is probe_require probe_require
case_is move_auto move_auto
for way in offset documented plain; do
	case_is "move_$way" move $way
done
for way in exact same-host guest; do
	if has guest_tsc; then
		case_is "move_$way" move $way
	else
		case_is "not_offered_$way" not_offered $way
	fi
done
has guest_tsc || case_is move_refused move_refused
if moves_tscs; then
	case_is move_frozen move_frozen
	case_is move_start_over move_over
else
	skip move_frozen "this KVM does not move a guest's TSC"
	skip move_start_over "this KVM does not move a guest's TSC"
fi
case_is move_stopped move_stopped
case_is move_skewed move_skewed auto
case_is move_skewed_offset move_skewed offset
case_is move_written move_written 17592186044416
case_is move_written_first move_written 17592186044416:0
case_is move_written_last move_written 17592186044416:2
case_is move_set_back move_written 1
case_is move_set_back_first move_written 1:0
case_is move_unix move_socket "unix-listen:$dir/socket" "unix:$dir/socket"
case_is move_chain move_chain
if has guest_tsc; then
	case_is busy vm_runs
	case_is move_old_record move_old_record
fi
if has vm_tsc_control; then
	case_is move_scaled move_scaled
else
	case_is foreign_khz foreign_khz
fi
if has monotonic; then
	case_is monotonic move_monotonic
else
	case_is no_monotonic no_monotonic
fi
examples
save "$dir/guest"
case_is corrupt_header corrupt 9
case_is corrupt_record corrupt 60
case_is corrupt_version corrupt 44
case_is corrupt_memory corrupt 100000
case_is truncated_header truncated 20
case_is truncated_record truncated 90
case_is truncated_memory truncated 50000
case_is no_file no_file
case_is no_guest no_guest "$(head -n 9 "$0")" "was not written by 'kvmclock save'"
case_is no_guest_short no_guest hello "was not written by 'kvmclock save'"
case_is no_guest_empty no_guest '' 'ends early'
case_is no_guest_magic no_guest KVMCLKVM 'ends early'
case_is usage bad_usage restore --way nonsense "$dir/guest"
case_is usage_write_tsc bad_usage save --write-tsc 1:2 "$dir/guest"
case_is usage_policy bad_usage restore --policy nonsense "$dir/guest"
if [ -d "$tracing/$event" ]; then
	case_is watch_events watch_events
else
	case_is no_events no_events
fi
if [ -d /sys/kernel/debug/kvm ]; then
	case_is watch watch_once
else
	skip watch "/sys/kernel/debug/kvm is not there"
fi
echo "1..$n"
exit $failed
