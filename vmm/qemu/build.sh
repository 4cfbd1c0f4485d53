#!/usr/bin/env bash
# Build QEMU with the series, and the test that this has: out/qemu/BASE/build/qemu-system-x86_64, for x86 guests and with few
# devices. Incremental.
#
#   vmm/qemu/build.sh                           what 'make qemu' does
#   vmm/qemu/build.sh configure TREE DIRECTORY  no more than configure, for a tree of one's own
set -euo pipefail
. "$(dirname "$0")/../../lab/common.sh"
. "$(dirname "$0")/release.sh"

TREE=${2:-$OURS}
BUILD=${3:-$WORKDIR/build}

# Nothing from the network, which has another name in later versions, and no firmware, which Debian's source of those lacks.
offline() {
	if grep -q -e '--with-git-submodules' "$TREE/configure"; then
		echo --with-git-submodules=ignore
	else
		printf '%s\n' --disable-download --disable-install-blobs
	fi
}

configure() {
	local offline
	mapfile -t offline < <(offline)
	mkdir -p "$BUILD"
	cd "$BUILD"
	cp "$ROOT/vmm/qemu/devices.mak" "$TREE/configs/devices/x86_64-softmmu/kvmclock.mak"
	"$TREE/configure" --cc='ccache gcc' --target-list=x86_64-softmmu --without-default-features --without-default-devices \
		--with-devices-x86_64=kvmclock \
		--enable-kvm --disable-tcg --disable-debug-info --enable-fdt=system --disable-docs --disable-tools --disable-guest-agent \
		--disable-werror "${offline[@]}" --firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu
}

in_its_release "$@"
need ninja meson gcc ccache pkg-config
[ -x "$TREE/configure" ] || die "the series is not applied" "Run 'make apply VMM=qemu BASE=$BASE' first."
need_disk 2 "$OUT"
[ $# -gt 0 ] || lock "qemu-build-$BASE"
[ -f "$BUILD/build.ninja" ] || run "configuring QEMU" "$LOGS/qemu-configure.log" configure
[ "${1:-}" != configure ] || exit 0
run "QEMU $BASE" "$LOGS/qemu-build.log" ninja -C "$BUILD" -j "$JOBS" qemu-system-x86_64 tests/qtest/kvmclock-test
# Run from where it is built, QEMU looks for firmware below there only: it is Debian's.
for dir in qemu seabios; do
	mkdir -p "$BUILD/qemu-bundle/usr/share"
	[ -e "$BUILD/qemu-bundle/usr/share/$dir" ] || ln -s "/usr/share/$dir" "$BUILD/qemu-bundle/usr/share/$dir"
done
