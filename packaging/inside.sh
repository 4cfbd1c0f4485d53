# shellcheck shell=bash
# Run commands in the root of a Debian release. Sourced, never run.

# inside ROOT COMMAND...: with /proc and /dev, in a mount namespace of its own, so that nothing of it is left behind. Without our
# variables: KVM's Makefile has a KVM of its own.
inside() {
	# shellcheck disable=SC2016 # for the inner shell
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+"http_proxy=$http_proxy"} unshare --mount --propagation private sh -c '
		mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' "$@"
}

# inside_with DIRECTORY ROOT COMMAND...: the same, with a directory of the machine's at its place in there.
inside_with() {
	local dir=$1
	shift
	mkdir -p "$1$dir"
	export -f inside
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --propagation private bash -c 'mount --bind "$0" "$1$0" && inside "$@"' "$dir" "$@"
}

# starts_nothing ROOT: nothing that a package wants to start there is started.
starts_nothing() {
	printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
	chmod 755 "$1/usr/sbin/policy-rc.d"
}

# missing_in ROOT PACKAGE...: those that are not installed there.
missing_in() {
	local root=$1
	shift
	# shellcheck disable=SC2016 # for dpkg-query
	{ inside "$root" dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } |
		sed -n 's/^installed //p' | sort -u | comm -13 - <(printf '%s\n' "$@" | sort -u)
}
