#!/usr/bin/env bash
# Move guests with a scaled TSC on the emulated Intel host, and to another one whose TSC has another frequency.
#
#   lab/demo/ways-intel.sh DIRECTORY
#
# DIRECTORY/intel-A and intel-B get a run each (lab/boot.sh) and, in out/, what the tool kvmclock said there. B starts when A
# is off: it has A's records in its initrd, and a clock that is a minute on. In the background, and nicer than others: emulated
# time does not care.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo dir=$1
epoch=1700000000

# boot NAME VERB KHZ SECONDS WAYS-OF-OURS...: mainline's ways are the first two.
boot() {
	local run=$dir/intel-$1 verb=$2 khz=$3 seconds=$4 kvm ways lines
	shift 4
	mkdir -p "$run/extra/tests" "$run/out"
	install -m 755 "$HERE/ways-host" "$run/extra/tests/"
	for kvm in stock ours; do
		ways=$(printf ':%s' "$@")
		[ $kvm = ours ] || ways=:$1:$2
		printf '%s load 60 1\n%s ways-host:%s:%s%s 200 1\n%s unload 60 1\n' $kvm $kvm "$verb" $kvm "$ways" $kvm
	done >"$run/plan"
	[ ! -d "$dir/carried" ] || cp -r "$dir/carried" "$run/extra/"
	HOST_KHZ=$khz TIME0=$((epoch + seconds)) nice -n 10 "$ROOT/lab/boot-intel.sh" "$run" 600 &
	child=$!
	wait $child
	child=
	lines=$(grep -caE '^ok ' "$run/result.ktap" || true)
	grep -qax '# end 0' "$run/result.ktap" || lines=0
	[ "$lines" -eq 6 ] || die "the Intel host $verb: $lines of 6 steps are ok" "Log: $run/result.ktap"
	# One file after the other: base64 -d stops at the padding of the first.
	for kvm in stock ours; do
		awk -v test="$kvm/ways-host" '/^# begin / { on = index($4, test) } /^# > / && on { print $3 }' "$run/result.ktap" |
			base64 -d | tar xzm -C "$run/out"
	done
	rm -r "$run/extra"
}

child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

boot A stay 100000 0 plain documented exact same-host
mkdir -p "$dir/carried"
cp "$dir"/intel-A/out/*.saved "$dir/carried/"
boot B arrive 100010 60 plain documented exact
rm -r "$dir/carried"
info "Intel hosts done in $(clock_text $SECONDS)"
