#!/usr/bin/env bash
# Prove QEMU's series: 'git am' each patch on a fresh copy of the pristine base; after each, all of QEMU that knows KVM on x86
# builds without a warning, and QEMU's own checkpatch is silent; at the end the tree is the one that 'make apply' made. The QEMU
# that was built of it (make qemu), beside Debian's of the same version: what the device sends in a migration has got one
# subsection more and is otherwise what it was.
set -euo pipefail
. "$(dirname "$0")/../../lab/common.sh"
. "$(dirname "$0")/release.sh"

PATCHES=$OUT/series/qemu-$BASE
TREE=$WORKDIR/series-check
BUILD=$WORKDIR/series-check.build
LOG=$LOGS/series-check-qemu
QEMU=$WORKDIR/build/qemu-system-x86_64 DEBIANS=$(command -v qemu-system-x86_64)

# verdict NAME COMMAND...: what it says goes to a log, whose end is shown where it fails.
verdict() {
	local name=$1 log
	shift
	log=$LOG/$(tr -c 'a-z0-9\n' - <<<"$name").log
	if "$@" >"$log" 2>&1 </dev/null; then
		pass "$name"
	else
		fail "$name"
		tail -n 15 "$log"
	fi
}

am() { kgit -C "$TREE" -c user.name=check -c user.email=check@localhost am -q "$1"; }

# As users of QEMU's repository run it, in the tree. QEMU 10.0's warns of every change of Linux' headers.
checkpatch() {
	(cd "$TREE" && perl scripts/checkpatch.pl --branch HEAD~..HEAD) >"$LOG/checkpatch.out" || true
	cat "$LOG/checkpatch.out"
	grep -q '^total:' "$LOG/checkpatch.out" &&
		! grep -E '^(WARNING|ERROR)' "$LOG/checkpatch.out" | grep -v 'imported from Linux, are you using scripts/update'
}

# Whatever includes linux/kvm.h for these guests, virtual time, and the test.
build() {
	local objects wanted='hw_i386_kvm|target_i386_kvm|accel_kvm|softmmu_cpu-timers|system_cpu-timers'
	[ -f "$BUILD/build.ninja" ] || "$ROOT/vmm/qemu/build.sh" configure "$TREE" "$BUILD" || return
	mapfile -t objects < <(ninja -C "$BUILD" -t targets all |
		sed -nE 's/^((lib[a-z0-9_-]+\.f?a\.p\/('"$wanted"')|tests\/qtest\/kvmclock-test\.p).*\.c\.o): .*/\1/p')
	[ ${#objects[@]} -gt 0 ] || { echo "nothing to build"; return 1; }
	ninja -C "$BUILD" -j "$JOBS" "${objects[@]}" >"$LOG/ninja.out" 2>&1 || { cat "$LOG/ninja.out"; return 1; }
	! grep 'warning:' "$LOG/ninja.out"
}

# What each device sends, by QEMU's own account.
vmstate() { "$1" -M pc -nodefaults -display none -dump-vmstate "$2"; }

# vmstate_of FILE [without]: the device's, or without the subsection.
vmstate_of() {
	python3 - "$@" <<-'END'
		import json, sys
		state = json.load(open(sys.argv[1]))['kvmclock']
		subsections = state['Description']['Subsections']
		found = [s for s in subsections if s['name'] == 'kvmclock/line']
		if len(sys.argv) > 2:
		    assert len(found) == 1, subsections
		    subsections.remove(found[0])
		print(json.dumps(state, indent=1, sort_keys=True))
	END
}

same_vmstate() { diff <(vmstate_of "$LOG/before.json") <(vmstate_of "$LOG/after.json" without); }

# Off unless asked for, or a guest could not go back to a QEMU without the series.
properties() {
	local said
	said=$("$QEMU" -device kvmclock,help)
	# 7.2 says "auto", later ones auto.
	grep -E 'x-guest-tsc=<OnOffAuto> .*\(default: "?off"?\)' <<<"$said" &&
		grep -E 'count-pauses=<OnOffAuto> .*\(default: "?auto"?\)' <<<"$said"
}

is_what_make_applied() { kgit -C "$TREE" diff --exit-code "$(kgit -C "$OURS" rev-parse 'series^{tree}')" HEAD; }

in_its_release "$@"
need_base
need git perl python3 ninja
[ -x "$QEMU" ] || die "QEMU with the series is not built" "Run 'make qemu' first."
[ -d "$PATCHES" ] || die "the series is not exported" "Run 'make series VMM=qemu BASE=$BASE' first."
lock "series-check-qemu-$BASE"
mkdir -p "$LOG"
# What was configured for another clone cannot be configured again for this one (10.0).
rm -rf "$TREE" "$BUILD"
kgit clone -q --shared "$STOCK" "$TREE"
echo "$OURS/.git/objects" >>"$TREE/.git/objects/info/alternates"
verdict "QEMU's base builds" build
for patch in "$PATCHES"/0*[1-9]*.patch; do
	n=$(basename "$patch" | cut -c1-4)
	verdict "$n git am" am "$patch"
	verdict "$n checkpatch" checkpatch
	verdict "$n builds" build
done
verdict "the tree is the one that make applied" is_what_make_applied
if [[ $("$DEBIANS" --version) == *" $BASE."* ]]; then
	verdict "vmstate of Debian's QEMU" vmstate "$DEBIANS" "$LOG/before.json"
	verdict "vmstate with the series" vmstate "$QEMU" "$LOG/after.json"
	verdict "vmstate is Debian's but for the subsection" same_vmstate
fi
verdict "the device has the properties, off by default" properties
totals
