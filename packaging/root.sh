#!/usr/bin/env bash
# A root of a Debian release, out/deb/RELEASE, with what builds, checks and installs packages there: packaging/root.sh RELEASE
#
# Kernel modules are built in it because the kernel's own build tools, which are part of the headers' package, need that
# release's libc and compiler. Made once; the next run takes it as it is, with package lists that are a day old at most, and a
# half-finished one is made anew.
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"
. "$(dirname "$0")/../lab/mirrors.sh"
. "$(dirname "$0")/inside.sh"

RELEASE=$1
ROOTDIR=$OUT/deb/$RELEASE
PACKAGES=(build-essential debhelper dh-dkms dkms lintian kmod xz-utils initramfs-tools zstd)

# The machine's own mirrors, which Debian's other releases are on as well.
sources() {
	local suite mirror
	while read -r suite; do
		mirror=$(mirrors "$suite" | head -n 1)
		[ -n "$mirror" ] || die "no Debian mirror for $suite in this machine's apt configuration"
		echo "deb $mirror $suite main"
	done < <(awk -v r="$RELEASE" '$1 == r { for (i = 2; i < NF - 1; i++) print $i }' "$ROOT/packaging/releases")
}

# What a kernel or its source is today is in the package lists; without a network, the last ones are better than nothing.
refresh() {
	[ -z "$(find "$ROOTDIR/var/lib/apt/lists" -maxdepth 0 -mmin -1440)" ] || return 0
	try "package lists of Debian $RELEASE" "$LOGS/deb-root-update.log" inside "$ROOTDIR" apt-get -q update ||
		{ warn "cannot update the package lists of $RELEASE: they are as old as they are (log: $LOGS/deb-root-update.log)"; return 0; }
	touch "$ROOTDIR/var/lib/apt/lists"
}

grep -q "^${RELEASE}[[:space:]]" "$ROOT/packaging/releases" || die "unknown release $RELEASE" "Known: packaging/releases"
[ "$(id -u)" -eq 0 ] || die "only root can make a root of Debian $RELEASE"
need debootstrap
mkdir -p "$OUT/deb"
lock "root-$RELEASE"
if [ -d "$ROOTDIR" ]; then
	refresh
	exit 0
fi
need_disk 6 "$OUT"
rm -rf "$ROOTDIR.tmp"
sources >"$OUT/deb/sources.$RELEASE"
run "Debian $RELEASE" "$LOGS/deb-root-$RELEASE.log" debootstrap --variant=minbase --include=ca-certificates "$RELEASE" \
	"$ROOTDIR.tmp" "$(sed -n '1s/^deb \([^ ]*\) .*/\1/p' "$OUT/deb/sources.$RELEASE")"
mv "$OUT/deb/sources.$RELEASE" "$ROOTDIR.tmp/etc/apt/sources.list"
# Kernels of backports need this one from there, too.
printf 'Package: linux-base\nPin: release n=%s-backports\nPin-Priority: 500\n' "$RELEASE" \
	>"$ROOTDIR.tmp/etc/apt/preferences.d/backports"
starts_nothing "$ROOTDIR.tmp"
run "its package lists" "$LOGS/deb-root-update.log" inside "$ROOTDIR.tmp" apt-get -q update
run "its build tools" "$LOGS/deb-root-install.log" \
	inside "$ROOTDIR.tmp" apt-get -q install -y --no-install-recommends "${PACKAGES[@]}"
mv "$ROOTDIR.tmp" "$ROOTDIR"
