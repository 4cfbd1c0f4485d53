# shellcheck shell=sh
# Put into the packages' preinst by build.sh, sourced by test.sh, which has other places for what is read.

# The value of an EFI variable that is one byte; four bytes of attributes stand in front of it.
efi_byte() { od -An -tu1 -j4 -N1 "${EFIVARS:-/sys/firmware/efi/efivars}/$1" 2>/dev/null | tr -d ' '; }

# As the kernel judges: not while the firmware takes new keys, nor where shim was told not to verify.
secure_boot() {
	[ "$(efi_byte SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c)" = 1 ] &&
		[ "$(efi_byte SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c)" != 1 ] &&
		[ "$(efi_byte MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23)" != 1 ]
}

# Why a module has to be signed here; it fails where none has to.
only_signed() {
	if secure_boot; then
		echo "Secure Boot is on"
	elif grep -q '\[\(integrity\|confidentiality\)\]' "${LOCKDOWN:-/sys/kernel/security/lockdown}" 2>/dev/null; then
		echo "the kernel is locked down"
	elif grep -q '^Y' "${SIG_ENFORCE:-/sys/module/module/parameters/sig_enforce}" 2>/dev/null; then
		echo "the kernel runs with module.sig_enforce"
	else
		return 1
	fi
}

# enrolled FINGERPRINT: of a certificate, as openssl writes it, among the machine owner's keys.
enrolled() { [ -n "$1" ] && mokutil --list-enrolled 2>/dev/null | grep -qiF "fingerprint: $1"; }

# would_load FINGERPRINT: modules that are signed with the key of this certificate, or with none. A host without KVM is worse than
# one without ours.
would_load() {
	why=$(only_signed) || return 0
	! enrolled "$1" || return 0
	echo "kvmclock: not installed, because this machine would be without KVM: $why, and these modules are" >&2
	if [ -n "$1" ]; then
		echo "  signed with a key that is not enrolled (SHA1 $1)." >&2
	else
		echo "  not signed." >&2
	fi
	return 1
}
