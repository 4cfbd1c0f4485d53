// SPDX-License-Identifier: GPL-2.0
/*
 * Where the KVM clock's time comes from: the host's clocks and its TSC, at one
 * instant, how fast that TSC runs, and how often it was reset.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/timekeeping.h>

#include <asm/tsc.h>

#include "kvmclock.h"

/* The VDSO_CLOCKMODE_* of the host's clocksource, as the timekeeper's notifier saw it. */
int kvmclock_vclock_mode = VDSO_CLOCKMODE_NONE;

/* The highest host TSC at which this CPU has put a vCPU, which normally is the last. */
DEFINE_PER_CPU(u64, kvmclock_last_tsc);

/*
 * The host's TSC resets while KVM was loaded.  Written at resume, when a single CPU
 * runs, with interrupts disabled, and read by tasks, which go on after that.
 */
unsigned int kvmclock_tsc_resets;
static u64 tsc_adjustment;	/* cycles that the resets took, together */
static u64 tsc_before_reset;	/* the last TSC at which a vCPU ran before */

/* Without constant TSC: this CPU's frequency, 0 while the CPU is offline. */
static DEFINE_PER_CPU(u32, cpu_tsc_khz);

/* Without constant TSC: the highest frequency of a CPU. */
static u32 max_khz;

/* The host's TSC is about to jump, or has just done so: no vCPU can run. */
static bool tsc_is_held;

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
 * Without a clocksource based on the TSC, a line through the host's clock and the TSC is
 * behind by what passes between reading the one and the other.  No interrupt comes in
 * between, at least.
 */
static void kvmclock_take_instant(clockid_t id, struct kvmclock_instant *now)
{
	if (likely(kvmclock_host_is_tsc_based())) {
		kvmclock_take_snapshot(id, now);
		return;
	}

	guard(irqsave)();
	kvmclock_take_snapshot(id, now);
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
		kvmclock_take_instant(CLOCK_REALTIME, now);
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
		kvmclock_take_instant(id, now);
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
 * The frequency of this CPU's TSC.  Without constant TSC, 0 while the CPU goes
 * offline.  A constant TSC's may change as well, when its calibration is refined
 * shortly after boot; the clocksource changes with it, and the notifier follows.
 */
u32 kvmclock_host_khz(void)
{
	if (unlikely(READ_ONCE(tsc_is_held)))
		return 0;

	if (cpu_feature_enabled(X86_FEATURE_CONSTANT_TSC))
		return tsc_khz;

	return raw_cpu_read(cpu_tsc_khz);
}

void kvmclock_set_cpu_khz(unsigned int cpu, u32 khz)
{
	per_cpu(cpu_tsc_khz, cpu) = khz;
}

/* The frequency of the TSCs of a VM that asks for none. */
u32 kvmclock_default_tsc_khz(void)
{
	return max_khz ? : tsc_khz;
}

void kvmclock_set_max_khz(u32 khz)
{
	max_khz = khz;
}

bool kvmclock_tsc_is_held(void)
{
	return READ_ONCE(tsc_is_held);
}

void kvmclock_hold_tsc(bool hold)
{
	WRITE_ONCE(tsc_is_held, hold);
}

static u64 kvmclock_last_put_tsc(void)
{
	u64 last = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		last = max(last, per_cpu(kvmclock_last_tsc, cpu));

	return last;
}

/*
 * Called at resume, on the only CPU that runs, with interrupts disabled: find out
 * whether the TSC is behind what it was when a vCPU ran last.  Adjustments add up,
 * in case the host is suspended again before some vCPU has run.
 */
void kvmclock_find_tsc_reset(void)
{
	u64 last = kvmclock_last_put_tsc(), tsc = rdtsc_ordered();
	int cpu;

	if (likely(last <= tsc))
		return;

	for_each_possible_cpu(cpu)
		per_cpu(kvmclock_last_tsc, cpu) = 0;

	tsc_before_reset = last;
	tsc_adjustment += last - tsc;
	WRITE_ONCE(kvmclock_tsc_resets, kvmclock_tsc_resets + 1);
}

/* This CPU comes up for KVM.  A TSC from before a reset that KVM did not see is void. */
void kvmclock_forget_last_tsc(void)
{
	if (raw_cpu_read(kvmclock_last_tsc) > rdtsc())
		raw_cpu_write(kvmclock_last_tsc, 0);
}

u64 kvmclock_tsc_adjustment(void)
{
	return READ_ONCE(tsc_adjustment);
}

u64 kvmclock_tsc_before_reset(void)
{
	return READ_ONCE(tsc_before_reset);
}
