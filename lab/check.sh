#!/usr/bin/env bash
# Boot the emulated hosts, run the tests on them, judge the results. `make check` and `make check-slow` build first;
# this script alone takes what is built.
#
#   make check                                  both hosts, stock and ours: in one boot on AMD, side by side on Intel
#   make check LAB=amd KVM=ours TEST=kvmclock_abi
#                                               one test (or several: TEST="a b") on one host: the way to work
#   make check-slow                             what takes minutes by nature
#   lab/check.sh [slow]                         the same without building; lab/build.sh ours selftests tools rust builds in seconds
#
#   ONLY=base                                   not what is without a host, and the same whatever the base is: .ci/run, for the second one
#
# What there is to run: lab/tests.list, bases/BASE/tests.list. What the emulators cannot do: lab/known.list. Everything about a run is in
# out/run/BASE/RUN: result.ktap (what the host reported, the tests' output and the kernel's log among it), console.log.
# Measurements go to out/results/BASE-LAB-KVM.tsv; lab/table.py makes tables of them.
set -euo pipefail
KVM=${KVM:-both} TIER=${1:-fast}
. "$(dirname "$0")/common.sh"
# lab/sanitize.sh boots kernels that are slower, tests nothing but them, and keeps its runs apart.
RUNDIR=${RUNDIR:-$OUT/run/$BASE} SLOWER=${SLOWER:-1} SAN=${SAN:-}
# Limits are there for what hangs. An emulated host's seconds are real ones, and where others have the processors, it has few of them.
busy=$(awk -v n="$(nproc)" '{ f = int($1 / n + 0.5); x = f < 2 ? 2 : f; print (x < 12 ? x : 12) }' /proc/loadavg)
SLOWER=$((SLOWER * busy))
export SLOWER SAN
read -ra tests <<<"${TEST:-}"

case $LAB in
both) labs=(amd intel) ;;
amd|intel) labs=("$LAB") ;;
*) die "LAB=$LAB" "Known: amd, intel, both" ;;
esac
case $KVM in
both|stock|ours) ;;
*) die "KVM=$KVM" "Known: stock, ours, both" ;;
esac

# Real seconds after which a host is given up. What one second of the emulated hosts costs depends on the machine.
declare -A limit=([amd-fast]=1200 [intel-fast]=2700 [amd-slow]=2700 [intel-slow]=9000)

# The checker is checked first: a judge that lets things pass makes the rest worthless.
self_test() {
	mkdir -p "$LOGS"
	if env -u SAN -u SLOWER python3 -B "$ROOT/lab/test_report.py" 2>"$LOGS/test_report.log"; then
		pass "checker/self-test: $(sed -n 's/^Ran \([0-9]*\) tests.*/\1 cases/p' "$LOGS/test_report.log")"
	else
		cat "$LOGS/test_report.log" >&2
		fail "checker/self-test"
	fi
}

