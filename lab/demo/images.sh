#!/usr/bin/env bash
# Make what the demo boots: the guest's initrd (busybox and clockwatch) and, for each KVM, the initrd of the emulated
# hosts (busybox, the KVM modules, and the guest: its kernel is the hosts' own).
#
#   lab/demo/images.sh TREE DIRECTORY     KVM's modules are those of TREE
#   lab/demo/images.sh debian DIRECTORY KVM QEMU
#                                         Debian's kernel (lab/demo/kernel.sh), with the modules KVM of it, stock or ours; the host has
#                                         no other programs than busybox and this QEMU, and needs no file of the machine
#   lab/demo/images.sh ways DIRECTORY     for lab/demo/ways.py: mainline's and our modules, and the tool kvmclock
#   lab/demo/images.sh qemu DIRECTORY     for vmm/qemu/tests/: mainline's and our modules, a guest, a disk for its snapshots
set -euo pipefail
. "$(dirname "$0")/../common.sh"
HERE=$ROOT/lab/demo
tree=$1 dir=$2 tools=$OUT/$BASE/tools kernel=$STOCK/arch/x86/boot/bzImage

need gcc cpio gzip busybox

# skeleton DIR INIT: an initrd with nothing but a shell
skeleton() {
	rm -rf "$1"
	mkdir -p "$1/bin" "$1/dev"
	cp "$(command -v busybox)" "$1/bin/busybox"
	install -m 755 "$2" "$1/init"
}

# guest INIT: its kernel, which is the hosts' own, and its initrd, for the hosts
guest() {
	skeleton "$dir/guest" "$1"
	cp "$dir/clockwatch" "$dir/guest/"
	pack "$dir/guest" "$dir/host/guest/guest.gz"
	cp "$kernel" "$dir/host/guest/"
}

# pack DIR FILE: owned by root, whoever packs it
pack() {
	(cd "$1" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$2"
}

# modules TREE DIR: KVM's, to be loaded in this order
modules() {
	local m
	mkdir -p "$2"
	for m in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
		[ -f "$1/$m.ko" ] || die "$1/$m.ko is not there" "Run 'make' first."
		cp "$1/$m.ko" "$2/"
	done
}

# with_libraries PROGRAM: it, as /bin/qemu of the host, and the libraries that it is linked with, at their places.
with_libraries() {
	local file
	install -D "$1" "$dir/host/host/bin/qemu"
	ldd "$1" | grep -oE '/[^ ]+' | while read -r file; do
		install -D "$file" "$dir/host/host$file"
	done
}

# The root of a host that has none of the machine's files: busybox, QEMU, its firmware.
own_root() {
	local root=$dir/host/host file
	mkdir -p "$root"/{bin,proc,sys,dev,run,tmp}
	cp "$(command -v busybox)" "$root/bin/"
	busybox --list | grep -vx busybox | while read -r file; do ln -s busybox "$root/bin/$file"; done
	with_libraries "$1"
	for file in seabios/bios-256k.bin qemu/kvmvapic.bin qemu/linuxboot_dma.bin; do
		install -D -m 644 "/usr/share/$file" "$root/usr/share/qemu/$(basename "$file")"
	done
}

# compile FILE: for this machine, for a host, and for a guest
compile() { gcc -O2 -Wall -Wextra -static -pthread -o "$dir/$(basename "$1" .c)" "$1"; }

compile "$HERE/clockwatch.c"
compile "$ROOT/lab/hostclock.c"
skeleton "$dir/host" "$HERE/host-init"
mkdir -p "$dir/host/guest"
install -m 755 "$HERE/host-loop" "$dir/host/guest/"
cp "$dir/hostclock" "$dir/host/guest/"
case $tree in
ways | qemu)
	modules "$STOCK" "$dir/host/guest/stock"
	modules "$OURS" "$dir/host/guest/ours"
	;;
debian)
	kernel=$OUT/$BASE/debian/bzImage
	cp -r "$OUT/$BASE/debian/$3" "$dir/host/kvm"
	cp -r "$OUT/$BASE/debian/common" "$dir/host/"
	own_root "$4"
	;;
*) modules "$tree" "$dir/host/kvm" ;;
esac
case $tree in
ways)
	[ -x "$tools/kvmclock" ] || die "$tools/kvmclock is not there" "Run 'make' first."
	cp "$tools/kvmclock" "$dir/host/guest/"
	;;
qemu)
	guest "$ROOT/vmm/qemu/tests/guest-init"
	qemu-img create -q -f qcow2 "$dir/host/guest/disk.qcow2" 256M
	;;
*) guest "$HERE/guest-init" ;;
esac
pack "$dir/host" "$dir/host.gz"
rm -rf "$dir/guest" "$dir/host"
