#!/usr/bin/env bash
# make check-qemu: guests under QEMU, Debian's and the one with our series, on mainline's KVM and on ours, in two
# emulated hosts: migrated (precopy, postcopy), paused, saved and loaded, reset, with vCPUs plugged in. What happens to
# which guest, and what its clocks are to show for it, is in cases.py.
#
#   vmm/qemu/tests/run.sh [short | CASE...]     short: what .ci/run does
#   QEMU=10.0 vmm/qemu/tests/run.sh             which QEMU: that Debian's own and the one with our series
set -euo pipefail
. "$(dirname "$0")/../../../lab/common.sh"
. "$ROOT/vmm/qemu/release.sh"
STAGE=check-qemu HERE=$ROOT/vmm/qemu/tests DIR=$OUT/check-qemu
QEMU=${QEMU:-7.2}
PATCHED=$OUT/qemu/$QEMU/build/qemu-system-x86_64
QEMU_ROOT=$(foreign_root "$(sed -n 's/^suite=//p' "$ROOT/vmm/qemu/bases/$QEMU/base")")
QTEST=$OUT/qemu/$QEMU/build/tests/qtest/kvmclock-test
firmware=(-L "$QEMU_ROOT/usr/share/qemu" -L "$QEMU_ROOT/usr/share/seabios")
kernel=$STOCK/arch/x86/boot/bzImage
cases=("$@")
if [ "${1:-}" = short ]; then
	mapfile -t cases < <(cd "$HERE" && python3 -B -c 'import cases; print(*cases.SHORT, sep="\n")')
fi

# in_host NAME PROGRAM [ARGUMENT...]: what the emulated hosts, which have this machine's files, run as NAME: the program, with the
# libraries of its root, and there with these arguments.
in_host() {
	local name=$1 program=$2 root=$QEMU_ROOT lib=lib/x86_64-linux-gnu
	shift 2
	if [ -z "$root" ]; then
		realpath "$program"
		return
	fi
	cat >"$DIR/$name" <<-END
	#!/bin/sh
	exec $root/lib64/ld-linux-x86-64.so.2 --library-path $root/$lib:$root/usr/$lib $program $* "\$@"
	END
	chmod 755 "$DIR/$name"
	echo "$DIR/$name"
}

need qemu-system-x86_64 qemu-img python3 setpriv timeout gcc cpio busybox
[ -f "$kernel" ] || die "the hosts' kernel is not there" "Run 'make' first."
for program in "$PATCHED" "$QTEST"; do
	[ -x "$program" ] || die "the QEMU with our series is not there" "Run 'make qemu QEMU=$QEMU' first."
done
python3 -B "$HERE/test_report.py" 2>"$OUT/.check-qemu-test" ||
	die "test_report.py fails" "$(cat "$OUT/.check-qemu-test")"
lock check-qemu
rm -rf "$DIR"
mkdir -p "$DIR"
info "making the images"
"$ROOT/lab/demo/images.sh" qemu "$DIR"

# Its children end with it, and a signal to this script goes on to it.
timeout --kill-after=15 1900 python3 -B "$HERE/guests.py" "$DIR" "$kernel" \
	"$(in_host debian "$QEMU_ROOT$(command -v qemu-system-x86_64)" "${firmware[@]}")" \
	"$(in_host patched-system-x86_64 "$PATCHED" "${firmware[@]}")" "$(in_host qtest "$QTEST")" "${cases[@]}" &
trap 'kill $! 2>/dev/null && wait $!' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
rc=0
wait $! || rc=$?
trap - EXIT
if [ "$rc" -ne 0 ]; then
	tail -n 5 "$DIR"/*.log >&2
	warn "the run did not end well (status $rc); logs: $DIR"
fi
python3 -B "$HERE/report.py" "$DIR" "${cases[@]}" || rc=1
exit "$rc"