# tool_tests NAME TARGET: what make TARGET tests in tools/kvm/kvmclock, on this machine, each case of its TAP.
tool_tests() {
	local name=$1 log=$LOGS/$2.log rc=0 suite='' planned=0 seen=0 word rest
	plain_make -C "$ROOT/tools/kvm/kvmclock" -s --no-print-directory OUTPUT="$OUT/$BASE/tools-check" "$2" \
		>"$log" 2>&1 || rc=$?
	while read -r word rest; do
		case $word in
		ok|not) seen=$((seen + 1)) ;;
		esac
		case "$word $rest" in
		'# test_'*) suite=${rest#test_} ;;
		ok*'# SKIP '*) skip "$name/$suite: $rest" ;;
		ok\ *) PASSED=$((PASSED + 1)) ;;
		not\ *) fail "$name/$suite: ${rest#ok }" ;;
		1..*) planned=$((planned + ${word#1..})) ;;
		esac
	done <"$log"
	if [ $rc -eq 0 ] && [ $seen -eq $planned ] && [ $seen -gt 0 ]; then
		printf 'ok       %s/kvmclock: %d cases\n' "$name" $seen
	else
		tail -n 25 "$log" >&2
		fail "$name/kvmclock: exit $rc, $seen of $planned cases"
	fi
}

# The unit tests of library and tool, with sanitizers too, and the tool on this machine's own KVM where there is one.
tools() {
	tool_tests unit check
	tool_tests sanitizers check-sanitize
	if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
		tool_tests own-kvm check-kvm
	else
		skip "own-kvm/kvmclock: no /dev/kvm here that we may open"
	fi
}

# boot LAB DIRECTORY SECONDS: in the background. HOW: a command in front of it.
runs=() pids=() HOW=()
boot() {
	local lab=$1 dir=$2 seconds=$3
	"${HOW[@]}" "$ROOT/lab/boot-$lab.sh" "$dir" "$seconds" &
	pids+=($!)
	runs+=("$dir")
	info "$(basename "$dir"): $(wc -l <"$dir/plan") results to come"
}

# start NAME LAB KVM: plan a run and boot it, unless there is nothing to run.
start() {
	local dir=$RUNDIR/$1 lab=$2 plan
	[ "$TIER" = fast ] || dir+=-$TIER
	plan=$(python3 -B "$ROOT/lab/report.py" plan "$lab" "$3" "$TIER" "${tests[@]}")
	[ -n "$plan" ] || return 0
	rm -rf "$dir"
	mkdir -p "$dir"
	echo "$plan" >"$dir/plan"
	boot "$lab" "$dir" $((limit[$lab-$TIER] * SLOWER))
}

start_amd() {
	start amd amd "$KVM"
	start_kexec
}

# How fast guests' TSCs are, see lab/tests.list; whoever asks for a test gets all of it. The kernel gives what it does not know to init.
declare -A modes=([fast]=down+up [slow]=1to1+1500MHz)

# Bochs has one thread, and its TSC counts instructions, so that nothing is lost by running stock and ours side by side, nor by
# letting the second one have less of the processors than the others: some tests of the AMD host compare durations. It gets a third of
# what a session of compilers gets, because in .ci/run there is always one.
start_intel() {
	local APPEND=${APPEND:-}
	[ ${#tests[@]} -gt 0 ] || APPEND+=" KVMCLOCK_MODES=${modes[$TIER]}"
	export APPEND
	if [ "$KVM" = both ]; then
		start intel-ours intel ours
		HOW=(nice -n 5)
		start intel-stock intel stock
		HOW=()
	else
		start intel intel "$KVM"
	fi
}

# start_kexec: a guest goes on in another kernel of its host.
start_kexec() {
	local dir=$RUNDIR/amd-kexec
	if [ "$TIER" != fast ] || [ ${#tests[@]} -gt 0 ] || [ "$KVM" = stock ]; then return; fi
	rm -rf "$dir"
	"$ROOT/lab/kexec.sh" "$dir" kvmclock_kexec
	boot amd "$dir" $((300 * SLOWER))
}

# One line about all runs: what each does now, and how far it is.
status_line() {
	local dir now
	for dir in "${runs[@]}"; do
		now=$(grep -a '^# begin ' "$dir/result.ktap" 2>/dev/null | tail -n 1 | cut -d ' ' -f 3-) || true
		[ ! -f "$dir/status" ] || now='0 done'
		printf '%s %s/%s %s; ' "$(basename "$dir")" "$(grep -acE '^(not )?ok ' "$dir/result.ktap" 2>/dev/null || true)" \
			"$(wc -l <"$dir/plan")" "${now#* }"
	done
}

running() {
	local pid
	for pid in "${pids[@]}"; do
		if kill -0 "$pid" 2>/dev/null; then return 0; fi
	done
	return 1
}

watch_runs() {
	local start=$SECONDS next=30
	while running; do
		sleep 1
		if [ -t 1 ]; then
			printf '\r\033[K[%s] %s%s' "$STAGE" "$(status_line)" "$(clock_text $((SECONDS - start)))"
		elif [ $((SECONDS - start)) -ge $next ]; then
			info "$(status_line)$(clock_text $((SECONDS - start)))"
			next=$((next + 30))
		fi
	done
	[ ! -t 1 ] || printf '\r\033[K'
	info "hosts done in $(clock_text $((SECONDS - start)))"
}

# What needs no host. Not where only certain tests are asked for.
without_host() {
	if [ "$TIER" != fast ] || [ ${#tests[@]} -gt 0 ] || [ -n "$SAN" ]; then return; fi
	[ "${ONLY:-}" = base ] || count "$ROOT/lab/fuzz.sh"
	count "$ROOT/lab/bindings.sh"
	if [ "${ONLY:-}" != base ]; then
		count "$ROOT/lab/rust.sh"
		count "$ROOT/lab/model/check.sh"
		tools
	fi
}

for lab in "${labs[@]}"; do lock "run-$lab-$TIER"; done
self_test
"$ROOT/lab/image.sh"
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
# First what goes on for longest, and lets nobody wait; last what times tests on all processors.
[ "$LAB" = amd ] || start_intel
without_host
[ "$LAB" = intel ] || start_amd
[ ${#runs[@]} -gt 0 ] || die "nothing to run: no $TIER test of that name on $LAB"
watch_runs
pids=()

count env RESULTS="$RESULTS" BASE="$BASE" python3 -B "$ROOT/lab/report.py" check "${runs[@]}"
totals
