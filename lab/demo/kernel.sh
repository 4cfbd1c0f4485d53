#!/usr/bin/env bash
# The demo's kernel: Debian's own binary one, of the very version that the base is of, with Debian's KVM, and with our modules built
# against its headers. Nothing is installed: packages are unpacked in out/BASE/debian. Status 3: that kernel cannot be had.
#
#   lab/demo/kernel.sh [there]      there: only whether all of it is built
#
# Why not the laboratory's kernel: to build that takes 1,900 seconds of a processor, and our modules 280 more; this here takes 100.
#
#   bzImage, common/, stock/, ours/     what images.sh takes: the kernel, modules that both KVMs need, in the order of common/order
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$ROOT/lab/mirrors.sh"

DIR=$OUT/$BASE/debian
APT=$DIR/apt
SUITE=$(sed -n 's/^suite=//p' "$BASEDIR/base")
FLAVOUR=cloud-amd64         # the smallest that Debian has; it boots fastest
NEEDED=(virtio_net)         # modules beside KVM's own

version() { sed -n 's/^kernel: //p' "$BASETXT"; }

# The newest kernel of the base's version that the suite has.
find_kernel() {
	local v
	v=$(version)
	private_apt apt-cache search --names-only "^linux-headers-${v//./\\.}\\+deb[0-9.]+-$FLAVOUR\$" |
		sed 's/^linux-headers-//; s/ .*//' | sort -V | tail -n 1
}

# Its packages, those of them that there are: later kernels are split.
packages_of() {
	local name
	for name in "linux-image-$1" "linux-binary-$1" "linux-modules-$1" "linux-headers-$1" "linux-headers-${1%-"$FLAVOUR"}-common" \
		"linux-kbuild-${1%-"$FLAVOUR"}"; do
		! private_apt apt-cache show --no-all-versions "$name" >/dev/null 2>&1 || echo "$name"
	done
}

download() {
	local mirror packages
	mirror=$(mirrors "$SUITE" | head -n 1)
	[ -n "$mirror" ] || return 1
	read_suite deb "$mirror" "$SUITE" || return 1
	KERNEL_NAME=$(find_kernel)
	[ -n "$KERNEL_NAME" ] || { echo "no kernel $(version) of flavour $FLAVOUR in $SUITE"; return 1; }
	mapfile -t packages < <(packages_of "$KERNEL_NAME")
	mkdir -p "$DIR/dl"
	(cd "$DIR/dl" && private_apt apt-get -q download "${packages[@]}") || return 1
	echo "$KERNEL_NAME" >"$DIR/name"
}

unpack() {
	local deb
	for deb in "$DIR"/dl/*.deb; do
		dpkg -x "$deb" "$DIR/root" || return 1
	done
	# The headers name each other by where they would be installed.
	sed -i "s,/usr/src/,$DIR/root/usr/src/," "$HEADERS/Makefile"
}

# Debian's modules are compressed.
plain_module() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*.zst) zstd -dc "$1" ;;
	*) cat "$1" ;;
	esac >"$2"
}

# KVM's modules, those beside it that are needed, and what they need.
take_modules() {
	local base file name
	base=$(dirname "$(find "$DIR/root" -type d -path '*/lib/modules' -printf '%h\n' -quit)")
	depmod -b "$base" "$KERNEL_NAME" 2>/dev/null || true
	rm -rf "$DIR"/{common,stock}
	mkdir -p "$DIR/common" "$DIR/stock"
	for name in "${NEEDED[@]}" kvm-amd; do
		modprobe -d "$base" -S "$KERNEL_NAME" --show-depends "$name" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' | while read -r file; do
		name=$(basename "$file")
		name=${name%%.ko*}
		case $name in
		kvm|kvm-amd) plain_module "$file" "$DIR/stock/$name.ko" ;;
		*) plain_module "$file" "$DIR/common/$name.ko"; echo "$name" >>"$DIR/common/order" ;;
		esac
	done
	[ -s "$DIR/stock/kvm.ko" ] && [ -s "$DIR/stock/kvm-amd.ko" ] && [ -s "$DIR/common/order" ]
}

# Only what an AMD host loads, without debug information, which takes most of the time.
build_ours() {
	local cc=gcc-12
	command -v "$cc" >/dev/null || cc=gcc
	! command -v ccache >/dev/null || cc="ccache $cc"
	plain_make -j"$JOBS" -C "$HEADERS" CC="$cc" M="$DIR/source/arch/x86/kvm" CONFIG_KVM_INTEL= CONFIG_DEBUG_INFO= \
		CONFIG_DEBUG_INFO_BTF= CONFIG_DEBUG_INFO_BTF_MODULES= modules || return 1
	rm -rf "$DIR/ours"
	mkdir -p "$DIR/ours"
	cp "$DIR"/source/arch/x86/kvm/{kvm,kvm-amd}.ko "$DIR/ours/"
	strip --strip-debug "$DIR"/ours/*.ko
}

# The source anew only where it is another one, so that make builds what has changed.
take_source() {
	rm -rf "$DIR/source.new"
	"$ROOT/packaging/source.sh" "$DIR/source.new" demo
	mkdir -p "$DIR/source"
	rsync -rc --delete --include '*/' --include '*.[chS]' --include 'Makefile*' --include 'Kconfig*' --exclude '*' \
		"$DIR/source.new/" "$DIR/source/"
	rm -r "$DIR/source.new"
}

name_it() { KERNEL_NAME=$(cat "$DIR/name") HEADERS=$DIR/root/usr/src/linux-headers-$KERNEL_NAME; }

# Of the base that is there now.
of_base() { [ -f "$DIR/bzImage" ] && cmp -s "$DIR/of" "$BASETXT"; }

if [ "${1:-}" = there ]; then
	of_base && [ -s "$DIR/ours/kvm-amd.ko" ]
	exit
fi
need gcc make xz rsync modprobe depmod dpkg
need_base
lock "demo-kernel-$BASE"
if ! of_base; then
	rm -rf "$DIR"
	mkdir -p "$DIR"
	try "downloading Debian's kernel $(version)" "$LOGS/demo-kernel-download.log" download || { rm -rf "$DIR"; exit 3; }
	name_it
	run "unpacking it" "$LOGS/demo-kernel-unpack.log" unpack
	run "its modules" "$LOGS/demo-kernel-modules.log" take_modules
	rm -r "$DIR/dl"
	cp "$BASETXT" "$DIR/of"
	cp "$DIR/root/boot/vmlinuz-$KERNEL_NAME" "$DIR/bzImage"
fi
name_it
take_source
run "our KVM modules for $KERNEL_NAME" "$LOGS/demo-kernel-ours.log" build_ours
