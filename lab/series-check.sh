#!/usr/bin/env bash
# Prove the exported series: 'git am' each patch on a fresh copy of the pristine base; after each, KVM builds, checkpatch,
# sparse and W=1 are silent, and where it has tests (series/NNNN-name/tests), the AMD host boots with it and they pass; at the
# end other configurations build, and the tree is the one that 'make' built.
#
#   TEST="0003 0007"    only these commits, and not the end: to work on them
#   AGAIN=yes           also what was proved before
#
# What passed is remembered in out/cache/series-check, and counted again without being run where all that decides is the same: the trees
# before and after the commit, its patch and tests, the base, its configuration, the tools, and what is in lab/. 'make clean' forgets.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/kernel-lint.sh"

SERIES=$OUT/series/$BASE
TREE=$OUT/$BASE/series-check
LOG=$LOGS/series-check
NOTHING=99
PROVED=$OUT/cache/series-check
read -ra only <<<"${TEST:-}"
KVM_KO=(arch/x86/kvm/kvm.ko arch/x86/kvm/kvm-amd.ko arch/x86/kvm/kvm-intel.ko virt/lib/irqbypass.ko)

# Files that the last commit touches, and those among all that the series touches which the base has.
touched() { kgit -C "$TREE" diff --name-only --diff-filter=d HEAD^ HEAD; }
base_files() { kgit -C "$OURS" diff --name-only --diff-filter=M base series; }

# Sources are hard links: git puts a new file in the place of one that it changes, and nothing else writes to them. What is built is
# copied. Objects are git's own, from the base and from ours.
copy() {
	kgit -C "$STOCK" ls-files -z | rsync -a --from0 --files-from=- --link-dest="$STOCK" "$STOCK/" "$TREE/"
	rsync -a --exclude=/.git/objects "$STOCK/" "$TREE/"
	mkdir -p "$TREE/.git/objects/info"
	printf '%s\n' "$STOCK/.git/objects" "$OURS/.git/objects" >"$TREE/.git/objects/info/alternates"
	same_place
}

# objtool's build compares the commands that it was built with, and they name the base's place: in a copy it would be built anew, and
# behind it each object of the kernel, because all depend on it.
same_place() { find "$TREE/tools/objtool" -name '.*.cmd' -exec sed -i "s,$STOCK/,$TREE/,g" {} +; }

fresh_copy() {
	rm -rf "$TREE"
	lock build # so that nobody builds in the base meanwhile
	run "fresh copy of the built base" "$LOG/copy.log" copy
	exec {LOCK_FD}>&-
	kgit -C "$TREE" checkout -q -f --detach base
	[ -z "$(kgit -C "$TREE" status --porcelain -uno)" ] || die "the base tree is not pristine" "Run 'make clean'."
}

am() {
	GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost \
		kgit -C "$TREE" am -q --no-gpg-sign "$1" >"$LOG/am.log" 2>&1
}

with_kunit() { [ -f "$TREE/arch/x86/kvm/tests/kvmclock_kunit.c" ]; }

# An unchanged .config keeps its time.
configure() {
	! with_kunit || grep -qx CONFIG_KVM_CLOCK_KUNIT_TEST=m "$TREE/.config" ||
		"$TREE/scripts/config" --file "$TREE/.config" -m KVM_CLOCK_KUNIT_TEST
}

build() {
	local kos=("${KVM_KO[@]}")
	if with_kunit; then
		kos+=(lib/kunit/kunit.ko arch/x86/kvm/tests/kvmclock_kunit.ko)
	fi
	try "building KVM" "$1" kmake "$TREE" "${kos[@]}" && ! grep -E 'warning:|^WARNING' "$1"
}

# The tests that commit N has: series/N-name/tests.
tests_of() { cat "$ROOT/series/$1"-*/tests 2>/dev/null; }

make_selftests() {
	kmake "$TREE" headers && mkdir -p "$TREE/selftests.out" &&
		plain_make -C "$TREE/tools/testing/selftests/kvm" -j"$JOBS" --no-print-directory LDFLAGS=-static \
			OUTPUT="$TREE/selftests.out" "${@/#/$TREE/selftests.out/}"
}

# selftests N LOG: those that the commit touches, and those that it has, as they are in it.
selftests() {
	local tests arch
	arch=$(selftests_arch "$TREE")
	mapfile -t tests < <({
		touched | sed -nE 's,^tools/testing/selftests/kvm/('"$arch"'/[^/]*)\.c$,\1,p'
		tests_of "$1" | sed "s,^,$arch/,"
	} | sort -u)
	try "building ${#tests[@]} selftests" "$2" make_selftests "${tests[@]}" && ! grep -E 'warning:' "$2"
}

