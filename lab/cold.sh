#!/usr/bin/env bash
# How long a newcomer waits: the commands of README's "Try it", one after the other, in a fresh clone of what is committed here, with
# nothing built, nothing downloaded and an empty ccache. Prints a table of wall times, with the load average beside them.
#
#   lab/cold.sh DIRECTORY
#   RELEASE=bookworm lab/cold.sh DIRECTORY
#                           as root, in a new root of that Debian release (bookworm, trixie): no package is there either, and
#                           make comes first
#   STEPS="demo demo check check"   what is made, in this order; STEPS="help series" to try this script; ci is .ci/run
#   LIMIT=7200              seconds after which a step is given up, and all that it has started is ended
#
# DIRECTORY is made, and stays: its log of each step, its out/. 'rm -rf --one-file-system DIRECTORY' removes it; nothing is mounted there.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$ROOT/lab/mirrors.sh"
. "$ROOT/packaging/inside.sh"

DIR=${1:?the directory that is made, for a clone and all it builds} RELEASE=${RELEASE:-} LIMIT=${LIMIT:-7200}
read -ra steps <<<"${STEPS:-demo demo check check}"
declare -A bar=([demo-1]=15:00 [demo-2]=5:00 [check-1]=25:00 [check-2]=12:00 [ci-1]=60:00 [ci-2]=35:00)

# Debian RELEASE as debootstrap leaves it, with the machine's own mirrors.
make_root() {
	local suite mirror main
	main=$(mirrors "$RELEASE" | head -n 1)
	[ -n "$main" ] || die "no Debian mirror for $RELEASE in this machine's apt configuration"
	run "Debian $RELEASE" "$DIR/root.log" debootstrap --variant=minbase "$RELEASE" "$DIR/root" "$main"
	for suite in "$RELEASE" "$RELEASE-updates" "$RELEASE-backports" "$RELEASE-security"; do
		mirror=$(mirrors "$suite" | head -n 1)
		[ -z "$mirror" ] || echo "deb $mirror $suite main"
	done >"$DIR/root/etc/apt/sources.list"
	starts_nothing "$DIR/root"
}

# contained COMMAND...: in place of this shell, as a session of its own; in a namespace of processes, which end with the first of them,
# where that can be had.
contained() {
	if [ "$namespace" ]; then
		exec setsid unshare --mount-proc --pid --fork --kill-child "$@"
	else
		exec setsid "$@"
	fi
}

# All that the step has started. Outside of a namespace, scripts end what they have begun when they are told to.
end() {
	[ -n "$child" ] || return 0
	if [ -z "$namespace" ] && kill -- "-$child" 2>/dev/null; then
		timeout 30 tail --pid="$child" -f /dev/null || true
	fi
	kill -KILL -- "-$child" 2>/dev/null || true
	wait "$child" 2>/dev/null || true
	child=
}

# there COMMAND...: in the clone.
there() {
	if [ "$RELEASE" ]; then
		# shellcheck disable=SC2016 # for the inner shells
		contained bash -c 'inside "$@"' - "$DIR/root" sh -c 'cd /src/kvmclock && exec "$@"' - "$@"
	else
		# shellcheck disable=SC2016
		contained env CCACHE_DIR="$DIR/ccache" sh -c 'cd "$0" && exec "$@"' "$clone" "$@"
	fi
}

load() { cut -d ' ' -f 1 /proc/loadavg; }

# step NAME COMMAND...: a row of the table.
step() {
	local name=$1 log start=$SECONDS before rc=0 verdict=ok
	shift
	log=$DIR/$name.log before=$(load)
	info "$*: at most $(clock_text "$LIMIT"), log $log"
	there "$@" >"$log" 2>&1 </dev/null &
	child=$!
	timeout "$LIMIT" tail --pid=$child -f /dev/null &
	if wait $!; then
		wait $child || rc=$?
		[ $rc -eq 0 ] || verdict="FAILED ($rc)" failed=1
	else
		end
		verdict="given up" failed=1
	fi
	child=
	printf '| %s | %s | %s | %s | %s | %s |\n' "$*" "$(clock_text $((SECONDS - start)))" "${bar[$name]:--}" "$before" "$(load)" "$verdict" \
		>>"$DIR/table.md"
	[ "$verdict" = ok ] || tail -n 15 "$log" >&2
}

need git timeout setsid
[ ! -e "$DIR" ] || die "$DIR is there already" "Name a directory that is not."
[ -z "$(git -C "$ROOT" status --porcelain)" ] || warn "what is not committed here is not in the clone"
mkdir -p "$DIR"
DIR=$(realpath "$DIR")
need_disk 12 "$DIR"
clone=$DIR/kvmclock
if [ "$RELEASE" ]; then
	[ "$(id -u)" -eq 0 ] || die "only root can make a root of Debian $RELEASE"
	need debootstrap unshare
	export -f inside
	make_root
	clone=$DIR/root/src/kvmclock
fi
git clone -q --no-hardlinks "$ROOT" "$clone"

failed=0 child='' namespace=''
[ "$(id -u)" -ne 0 ] || ! unshare --pid --fork true 2>/dev/null || namespace=yes
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
declare -A times=()
{
	echo "$(git -C "$clone" log -1 --format='%h of %as'), $(nproc) processors, ${RELEASE:+a root of $RELEASE, }ccache empty, begun $(date '+%F %R'):"
	echo
	echo "| what | wall time | bar | load before | load behind | |"
	echo "|---|---:|---:|---:|---:|---|"
} >"$DIR/table.md"
# As README has it; the rest is installed by make itself.
[ -z "$RELEASE" ] || step apt sh -c 'apt-get -q update && apt-get -q install -y make'
for target in "${steps[@]}"; do
	times[$target]=$((${times[$target]:-0} + 1))
	command=(make "$target")
	[ "$target" != ci ] || command=(.ci/run)
	step "$target-${times[$target]}" "${command[@]}"
done
cat "$DIR/table.md"
exit $failed
