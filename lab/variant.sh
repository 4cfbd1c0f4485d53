# shellcheck shell=bash
# Kernels that are configured otherwise than the laboratory's own: their trees, beside those of out/BASE, and their
# configuration. Sourced, never run.
#
# What is different stands in files of lines:
#
#	CONFIG_X=y, # CONFIG_X is not set	in place of lab/config's line for that option
#	without CONFIG_X			no line for that option
#	environment NAME=VALUE			for the kernel's makefiles
#	boot ARGUMENT...			for the kernel's command line
#	slower N				the time limits of tests and runs are N times as long

# mirror TREE DIRECTORY: what git tracks in out/BASE/TREE, with the same times, for make. The sources are hard links, so that
# another tree costs the disk only what is built.
mirror() {
	local from=$OUT/$BASE/$1 to=$2/$1
	[ -e "$from/.git" ] || die "$1 is not there yet" "Run 'make build BASE=$BASE' first."
	mkdir -p "$to"
	kgit -C "$from" ls-files -z | rsync -a --from0 --files-from=- --link-dest="$from" "$from/" "$to/"
	echo "gitdir: $from/.git" >"$to/.git"
}

# merge FILE CHANGES: FILE with its lines for an option replaced by those of CHANGES, or left out.
merge() {
	awk 'function option(line) { return match(line, /CONFIG_[A-Za-z0-9_]+/) ? substr(line, RSTART, RLENGTH) : "" }
	     NR == FNR { if (/^(without |# )?CONFIG_/) changed[option($0)] = 1; if (/^(# )?CONFIG_/) added = added $0 "\n"; next }
	     /^(# )?CONFIG_/ && option($0) in changed { next }
	     { print }
	     END { printf "%s", added }' "$2" "$1"
}

# said WORD FILE...: what the lines of that kind say.
said() {
	local word=$1
	shift
	sed -n "s/^$word //p" "$@"
}
