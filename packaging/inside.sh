# shellcheck shell=bash
# Run commands in the root of a Debian release. Sourced, never run.

# inside ROOT COMMAND...: with /proc and /dev, in a mount namespace of its own, so that nothing of it is left behind.
inside() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --propagation private sh -c '
		mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' "$@"
}
