# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of kvmclock(1) in bash: what each command's help says.

_kvmclock()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} words help

	if [ "$COMP_CWORD" -eq 1 ] || [ "$command" = help ]; then
		words='probe save restore watch'
		[ "$command" = help ] || words="$words help --help --version"
	else
		help=$("${COMP_WORDS[0]}" help "$command" 2>/dev/null)
		words=$(sed -n "s/^  $prev \([a-z-]*|[a-z|-]*\).*/\1/p" <<<"$help" | tr '|' ' ')
		[ -n "$words" ] || [[ $cur != -* ]] ||
			words="$(sed -n 's/^  \(--[a-z-]*\).*/\1/p' <<<"$help") --help"
	fi

	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

# Where nothing of ours fits, there are files.
complete -o default -F _kvmclock kvmclock
