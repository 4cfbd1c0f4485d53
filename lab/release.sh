#!/usr/bin/env bash
# What is left of a release once everything was run: checks that this is one, packs the patches of all bases, and prints what to tag.
# Nothing is tagged or pushed here. Usage: lab/release.sh check|pack, by make release, which exports the series between the two.
#
#   check   everything is committed; CHANGELOG.md begins with '## N, DATE'; no tag vN is on another commit
#   pack    out/series/kvmclock-vN-BASE.tar.gz, the same from the same input, and their checksums
set -euo pipefail
. "$(dirname "$0")/common.sh"

mapfile -t bases < <(cd "$ROOT/bases" && printf '%s\n' *)
heading=$(grep -m 1 '^## ' "$ROOT/CHANGELOG.md")
number=$(sed -nE 's/^## ([0-9]+(\.[0-9]+)*), [0-9]{4}-[0-9]{2}-[0-9]{2}$/\1/p' <<<"$heading")
tag=v$number

check() {
	local dirty tagged
	[ -n "$number" ] ||
		die "CHANGELOG.md begins with '$heading', which is no release" \
		    "Write '## N, $(date +%F)' there, with what has changed, and commit it."
	dirty=$(git -C "$ROOT" status --porcelain)
	[ -z "$dirty" ] || die "not everything is committed:" "$dirty"
	tagged=$(git -C "$ROOT" rev-parse -q --verify "$tag^{commit}" || true)
	[ -z "$tagged" ] || [ "$tagged" = "$(git -C "$ROOT" rev-parse HEAD)" ] ||
		die "$tag is there, on another commit" "Begin CHANGELOG.md with a new number."
	info "$tag: CHANGELOG.md has it, and everything is committed"
}

# pack_base BASE: cover letter and patches, with the commit's time and nobody's name.
pack_base() {
	local name=kvmclock-$tag-$1 dir=$OUT/series/$1
	[ -f "$dir/0000-cover-letter.patch" ] || die "no series for $1" "Run 'make series BASE=$1' first."
	tar -C "$dir" -c --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rw,go=r --format=ustar \
		--mtime="@$(git -C "$ROOT" log -1 --format=%ct)" --transform="s,^\./,$name/," \
		-T <(cd "$dir" && printf './%s\n' *.patch) | gzip -9n >"$OUT/series/$name.tar.gz"
}

pack() {
	local base
	rm -f "$OUT"/series/kvmclock-v*
	for base in "${bases[@]}"; do pack_base "$base"; done
	(cd "$OUT/series" && sha256sum "kvmclock-$tag"-*.tar.gz | tee "kvmclock-$tag.sha256")
	info "patches of ${bases[*]} in ${OUT#"$ROOT"/}/series. What is left, on a commit that .ci/run has passed:"
	cat <<-END

		    git tag -a $tag -m 'KVM clock $number' $(git -C "$ROOT" rev-parse --short HEAD)
		    git push origin $tag

	END
}

need git tar gzip sha256sum
case ${1:-} in
check) check ;;
pack) check >/dev/null && pack ;;
*) die "verb '${1:-}'" "Verbs: check pack" ;;
esac
