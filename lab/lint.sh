#!/usr/bin/env bash
# Lint the repository: our C files with checkpatch and sparse, scripts with shellcheck, Python compiles, the overlay's own
# tests, semantic patches all effective, nothing left of what they removed, no path of a machine.
# ONLY=base: what depends on the base; the rest is the same whatever it is.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/kernel-lint.sh"

LOG=$LOGS/lint

# verdict NAME COMMAND...: silent or not.
verdict() {
	local name=$1 log
	shift
	log=$LOG/$(tr -c 'a-z0-9\n' - <<<"$name").log
	if "$@" >"$log" 2>&1; then
		pass "$name"
	else
		fail "$name"
		head -n 60 "$log"
	fi
}

tracked() { git -C "$ROOT" ls-files "$@"; }

shell_scripts() {
	local f
	tracked | while read -r f; do
		case $f in
		*.sh) echo "$f" ;;
		*) [ ! -f "$ROOT/$f" ] || ! head -n 1 "$ROOT/$f" | tr -d '\0' | grep -qE '^#!.*[/ ](ba)?sh\b' || echo "$f" ;;
		esac
	done
}

run_shellcheck() {
	local files
	mapfile -t files < <(shell_scripts)
	cd "$ROOT"
	shellcheck -x "${files[@]}"
}

compile_python() {
	cd "$ROOT"
	tracked '*.py' | xargs python3 -c 'import sys
for f in sys.argv[1:]: compile(open(f).read(), f, "exec")'
}

# Fragments are no files that checkpatch understands; the series' check sees them as patches.
checkpatch_files() {
	local files
	mapfile -t files < <(tracked arch tools Documentation/virt/kvm/x86 "bases/$BASE/files" lab/bench lab/demo lab/fuzz | grep -E '^tools/.*\.sh$|\.([ch]|rst)$')
	cd "$ROOT"
	checkpatch "$OURS" "$LOG/checkpatch.out" --file "${files[@]}" || { cat "$LOG/checkpatch.out"; return 1; }
}

# What is excused must still be said.
known_is_current() {
	local file type
	mapfile -t files < <(checkpatch_known | sed -E '/^(#|$)/d; s/ .*//' | sort -u)
	cd "$ROOT"
	raw_checkpatch "$OURS" --file "${files[@]}" >"$LOG/checkpatch.raw" 2>/dev/null
	while read -r file type _; do
		case $file in '' | '#'*) continue ;; esac
		grep -qE "^$file:[0-9]+: [A-Z]+:$type:" "$LOG/checkpatch.raw" || { echo "$file $type is not said any more"; return 1; }
	done < <(checkpatch_known)
}

# C=2 runs sparse on what is built already, so no object changes. Two kernel makes in one tree would disturb each other.
run_sparse() {
	local files objs
	lock build
	mapfile -t files < <(kgit -C "$OURS" diff --name-only --diff-filter=A base HEAD)
	mapfile -t objs < <(objects "${files[@]}")
	[ ${#objs[@]} -eq 0 ] || kmake "$OURS" -k C=2 "${objs[@]}" >"$LOG/sparse.out" 2>&1 || { cat "$LOG/sparse.out"; return 1; }
	! grep -E '(warning|error):|not available or not up to date' "$LOG/sparse.out"
}

# A table that is a column too narrow is lost in what the kernel's documentation is made into.
documents() {
	local file rc=0
	cd "$ROOT"
	for file in $(git ls-files 'Documentation/*.rst'); do
		rst2html --report=2 --halt=2 "$file" >/dev/null || rc=1
	done
	return $rc
}

# The text of each licence that a file names. The GPL's is COPYING.
licence_texts() {
	local id rc=0
	cd "$ROOT"
	while read -r id; do
		[ -f "LICENSES/$id.txt" ] || { echo "LICENSES/$id.txt is missing"; rc=1; }
	done < <(git grep -hI '^[^a-z]*SPDX-License-Identifier: ' |
		sed -E 's/.*SPDX-License-Identifier: *//; s/ *\*\/.*//; s/[()]//g; s/ (OR|AND|WITH) /\n/g' |
		grep -v '^GPL-2.0' | sort -u)
	return $rc
}

# groff says what it does not understand, and ends well.
man_pages() {
	local file
	cd "$ROOT"
	for file in $(git ls-files '*.[1-9]'); do
		groff -man -ww -Tutf8 -z "$file"
	done 2>&1 | tee /dev/stderr | wc -c | grep -qx 0
}

# The machine that this runs on must not show: the checkout's place, the user's home.
machine_paths() {
	local pattern
	pattern=$(printf '%s\n' "$ROOT/" "/wo""rk/" "/ho""me/" "${HOME%/}/" | grep -vxF -e / -e /root/ | paste -sd'|')
	! git -C "$ROOT" grep -nIE "$pattern"
}

# At the end of a line or of a file. An underline of reStructuredText is no conflict.
no_trailing_space() {
	! git -C "$ROOT" -c core.whitespace=-space-before-tab diff --check "$(git hash-object -t tree /dev/null)" -- \
		':!*.diff' | grep -A 1 'trailing whitespace\|blank line at EOF'
}

need git perl sparse spatch shellcheck python3 rst2html groff
need_base
mkdir -p "$LOG"
: >"$LOG/sparse.out"

any_base() {
	verdict "shellcheck" run_shellcheck
	verdict "python compiles" compile_python
	verdict "tests of the overlay" python3 "$ROOT/lab/test_overlay.py"
	verdict "hosts that end early are booted once more" "$ROOT/lab/tests/boot.sh"
	verdict "where a base cannot be had, the other one is taken" "$ROOT/lab/tests/available.sh"
	verdict "tests of the results" python3 -B "$ROOT/lab/test_results.py"
	verdict "what README and its kin link to is there" python3 -B "$ROOT/lab/links.py"
	verdict "calls go down the stairs only" "$ROOT/lab/stairs.py"
	verdict "kvmclock_math.h in user space" "$ROOT/lab/tests/kvmclock_math.sh"
	verdict "documents are reStructuredText" documents
	verdict "the texts of licences are there" licence_texts
	verdict "man pages" man_pages
	verdict "documents quote what is in the files" "$ROOT/lab/quotes.py"
	verdict "no absolute path of a machine" machine_paths
	verdict "no trailing blanks" no_trailing_space
}

[ "${ONLY:-}" = base ] || any_base
verdict "semantic patches all effective, every file in one commit" "$ROOT/lab/apply.py" "$BASE" --strict
verdict "nothing mentions what was removed" "$ROOT/lab/leftovers.py" "$OURS" "$BASE"
verdict "checkpatch --strict" checkpatch_files
verdict "checkpatch-known is current" known_is_current
verdict "sparse" run_sparse
totals
