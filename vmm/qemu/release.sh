# shellcheck shell=bash
# Each QEMU is built where it belongs: in the Debian release whose source it is. Debian 12 cannot build that of Debian 13,
# which needs another meson. Sourced, after common.sh.
# shellcheck disable=SC2153 # of common.sh
. "$ROOT/packaging/inside.sh"

# The root of RELEASE, or nothing where the machine has that one.
# shellcheck source=/dev/null
foreign_root() { [ "$1" = "$(. /etc/os-release && echo "$VERSION_CODENAME")" ] || echo "$OUT/deb/$1"; }

# What the root lacks: what lab/packages has for QEMU, and that release's own QEMU to compare with.
install_in() {
	local packages missing
	mapfile -t packages < <(sed -n 's/ .*# QEMU$//p' "$ROOT/lab/packages")
	mapfile -t missing < <(missing_in "$1" git perl python3 gcc ccache qemu-system-x86 "${packages[@]}")
	[ ${#missing[@]} -eq 0 ] ||
		run "what QEMU $BASE needs" "$LOGS/qemu-root.log" \
			inside "$1" apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# in_its_release ARGUMENT...: where the machine has another release than the base, the rest of this script runs in a root of
# the base's release, with this checkout at its place.
in_its_release() {
	local release script root
	release=$(sed -n 's/^suite=//p' "$BASEDIR/base")
	root=$(foreign_root "$release")
	[ -n "$root" ] || return 0
	script=$(realpath "$0")
	"$ROOT/packaging/root.sh" "$release"
	install_in "$root"
	inside_with "$ROOT" "$root" env BASE="$BASE" VMM="$VMM" JOBS="$JOBS" "$script" "$@"
	exit
}
