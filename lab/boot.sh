# shellcheck shell=bash
# What boot-amd.sh and boot-intel.sh share. Sourced, never run.
#
# A run has a directory. It holds `plan` before (see lab/init), perhaps files for the host's root in `extra/`, and afterwards
#
#	result.ktap	what the host reported, through its second serial port
#	console.log	the host's console
#	emulator.log	what the emulator itself said
#	status		how the emulator ended: `exit N`, or `limit` if it had to be stopped
#	first/		these of its first boot, where that ended before the first test and it was booted once more

IMAGE=${IMAGE:-$OUT/$BASE/image}

# An emulated host gets its processors when the machine has them to spare, so on a busy one anything of the kernel's that measures real
# time against the emulator's, or waits for another processor, may find fault with what is none: whether timer interrupts come through
# the IO-APIC at boot (no_timer_check), whether TSC and other clocks agree and two processors' TSCs do (tsc=reliable), lockup
# detectors (nowatchdog), the workqueues', RCU's, which is not to speak up within any test's limit. The limit finds what really hangs.
# shellcheck disable=SC2034 # for who sources this
HOST_ARGUMENTS="panic=-1 oops=panic tsc=reliable no_timer_check nowatchdog workqueue.watchdog_thresh=0 \
rcupdate.rcu_cpu_stall_timeout=300 quiet"

# arguments RUN [LIMIT]
run_arguments() {
	RUN=${1:?the directory of the run} LIMIT=${2:-600}
	[ -f "$RUN/plan" ] || die "no plan in $RUN"
	need cpio
	[ -d "$IMAGE/root" ] || die "no image to boot" "Run 'lab/image.sh' first."
	rm -rf "$RUN"/{result.ktap,console.log,emulator.log,status,first}
	touch "$RUN/console.log" "$RUN/result.ktap"
}

# Of the tests in the image, those that are not planned: each is a megabyte, which an emulated host reads and unpacks in seconds. Who gets
# a shell may run them all.
unplanned() {
	grep -q ^shell "$RUN/plan" || awk '
		FILENAME == ARGV[1] { split($2, name, ":"); planned[name[1]]; next }
		/^[a-z]/ { split($1, name, ":"); if (!(name[1] in planned)) print "./tests/" name[1] }
	' "$RUN/plan" "$ROOT/lab/tests.list" "$ROOT"/bases/*/tests.list
}

archive() { LC_ALL=C sort | cpio --quiet -o -H newc; }

# The image with this run's plan and files behind it: the kernel unpacks one cpio after the other.
run_initrd() {
	local dir lock
	dir=$(mktemp -d)
	# It becomes the host's root directory, for its unprivileged users, too.
	chmod 755 "$dir"
	[ ! -d "$RUN/extra" ] || cp -r "$RUN/extra/." "$dir"
	mkdir -p "$dir/lab"
	cp "$RUN/plan" "$dir/lab/plan"
	# So that nobody makes it anew meanwhile; several may read it.
	exec {lock}>"$OUT/.lock.image"
	flock -s "$lock"
	{
		(cd "$IMAGE/root" && find . | grep -vxFf <(unplanned) | archive)
		(cd "$dir" && find . | archive)
	} >"$1"
	exec {lock}>&-
	rm -r "$dir"
}

# emulate COMMAND...: never longer than LIMIT seconds, and how it ended. In a session of its own, because the scheduler shares the
# processors out among sessions: where compilers run in the one that this was begun in, the host gets as much as all of them.
emulate() {
	local rc=0
	timeout --kill-after=5 "$LIMIT" setsid "$@" </dev/null >"$RUN/emulator.log" 2>&1 &
	EMULATOR=$!
	trap 'kill $EMULATOR 2>/dev/null || true' EXIT
	trap 'exit 143' INT TERM
	wait $EMULATOR || rc=$?
	trap - EXIT INT TERM
	# The last words of Bochs when a host powers off. Its exit code is 1 then.
	! grep -qaF 'ACPI control: soft power off' "$RUN/emulator.log" || rc=0
	sed -i 's/\r$//' "$RUN/console.log" "$RUN/result.ktap"
	case $rc in
	124|137) echo limit ;;
	*) echo "exit $rc" ;;
	esac >"$RUN/status"
}

# boot_host COMMAND...: what emulates the host; once more where that ended before the first test, because nothing that is tested is
# loaded by then. The judge names it.
boot_host() {
	"$@"
	if ! ended_early; then return; fi
	mkdir -p "$RUN/first"
	mv "$RUN"/{result.ktap,console.log,emulator.log,status} "$RUN/first/"
	touch "$RUN/console.log" "$RUN/result.ktap"
	warn "$(basename "$RUN"): ended before its first test; booting it once more"
	"$@"
}

ended_early() { ! grep -qx limit "$RUN/status" && ! grep -qa '^# begin ' "$RUN/result.ktap"; }
