#!/usr/bin/env bash
# Fetch and build what `make demo` boots, the QEMU of the demo beside KVM's modules. Incremental.
#
# Where a base's binary kernel is this machine's release's, and can be had, the hosts boot that one (kernel.sh); else the
# laboratory's, which is built.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo LOG=$LOGS/demo-qemu.log

# Not as an argument: the target sets VMM itself. A tree of the user's own is one of the kernel.
qemu() { VMM='' KERNEL='' make -C "$ROOT" --no-print-directory qemu QEMU=7.2; }

debians() {
	local rc=0
	"$HERE/base.sh" "$BASE" || return
	"$HERE/kernel.sh" || rc=$?
	[ $rc -eq 0 ] || [ $rc -eq 3 ] || exit $rc
	[ $rc -eq 0 ] || warn "Debian's kernel of this version cannot be had (log: ${LOGS#"$ROOT"/}/demo-kernel-download.log): building the laboratory's"
	return $rc
}

modules() {
	"$ROOT/lab/fetch.sh"
	"$ROOT/lab/apply.py" "$BASE"
	if ! debians; then
		"$ROOT/lab/build.sh" kernel
		"$ROOT/lab/build.sh" ours
	fi
}

# How far QEMU is.
qemu_progress() {
	if [ -s "$LOGS/qemu-build.log" ]; then progress "$LOGS/qemu-build.log" 0 $((SECONDS - began)); else tail -n 1 "$LOG"; fi
}

mkdir -p "$LOGS"
info "the modules of KVM, stock and ours, for $BASE; QEMU with our series beside them (log: ${LOG#"$ROOT"/})"
rm -f "$LOGS/qemu-build.log"
began=$SECONDS
qemu >"$LOG" 2>&1 &
qemu=$!
trap 'kill $qemu 2>/dev/null || true' EXIT
modules
start=$SECONDS
while kill -0 $qemu 2>/dev/null; do
	sleep 1
	[ $(((SECONDS - start) % 30)) -ne 10 ] || info "QEMU with our series: $(qemu_progress)"
done
trap - EXIT
wait $qemu || { tail -n 25 "$LOG" >&2; die "QEMU cannot be built" "Log: $LOG"; }
info "all that the demo needs is built"
