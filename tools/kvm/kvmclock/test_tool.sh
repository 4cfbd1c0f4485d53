#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2317 # cases are called by name
#
# What the tool says without KVM: its help, what it refuses, what bash completes.
# Reports TAP; exits with 1 if a case failed.
#
# usage: test_tool.sh DIRECTORY	where make has built
here=$(dirname "$0")
kvmclock=${1:-.}/kvmclock
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
failed=0

# case_is NAME COMMAND...
case_is() {
	name=$1
	shift
	n=$((n + 1))
	: >"$dir/out"
	: >"$dir/err"
	if "$@"; then
		echo "ok $n - $name"
		return
	fi
	failed=1
	echo "not ok $n - $name"
	sed 's/^/# /' "$dir/out" "$dir/err"
}

# refuses EXIT WORDS ARG...: ends like that, and says so.
refuses() {
	want=$1
	words=$2
	shift 2
	"$kvmclock" "$@" >"$dir/out" 2>"$dir/err"
	[ $? -eq "$want" ] && [ ! -s "$dir/out" ] && grep -qF -- "$words" "$dir/err"
}

tells_version() {
	[ "$("$kvmclock" -V)" = "$("$kvmclock" --version)" ] &&
		"$kvmclock" -V | grep -q '^kvmclock [0-9]'
}

# helps COMMAND: the same in three ways, and of that command.
helps() {
	"$kvmclock" help "$1" >"$dir/out" && grep -q "^usage: kvmclock $1 " "$dir/out" &&
		"$kvmclock" "$1" --help | cmp - "$dir/out" && "$kvmclock" "$1" -h | cmp - "$dir/out"
}

options() { "$kvmclock" help "$1" | sed -n 's/^  \(--[a-z-]*\).*/\1/p'; }

# What help names, the command knows; the operands are too many, so that nothing is done.
knows_its_options() {
	[ -n "$(options "$1")" ] || return 1
	for option in $(options "$1"); do
		"$kvmclock" "$1" "$option" a b c >"$dir/out" 2>"$dir/err"
		[ $? -eq 2 ] || return 1
		! grep -q 'unrecognized' "$dir/err" || return 1
	done
}

# The man page has the options that help has.
in_man_page() {
	for option in $(options "$1"); do
		sed -n 's/\\-/-/g; /^\.BI\{0,1\} --/p' "$here/kvmclock.1" |
			grep -qE -- " $option( |\$)" ||
			{ echo "$option" >"$dir/err"; return 1; }
	done
}

# completes WORDS WORD...: what bash offers for the last word.
completes() {
	want=$1
	shift
	# shellcheck disable=SC2016 # bash expands it
	bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kvmclock
		echo "${COMPREPLY[*]}"' \
		bash "$here/kvmclock.bash" "$kvmclock" "$@" >"$dir/out" 2>"$dir/err"
	[ "$(cat "$dir/out")" = "$want" ] && [ ! -s "$dir/err" ]
}

case_is version tells_version
for command in probe save restore watch; do
	case_is "help_$command" helps $command
	case_is "options_$command" knows_its_options $command
	case_is "man_page_$command" in_man_page $command
done
case_is help_nothing refuses 2 "no such command: 'nonsense'" help nonsense
case_is no_command refuses 2 'no command'
case_is vcpus_0 refuses 2 "--vcpus: '0' is not a number from 1 to 64" save --vcpus 0 "$dir/x"
case_is vcpus_65 refuses 2 "--vcpus: '65' is not" save --vcpus 65 "$dir/x"
case_is interval_0 refuses 2 "--interval: '0' is not" watch --interval 0
case_is events_once refuses 2 '--events is not a list' watch --events --once
case_is events_nobody refuses 2 "'qemu' is neither PID nor PID-FD" watch --events qemu
case_is require_nonsense refuses 2 "no such way: 'nonsense'" probe --require nonsense
case_is complete_command completes 'save' s
case_is complete_commands completes 'probe save restore watch help --help --version' ''
case_is complete_help completes 'restore' help r
case_is complete_option completes '--monotonic' save --m
case_is complete_probe completes '--require --json --help' probe --
case_is complete_way completes 'exact' save --way e
case_is complete_ways completes 'auto exact offset' save --way ''
case_is complete_policy completes 'freeze' restore --json --policy f
case_is complete_file completes '' restore g
echo "1..$n"
exit $failed
