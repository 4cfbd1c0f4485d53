#!/usr/bin/env bash
# Print the emulator of the AMD hosts: the machine's QEMU, or, where that is too old, the one of the release's backports,
# unpacked in out/emulator. The machine's own stays as it is: the demo's VMs run under it.
#
# TCG's SVM of Debian 12's QEMU 7.2 loses guests, on any KVM: now and then what it stores as the guest's state is its host's, or
# the guest does not find its page tables, and shuts down or stands still. Under the load of kvmclock_stress, it did so in 5 of 7
# runs; QEMU 10.0 in none of 13. It is not free of that fault (4 of 40 runs of kvmclock_attack), which is why lab/tests.list has tries.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/mirrors.sh"

ENOUGH=10
PACKAGES=(qemu-system-x86 qemu-system-common qemu-system-data seabios)
EMULATOR=$OUT/emulator
APT=$EMULATOR.tmp/apt

own() { command -v qemu-system-x86_64; }
major() { "$1" --version | sed -n '1s/.* version \([0-9]*\)\..*/\1/p'; }

unpack() {
	local suite mirror deb
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")-backports
	mirror=$(mirrors "$suite" | head -n 1)
	[ -n "$mirror" ] || return 1
	read_suite deb "$mirror" "$suite" || return 1
	(cd "$EMULATOR.tmp" && private_apt apt-get -q download "${PACKAGES[@]}") || return 1
	for deb in "$EMULATOR.tmp"/*.deb; do
		dpkg -x "$deb" "$EMULATOR.tmp" || return 1
	done
	rm -r "$EMULATOR.tmp"/*.deb "$APT"
	[ "$(major "$EMULATOR.tmp/usr/bin/qemu-system-x86_64")" -ge $ENOUGH ]
}

need qemu-system-x86_64
if [ "$(major "$(own)")" -ge $ENOUGH ]; then
	own
	exit
fi

lock emulator >&2
if [ ! -d "$EMULATOR" ]; then
	rm -rf "$EMULATOR.tmp"
	mkdir -p "$EMULATOR.tmp"
	if ! try "a newer QEMU for the AMD host" "$LOGS/emulator.log" unpack >&2; then
		warn "no QEMU $ENOUGH for the AMD host: $(own) may lose guests (log: $LOGS/emulator.log)"
		own
		exit
	fi
	mv "$EMULATOR.tmp" "$EMULATOR"
fi
echo "$EMULATOR/usr/bin/qemu-system-x86_64"
