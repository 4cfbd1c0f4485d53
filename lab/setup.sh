#!/usr/bin/env bash
# Install the Debian packages that lab/packages lists and the machine lacks. The only stage that needs root. Without apt-get, it
# says what is needed and does nothing else: a stage that lacks a program names it.
# SETUP=series|deb|rpm|demo: only what that command needs.
set -euo pipefail
. "$(dirname "$0")/common.sh"

case ${SETUP:-all} in
all) wanted='#' ;;
series) wanted=s ;;
deb) wanted=d ;;
rpm) wanted=r ;;
demo) wanted=p ;;
*) die "SETUP=$SETUP" "Known: series, deb, rpm, demo" ;;
esac

# The lines of lab/packages that are wanted: the package, and what for.
packages() {
	local package who
	while read -r package who; do
		case $package in '' | '#'*) continue ;; esac
		[ $wanted = '#' ] || [[ ${who%%#*} == *$wanted* ]] || continue
		echo "$package ${who#*# }"
	done <"$ROOT/lab/packages"
}

if ! command -v apt-get >/dev/null; then
	if [[ " ${GOALS:-setup} " != *" setup "* ]]; then
		info "no apt-get here: nothing is installed; 'make setup' lists what is needed"
		exit 0
	fi
	info "no apt-get here: nothing is installed. What is needed, by Debian's names, and what for:"
	packages | awk '{ name = $1; $1 = ""; printf "  %-20s%s\n", name, $0 }'
	exit 0
fi

missing=()
while read -r package _; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done < <(packages)

[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" -eq 0 ] ||
	die "packages are missing, and only root can install them: ${missing[*]}" \
	    "Run 'sudo make setup' once (or apt-get install them); everything else runs without root."

lock setup
info "installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
run "apt-get update" "$LOGS/setup-update.log" apt-get -q update
run "apt-get install" "$LOGS/setup-install.log" apt-get -q install -y --no-install-recommends "${missing[@]}"
