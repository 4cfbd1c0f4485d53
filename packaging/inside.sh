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
