# shellcheck shell=bash
# What all stages share: paths, messages, progress, counting. Sourced, never run.
#
#   . "$(dirname "$0")/common.sh"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=$ROOT/out
BASE=${BASE:-7.3}
LAB=${LAB:-both}
KVM=${KVM:-ours}
KERNEL=${KERNEL:-}
VMM=${VMM:-}
JOBS=${JOBS:-$(nproc)}
# What our own make told its children is not for the kernel's: variables on the command line, the job server.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# What is ported to bases and exported as a series: the kernel's part, or with VMM=NAME what makes a VMM use it.
# SUITE=trixie-security: the base as that suite of Debian has it, in trees of its own; fetch.sh, apply.py, packaging/.
WORKDIR=$OUT/${VMM:+$VMM/}$BASE${SUITE:+-$SUITE}
# TREES: a pair of trees that is built with another configuration (lab/bench/build.sh, lab/sanitize.sh).
TREES=${TREES:-$WORKDIR}
STOCK=$TREES/stock
# Read by the stages that source this file.
# shellcheck disable=SC2034
OURS=$TREES/ours SERIES=$ROOT/${VMM:+vmm/$VMM/}series BASEDIR=$ROOT/${VMM:+vmm/$VMM/}bases/$BASE \
	LOGS=${LOGS:-$OUT/logs} RESULTS=${RESULTS:-$OUT/results}
BASETXT=$WORKDIR/base.txt

# The stage's own name stands before each of its messages.
STAGE=$(basename "$0"); STAGE=${STAGE%.*}

info() { printf '[%s] %s\n' "$STAGE" "$*"; }
warn() { printf '[%s] warning: %s\n' "$STAGE" "$*" >&2; }

