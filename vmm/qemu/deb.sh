#!/usr/bin/env bash
# make deb-qemu: Debian's own source package of QEMU with the series in debian/patches, out/qemu/BASE/deb/*.dsc. What is built of it
# has all of Debian's devices, and its version is between Debian's and Debian's next one.
set -euo pipefail
. "$(dirname "$0")/../../lab/common.sh"
PATCHES=$OUT/series/qemu-$BASE
DEB=$WORKDIR/deb
TREE=$DEB/qemu

# The series behind Debian's patches, and an entry on top of its changelog. The date is the last commit's, so that the same input
# gives the same package.
add_series() {
	local patch series=$TREE/debian/patches/series
	mkdir "$TREE/debian/patches/kvmclock"
	for patch in "$PATCHES"/0*[1-9]*.patch; do
		cp "$patch" "$TREE/debian/patches/kvmclock/"
		echo "kvmclock/$(basename "$patch")" >>"$series"
	done
	{
		printf 'qemu (%s) %s; urgency=medium\n\n' "$VERSION" "$(sed -n 's/^suite=//p' "$BASEDIR/base")"
		printf '  * The series for kvmclock, in debian/patches/kvmclock.\n\n'
		printf ' -- %s  %s\n\n' "$(maintainer)" "$(kgit -C "$ROOT" log -1 --format=%cD)"
		cat "$TREE/debian/changelog"
	} >"$DEB/changelog"
	mv "$DEB/changelog" "$TREE/debian/changelog"
}

# in_tree ARGUMENT...: git, with what 'make apply' committed, in what was unpacked.
in_tree() { GIT_INDEX_FILE=$DEB/index kgit --git-dir="$OURS/.git" --work-tree="$TREE" -C "$TREE" "$@"; }

# Unpacked again, with all patches, it is what 'make apply' made.
is_what_make_applied() {
	rm -rf "$TREE"
	dpkg-source --no-check -x "$DSC" "$TREE"
	in_tree read-tree series
	in_tree diff --exit-code --stat -- . ':!debian'
}

need dpkg-source git
need_base
[ -d "$PATCHES" ] || die "the series is not exported" "Run 'make series VMM=qemu BASE=$BASE' first."
source=$(find "$WORKDIR/dl" -name '*.dsc' -print -quit 2>/dev/null || true)
[ "$source" ] || die "QEMU $BASE is not of a source package of Debian" "Remove ${WORKDIR#"$ROOT"/}, and run without KERNEL."
need_disk 2 "$OUT"
lock "deb-qemu-$BASE"
VERSION=$(sed -n 's/^version: //p' "$BASETXT")+kvmclock$("$ROOT/packaging/version.sh")
DSC=$DEB/qemu_${VERSION#*:}.dsc
rm -rf "$DEB"
mkdir -p "$DEB"
cp "$WORKDIR"/dl/*.orig*.tar.* "$DEB/"
run "unpacking $(basename "$source")" "$LOGS/deb-qemu-unpack.log" dpkg-source --no-check --skip-patches -x "$source" "$TREE"
add_series
run "packing it" "$LOGS/deb-qemu-source.log" env -C "$DEB" dpkg-source -b "$TREE"
run "unpacking what was packed" "$LOGS/deb-qemu-check.log" is_what_make_applied
rm -rf "$TREE" "$DEB/index"
info "${DSC#"$ROOT"/}: Debian's package with $(find "$PATCHES" -name '0*[1-9]*.patch' | wc -l) patches more"
