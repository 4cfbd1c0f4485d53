// SPDX-License-Identifier: GPL-2.0
/*
 * Where the KVM clock's time comes from: the host's clocks and its TSC, at one
 * instant.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/timekeeper_internal.h>
#include <linux/timekeeping.h>

#include <asm/tsc.h>

#include "kvmclock.h"

/* The VDSO_CLOCKMODE_* of the host's clocksource, as the timekeeper's notifier saw it. */
int kvmclock_vclock_mode = VDSO_CLOCKMODE_NONE;

/* Whether instants are based on the TSC, unless the clocksource changes right now. */
bool kvmclock_host_is_tsc_based(void)
{
	int mode = READ_ONCE(kvmclock_vclock_mode);

	return IS_ENABLED(CONFIG_X86_64) &&
	       (mode == VDSO_CLOCKMODE_TSC || mode == VDSO_CLOCKMODE_HVCLOCK);
}

/*
 * Get the host TSC that the timekeeper computed @snap from.  kvm-clock names
 * the TSC as its hardware counter as well, but as the clocksource of a nested
 * host it may be set and redrawn at any time, and does not qualify.
 */
static bool kvmclock_snapshot_tsc(const struct system_time_snapshot *snap, u64 *tsc)
{
	if (!IS_ENABLED(CONFIG_X86_64))
		return false;

	if (snap->cs_id == CSID_X86_TSC || snap->cs_id == CSID_X86_TSC_EARLY) {
		*tsc = snap->cycles;
		return true;
	}

	if (READ_ONCE(kvmclock_vclock_mode) == VDSO_CLOCKMODE_HVCLOCK &&
	    snap->hw_csid == CSID_X86_TSC && snap->cs_id != CSID_X86_KVM_CLK) {
		*tsc = snap->hw_cycles;
		return true;
	}

	return false;
}

/* Take a snapshot of @id, and of the TSC. */
static void kvmclock_take_snapshot(clockid_t id, struct kvmclock_instant *now)
{
	struct system_time_snapshot snap __uninitialized;

	ktime_get_snapshot_id(id, &snap);
	if (unlikely(!snap.valid)) {
		snap.systime = id == CLOCK_MONOTONIC ? ktime_get() : ktime_get_real();
		snap.monoraw = ktime_get_raw();
	}

	now->sys_ns = ktime_to_ns(snap.systime);
	now->raw_ns = ktime_to_ns(snap.monoraw);
	now->tsc_based = snap.valid && kvmclock_snapshot_tsc(&snap, &now->tsc);
	if (unlikely(!now->tsc_based))
		now->tsc = rdtsc_ordered();
}

/*
 * By how much CLOCK_TAI is ahead of CLOCK_REALTIME.  Their offsets are written one
 * after the other, in a write section that this does not wait for.
 */
static s64 kvmclock_tai_ahead_ns(void)
{
	ktime_t tai = ktime_mono_to_any(0, TK_OFFS_TAI);

	return ktime_to_ns(ktime_sub(tai, ktime_mono_to_any(0, TK_OFFS_REAL)));
}

/*
 * A snapshot does not tell by how much CLOCK_TAI is ahead, but waits for whoever
 * changes that, e.g. to insert a leap second.  If it is the same before and after
 * the snapshot, it was so in between.
 */
static void kvmclock_take_tai_snapshot(struct kvmclock_instant *now)
{
	s64 ahead_ns;

	do {
		ahead_ns = kvmclock_tai_ahead_ns();
		kvmclock_take_snapshot(CLOCK_REALTIME, now);
	} while (ahead_ns != kvmclock_tai_ahead_ns());

	now->tai_offset = div_s64(ahead_ns, NSEC_PER_SEC);
}

/*
 * Get the host's clocks and TSC at one instant.  CLOCK_TAI stands for CLOCK_REALTIME
 * together with by how much CLOCK_TAI is ahead of it.
 *
 * Without a clocksource based on the TSC there is no such instant.  The TSC is
 * read last then: a line that ends at it passes what it had reached before.
 *
 * @now is filled here, and need not be cleared before: VMMs read the clock often.
 */
void kvmclock_get_instant(clockid_t id, struct kvmclock_instant *now)
{
	if (unlikely(id == CLOCK_TAI))
		kvmclock_take_tai_snapshot(now);
	else
		kvmclock_take_snapshot(id, now);
}

/*
 * CLOCK_MONOTONIC_RAW does not count the time that the host is suspended, whereas
 * guests expect their clock to, hence the boot offset.  It changes only while no
 * task can run, so that it belongs to @now.
 */
u64 kvmclock_boot_ns(const struct kvmclock_instant *now)
{
	return ktime_to_ns(ktime_mono_to_any(now->raw_ns, TK_OFFS_BOOT));
}

/*
 * Called by the timekeeper at each update, within its write section: reading the time or
 * taking a lock here would be a deadlock.  Tells whether the clocksource is another one.
 */
bool kvmclock_note_clocksource(const struct timekeeper *tk)
{
	static const struct clocksource *last;
	const struct clocksource *cs = tk->tkr_mono.clock;

	if (likely(cs == last))
		return false;

	last = cs;
	WRITE_ONCE(kvmclock_vclock_mode, cs->vdso_clock_mode);
	return true;
}
