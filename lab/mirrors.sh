# shellcheck shell=bash
# Where Debian's packages are, and how to get them without the machine's apt. Sourced behind common.sh, never run.

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

# private_apt TOOL ARG...: apt with a state of its own in $APT: reads the machine's proxy settings and the like, touches nothing
# outside of out/.
private_apt() {
	local tool=$1
	shift
	"$tool" -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State::lists="$APT/lists" -o Dir::Cache="$APT/cache" -o Dir::State::status=/dev/null \
		-o APT::Architecture="$(dpkg --print-architecture)" -o Acquire::Retries=2 -o Acquire::Languages=none \
		-o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any "$@"
}

# read_suite KIND MIRROR SUITE: what private_apt knows from then on, deb or deb-src.
read_suite() {
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=''
	[ ! -f $keyring ] || signed="[signed-by=$keyring] "
	rm -rf "$APT/lists" "$APT/cache"
	mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
	echo "$1 $signed$2 $3 main" >"$APT/sources.list"
	private_apt apt-get -q update
}
