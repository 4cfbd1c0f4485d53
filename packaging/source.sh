#!/usr/bin/env bash
# What a build of KVM outside of the kernel's tree needs of out/BASE/ours: packaging/source.sh DIRECTORY VERSION
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"

# KVM itself, and the headers that the series changes. All else is of the kernel that is built for.
copy() {
	local files
	mapfile -t files < <(
		kgit -C "$OURS" ls-tree -r --name-only series arch/x86/kvm virt/kvm | grep -v -e /tests/ -e /Kconfig -e '/\.gitignore$'
		kgit -C "$OURS" diff --name-only --diff-filter=d base series -- arch/x86/include include
	)
	kgit -C "$OURS" archive series "${files[@]}" | tar -x -C "$1"
}

# Stock's kvm-amd, kvm-intel and kvmgt must not load on this kvm, whose structures are others, nor these on stock's. Without
# CONFIG_MODVERSIONS nothing else prevents that: so what each of them needs of kvm has another name here.
makefile() {
	cat <<-'END'
		KVMCLOCK := $(abspath $(src)/../../..)
		LINUXINCLUDE := $(patsubst %,-I$(KVMCLOCK)/%,arch/x86/include arch/x86/include/uapi include include/uapi) $(LINUXINCLUDE)
		ccflags-y += -Dkvm_x86_vendor_init=kvmclock_x86_vendor_init
		ccflags-y += -Dkvm_page_track_register_notifier=kvmclock_page_track_register_notifier

	END
	# shellcheck disable=SC2016 # make's variables
	sed -e 's,$(srctree)/arch/x86/kvm,$(src),g' -e 's,$(srctree)/virt/kvm,$(KVMCLOCK)/virt/kvm,g' \
		-e '/KVM_CLOCK_KUNIT_TEST/d' "$1"
}

# Debian's modules have no version. Without one, DKMS of Debian 12 takes these for the same and installs none of them.
versions() {
	local file
	grep -rl '^MODULE_LICENSE' "$1" | while read -r file; do
		echo "MODULE_VERSION(\"kvmclock-$2\");" >>"$file"
	done
}

need_base
rm -rf "$1"
mkdir -p "$1"
copy "$1"
makefile "$1/arch/x86/kvm/Makefile" >"$1/Makefile.new"
mv "$1/Makefile.new" "$1/arch/x86/kvm/Makefile"
versions "$1" "$2"
