#!/usr/bin/env bash
# Prove QEMU's series: 'git am' each patch on a fresh copy of the pristine base; after each, QEMU builds without a warning in what
# it touches, and its own checkpatch is silent; at the end the tree is the one that 'make apply' made, and what the device sends
# in a migration has got one subsection more and is otherwise what it was.
set -euo pipefail
. "$(dirname "$0")/../../lab/common.sh"

PATCHES=$OUT/series/qemu-$BASE
TREE=$WORKDIR/series-check
BUILD=$WORKDIR/series-check.build
LOG=$LOGS/series-check-qemu

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

# As users of QEMU's repository run it, in the tree.
checkpatch() { (cd "$TREE" && perl scripts/checkpatch.pl --branch HEAD~..HEAD) | tee "$LOG/checkpatch.out" && ! grep -E '^(WARNING|ERROR)' "$LOG/checkpatch.out"; }

build() {
	"$ROOT/vmm/qemu/build.sh" "$TREE" "$BUILD" && ! grep -E 'hw/i386/kvm/clock\.c.*warning:' "$LOGS/qemu-build.log"
}

# What each device sends, by QEMU's own account.
vmstate() { "$BUILD/qemu-system-x86_64" -M pc -nodefaults -display none -dump-vmstate "$1"; }

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

properties() {
	local said
	said=$("$BUILD/qemu-system-x86_64" -device kvmclock,help)
	grep -F 'guest-tsc=<bool>' <<<"$said" && grep -F 'count-pauses=<OnOffAuto>' <<<"$said"
}

is_what_make_applied() { kgit -C "$TREE" diff --exit-code "$(kgit -C "$OURS" rev-parse 'series^{tree}')" HEAD; }

need_base
need git perl python3
[ -d "$PATCHES" ] || die "the series is not exported" "Run 'make series VMM=qemu BASE=$BASE' first."
lock "series-check-qemu-$BASE"
mkdir -p "$LOG"
rm -rf "$TREE"
kgit clone -q --shared "$STOCK" "$TREE"
echo "$OURS/.git/objects" >>"$TREE/.git/objects/info/alternates"
verdict "QEMU's base builds" build
verdict "its vmstate" vmstate "$LOG/before.json"
for patch in "$PATCHES"/000[1-9]*.patch; do
	n=$(basename "$patch" | cut -c1-4)
	verdict "$n git am" am "$patch"
	verdict "$n checkpatch" checkpatch
	verdict "$n builds" build
done
verdict "the tree is the one that make applied" is_what_make_applied
verdict "vmstate with the series" vmstate "$LOG/after.json"
verdict "vmstate is the base's but for the subsection" same_vmstate
verdict "the device has the properties" properties
totals