# die MESSAGE [LINE...]: the first line says what is wrong, the others what to do.
die() {
	printf '[%s] error: %s\n' "$STAGE" "$1" >&2
	shift
	[ $# -eq 0 ] || printf '        %s\n' "$@" >&2
	exit 1
}

# need TOOL...: all of them or a clear error.
need() {
	local t missing=()
	for t in "$@"; do
		command -v "$t" >/dev/null || missing+=("$t")
	done
	[ ${#missing[@]} -eq 0 ] ||
		die "missing tools: ${missing[*]}" "'make setup' as root installs what is needed, or without apt-get says what that is."
}

# need_disk GIGABYTES DIRECTORY
need_disk() {
	local have
	have=$(df --output=avail -k "$2" | tail -n 1)
	[ "$have" -ge $(($1 * 1024 * 1024)) ] ||
		die "too little disk: $1 GB needed in $2, $((have / 1024 / 1024)) GB free" \
		    "Make room and run the same command again."
}

known_base() {
	[ -f "$BASEDIR/base" ] ||
		die "unknown BASE=$BASE" "Known: $(cd "${BASEDIR%/*}" && echo */ | tr -d /)"
}

need_base() {
	known_base
	[ -f "$BASETXT" ] && [ -e "$STOCK/.git" ] && return
	die "the base is not there yet" "Run 'make fetch BASE=$BASE' first."
}

# The configuration of the laboratory's kernel: what all bases have, and what only this one has.
base_config() { cat "$ROOT/lab/config" "$BASEDIR/config"; }

# selftests_arch TREE: where KVM's selftests for this architecture are, below tools/testing/selftests/kvm.
selftests_arch() {
	if [ -d "$1/tools/testing/selftests/kvm/x86" ]; then echo x86; else echo x86_64; fi
}

clock_text() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# progress LOG TOTAL SECONDS: how far a command is: what ninja says of itself, or the log's lines against those of the last good run,
# and how long the rest will take if it goes on like that.
progress() {
	local lines percent=0 left=''
	lines=$(wc -l <"$1")
	if [[ $(tail -n 1 "$1") =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
		percent=$((BASH_REMATCH[1] * 100 / BASH_REMATCH[2]))
	elif [ "$2" -gt 0 ]; then
		percent=$((lines < $2 ? lines * 100 / $2 : 99))
	else
		echo "$lines lines"
		return
	fi
	[ $percent -lt 5 ] || left=", about $(clock_text $(($3 * (100 - percent) / percent))) left"
	echo "$percent %$left"
}

# try LABEL LOG COMMAND...: run a long command with all its output in LOG, and return its exit status. Shows what runs, how
# far and how long: once a second on a terminal, after 10 s and every 30 s otherwise.
try() {
	local label=$1 log=$2 start=$SECONDS pid rc=0 last='' next=10 total=0 expect
	shift 2
	mkdir -p "$(dirname "$log")"
	expect=$OUT/cache/expect/$(basename "$log")
	if [ -f "$expect" ]; then
		total=$(cat "$expect")
	else
		total=$(awk -v name="$(basename "$log")" '$1 == name { print $2 }' "$ROOT/lab/expect")
	fi
	info "$label"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		sleep 1
		last=$(progress "$log" "${total:-0}" $((SECONDS - start)))
		if [ -t 1 ]; then
			printf '\r\033[K[%s] %s: %s, %s ' "$STAGE" "$label" "$last" "$(clock_text $((SECONDS - start)))"
		elif [ $((SECONDS - start)) -ge $next ]; then
			info "$label: $last, $(clock_text $((SECONDS - start)))"
			next=$((next < 30 ? 30 : next + 30))
		fi
	done
	[ ! -t 1 ] || printf '\r\033[K'
	wait $pid || rc=$?
	[ $rc -eq 0 ] || return $rc
	mkdir -p "$(dirname "$expect")"
	wc -l <"$log" >"$expect"
	info "$label: done in $(clock_text $((SECONDS - start)))"
}

# run LABEL LOG COMMAND...: try, and die with the log's end where it fails.
run() {
	local rc=0
	try "$@" || rc=$?
	[ $rc -eq 0 ] && return
	tail -n 25 "$2" >&2
	die "$1 failed (exit $rc)" "Log: $2"
}

# lock NAME: one at a time; the lock goes with the process.
lock() {
	mkdir -p "$OUT"
	exec {LOCK_FD}>"$OUT/.lock.$1"
	if ! flock -n "$LOCK_FD"; then
		info "waiting for another '$1' to end"
		flock "$LOCK_FD"
	fi
}

# plain_make ARG...: make without our variables in its environment. Upstream's makefiles have a KVM of their own.
plain_make() { env -u BASE -u LAB -u KVM -u KERNEL make "$@"; }

# What a file includes is known from its compilation: without a preprocessor's run of its own for that, an empty cache costs a third less.
export CCACHE_DEPEND=1

# kmake TREE ARG...: the kernel's make, the same everywhere: ccache where there is one, no release suffix from git (stock
# and ours must share a vermagic) and nothing of this machine or hour in the objects.
kmake() {
	local tree=$1 cc=gcc
	shift
	! command -v ccache >/dev/null || cc='ccache gcc'
	plain_make -C "$tree" -j"$JOBS" --no-print-directory CC="$cc" HOSTCC="$cc" \
		CHECK="$ROOT/lab/sparse $(cat "$BASEDIR/sparse" 2>/dev/null || true)" LOCALVERSION= \
		KBUILD_BUILD_USER=kvmclock KBUILD_BUILD_HOST=lab KBUILD_BUILD_TIMESTAMP=@0 "$@"
}

# kgit ARG...: git that no configuration of the machine or the user influences.
kgit() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -c core.hooksPath=/dev/null -c gc.auto=0 \
		-c advice.detachedHead=false -c safe.directory='*' "$@"
}

# Who packages are by: NAME <ADDRESS>.
maintainer() { sed -n 's/^M:\t//p' "$ROOT/MAINTAINERS"; }

# Counting, for the line that ends a check: N passed, N failed, N skipped.
PASSED=0 FAILED=0 SKIPPED=0
pass() { PASSED=$((PASSED + 1)); printf 'ok       %s\n' "$*"; }
fail() { FAILED=$((FAILED + 1)); printf 'NOT OK   %s\n' "$*"; }
skip() { SKIPPED=$((SKIPPED + 1)); printf 'skipped  %s\n' "$*"; }

# count COMMAND...: a report. Each of its lines as it is; the last one's numbers go into ours.
count() {
	local line reported=
	while read -r line; do
		if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
			PASSED=$((PASSED + BASH_REMATCH[1])) FAILED=$((FAILED + BASH_REMATCH[2]))
			SKIPPED=$((SKIPPED + BASH_REMATCH[3]))
			reported=1
		else
			echo "$line"
		fi
	done < <("$@" 2>&1)
	[ "$reported" ] || fail "the report is incomplete"
}

# The last line; success only where nothing failed and something passed.
totals() {
	printf '%d passed, %d failed, %d skipped\n' $PASSED $FAILED $SKIPPED
	[ $FAILED -eq 0 ] && [ $PASSED -gt 0 ]
}
