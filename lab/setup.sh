#!/usr/bin/env bash
# Install the Debian packages that lab/packages lists and the machine lacks. The only stage that needs root.
# SETUP=series|deb|demo: only what that command needs.
set -euo pipefail
. "$(dirname "$0")/common.sh"

case ${SETUP:-all} in
all) wanted='#' ;;
series) wanted=s ;;
deb) wanted=d ;;
demo) wanted=p ;;
*) die "SETUP=$SETUP" "Known: series, deb, demo" ;;
esac

if ! command -v apt-get >/dev/null; then
	warn "no apt-get here: what lab/packages lists has to be installed by hand; a stage that lacks a tool says which"
	exit 0
fi

missing=()
while read -r package who _; do
	case $package in '' | '#'*) continue ;; esac
	[ $wanted = '#' ] || [[ $who == *$wanted* ]] || continue
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done <"$ROOT/lab/packages"

[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" -eq 0 ] ||
	die "packages are missing, and only root can install them: ${missing[*]}" \
	    "Run 'sudo make setup' once (or apt-get install them); everything else runs without root."

lock setup
info "installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
run "apt-get update" "$LOGS/setup-update.log" apt-get -q update
run "apt-get install" "$LOGS/setup-install.log" apt-get -q install -y --no-install-recommends "${missing[@]}"
