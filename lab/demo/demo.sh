#!/usr/bin/env bash
# make demo and make demo-ways:
#
#   migration   a Linux guest, migrated live between two emulated AMD hosts and back while all its vCPUs read their clocks, under
#               Debian's QEMU on mainline's KVM, and under the QEMU with our series (vmm/qemu/) on ours: a table,
#               out/demo/clock.png, clock.svg, demo.tsv
#   ways        a small guest, carried between two hosts and back by the tool kvmclock in several ways, across a live update
#               of its host, and a guest with a scaled TSC on the emulated Intel host: a table, out/demo/ways.tsv
#
#   lab/demo/demo.sh migration|ways
#   DEMO_RUNS="stock ours patched"  which migrations, in this order: ours is Debian's QEMU on our KVM
#
# Exit status 0 only where all runs are complete, no host's kernel complained and, on ours, no vCPU saw time go back while it
# migrated, the patched QEMU lost no time but what the hosts' wall clocks disagree about, and the new flags of KVM_SET_CLOCK kept
# clock and TSC as promised.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo DIR=$OUT/demo
read -ra runs <<<"${DEMO_RUNS:-stock patched}"
part=${1:-migration}
# The kernel of the hosts that migrate: Debian's, where it can be; see lab/demo/build.sh.
debian=
kernel=$STOCK/arch/x86/boot/bzImage
if [ "$part" = migration ] && "$HERE/base.sh" "$BASE" && "$HERE/kernel.sh" there; then
	debian=$OUT/$BASE/debian
	kernel=$debian/bzImage
fi
PATCHED=$OUT/qemu/7.2/build/qemu-system-x86_64
start=$SECONDS

need qemu-system-x86_64 python3 gnuplot setpriv timeout gcc cpio busybox
[ -f "$kernel" ] || die "the hosts' kernel is not there" "Run 'make' first."
for name in "${runs[@]}"; do
	[ "$name" != patched ] || [ -x "$PATCHED" ] || die "the QEMU with our series is not there" "Run 'make demo', which builds it."
done
for test in test_report test_ways; do
	python3 -B "$HERE/$test.py" 2>"$OUT/.demo-test" || die "lab/demo/$test.py fails" "$(cat "$OUT/.demo-test")"
done
lock demo
mkdir -p "$DIR"

# All that a run starts is a child of what is started here, which ends it; a signal to this script goes on to those.
children=()
trap '[ ${#children[@]} -eq 0 ] || { kill "${children[@]}" 2>/dev/null && wait "${children[@]}"; }' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# begin SECONDS COMMAND...: run it in the background, but no longer.
begin() {
	timeout --kill-after=15 "$@" &
	children+=($!)
}

# finish LOGS NAME: all that has begun.
finish() {
	local rc=0 pid
	for pid in "${children[@]}"; do
		wait "$pid" || rc=$?
	done
	[ "$rc" -ne 0 ] || { children=(); return 0; }
	tail -n 5 "$1"/*.log >&2
	die "$2 did not end well (status $rc)" "Logs: $1"
}

# The QEMU of a run.
qemu_of() { if [ "$1" = patched ]; then echo "$PATCHED"; else command -v qemu-system-x86_64; fi; }

# The VMM of a run as its hosts have it, and its arguments.
vmm_of() {
	if [ "$debian" ]; then echo "/bin/qemu -L /usr/share/qemu"; else qemu_of "$1"; fi
	[ "$1" != patched ] || echo "-global kvmclock.x-guest-tsc=on"
}

# images NAME: of a run.
images() {
	local kvm=ours
	[ "$1" != stock ] || kvm=stock
	if [ "$debian" ]; then
		"$HERE/images.sh" debian "$DIR/$1" "$kvm" "$(qemu_of "$1")"
	else
		"$HERE/images.sh" "$TREES/$kvm" "$DIR/$1"
	fi
}

migration() {
	local name number=0
	rm -rf "$DIR"/{stock,ours,patched,demo.tsv,demo.txt,clock.png,clock.svg}
	for name in "${runs[@]}"; do
		number=$((number + 1))
		info "$name, $number of ${#runs[@]}: two hosts boot, a guest goes there and back; about two minutes"
		mkdir -p "$DIR/$name"
		images "$name"
		# shellcheck disable=SC2046 # words of their own
		begin 960 "$HERE/migrate.py" "$DIR/$name" "$kernel" $(vmm_of "$name")
		finish "$DIR/$name" "the run $name"
	done
	python3 "$HERE/report.py" "$DIR" "${runs[@]}" || failed=1
	if [ -f "$DIR/demo.tsv" ]; then
		gnuplot -e "dir = '$DIR'" -e "runs = '${runs[*]}'" "$HERE/plot.gp"
		info "numbers: ${DIR#"$PWD"/}/demo.tsv; logs beside them"
	fi
}

ways() {
	rm -rf "$DIR"/{ways,ways.tsv,ways.txt}
	mkdir -p "$DIR/ways"
	info "ways: making the images"
	"$HERE/images.sh" ways "$DIR/ways"
	IMAGE=$DIR/ways/image TESTS=no "$ROOT/lab/image.sh"
	IMAGE=$DIR/ways/image begin 1240 "$HERE/ways-intel.sh" "$DIR/ways"
	begin 420 "$HERE/ways.py" "$DIR/ways" "$kernel" stock ours
	finish "$DIR/ways" "a run"
	live_update
	python3 "$HERE/ways_report.py" "$DIR" || failed=1
	info "numbers: ${DIR#"$PWD"/}/ways.tsv; logs in ways/"
}

# The host goes on with another kernel, which takes its TSC for one of another frequency, and a guest goes on there.
live_update() {
	local run=$DIR/ways/live-update
	"$ROOT/lab/kexec.sh" "$run" live-update
	IMAGE=$DIR/ways/image begin 300 "$ROOT/lab/boot-amd.sh" "$run" 280
	finish "$run" "the live update"
	info "ways: live update of the host, on AMD"
}

failed=0
case $part in
migration) migration ;;
ways) ways ;;
*) die "part $part" "Known: migration, ways" ;;
esac
info "$part: done in $(clock_text $((SECONDS - start)))"
[ ! -f "$DIR/clock.png" ] || [ "$part" != migration ] || info "the picture: $DIR/clock.png"
exit $failed
