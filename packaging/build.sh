#!/usr/bin/env bash
# Build the Debian packages for a release, in its root: packaging/build.sh RELEASE; out/deb/RELEASE-packages/*.deb
#
# The source package has, for each base of packaging/releases, KVM with the series, as the newest source of the base is that the
# release has, and is built against the headers of the kernels of that very version. FLAVOURS=amd64: of these flavours only.
# MODULE_KEY=FILE.key MODULE_CERT=FILE.der: modules signed with that key.
set -euo pipefail
. "$(dirname "$0")/../lab/common.sh"
. "$(dirname "$0")/inside.sh"

RELEASE=$1
ROOTDIR=$OUT/deb/$RELEASE
RESULT=$OUT/deb/$RELEASE-packages
UPSTREAM=$("$ROOT/packaging/version.sh")
VERSION=$UPSTREAM-1~$RELEASE
SIGN=$ROOTDIR/build/sign

field() { awk -v r="$RELEASE" -v n="$1" '$1 == r { print $(NF - n) }' "$ROOT/packaging/releases" | tr , ' '; }

# newest BASE: the version of the base's source that the release has, and the suite that has it. Those of others may lag behind.
newest() {
	inside "$ROOTDIR" apt-cache madison "linux-source-$1" |
		awk -F ' *[|] *' 'NR == 1 { split($3, from, " "); sub("/.*", "", from[2]); print $2, from[2] }'
}

# recorded FIELD BASE [SUITE]: of that tree, if it is there.
recorded() { sed -n "s/^$1: //p" "$OUT/$2${3:+-$3}/base.txt" 2>/dev/null || true; }

# The laboratory's tree of the base, where it is of that version or the suite is the base's own; else one of the release's.
declare -A SUITES
prepare() {
	local base=$1 version suite
	read -r version suite < <(newest "$base") || true
	[ -n "$suite" ] || die "$RELEASE has no linux-source-$base"
	if [ "$KERNEL" ] || [ "$(recorded version "$base")" = "$version" ] ||
		{ [ ! -f "$OUT/$base/base.txt" ] && grep -qx "suite=$suite" "$ROOT/bases/$base/base"; }; then
		suite=
	elif [ "$(recorded version "$base" "$suite")" != "$version" ]; then
		rm -rf "$OUT/$base-$suite"
	fi
	SUITES[$base]=$suite
	SUITE=$suite BASE=$base "$ROOT/lab/fetch.sh"
	SUITE=$suite "$ROOT/lab/apply.py" "$base"
}

# kernels: base, version of its source, kernel, the package that has its modules, that package's version. A kernel is built of the
# very source package; the same upstream version may have other patches in another one.
kernels() {
	local base source version flavour kernel owner exact
	for base in $(field 1); do
		source=$(recorded version "$base" "${SUITES[$base]}")
		version=$(recorded kernel "$base" "${SUITES[$base]}")
		for flavour in ${FLAVOURS:-$(field 0)}; do
			kernel=$(inside "$ROOTDIR" apt-cache search --names-only "^linux-headers-${version//./\\.}\\+deb[0-9.]+-$flavour\$" |
				sed 's/^linux-headers-//; s/ .*//' | sort -V | tail -n 1)
			[ -n "$kernel" ] || { warn "$RELEASE has no kernel $version of flavour $flavour"; continue; }
			owner=linux-modules-$kernel
			inside "$ROOTDIR" apt-cache show "$owner" >/dev/null 2>&1 || owner=linux-image-$kernel
			exact=$(inside "$ROOTDIR" apt-cache show "$owner" | sed -n 's/^Version: //p' | head -n 1)
			[ "$KERNEL" ] || [ "$exact" = "$source" ] ||
				{ warn "$kernel is of $exact, and the source is $source: no package for it"; continue; }
			echo "$base $version $kernel $owner $exact"
		done
	done
}

