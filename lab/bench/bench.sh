#!/usr/bin/env bash
# Measure what the clock costs, stock and ours in one boot of each host, and judge. `make bench` builds first; this script
# alone takes what is built (lab/bench/build.sh).
#
#   make bench              1, 8, 64, 512 and 1024 vCPUs on the Intel host, where TSC ticks are instructions; 1, 8 and 64 on
#                           the AMD host, whose times are good for ratios only; for how long interrupts are off; how often
#                           pages are written while a guest boots and migrates
#   make bench-short        1, 8 and 64 vCPUs on the Intel host: does what a change costs per vCPU grow with their number?
#   VCPUS="1 64" CASES="set run" LAB=intel KVM=ours lab/bench/bench.sh
#                           only that; CASES as in kvmclock_bench.c, LAB may be intel-irqs or pages, too
#
# Results are in out/bench: *.json, table.md, and plots of cost against the number of vCPUs.
set -euo pipefail
KVM=${KVM:-both} MODE=${1:-full}
. "$(dirname "$0")/../common.sh"

BENCH=$OUT/$BASE/bench
read -ra only <<<"${CASES:-}"
declare -A vcpus=([intel-short]='1 8 64' [intel]='1 8 64 512 1024' [intel-irqs]='1 64 512' [amd]='1 8 64')
# Real seconds after which a host is given up.
declare -A limit=([intel-short]=600 [intel]=3000 [intel-irqs]=1800 [amd]=900)

case $MODE in
full) names=(intel intel-irqs amd pages) ;;
short) names=(intel-short) only=(floors set) ;;
*) die "unknown mode '$MODE'" "Known: short, full" ;;
esac
[ "$LAB" = both ] || mapfile -t names < <(printf '%s\n' "${names[@]}" | grep -E "^$LAB(-|$)")
case $KVM in
both) kvms=(stock ours) ;;
stock|ours) kvms=("$KVM") ;;
*) die "KVM=$KVM" "Known: both, stock, ours" ;;
esac

# plan RUN: one result for each number of vCPUs, so that a case that fails takes no other number with it. What stock does with
# 512 vCPUs whose TSCs move takes the kernel that checks its locks a quarter of an hour, and says nothing of ours.
plan() {
	local kvm n program=kvmclock_bench
	[ "$1" != intel-irqs ] || program=irqs_off
	[ ${#only[@]} -eq 0 ] || program+=$(printf ':%s' "${only[@]}")
	for kvm in "${kvms[@]}"; do
		echo "$kvm load 60 1"
		for n in ${VCPUS:-${vcpus[$1]}}; do
			[ "$program $kvm" = 'irqs_off stock' ] && [ "$n" -gt 64 ] || echo "$kvm $program:$n 600 1"
		done
		echo "$kvm unload 60 1"
	done
}

# settle RUN: which kernel, and how. That which says when interrupts are off is the tests'. RCU is expedited because most of
# a VM's destruction is waiting for it.
#
# Timer interrupts spoil samples. Where the Intel host believes in its CPUID (TSC_KHZ empty), they come every 14 million
# instructions instead of every 400,000. "hypervisor" makes its kernel trust the TSC deadline timer in spite of the
# microcode's version; the other timer runs at the true speed, and would go off too early, thousands of times a second.
settle() {
	export HOST_MB=1024 APPEND=rcupdate.rcu_expedited=1 IMAGE=$BENCH/image
	case $1 in
	intel|intel-short) export TSC_KHZ=; APPEND+=' setcpuid=hypervisor' ;;
	intel-irqs) unset TSC_KHZ; IMAGE=$BENCH/image-irqs ;;
	esac
}

# measure RUN
measure() {
	local run=$OUT/run/bench-$1
	rm -rf "$run"
	mkdir -p "$run/extra/tests"
	plan "$1" >"$run/plan"
	cp "$BENCH"/tests/* "$run/extra/tests/"
	settle "$1"
	try "$1: ${VCPUS:-${vcpus[$1]}} vCPUs" "$LOGS/bench-$1.log" "$ROOT/lab/boot-${1%%-*}.sh" "$run" "${limit[$1]}" || true
}

# The demo's hosts, and the tests' kernel, which is their guest's, too.
pages() {
	local kvm run=$OUT/run/bench-pages
	rm -rf "$run"
	for kvm in "${kvms[@]}"; do
		mkdir -p "$run/$kvm"
		"$ROOT/lab/demo/images.sh" "$OUT/$BASE/$kvm" "$run/$kvm"
		try "pages: a boot and a migration on $kvm" "$LOGS/bench-pages.log" \
			timeout --kill-after=15 500 "$ROOT/lab/bench/pages.py" "$run/$kvm" "$STOCK/arch/x86/boot/bzImage" || true
	done
}

lock bench
# The judge is judged first.
run "the judge's own tests" "$LOGS/bench-test.log" python3 -B "$ROOT/lab/bench/test_judge.py"
runs=()
for name in "${names[@]}"; do
	case $name in
	pages) pages ;;
	*) measure "$name" ;;
	esac
	runs+=("$OUT/run/bench-$name")
done
python3 -B "$ROOT/lab/bench/judge.py" "$OUT/bench" "${runs[@]}"
