// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Words for what the library returns.
 */
#include "internal.h"

static const char *const errors[] = {
	[0] = "success",
	[-KVMCLOCK_E_ARGUMENT] = "an argument is out of its range",
	[-KVMCLOCK_E_NO_KVM] = "/dev/kvm cannot be used",
	[-KVMCLOCK_E_UNSUPPORTED] = "this kernel does not offer it",
	[-KVMCLOCK_E_MAGIC] = "not a record of a VM's time",
	[-KVMCLOCK_E_VERSION] = "the record is of a newer version than this program knows",
	[-KVMCLOCK_E_TRUNCATED] = "the record ends early",
	[-KVMCLOCK_E_CORRUPT] = "the record is corrupt",
	[-KVMCLOCK_E_SPACE] = "the buffer is too small",
	[-KVMCLOCK_E_VCPUS] = "the VM has not as many vCPUs as the record",
	[-KVMCLOCK_E_FREQUENCY] = "the TSC does not or cannot run at the record's frequency here",
	[-KVMCLOCK_E_BUSY] = "a vCPU is running; stop them all",
	[-KVMCLOCK_E_RANGE] = "the time or TSC is out of the range that the kernel accepts",
	[-KVMCLOCK_E_KERNEL] = "the kernel refused",
	[-KVMCLOCK_E_MEMORY] = "out of memory",
	[-KVMCLOCK_E_SCALE] = "the vCPU's TSC does not run as its frequency and offset say",
};

static const char *const way_names[] = {
	[KVMCLOCK_WAY_AUTO] = "auto",
	[KVMCLOCK_WAY_EXACT] = "exact",
	[KVMCLOCK_WAY_SAME_HOST] = "same-host",
	[KVMCLOCK_WAY_OFFSET] = "offset",
	[KVMCLOCK_WAY_DOCUMENTED] = "documented",
	[KVMCLOCK_WAY_PLAIN] = "plain",
	[KVMCLOCK_WAY_GUEST] = "guest",
};

static const char *const way_texts[] = {
	[KVMCLOCK_WAY_AUTO] = "the best that the kernel has",
	[KVMCLOCK_WAY_EXACT] = "clock and TSC in one call, by wall time (GUEST_TSC, REALTIME)",
	[KVMCLOCK_WAY_SAME_HOST] =
		"clock and TSC in one call, by the host's TSC (GUEST_TSC, HOST_TSC)",
	[KVMCLOCK_WAY_OFFSET] = "clock by wall time, then TSC offsets, scaling considered",
	[KVMCLOCK_WAY_DOCUMENTED] =
		"clock by wall time, then TSC offsets by the formula of vcpu.rst",
	[KVMCLOCK_WAY_PLAIN] = "clock and TSC go on from the saved values",
	[KVMCLOCK_WAY_GUEST] = "TSC offsets by wall time, then the line (SET_CLOCK_GUEST)",
};

static const char *const policy_names[] = {
	[KVMCLOCK_POLICY_COUNT] = "count",
	[KVMCLOCK_POLICY_FREEZE] = "freeze",
	[KVMCLOCK_POLICY_START_OVER] = "start-over",
};

static const struct {
	const char *name;
	const char *text;
} notes[KVMCLOCK_NR_NOTES] = {
	{ "no-master-clock", "no master clock on this host; the clock was set by wall time" },
	{ "tsc-not-moved", "the vCPUs' TSCs were left as they were" },
	{ "frequency", "the TSC runs at another frequency than on the source" },
	{ "wall-back", "this host's wall time is before the save's; no time was added" },
	{ "saved-inexact", "the source's kernel did not report the guest's own line" },
	{ "downtime-lost", "the time since the save was not added to the clock or to the TSC" },
	{ "skew-lost", "differences between the vCPUs' TSCs may be lost" },
	{ "raised", "the clock was kept above what the guest may have read" },
	{ "not-undone", "what had been changed before the error could not be undone entirely" },
};

KVMCLOCK_PUBLIC const char *kvmclock_strerror(int error)
{
	if (error > 0 || -(int64_t)error >= (int64_t)KVMCLOCK_ARRAY_SIZE(errors))
		return "unknown error";

	return errors[-error];
}

/* All others say by themselves what the kernel's errno was, if it was the kernel's. */
KVMCLOCK_PUBLIC int kvmclock_error_has_errno(int error)
{
	return error == KVMCLOCK_E_NO_KVM || error == KVMCLOCK_E_KERNEL;
}

KVMCLOCK_PUBLIC const char *kvmclock_way_name(uint32_t way)
{
	return way < KVMCLOCK_NR_WAYS ? way_names[way] : "unknown";
}

KVMCLOCK_PUBLIC const char *kvmclock_way_text(uint32_t way)
{
	return way < KVMCLOCK_NR_WAYS ? way_texts[way] : "unknown";
}

KVMCLOCK_PUBLIC const char *kvmclock_policy_name(uint32_t policy)
{
	return policy < KVMCLOCK_NR_POLICIES ? policy_names[policy] : "unknown";
}

static bool note_known(uint32_t note)
{
	return note && !(note & (note - 1)) && !(note >> KVMCLOCK_NR_NOTES);
}

KVMCLOCK_PUBLIC const char *kvmclock_note_name(uint32_t note)
{
	return note_known(note) ? notes[__builtin_ctz(note)].name : "unknown";
}

KVMCLOCK_PUBLIC const char *kvmclock_note_text(uint32_t note)
{
	return note_known(note) ? notes[__builtin_ctz(note)].text : "unknown";
}

#define STRING(x)	#x
#define VERSION(major, minor)	STRING(major) "." STRING(minor)

KVMCLOCK_PUBLIC const char *kvmclock_version(void)
{
	return VERSION(KVMCLOCK_VERSION_MAJOR, KVMCLOCK_VERSION_MINOR);
}