headers() {
	local wanted missing
	mapfile -t wanted < <(sed -E 's/^([^ ]+ ){2}([^ ]+) .*/linux-headers-\2/' "$SOURCE/debian/kernels.full")
	mapfile -t missing < <(missing_in "$ROOTDIR" "${wanted[@]}")
	[ ${#missing[@]} -eq 0 ] ||
		run "the kernels' headers" "$LOGS/deb-headers.log" \
			inside "$ROOTDIR" apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# fill FILE NAME VALUE...: @NAME@ in the file, and .in off its name.
fill() {
	local file=$1 text
	shift
	text=$(cat "$file"; echo .)
	while [ $# -gt 0 ]; do
		text=${text//@$1@/"$2"}
		shift 2
	done
	printf '%s' "${text%.}"
}

# Which licence a file of the tool's is under is in its first lines.
library_files() {
	git -C "$ROOT" grep -lE 'SPDX-License-Identifier: .*LGPL-2.1' -- tools/kvm/kvmclock | sed '2,$s/^/ /'
}

# A licence's text as a field of debian/copyright has it.
licence() { sed -e 's/^$/./' -e 's/^/ /' "$ROOT/LICENSES/$1.txt"; }

# What programs need of the library that use one of its symbols. No version of it was released: what they were built with, or newer.
symbols() {
	printf 'libkvmclock.so.1 libkvmclock1 #MINVER#\n* Build-Depends-Package: libkvmclock-dev\n'
	awk -v version="$UPSTREAM" '
		/ \{$/ { node = $1; print " " node "@" node, version }
		/^\t\t[a-z_0-9]+;$/ { sub(";", "", $1); print " " $1 "@" node, version }
	' "$ROOT/tools/kvm/kvmclock/libkvmclock.map"
}

# The certificate's fingerprint, for the package to ask whether it is enrolled.
signer() {
	[ -z "${MODULE_CERT:-}" ] || openssl x509 -inform der -in "$MODULE_CERT" -noout -fingerprint -sha1 | sed 's/.*=//'
}

# signing COMMAND...: with the key in the root for as long as it runs, outside of the source.
signing() {
	local rc=0
	rm -rf "$SIGN"
	if [ "${MODULE_KEY:-}" ]; then
		install -D -m 600 "$MODULE_KEY" "$SIGN/key"
		install -m 644 "$MODULE_CERT" "$SIGN/cert"
		trap 'rm -rf "$SIGN"' EXIT
	fi
	"$@" || rc=$?
	rm -rf "$SIGN"
	return $rc
}

assemble() {
	local base version kernel owner exact versions secure_boot meta d=$SOURCE/debian
	rm -rf "$SOURCE"
	mkdir -p "$SOURCE"
	cp -r "$ROOT/packaging/debian" "$d"
	git -C "$ROOT" ls-files tools/kvm/kvmclock | rsync -a --files-from=- "$ROOT" "$SOURCE"
	cp "$ROOT/COPYING" "$SOURCE/"
	kernels >"$d/kernels.full"
	[ -s "$d/kernels.full" ] || die "no kernel of $RELEASE is of a version that there is a base of"
	cut -d ' ' -f 2,3 "$d/kernels.full" | awk '{ print $2, $1 }' >"$d/kernels"
	while read -r base version; do
		SUITE=${SUITES[$base]} BASE=$base "$ROOT/packaging/source.sh" "$SOURCE/source/$version" "$UPSTREAM"
	done < <(cut -d ' ' -f 1,2 "$d/kernels.full" | sort -u)
	versions=$(cut -d ' ' -f 2 "$d/kernels.full" | sort -Vu | paste -sd ' ')
	secure_boot=$(sed '1,/^$/d' "$ROOT/packaging/secure-boot.sh")
	echo "$UPSTREAM" >"$d/upstream"
	signer >"$d/signer"
	symbols >"$d/libkvmclock1.symbols"
	fill "$d/control.in" MAINTAINER "$(maintainer)" VERSIONS "$versions" >"$d/control"
	fill "$d/copyright.in" LIBRARY "$(library_files)" BSD "$(licence BSD-2-Clause)" >"$d/copyright"
	fill "$d/kvmclock-dkms.install.in" VERSION "$UPSTREAM" >"$d/kvmclock-dkms.install"
	fill "$d/kvmclock-dkms.preinst.in" SECURE_BOOT "$secure_boot" >"$d/kvmclock-dkms.preinst"
	cp "$d/modules.README.Debian" "$d/kvmclock-dkms.README.Debian"
	cp "$d/modules.lintian-overrides" "$d/kvmclock-dkms.lintian-overrides"
	fill "$d/kvmclock-dkms.postinst.in" VERSIONS "$versions" >"$d/kvmclock-dkms.postinst"
	sed -i "s/@VERSIONS@/$(sed 's/\./\\\\./g; s/ /|/g' <<<"$versions")/" "$d/kvmclock-dkms.dkms"
	while read -r base _ kernel owner exact; do
		fill "$d/modules.in" KERNEL "$kernel" OWNER "$owner" VERSION "$exact" >>"$d/control"
		fill "$d/meta.in" KERNEL "$kernel" BASE "$base" FLAVOUR "${kernel#*+deb*-}" >>"$d/control"
		meta=kvmclock-modules-$base-${kernel#*+deb*-}
		echo "$meta ${exact//-/+}" >>"$d/metapackages"
		fill "$d/modules.preinst.in" KERNEL "$kernel" SIGNER "$(cat "$d/signer")" SECURE_BOOT "$secure_boot" \
			>"$d/kvmclock-modules-$kernel.preinst"
		cp "$d/modules.README.Debian" "$d/kvmclock-modules-$kernel.README.Debian"
		tee "$d/$meta.lintian-overrides" "$d/kvmclock-modules-$kernel.lintian-overrides" <"$d/modules.lintian-overrides" >/dev/null
		fill "$d/modules.maintscript.in" KERNEL "$kernel" WHAT 'This one is' >"$d/kvmclock-modules-$kernel.postinst"
		fill "$d/modules.maintscript.in" KERNEL "$kernel" WHAT "Debian's is" >"$d/kvmclock-modules-$kernel.postrm"
	done <"$d/kernels.full"
	rm -f "$d"/*.in "$d"/modules.*
	cat >"$d/changelog" <<-END
		kvmclock ($VERSION) $RELEASE; urgency=medium

		  * KVM's modules with the KVM clock replaced, libkvmclock and the tool.

		 -- $(maintainer)  $(git -C "$ROOT" log -1 --format=%aD)
	END
}

# What goes into the packages.
inputs() { (cd "$SOURCE" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }

[ -d "$ROOTDIR" ] || die "no root of $RELEASE" "Run 'packaging/root.sh $RELEASE' first."
need rsync
if [ "${MODULE_KEY:-}${MODULE_CERT:-}" ]; then
	need openssl
	for file in "${MODULE_KEY:-}" "${MODULE_CERT:-}"; do
		[ -f "$file" ] || die "no file '$file'" "MODULE_KEY and MODULE_CERT: a key, and its certificate in DER"
	done
fi
lock "deb-$RELEASE"
SOURCE=$ROOTDIR/build/kvmclock
for base in $(field 1); do
	prepare "$base"
done
assemble
inputs >"$ROOTDIR/build/inputs"
if cmp -s "$ROOTDIR/build/inputs" "$RESULT/.inputs"; then
	info "the packages for $RELEASE are built"
	exit 0
fi
headers
rm -f "$ROOTDIR"/build/*.deb
run "packages for $RELEASE, $(wc -l <"$SOURCE/debian/kernels") kernels" "$LOGS/deb-$RELEASE.log" \
	signing inside "$ROOTDIR" sh -c "cd /build/kvmclock && DEB_BUILD_OPTIONS='parallel=$JOBS noddebs' dpkg-buildpackage -b -uc -us"
rm -rf "$RESULT"
mkdir -p "$RESULT"
mv "$ROOTDIR"/build/*.deb "$RESULT/"
cp "$SOURCE/debian/kernels.full" "$RESULT/kernels"
cp "$SOURCE/debian/upstream" "$RESULT/version"
mv "$ROOTDIR/build/inputs" "$RESULT/.inputs"
info "$(find "$RESULT" -name '*.deb' | wc -l) packages in ${RESULT#"$ROOT"/}"
