#!/usr/bin/env bash
# Build the RPM packages of the library and the tool, with this machine's compiler, and try them: packaging/rpm/build.sh; out/rpm/
#
# On a distribution that is made of RPMs, the source package is what to take: rpmbuild --rebuild out/rpm/SRPMS/*.src.rpm
set -euo pipefail
. "$(dirname "$0")/../../lab/common.sh"

TOP=$OUT/rpm

# The files of the checkout as they are, as one directory.
source_tar() {
	git -C "$ROOT" ls-files -z COPYING LICENSES tools/kvm/kvmclock |
		tar -C "$ROOT" --null -T - --transform 's,^,kvmclock/,' --owner=0 --group=0 -cJf "$TOP/SOURCES/kvmclock.tar.xz"
}

changelog() {
	printf '\n%%changelog\n* %s %s - %s-1\n- Built of commit %s\n' "$(git -C "$ROOT" log -1 --date='format:%a %b %d %Y' --format=%ad)" \
		"$(maintainer)" "${UPSTREAM/+/^}" "$(git -C "$ROOT" rev-parse --short HEAD)"
}

# What a spec asks for is packages that this machine, being Debian, has under other names.
build() {
	rpmbuild --quiet --nodeps -ba --define "_topdir $TOP" --define "_smp_build_ncpus $JOBS" --define "snapshot ${UPSTREAM#*+}" \
		"$TOP/SPECS/kvmclock.spec"
}

# Installed below a directory, the tool runs and an example builds with nothing but what is there.
try_packages() {
	local root=$TOP/root lib
	rm -rf "$root"
	mkdir -p "$root"
	for file in "$TOP"/RPMS/x86_64/*.rpm; do (cd "$root" && rpm2cpio "$file" | cpio -idm --quiet); done
	[ "$("$root/usr/bin/kvmclock" --version)" = "kvmclock $(sed -n 's/^Version: //p' "$root"/usr/lib*/pkgconfig/libkvmclock.pc)" ]
	lib=$(dirname "$root"/usr/lib*/libkvmclock.so)
	gcc -I"$root/usr/include" -o "$root/vmm-lib" "$(find "$root/usr/share/doc" -name vmm-lib.c)" -L"$lib" -lkvmclock
	LD_LIBRARY_PATH=$lib ldd "$root/vmm-lib" | grep -F "$lib/libkvmclock.so.1"
}

need rpmbuild rpm2cpio cpio gcc git tar xz
lock rpm
UPSTREAM=$("$ROOT/packaging/version.sh")
rm -rf "$TOP"
mkdir -p "$TOP/SOURCES" "$TOP/SPECS"
source_tar
{ cat "$ROOT/packaging/rpm/kvmclock.spec"; changelog; } >"$TOP/SPECS/kvmclock.spec"
run "RPM packages" "$LOGS/rpm.log" build
run "they install, the tool runs, an example builds" "$LOGS/rpm-try.log" try_packages
info "$(find "$TOP" -name '*.rpm' | wc -l) packages in ${TOP#"$ROOT"/}"
