#!/bin/bash
# Build what the laboratory boots. Verbs, any number, in this order of need:
#
#   kernel      bzImage and all modules (the stock KVM) in out/BASE/stock
#   ours        KVM's modules and the KUnit module in out/BASE/ours, against that kernel
#   selftests   upstream's selftests and ours, statically linked, in out/BASE/selftests
#   tools       tools/kvm/kvmclock and its examples, statically linked, in out/BASE/tools
#   rust        the example of the crate in tools/kvm/kvmclock/rust, statically linked, in out/BASE/tools
#
# Each is incremental, and an interrupted build goes on where it stopped.
set -euo pipefail
. "$(dirname "$0")/common.sh"

UPSTREAM=(kvm_clock_test tsc_msrs_test xen_shinfo_test hyperv_clock tsc_scaling_sync)
SELFTESTS=$OUT/$BASE/selftests

# configure TREE: what the configuration asks for and nothing else. The old .config is kept, with its time, where it is the same.
configure() {
	local tree=$1 new line lost=()
	new=$(mktemp -d)
	kmake "$tree" -s KCONFIG_CONFIG="$new/config" KCONFIG_ALLCONFIG="$CONFIG" allnoconfig
	while read -r line; do
		grep -qxF -- "$line" "$new/config" || lost+=("$line")
	done < <(grep -E '^(# )?CONFIG_' "$CONFIG")
	[ ${#lost[@]} -eq 0 ] ||
		die "Kconfig of $BASE drops options of lab/config or bases/$BASE/config:" "${lost[@]}"
	cmp -s "$new/config" "$tree/.config" || cp "$new/config" "$tree/.config"
	rm -r "$new"
}

build_kernel() {
	need gcc make flex bison bc ld
	need_base
	need_disk 4 "$OUT"
	local want
	want=$(cat "$CONFIG" "$BASETXT" | sha256sum)
	if [ -f "$STOCK/.lab-built" ] && [ "$(cat "$STOCK/.lab-built")" = "$want" ]; then
		info "kernel and stock modules are built"
		return
	fi
	rm -f "$STOCK/.lab-built"
	configure "$STOCK"
	run "kernel $BASE and stock modules" "$LOGS/build-kernel.log" kmake "$STOCK" bzImage modules
	echo "$want" >"$STOCK/.lab-built"
}

# Our tree was copied from stock; where stock's kernel was built anew since, take over what the modules depend on.
follow_stock() {
	local f
	cmp -s "$STOCK/.lab-built" "$OURS/.lab-built" && return
	for f in .config Module.symvers vmlinux.o vmlinux.symvers modules.builtin modules.builtin.modinfo .lab-built; do
		[ ! -f "$STOCK/$f" ] || cp "$STOCK/$f" "$OURS/$f"
	done
}

# enable_ours OPTION: a module that only our tree knows, so that lab/config cannot ask for it. An unchanged .config keeps
# its time.
enable_ours() {
	grep -qx "CONFIG_$1=m" "$OURS/.config" || "$OURS/scripts/config" --file "$OURS/.config" -m "$1"
}

# Only KVM is built in our tree. The kernel it runs under is stock's, and so are the symbols it links against.
build_ours() {
	[ -f "$STOCK/.lab-built" ] || build_kernel
	[ -e "$OURS/.git" ] || die "our tree is not there yet" "Run 'make apply BASE=$BASE' first."
	follow_stock
	local kos=(arch/x86/kvm/kvm.ko arch/x86/kvm/kvm-amd.ko arch/x86/kvm/kvm-intel.ko virt/lib/irqbypass.ko)
	if [ -f "$OURS/arch/x86/kvm/tests/kvmclock_kunit.c" ] && grep -q '^CONFIG_KUNIT=' "$OURS/.config"; then
		enable_ours KVM_CLOCK_KUNIT_TEST
		# With KUnit itself, whose symbols it needs.
		kos+=(lib/kunit/kunit.ko arch/x86/kvm/tests/kvmclock_kunit.ko)
	fi
	run "our KVM modules" "$LOGS/build-ours.log" kmake "$OURS" "${kos[@]}"
}

build_selftests() {
	local tree=$STOCK tests t arch
	need_base
	[ ! -d "$OURS/.git" ] || tree=$OURS
	arch=$(selftests_arch "$tree")
	tests=("${UPSTREAM[@]/#/$arch/}" system_counter_offset_test)
	for t in "$tree/tools/testing/selftests/kvm/$arch"/kvmclock_*.c; do
		[ ! -f "$t" ] || tests+=("$arch/$(basename "$t" .c)")
	done
	mkdir -p "$SELFTESTS"
	run "kernel headers for the selftests" "$LOGS/build-headers.log" kmake "$tree" headers_install
	run "${#tests[@]} selftests" "$LOGS/build-selftests.log" \
		plain_make -C "$tree/tools/testing/selftests/kvm" -j"$JOBS" --no-print-directory LDFLAGS=-static \
		OUTPUT="$SELFTESTS" "${tests[@]/#/$SELFTESTS/}"
}

# The tool knows no tree: it is built against the distribution's headers, as a VMM would.
build_tools() {
	need gcc make
	run "the tool and the examples" "$LOGS/build-tools.log" \
		plain_make -C "$ROOT/tools/kvm/kvmclock" -j"$JOBS" --no-print-directory LDFLAGS=-static \
		OUTPUT="$OUT/$BASE/tools" kvm-tests
}

# As lab/rust.sh: Debian's compiler, whatever else there is.
build_rust() {
	need rustc
	run "the example in Rust" "$LOGS/build-rust.log" \
		plain_make -C "$ROOT/tools/kvm/kvmclock/rust" --no-print-directory O="$OUT/$BASE/tools" \
		RUSTC="$(PATH=/usr/bin:$PATH command -v rustc)" RUSTFLAGS='-O -D warnings -C target-feature=+crt-static'
}

[ $# -gt 0 ] || die "nothing to build" "Verbs: kernel ours selftests tools rust"
known_base
# CONFIG: another configuration than the base's (lab/bench/build.sh, lab/sanitize.sh).
if [ -z "${CONFIG:-}" ]; then
	CONFIG=$OUT/$BASE/config
	mkdir -p "$OUT/$BASE"
	base_config >"$CONFIG"
fi
for verb; do
	case $verb in
	kernel|ours|selftests|tools|rust) lock "${BUILD_LOCK:-build}"; "build_$verb"; exec {LOCK_FD}>&- ;;
	*) die "unknown verb '$verb'" "Verbs: kernel ours selftests tools rust" ;;
	esac
done
