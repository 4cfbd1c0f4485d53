#!/usr/bin/env bash
# Fetch the base: the source that bases/$BASE/base names, a kernel's from a binary package of Debian, a VMM's from its
# source package with Debian's patches, or the tree that KERNEL=/path names, as the git repository
# out/$BASE/stock with one commit, tagged "base". SUITE=NAME: the newest that this suite has, in out/$BASE-$SUITE. Does nothing when
# that is there. Whatever breaks on the way, the next run starts over from the last thing that is whole: the tree appears under its
# name only when it is complete.
# OTHERS=yes: whoever calls has another base to try (lab/available.sh); a package that is nowhere is one line and status 3.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/mirrors.sh"

OTHER_SUITE=${SUITE:-} PACKAGE='' KIND='' VERSION='' SHA256='' SOURCE=''
DL=$WORKDIR/dl
TMP=$STOCK.tmp
APT=$WORKDIR/apt

# GOALS is what make was asked for.
own_tree_hint() {
	printf 'Use a tree that you have: make %s BASE=%s KERNEL=/path/to/%s-%s' "${GOALS:-check}" "$BASE" "${VMM:-linux}" "$BASE"
}

# nowhere MESSAGE [LINE...]: the package cannot be had.
nowhere() {
	[ "${OTHERS:-}" ] || die "$@" "$(own_tree_hint)"
	info "$1"
	exit 3
}

of_base() { sed -n "s/^$1=//p" "$BASEDIR/base"; }

# A field of the record that the base's repository keeps; base.txt is a copy of it.
recorded() { sed -n "s/^$1: //p" "$STOCK/.git/base.txt"; }

# Is the base there already, and is it the one that is asked for?
have_base() {
	[ -f "$STOCK/.git/base.txt" ] || return 1
	if [ -n "$KERNEL" ] && [ "$(recorded source)" != "tree $(realpath "$KERNEL")" ]; then
		die "${WORKDIR#"$ROOT"/} holds another tree: $(recorded source)" \
		    "'make distclean' (or remove ${WORKDIR#"$ROOT"/}) and run again with KERNEL=$KERNEL."
	fi
	cmp -s "$STOCK/.git/base.txt" "$BASETXT" || cp "$STOCK/.git/base.txt" "$BASETXT"
}

package_field() { { private_apt apt-cache show --no-all-versions "$PACKAGE" 2>/dev/null || true; } | sed -n "s/^$1: //p"; }

newest_source() { { private_apt apt-cache showsrc "$PACKAGE" 2>/dev/null || true; } | sed -n 's/^Version: //p' | sort -V | tail -n 1; }

# The version that was tested, where no suite has the package any more: by its name, from a mirror's pool, or as it once was.
find_tested() {
	local deb place
	VERSION=$(of_base tested) SHA256=$(of_base sha256)
	[ -n "$VERSION" ] && [ -z "$OTHER_SUITE" ] || return 1
	deb=$DL/${PACKAGE}_${VERSION}.deb
	mkdir -p "$DL" "$APT/lists/partial" "$APT/cache/archives/partial"
	if good_deb "$deb"; then return; fi
	for place in $(mirrors "$SUITE") $(of_base snapshot); do
		info "$SUITE has no $PACKAGE: trying version $VERSION at $place"
		if private_apt /usr/lib/apt/apt-helper download-file "$place/pool/$(of_base pool)/${PACKAGE}_${VERSION}_all.deb" \
			"$deb" "SHA256:$SHA256" >"$LOGS/fetch-download.log" 2>&1 && good_deb "$deb"; then return; fi
		rm -f "$deb"
	done
	VERSION=''
	return 1
}

# What was tested is one version; the series may not apply to a newer one, and nobody has seen it pass.
compare_tested() {
	local tested
	tested=$(of_base tested)
	[ -z "$tested" ] || [ "$VERSION" = "$tested" ] || warn "$PACKAGE is $VERSION; $tested is what was tested"
}