# What this commit's C files say beyond what the base's files of the same name say.
new_warnings() {
	local files objs
	mapfile -t files < <(touched)
	mapfile -t objs < <(objects "${files[@]}")
	[ ${#objs[@]} -gt 0 ] || return "$NOTHING"
	warnings "$TREE" "$1" "${objs[@]}" >"$LOG/now" || return 1
	comm -13 "$LOG/stock" "$LOG/now" | tee "$LOG/new"
	[ ! -s "$LOG/new" ]
}

# verdict NAME LOG COMMAND...: passes, fails and shows why, or has NOTHING to do.
verdict() {
	local name=$1 log=$2 rc=0
	shift 2
	"$@" || rc=$?
	if [ $rc -eq 0 ]; then
		pass "$name"
	elif [ $rc -ne "$NOTHING" ]; then
		fail "$name"
		{ grep -E 'rror:|ERROR|arning:|WARNING|CHECK:|\*\*\*' -A 3 "$log" || tail -n 25 "$log"; } | head -n 40 || true
		echo "    log: ${log#"$ROOT"/}"
	fi
}

# What an emulator can spoil is tried as often as make check tries it.
tries_of() { awk -v name="$1" '$1 == name { print $5 }' "$ROOT/lab/tests.list"; }

# boots N LOG: the AMD host, with the modules and the tests that were just built.
boots() {
	local run=$OUT/run/$BASE/amd-step-$1 name
	rm -rf "$run"
	mkdir -p "$run"
	{
		echo "step load 60 1"
		tests_of "$1" | while read -r name; do echo "step $name 180 $(tries_of "$name")"; done
		echo "step unload 60 1"
	} >"$run/plan"
	IMAGE=$LOG/image STEP=$TREE SELFTESTS=$TREE/selftests.out "$ROOT/lab/image.sh" >"$2" &&
		IMAGE=$LOG/image "$ROOT/lab/boot-amd.sh" "$run" 1200 &&
		RESULTS=$LOG/results python3 -B "$ROOT/lab/report.py" check "$run" >>"$2"
}

# count LOG: the results that lab/report.py has counted there are results of this check.
count() {
	local passed failed skipped
	read -r passed failed skipped < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$1") ||
		return 0
	PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
}

tree_of() { kgit -C "$TREE" rev-parse "$1^{tree}"; }

# All that decides beside the commit.
environment() {
	local tool
	cat "$BASETXT" "$STOCK/.config" /bin/busybox
	for tool in gcc ld ldd sparse perl "$("$ROOT/lab/emulator.sh")"; do "$tool" --version; done
	cd "$ROOT"
	git ls-files -z lab "bases/$BASE/sparse" "bases/$BASE/checkpatch-known" "bases/$BASE/tests.list" \
		':!*.md' ':!lab/demo' ':!lab/bench' ':!lab/fuzz' ':!lab/model' | xargs -0 sha256sum
}

key() { printf '%s\n' "$ENVIRONMENT" "$@" | sha256sum | cut -c1-32; }

# remembered KEY NAME: what passed before passes again, and says so.
remembered() {
	local passed skipped when
	[ -z "${AGAIN:-}" ] && [ -f "$PROVED/$1" ] || return
	read -r passed skipped when <"$PROVED/$1"
	PASSED=$((PASSED + passed)) SKIPPED=$((SKIPPED + skipped))
	printf 'ok       %s: %d results of %s, when all was the same\n' "$2" "$passed" "$when"
}

# remember KEY FAILED PASSED SKIPPED: what has come to these numbers, unless something failed.
remember() {
	[ "$FAILED" -eq "$2" ] || return 0
	mkdir -p "$PROVED"
	echo "$((PASSED - $3)) $((SKIPPED - $4)) $(date '+%F %R')" >"$PROVED/$1"
}

# once NAME LOG COMMAND...: a verdict on the last commit.
once() {
	local k failed=$FAILED passed=$PASSED skipped=$SKIPPED
	k=$(key "$1" "$(tree_of HEAD)")
	if remembered "$k" "$1"; then return; fi
	verdict "$@"
	remember "$k" "$failed" "$passed" "$skipped"
}

wanted() { [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]]; }

check_commit() {
	local patch=$1 n k before failed passed skipped
	n=$(basename "$patch" | cut -c1-4)
	info "$(basename "$patch")"
	if ! am "$patch"; then
		fail "$n git am"
		cat "$LOG/am.log"
		totals
		exit 1
	fi
	pass "$n git am"
	configure
	if ! wanted "$n"; then return; fi
	failed=$FAILED passed=$PASSED skipped=$SKIPPED
	k=$(key "$n" "$(tree_of HEAD^)" "$(tree_of HEAD)" "$(sed 1d "$patch")" "$(tests_of "$n")")
	if remembered "$k" "$n"; then return; fi
	verdict "$n checkpatch --strict" "$LOG/$n-checkpatch.log" checkpatch "$TREE" "$LOG/$n-checkpatch.log" "$patch"
	before=$FAILED
	verdict "$n builds" "$LOG/$n-build.log" build "$LOG/$n-build.log"
	verdict "$n sparse and W=1" "$LOG/$n-warnings.log" new_warnings "$LOG/$n-warnings.log"
	if touched | grep -q ^tools/testing/selftests/kvm/ || [ -n "$(tests_of "$n")" ]; then
		verdict "$n selftests build" "$LOG/$n-selftests.log" selftests "$n" "$LOG/$n-selftests.log"
	fi
	# Not with the modules of the commit before.
	if [ "$FAILED" -eq "$before" ] && [ -n "$(tests_of "$n")" ]; then
		verdict "$n boots, and its tests pass" "$LOG/$n-boots.log" boots "$n" "$LOG/$n-boots.log"
		count "$LOG/$n-boots.log"
	fi
	remember "$k" "$failed" "$passed" "$skipped"
}

# variant NAME OPTION...: the final state with options of KVM off; the objects of KVM are enough.
variant() {
	local name=$1 o
	shift
	cp "$LOG/config" "$TREE/.config"
	for o; do "$TREE/scripts/config" --file "$TREE/.config" -d "$o"; done
	kmake "$TREE" -s olddefconfig
	for o; do
		! grep -q "^CONFIG_$o=" "$TREE/.config" || return 1
	done
	try "building KVM, $name" "$LOG/variant.log" kmake "$TREE" "${KVM_KO[@]}" &&
		! grep -E 'warning:|^WARNING' "$LOG/variant.log"
}

# KVM in the kernel's image, beside the guest's own driver of the clock: no name of ours may be one of its.
variant_built_in() {
	local o
	cp "$LOG/config" "$TREE/.config"
	for o in KVM KVM_AMD KVM_INTEL; do "$TREE/scripts/config" --file "$TREE/.config" -e "$o"; done
	kmake "$TREE" -s olddefconfig
	grep -q '^CONFIG_KVM=y' "$TREE/.config" && grep -q '^CONFIG_KVM_GUEST=y' "$TREE/.config" &&
		try "linking the kernel with KVM" "$LOG/variant.log" kmake "$TREE" vmlinux &&
		! grep -E 'warning:|^WARNING' "$LOG/variant.log"
}

# A 32-bit host. Nothing is linked there, so look for the helpers of libgcc that the kernel does not have.
variant_32() {
	{ base_config | sed -E '/64BIT|UNWINDER|LOCALVERSION/d' && echo CONFIG_KVM_CLOCK_KUNIT_TEST=m; } >"$LOG/config-32"
	kmake "$TREE" -s ARCH=i386 KCONFIG_ALLCONFIG="$LOG/config-32" allnoconfig &&
		grep -q '^CONFIG_X86_32=y' "$TREE/.config" && grep -q '^CONFIG_KVM=m' "$TREE/.config" &&
		grep -q '^CONFIG_KVM_CLOCK_KUNIT_TEST=m' "$TREE/.config" &&
		try "building KVM for a 32-bit host" "$LOG/variant.log" kmake "$TREE" ARCH=i386 prepare arch/x86/kvm/ &&
		! grep -E 'warning:|^WARNING' "$LOG/variant.log" &&
		! nm -u "$TREE"/arch/x86/kvm/{,tests/}kvm*.o | grep -E '__u?(div|mod)[dt]i3|__mul[dt]i3|__u?cmpdi2|__a?shl?[lr]?[dt]i3'
}

same_tree() { kgit -C "$TREE" diff --stat --exit-code "$built" HEAD >"$1"; }

need git gcc make perl sparse rsync
need_base
need_disk 6 "$OUT"
lock "series-check-$BASE"
mkdir -p "$LOG"
ENVIRONMENT=$(environment | sha256sum)
[ -f "$SERIES/0000-cover-letter.patch" ] || die "no series there" "Run 'make series BASE=$BASE' first."
if grep -q '\*\*\*.*HERE \*\*\*' "$SERIES/0000-cover-letter.patch"; then fail "cover letter"; else pass "cover letter"; fi

# What make built, as of now: a tree object is the same in every repository, but the copy needs ours to show a difference.
built=$(kgit -C "$OURS" rev-parse 'HEAD^{tree}')
fresh_copy
mapfile -t files < <(base_files)
stock_warnings "$TREE" "${files[@]}" >"$LOG/stock"
for patch in "$SERIES"/0*[1-9]*.patch; do
	check_commit "$patch"
done
if [ ${#only[@]} -gt 0 ]; then
	totals
	exit
fi
verdict "the tree is the one that make built" "$LOG/diff.log" same_tree "$LOG/diff.log"

cp "$TREE/.config" "$LOG/config"
once "builds without CONFIG_KVM_XEN" "$LOG/variant.log" variant "no Xen" KVM_XEN
once "builds without CONFIG_KVM_HYPERV" "$LOG/variant.log" variant "no Hyper-V" KVM_HYPERV
once "builds without both" "$LOG/variant.log" variant "no Xen, no Hyper-V" KVM_XEN KVM_HYPERV
once "links into the kernel" "$LOG/variant.log" variant_built_in
once "builds for a 32-bit host" "$LOG/variant.log" variant_32
rm -rf "$TREE"
totals
