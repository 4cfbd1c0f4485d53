#!/usr/bin/env bash
# Try the Debian packages of a release: packaging/check.sh RELEASE [short]
#
#   - lintian finds no error and nothing to warn of
#   - in a copy of the release's root: a kernel's modules are installed, upgraded, removed, with KVM loaded; DKMS builds for the
#     kernel that it is for, and says why not for others; with Secure Boot, neither is installed; the library's autopkgtest runs
#   - Debian's binary kernel boots in the emulated AMD host, with Debian's KVM and with ours in one boot: the selftests fail on
#     the one as they must and pass on the other, and no module of one loads on the other
#
# short: one kernel a base, without DKMS, and the selftests of packaging/tests.short only, in some minutes.
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"
. "$(dirname "$0")/inside.sh"

RELEASE=$1 SHORT=${2:-}
PACKAGES=$OUT/deb/$RELEASE-packages
WORK=$OUT/deb/$RELEASE-check
LOG=$LOGS/check-deb
LOADED='kvmclock: KVM is loaded'
REFUSED='kvmclock: not installed, because this machine would be without KVM: Secure Boot is on'

# A copy of the root that costs nothing, in a mount namespace of its own: whatever is done to it is gone afterwards.
[ "${IN_COPY:-}" ] || IN_COPY=1 exec unshare --mount --propagation private "$0" "$@"

# verdict NAME COMMAND...: what it says goes to a log, whose end is shown where it fails.
verdict() {
	local name=$1 log
	shift
	log=$LOG/$RELEASE-$(tr -c 'a-z0-9.\n' - <<<"$name").log
	if "$@" >"$log" 2>&1 </dev/null; then
		pass "$RELEASE: $name"
	else
		fail "$RELEASE: $name"
		tail -n 15 "$log"
	fi
}

fresh_copy() {
	if mountpoint -q "$COPY"; then umount -R "$COPY"; fi
	rm -rf "$WORK/upper" "$WORK/work"
	mkdir -p "$WORK/upper" "$WORK/work" "$COPY" "$WORK/archives"
	mount -t overlay overlay -o "lowerdir=$OUT/deb/$RELEASE,upperdir=$WORK/upper,workdir=$WORK/work" "$COPY"
	# Kernels are large: download each once.
	mkdir -p "$COPY/var/cache/apt/archives"
	mount --bind "$WORK/archives" "$COPY/var/cache/apt/archives"
	mkdir -p "$COPY/packages"
	mount --bind "$PACKAGES" "$COPY/packages"
}