# The newest patch level of the package that the mirrors have.
find_package() {
	local mirror list tried=() read=()
	list=$(mirrors "$SUITE")
	for mirror in $list; do
		tried+=("$mirror")
		info "looking for $PACKAGE in $SUITE of $mirror"
		read_suite "$KIND" "$mirror" "$SUITE" >"$LOGS/fetch-apt.log" 2>&1 || { warn "cannot read $SUITE there (log: $LOGS/fetch-apt.log)"; continue; }
		read+=("$mirror")
		if [ "$KIND" = deb ]; then
			VERSION=$(package_field Version)
			SHA256=$(package_field SHA256)
		else
			VERSION=$(newest_source)
		fi
		[ -z "$VERSION" ] || return 0
	done
	find_tested && return
	[ -n "$list" ] || nowhere "no Debian mirror in this machine's apt configuration, for $PACKAGE"
	[ ${#read[@]} -gt 0 ] ||
		nowhere "suite $SUITE, for package $PACKAGE, cannot be read from any mirror: ${tried[*]}" \
			"Run the same command again with a network."
	nowhere "package $PACKAGE is not in suite $SUITE of the mirrors tried: ${read[*]}"
}

good_deb() { [ -f "$1" ] && echo "$SHA256  $1" | sha256sum --status -c -; }

download() {
	local deb=$DL/${PACKAGE}_${VERSION}.deb got
	mkdir -p "$DL"
	if good_deb "$deb"; then
		info "already downloaded: $PACKAGE $VERSION"
		return
	fi
	rm -rf "${DL:?}"/*
	(cd "$DL" && run "downloading $PACKAGE $VERSION" "$LOGS/fetch-download.log" private_apt apt-get -q download "$PACKAGE")
	got=$(find "$DL" -name '*.deb' -print -quit)
	if [ -z "$got" ] || ! good_deb "$got"; then
		rm -rf "${DL:?}"/*
		die "the download of $PACKAGE $VERSION is broken (its SHA256 is not the mirror's)" "Run the same command again."
	fi
	mv "$got" "$deb"
}

unpack() {
	local tar
	run "unpacking the package" "$LOGS/fetch-dpkg.log" dpkg -x "$DL/${PACKAGE}_${VERSION}.deb" "$TMP.deb"
	tar=$(find "$TMP.deb/usr/src" -name "linux-source-$BASE.tar.*" -print -quit)
	[ -n "$tar" ] || die "no linux-source-$BASE.tar in $PACKAGE $VERSION" "$(own_tree_hint)"
	mkdir "$TMP"
	run "unpacking $(basename "$tar")" "$LOGS/fetch-tar.log" tar -xf "$tar" -C "$TMP" --strip-components=1
	rm -rf "$TMP.deb"
}

# A source package: apt checks it against the mirror's signed list, and dpkg-source applies Debian's patches.
get_source() {
	mkdir -p "$DL"
	rm -rf "${DL:?}"/*
	(cd "$DL" && run "downloading the source of $PACKAGE $VERSION" "$LOGS/fetch-download.log" \
		private_apt apt-get -q --download-only source "$PACKAGE=$VERSION")
	SHA256=$(cat "$DL"/*.dsc | sha256sum | cut -d ' ' -f 1)
	run "unpacking it" "$LOGS/fetch-dpkg.log" dpkg-source --no-check -x "$DL"/*.dsc "$TMP"
	rm -rf "$TMP/.pc"
}

# The user's tree stays as it is: no write, no git command in it.
copy_tree() {
	mkdir "$TMP"
	run "copying $KERNEL" "$LOGS/fetch-copy.log" \
		find "$KERNEL" -mindepth 1 -maxdepth 1 ! -name .git -exec cp -a -t "$TMP" {} +
	[ "$VMM" ] || run "make mrproper in the copy" "$LOGS/fetch-mrproper.log" make -C "$TMP" mrproper
}

version_of_tree() {
	if [ "$VMM" ]; then
		cat "$TMP/VERSION"
	else
		make -s -C "$TMP" kernelversion
	fi
}

# The tree must be of the base's series, and whole.
check_tree() {
	local v
	v=$(version_of_tree | cut -d . -f 1,2)
	[ "$v" = "$BASE" ] || die "that is ${v:-unknown}, not $BASE" "$(own_tree_hint)"
	[ "$VMM" ] || [ -f "$TMP/arch/x86/kvm/x86.c" ] ||
		die "the unpacked tree lacks arch/x86/kvm/x86.c" "Run the same command again."
}

# One commit, the same on every machine. Everything goes into one pack, which is faster than 96,000 files.
commit_base() {
	local date='2000-01-01T00:00:00Z'
	kgit -C "$TMP" init -q --template= -b pristine
	kgit -C "$TMP" config gc.auto 0
	kgit -C "$TMP" config core.autocrlf false
	kgit -C "$TMP" config core.fileMode true
	# A copy of the tree is as clean as the tree: judge by size and time of modification only.
	kgit -C "$TMP" config core.checkStat minimal
	kgit -C "$TMP" config core.trustctime false
	run "recording it in git" "$LOGS/fetch-git.log" \
		kgit -C "$TMP" -c core.bigFileThreshold=1 -c core.compression=1 add -f -A .
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost GIT_AUTHOR_DATE=$date GIT_COMMITTER_NAME=base \
		GIT_COMMITTER_EMAIL=base@localhost GIT_COMMITTER_DATE=$date \
		kgit -C "$TMP" commit -q --no-verify --no-gpg-sign -m "${VMM:-Linux} $VERSION"
	kgit -C "$TMP" tag base
}

record() {
	{
		echo "base: $BASE"
		echo "version: $VERSION"
		echo "source: $SOURCE"
		echo "sha256: ${SHA256:-none}"
		echo "tree: $(kgit -C "$TMP" rev-parse 'base^{tree}')"
		echo "${VMM:-kernel}: $(version_of_tree)"
	} >"$TMP/.git/base.txt.tmp"
	mv "$TMP/.git/base.txt.tmp" "$TMP/.git/base.txt"
}

known_base
mkdir -p "$WORKDIR" "$LOGS"
lock "fetch-$BASE"
! have_base || exit 0

need git make tar
[ -n "$KERNEL" ] || command -v apt-get >/dev/null ||
	die "no apt-get here, so the base's source cannot be fetched" "$(own_tree_hint)"
[ -n "$KERNEL" ] || need xz dpkg apt-cache sha256sum
SUITE=${OTHER_SUITE:-$(of_base suite)} PACKAGE=$(sed -nE 's/^(package|source)=//p' "$BASEDIR/base")
if grep -q '^source=' "$BASEDIR/base"; then KIND="deb-src"; else KIND="deb"; fi
rm -rf "$TMP" "$TMP.deb" "$STOCK"
need_disk 4 "$OUT"

if [ -n "$KERNEL" ]; then
	[ "$VMM" ] || [ -f "$KERNEL/arch/x86/kvm/x86.c" ] || die "KERNEL=$KERNEL is no kernel source tree"
	KERNEL=$(realpath "$KERNEL")
	copy_tree
	SOURCE="tree $KERNEL"
	VERSION=$(version_of_tree)
else
	find_package
	compare_tested
	if [ "$KIND" = deb ]; then
		download
		unpack
	else
		get_source
	fi
	SOURCE="package $PACKAGE, suite $SUITE"
fi
check_tree
commit_base
record
mv "$TMP" "$STOCK"
have_base
info "base $BASE is $VERSION ($SOURCE)"
