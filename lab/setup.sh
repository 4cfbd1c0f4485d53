#!/usr/bin/env bash
# Install the Debian packages that lab/packages lists and the machine lacks. The only stage that needs root.
set -euo pipefail
. "$(dirname "$0")/common.sh"

command -v apt-get >/dev/null ||
	die "no apt-get here: set-up is for Debian and its kin" "Install by hand what lab/packages lists, then 'touch out/.setup'."

missing=()
while read -r package _; do
	case $package in '' | '#'*) continue ;; esac
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
