#!/usr/bin/env bash
# Make what the demo boots: the guest's initrd (busybox and clockwatch) and, for each KVM, the initrd of the emulated
# hosts (busybox, the KVM modules, and the guest: its kernel is the hosts' own).
#
#   lab/demo/images.sh TREE DIRECTORY     KVM's modules are those of TREE
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo
tree=$1 dir=$2

need gcc cpio gzip busybox

# skeleton DIR INIT: an initrd with nothing but a shell
skeleton() {
	rm -rf "$1"
	mkdir -p "$1/bin" "$1/dev"
	cp "$(command -v busybox)" "$1/bin/busybox"
	install -m 755 "$HERE/$2" "$1/init"
}

# pack DIR FILE: owned by root, whoever packs it
pack() {
	(cd "$1" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$2"
}

skeleton "$dir/guest" guest-init
gcc -O2 -Wall -Wextra -static -pthread -o "$dir/clockwatch" "$HERE/clockwatch.c"
cp "$dir/clockwatch" "$dir/guest/"
pack "$dir/guest" "$dir/guest.gz"

skeleton "$dir/host" host-init
mkdir -p "$dir/host/kvm" "$dir/host/guest"
for m in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
	[ -f "$tree/$m.ko" ] || die "$tree/$m.ko is not there" "Run 'make' first."
	cp "$tree/$m.ko" "$dir/host/kvm/"
done
cp "$STOCK/arch/x86/boot/bzImage" "$dir/guest.gz" "$dir/host/guest/"
install -m 755 "$HERE/host-loop" "$dir/host/guest/"
pack "$dir/host" "$dir/host.gz"
rm -rf "$dir/guest" "$dir/host"
