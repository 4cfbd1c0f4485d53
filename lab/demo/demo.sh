#!/usr/bin/env bash
# make demo: a Linux guest under Debian's QEMU, migrated live between two emulated AMD hosts and back while all its vCPUs
# read their clock, on mainline's KVM and on ours. Table on the terminal, out/demo/clock.png, clock.svg, demo.tsv.
#
#   DEMO_KVM="stock ours"     which KVMs, in this order
#
# Exit status 0 only where both runs are complete, no host's kernel complained and, on ours, no vCPU saw time go back.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo DIR=$OUT/demo
read -ra kvms <<<"${DEMO_KVM:-stock ours}"
start=$SECONDS

need qemu-system-x86_64 python3 gnuplot setpriv timeout gcc cpio busybox
[ -f "$STOCK/arch/x86/boot/bzImage" ] || die "the hosts' kernel is not there" "Run 'make' first."
python3 -B "$HERE/test_report.py" 2>"$OUT/.demo-test" || die "lab/demo/report.py fails its own test" "$(cat "$OUT/.demo-test")"
lock demo
rm -rf "$DIR"

# All that a run starts is a child of migrate.py, which ends it; a signal to this script goes on to migrate.py.
child=
trap '[ -z "$child" ] || { kill "$child" 2>/dev/null && wait "$child"; }' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

for kvm in "${kvms[@]}"; do
	mkdir -p "$DIR/$kvm"
	info "$kvm: making the images"
	"$HERE/images.sh" "$OUT/$BASE/$kvm" "$DIR/$kvm"
	timeout --kill-after=15 420 python3 "$HERE/migrate.py" "$DIR/$kvm" "$STOCK/arch/x86/boot/bzImage" &
	child=$!
	rc=0
	wait "$child" || rc=$?
	child=
	if [ "$rc" -ne 0 ]; then
		tail -n 5 "$DIR/$kvm"/*.log >&2
		die "the run on $kvm did not end well (status $rc)" "Logs: $DIR/$kvm"
	fi
done

rc=0
python3 "$HERE/report.py" "$DIR" "${kvms[@]}" || rc=$?
if [ -f "$DIR/demo.tsv" ]; then
	gnuplot -e "dir = '$DIR'" -e "kvms = '${kvms[*]}'" "$HERE/plot.gp"
	info "picture: ${DIR#"$PWD"/}/clock.png and clock.svg; numbers: demo.tsv; logs beside them"
fi
info "$(clock_text $((SECONDS - start)))"
exit "$rc"
