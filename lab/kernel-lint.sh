# shellcheck shell=bash
# checkpatch, sparse and W=1 for the lint and the series' check. Sourced, after common.sh.

# What a patch at a time cannot see, or what is not ours to follow:
#   FILE_PATH_CHANGES   MAINTAINERS comes with the series' last commit
#   UNKNOWN_COMMIT_ID   the base has Debian's source and no history of mainline's, which Fixes: is about
CHECKPATCH=(--strict --terse --showfile --quiet --no-summary --show-types --ignore 'FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID')

# raw_checkpatch TREE ARG...: the tree's checkpatch. Its standard error is spdxcheck.py's, which Debian lacks modules for.
raw_checkpatch() {
	perl "$1/scripts/checkpatch.pl" --root="$1" "${CHECKPATCH[@]}" "${@:2}" || true
}

# What is excused with any base's checkpatch, and what with this one's only.
checkpatch_known() {
	cat "$ROOT/lab/checkpatch-known"
	[ ! -f "$BASEDIR/checkpatch-known" ] || cat "$BASEDIR/checkpatch-known"
}

# checkpatch TREE LOG ARG...: silent or not, apart from what checkpatch_known excuses, with its reason.
checkpatch() {
	local tree=$1 log=$2
	shift 2
	raw_checkpatch "$tree" "$@" 2>"$log.err" | awk -v known=<(checkpatch_known) '
		BEGIN { while ((getline line < known) > 0) if (line !~ /^(#|$)/) { split(line, w, " "); ok[w[1] " " w[2]] = 1 } }
		{ n = split($0, f, ":") } n >= 4 && ((f[1] " " f[4]) in ok) { next } { print }' >"$log"
	! grep -q "Can't locate\|syntax error" "$log.err" && [ ! -s "$log" ]
}

# objects FILE...: of the C files of arch/x86/kvm among them.
objects() {
	local f
	for f; do
		case $f in arch/x86/kvm/*.c) printf '%s\n' "${f%.c}.o" ;; esac
	done
}

# warnings TREE LOG OBJECT...: compile with W=1 and run sparse; prints each warning once, without its line number.
# Fails where the compiler does.
warnings() {
	local tree=$1 log=$2 rc=0
	shift 2
	try "sparse and W=1, $# files" "$log" kmake "$tree" -k C=2 W=1 "$@" >&2 || rc=$?
	grep 'not available or not up to date' "$log" >&2 && return 1
	sed -nE 's/^([^ ]+\.[ch]):[0-9]+(:[0-9]+)?: (warning|error): /\1: \3: /p' "$log" | sort -u
	return $rc
}

# stock_warnings TREE FILE...: what the pristine files say, once per tree, configuration and list of files.
stock_warnings() {
	local tree=$1 key cached objs
	shift
	mapfile -t objs < <(objects "$@")
	[ ${#objs[@]} -gt 0 ] || return 0
	key=$({ echo "$@"; cat "$tree/.config" "$BASETXT" "$ROOT/lab/sparse"; sparse --version; } | sha256sum | cut -c1-32)
	cached=$OUT/cache/warnings/$key
	if [ ! -f "$cached" ]; then
		mkdir -p "${cached%/*}"
		warnings "$tree" "$LOGS/stock-warnings.log" "${objs[@]}" >"$cached.tmp" || return 1
		mv "$cached.tmp" "$cached"
	fi
	cat "$cached"
}
