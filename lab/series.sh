#!/usr/bin/env bash
# Export the series: out/series/BASE/0000-cover-letter.patch, 0001-..., for 'git am' on the pristine base.
set -euo pipefail
. "$(dirname "$0")/common.sh"

DIR=$OUT/series/${VMM:+$VMM-}$BASE
COVER=$SERIES/cover-letter

# Where it applies. The base's commit exists only here, so name what others can check: version and tree.
base_note() {
	local source
	source=$(sed -n 's/^source: package \([^,]*\),.*/ (Debian'"'"'s \1 '"$(sed -n 's/^version: //p' "$BASETXT")"')/p' "$BASETXT")
	printf 'Applies to %s %s%s,\nwhose git tree is %s.\n' "${VMM:-Linux}" "$(sed -n "s/^${VMM:-kernel}: //p" "$BASETXT")" "$source" \
		"$(sed -n 's/^tree: //p' "$BASETXT")"
}

# format-patch leaves two placeholders; the cover letter's first line is the subject.
fill_cover() {
	local file=$1 line
	while IFS= read -r line; do
		case $line in
		*'*** SUBJECT HERE ***'*) printf '%s\n' "${line/'*** SUBJECT HERE ***'/$(head -n 1 "$COVER")}" ;;
		*'*** BLURB HERE ***'*) tail -n +3 "$COVER"; echo; base_note ;;
		*) printf '%s\n' "$line" ;;
		esac
	done <"$file" >"$file.new"
	mv "$file.new" "$file"
}

need git
need_base
[ -n "$(kgit -C "$OURS" rev-parse -q --verify series 2>/dev/null)" ] ||
	die "the series is not built yet" "Run 'make apply BASE=$BASE' first."
rm -rf "$DIR.tmp"
mkdir -p "$DIR.tmp"
who=$(kgit -C "$OURS" log -1 --format='%an <%ae>' series)
# The date of the cover letter is the last commit's, so that the same input gives the same files.
GIT_COMMITTER_NAME=${who%% <*} GIT_COMMITTER_EMAIL=$(sed 's/.*<//; s/>$//' <<<"$who") \
GIT_COMMITTER_DATE=$(kgit -C "$OURS" log -1 --format=%cI series) \
	kgit -C "$OURS" format-patch -q --cover-letter --no-signature --histogram -o "$DIR.tmp" base..series
fill_cover "$DIR.tmp/0000-cover-letter.patch"
rm -rf "$DIR"
mv "$DIR.tmp" "$DIR"
info "$(($(find "$DIR" -name '*.patch' | wc -l) - 1)) patches and a cover letter in ${DIR#"$ROOT"/}"
