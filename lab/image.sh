#!/bin/bash
# What the emulated host's initramfs is made of, out/BASE/image/root: busybox, lab/init, the modules of stock and ours side by
# side, the selftests, the tool. run_initrd() in lab/boot.sh packs it for a run, with the run's plan, so one image serves all.
#
#   IMAGE=DIRECTORY   make it there, with TESTS=no one without selftests and KUnit, which boots faster
#   STEP=TREE         with the modules of that tree as well, as 'step': a commit of the series (lab/series-check.sh)
#   SELFTESTS=DIRECTORY   with the selftests that were built there
#   BOOT=DIRECTORY    for another kernel, its bzImage there, with the modules there, and without KUnit (packaging/check.sh)
set -euo pipefail
. "$(dirname "$0")/common.sh"

IMAGE=${IMAGE:-$OUT/$BASE/image}
SELFTESTS=${SELFTESTS:-$OUT/$BASE/selftests}

# put FILE DIRECTORY: stripped of what only a debugger needs.
put() {
	mkdir -p "$2"
	cp "$1" "$2/"
	strip --strip-debug "$2/$(basename "$1")"
}

modules() {
	local m
	if [ "${BOOT:-}" ]; then
		cp -r "$BOOT/modules" "$IMAGE/root/"
		install -m 755 "$ROOT/packaging/kvmclock_cross" "$IMAGE/root/tests/"
		return
	fi
	for m in arch/x86/kvm/kvm arch/x86/kvm/kvm-amd arch/x86/kvm/kvm-intel virt/lib/irqbypass; do
		put "$STOCK/$m.ko" "$IMAGE/root/modules/stock"
		[ ! -f "$OURS/$m.ko" ] || put "$OURS/$m.ko" "$IMAGE/root/modules/ours"
		[ -z "${STEP:-}" ] || put "$STEP/$m.ko" "$IMAGE/root/modules/step"
	done
}

kunit() {
	[ -z "${BOOT:-}" ] || return 0
	put "$STOCK/lib/kunit/kunit.ko" "$IMAGE/root/modules"
	[ ! -f "$OURS/arch/x86/kvm/tests/kvmclock_kunit.ko" ] ||
		put "$OURS/arch/x86/kvm/tests/kvmclock_kunit.ko" "$IMAGE/root/modules"
}

selftests() {
	local t
	for t in "$SELFTESTS"/x86*/* "$SELFTESTS"/*; do
		if [ -f "$t" ] && [ -x "$t" ]; then put "$t" "$IMAGE/root/tests"; fi
	done
}

# The tool, the examples, and the tests of them, which lab/tests.list calls kvmclock_tool and kvmclock_rust.
tools() {
	local t
	[ -x "$OUT/$BASE/tools/kvmclock" ] || return 0
	for t in kvmclock vmm vmm-lib test_busy; do put "$OUT/$BASE/tools/$t" "$IMAGE/root/tests"; done
	install -m 755 "$ROOT/tools/kvm/kvmclock/test_kvm.sh" "$IMAGE/root/tests/kvmclock_tool"
	[ -x "$OUT/$BASE/tools/vmm-rust" ] || return 0
	put "$OUT/$BASE/tools/vmm-rust" "$IMAGE/root/tests"
	install -m 755 "$ROOT/tools/kvm/kvmclock/rust/test_kvm.sh" "$IMAGE/root/tests/kvmclock_rust"
}

need strip busybox
KERNEL=${BOOT:+$BOOT/bzImage}
KERNEL=${KERNEL:-$STOCK/arch/x86/boot/bzImage}
[ -f "$KERNEL" ] || die "no kernel to boot" "Run 'lab/build.sh kernel' first."
[ -x /bin/busybox ] || die "no /bin/busybox" "'make setup' as root installs busybox-static."
lock image
rm -rf "$IMAGE/root"
mkdir -p "$IMAGE/root/bin" "$IMAGE/root/lab" "$IMAGE/root/tests"
cp /bin/busybox "$IMAGE/root/bin/"
install -m 755 "$ROOT/lab/init" "$IMAGE/root/init"
modules
if [ "${TESTS:-}" != no ]; then
	kunit
	selftests
fi
tools
cp "$KERNEL" "$IMAGE/bzImage"
info "$(du -sh "$IMAGE/root" | cut -f 1) for the hosts in ${IMAGE#"$ROOT"/}"