in_copy() { inside "$COPY" "$@"; }
install() { in_copy apt-get -q install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
remove() { in_copy apt-get -q remove -y -o Dpkg::Use-Pty=0 "$@"; }
deb() { find "$PACKAGES" -name "$1_*.deb" -printf '/packages/%f\n'; }

# Which file 'modprobe kvm' takes in that kernel.
kvm_of() { in_copy modinfo -k "$1" -F filename kvm; }
is_ours() { [[ $(kvm_of "$1") == */updates/* ]]; }
is_debians() { [[ $(kvm_of "$1") == */kernel/arch/x86/kvm/* ]]; }

# again DEB: the same package with a higher version, as an upgrade brings it.
again() {
	in_copy sh -c "rm -rf /tmp/again && dpkg-deb -R $1 /tmp/again &&
		sed -i 's/^Version: .*/&.1/' /tmp/again/DEBIAN/control && dpkg-deb -b /tmp/again /tmp/again.deb"
}

# As on a machine where KVM is loaded: the scripts of the package look into /sys and ask uname.
with_kvm_loaded() {
	mkdir -p "$COPY/sys/module/kvm"
	mv "$COPY/usr/bin/uname" "$COPY/usr/bin/uname.real"
	printf '#!/bin/sh\necho %s\n' "$1" >"$COPY/usr/bin/uname"
	chmod 755 "$COPY/usr/bin/uname"
}

without_kvm_loaded() {
	rm -r "$COPY/sys/module/kvm"
	mv "$COPY/usr/bin/uname.real" "$COPY/usr/bin/uname"
}

upgrade() { again "$1" && install /tmp/again.deb && in_copy dpkg-query -W "$2" | grep '\.1$'; }

# What the firmware of a machine with Secure Boot tells.
with_secure_boot() {
	mkdir -p "$COPY/sys/firmware/efi/efivars"
	printf '\6\0\0\0\1' >"$COPY/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
}

without_secure_boot() { rm -r "$COPY/sys/firmware"; }

version_of_kvm() { [ "$(in_copy modinfo -k "$1" -F version kvm)" = "kvmclock-$VERSION" ]; }

# fails TEXT COMMAND...: it does not work, and says that.
fails() {
	local text=$1 said
	shift
	if said=$("$@" 2>&1); then echo "$said"; return 1; fi
	echo "$said"
	grep -qF "$text" <<<"$said"
}

# says TEXT COMMAND...: it works, and says that.
says() {
	local text=$1 said
	shift
	said=$("$@" 2>&1) || { echo "$said"; return 1; }
	echo "$said"
	grep -qF "$text" <<<"$said"
}

# Debian's kvmgt asks kvm for a name that ours has not, and refuses to load.
kvmgt_refuses() {
	local file
	file=$(in_copy modinfo -k "$1" -F filename kvmgt) || { echo "$1 has no kvmgt"; return 0; }
	in_copy sh -c "modprobe --dump-modversions $(kvm_of "$1")" || true
	in_copy sh -c "xz -dc '$file' >/tmp/kvmgt.ko && xz -dc '$(kvm_of "$1")' >/tmp/kvm.ko &&
		nm /tmp/kvmgt.ko | grep ' U kvm_page_track_register_notifier\$' &&
		! nm /tmp/kvm.ko | grep '__ksymtab_kvm_page_track_register_notifier\$'"
}

try_modules() {
	local kernel=$1 package=kvmclock-modules-$1 meta=kvmclock-modules-$2-${1#*+deb*-}
	verdict "$kernel: Debian's kernel is installed" install "linux-image-$kernel"
	verdict "$kernel: Debian's KVM without the package" is_debians "$kernel"
	with_secure_boot
	verdict "$package: with Secure Boot, says why it is not installed" fails "$REFUSED" install "$(deb "$package")"
	verdict "$kernel: with Secure Boot, Debian's KVM stays" is_debians "$kernel"
	without_secure_boot
	verdict "$package: installs" install "$(deb "$package")"
	verdict "$package: our KVM with the package" is_ours "$kernel"
	verdict "$package: the modules' version is the package's" version_of_kvm "$kernel"
	verdict "$meta: installs with the newest kernel's modules" install "$(deb "$meta")"
	verdict "$kernel: Debian's kvmgt has no symbol of ours to load on" kvmgt_refuses "$kernel"
	keep_modules "$kernel"
	with_kvm_loaded "$kernel"
	verdict "$package: is upgraded, and says that KVM is loaded" says "$LOADED" upgrade "$(deb "$package")" "$package"
	verdict "$package: our KVM after the upgrade" is_ours "$kernel"
	verdict "$package: is removed, and says that KVM is loaded" says "$LOADED" remove "$package"
	without_kvm_loaded
	verdict "$kernel: Debian's KVM again after the removal" is_debians "$kernel"
	verdict "$package: leaves nothing behind" no_rest "$kernel"
}

no_rest() { ! find "$COPY/usr/lib/modules/$1" -path '*kvmclock*' | grep .; }

try_tool() {
	verdict "library, headers and tool install" \
		install pkgconf "$(deb libkvmclock1)" "$(deb libkvmclock-dev)" "$(deb kvmclock)"
	verdict "the tool runs" in_copy kvmclock --help
	cp "$ROOT/packaging/debian/tests/vmm" "$COPY/tmp/"
	verdict "the autopkgtest of the library and the tool" in_copy sh -e /tmp/vmm
}

# A kernel of another version is there by name only: its directory is what counts for DKMS.
try_dkms() {
	local kernel=$1 other=6.1.0-1-amd64
	install "linux-image-$kernel" >/dev/null 2>&1
	mkdir -p "$COPY/lib/modules/$other"
	with_secure_boot
	verdict "kvmclock-dkms: with Secure Boot, says why it is not installed" fails "$REFUSED" \
		install "linux-headers-$kernel" "$(deb kvmclock-dkms)"
	without_secure_boot
	verdict "kvmclock-dkms: installs, and says that it is not for $other" says "kvmclock: not for $other, which keeps its own KVM" \
		install "linux-headers-$kernel" "$(deb kvmclock-dkms)"
	verdict "kvmclock-dkms: refuses to be built for $other" refuses_dkms "$other"
	verdict "kvmclock-dkms: builds for $kernel" in_copy dkms install -m kvmclock -v "$VERSION" -k "$kernel"
	verdict "kvmclock-dkms: our KVM" is_ours "$kernel"
	verdict "kvmclock-dkms: headers that are missing are named" says "kvmclock: not for $kernel: its headers are missing" \
		without_headers "$kernel"
	verdict "kvmclock-dkms: is removed" remove kvmclock-dkms
	verdict "kvmclock-dkms: Debian's KVM again" is_debians "$kernel"
}

refuses_dkms() { ! in_copy dkms install -m kvmclock -v "$VERSION" -k "$1" && [ ! -d "$COPY/lib/modules/$1/updates" ]; }

without_headers() { remove "linux-headers-$1" && in_copy dpkg-reconfigure kvmclock-dkms; }

# keep_modules KERNEL: kernel and modules for the emulated host, as the packages have them.
keep_modules() {
	local kernel=$1 dir=$WORK/$1 file name
	rm -rf "$dir"
	mkdir -p "$dir/modules/stock" "$dir/modules/ours"
	cp "$COPY/boot/vmlinuz-$kernel" "$dir/bzImage"
	while read -r _ file; do
		name=$(basename "$file" .ko.xz)
		case $name in
		kvm|kvm-amd) ;;
		*) xz -dc "$COPY$file" >"$dir/modules/$name.ko"; echo "$name" >>"$dir/modules/common" ;;
		esac
	done < <(in_copy modprobe -S "$kernel" --show-depends kvm-amd | grep '^insmod ')
	for name in kvm kvm-amd; do
		xz -dc "$COPY/usr/lib/modules/$kernel/updates/kvmclock/$name.ko.xz" >"$dir/modules/ours/$name.ko"
		xz -dc "$(find "$COPY/usr/lib/modules/$kernel/kernel" -name "$name.ko.xz")" >"$dir/modules/stock/$name.ko"
	done
}

# boot BASE KERNEL: the judge counts its results; they are added here. Debian's kernel patches its own code (jump labels; the lab's
# has none), and KVM has it do so when the first VM is created and when the last one goes: with processors that run side by side,
# TCG may translate a breakpoint that is just being replaced and keep it, and the kernel panics, on stock as on ours. Processors that
# take turns do not show on stock what kvmclock_hotplug looks for; Debian's kernels cannot inject faults, and its cloud kernels
# cannot try out a suspend.
boot() {
	local base=$1 kernel=$2 run=$OUT/run/$1/amd-$2 tests=() out=(-e ' kunit' -e ' kvmclock_fault ' -e '^stock kvmclock_hotplug ')
	[[ $kernel != *-cloud-* ]] || out+=(-e ' kvmclock_suspend ')
	[ -z "$SHORT" ] || read -ra tests <"$ROOT/packaging/tests.short"
	rm -rf "$run"
	mkdir -p "$run"
	{
		python3 -B "$ROOT/lab/report.py" plan amd both fast "${tests[@]}" |
			grep -v "${out[@]}"
		echo "both kvmclock_cross 60 1"
	} >"$run/plan"
	BASE=$base IMAGE=$WORK/image-$kernel BOOT=$WORK/$kernel "$ROOT/lab/image.sh"
	info "$kernel: $(wc -l <"$run/plan") results to come"
	BASE=$base IMAGE=$WORK/image-$kernel THREAD=single "$ROOT/lab/boot-amd.sh" "$run" 1200
	count env RESULTS="$WORK/results" BASE="$base" python3 -B "$ROOT/lab/report.py" check "$run"
}

[ -f "$PACKAGES/version" ] || die "no packages for $RELEASE" "Run 'make deb' first."
while read -r base _; do
	[ -d "$OUT/$base/selftests" ] || die "the selftests of $base are not built" "Run 'packaging/selftests.sh $RELEASE' first."
done <"$PACKAGES/kernels"
[ "$(id -u)" -eq 0 ] || die "only root can try packages"
need unshare
VERSION=$(cat "$PACKAGES/version")
lock "check-deb-$RELEASE"
mkdir -p "$LOG" "$WORK"
COPY=$WORK/root
fresh_copy
verdict "versions grow; modules that would not load are refused" "$ROOT/packaging/test.sh"
verdict "lintian finds no error and nothing to warn of" \
	in_copy sh -c 'lintian --allow-root --fail-on error,warning --suppress-tags bogus-mail-host /packages/*.deb'
try_tool
last=
while read -r base _ kernel _ <&3; do
	[ -z "$SHORT" ] || [ "$base" != "$last" ] || continue
	last=$base
	try_modules "$kernel" "$base"
	[ "$SHORT" ] || try_dkms "$kernel"
	boot "$base" "$kernel"
	fresh_copy
done 3<"$PACKAGES/kernels"
totals
