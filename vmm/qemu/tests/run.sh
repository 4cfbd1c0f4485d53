#!/usr/bin/env bash
# make check-qemu: guests under QEMU, Debian's and the one with our series, on mainline's KVM and on ours, in two
# emulated hosts: migrated (precopy, postcopy), paused, saved and loaded, reset, with vCPUs plugged in. What happens to
# which guest, and what its clocks are to show for it, is in cases.py.
#
#   vmm/qemu/tests/run.sh [short | CASE...]     short: what .ci/run does
set -euo pipefail
. "$(dirname "$0")/../../../lab/common.sh"
STAGE=check-qemu HERE=$ROOT/vmm/qemu/tests DIR=$OUT/check-qemu
PATCHED=$OUT/qemu/7.2/build/qemu-system-x86_64
kernel=$STOCK/arch/x86/boot/bzImage
cases=("$@")
if [ "${1:-}" = short ]; then
	mapfile -t cases < <(cd "$HERE" && python3 -B -c 'import cases; print(*cases.SHORT, sep="\n")')
fi

need qemu-system-x86_64 qemu-img python3 setpriv timeout gcc cpio busybox
[ -f "$kernel" ] || die "the hosts' kernel is not there" "Run 'make' first."
[ -x "$PATCHED" ] || die "the QEMU with our series is not there" "Run 'make qemu' first."
python3 -B "$HERE/test_report.py" 2>"$OUT/.check-qemu-test" ||
	die "test_report.py fails" "$(cat "$OUT/.check-qemu-test")"
lock check-qemu
rm -rf "$DIR"
mkdir -p "$DIR"
info "making the images"
"$ROOT/lab/demo/images.sh" qemu "$DIR"

# Its children end with it, and a signal to this script goes on to it.
timeout --kill-after=15 1600 python3 -B "$HERE/guests.py" "$DIR" "$kernel" "$(readlink -f "$PATCHED")" "${cases[@]}" &
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
