# shellcheck shell=bash
# Where Debian's packages are. Sourced, never run.

# mirrors SUITE: every mirror of Debian that the machine's apt uses and that has suites like this one, from apt's own reading of
# its configuration, whatever the format. Security updates have mirrors of their own.
mirrors() {
	local codename suites lists
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")
	case $1 in
	*-security) suites="${codename}-security|(old)?stable-security" ;;
	*) suites="${codename}|${codename}-(updates|backports)|(old)?stable|testing|unstable|sid" ;;
	esac
	lists=$(mktemp -d)
	mkdir "$lists/partial"
	apt-get -o Dir::State::lists="$lists" -o Debug::NoLocking=1 update --print-uris 2>/dev/null |
		sed -nE "s,^'([^ ']+)/dists/($suites)/InRelease' .*,\\1,p" |
		grep -v '^cdrom:' | awk '!seen[$0]++'
	rm -r "$lists"
}
