// SPDX-License-Identifier: GPL-2.0
/*
 * The KVM clock: its lines and modes.
 *
 * In master clock mode, one line maps the scaled TSC, i.e. the host TSC after
 * scaling and before any vCPU's offset, to nanoseconds:
 *
 *   clock(h) = line(scale(h))
 *
 * vCPU i reads scale(h) + offset_i.  Its page holds the same line with offset_i
 * added to the anchor, so that it computes the very same difference, and with
 * it the same time.  Neither does writing a guest's TSC touch its clock, nor
 * has the line ever to be redrawn because time passes.
 *
 * In host clock mode, the clock is the host's time since boot plus an offset,
 * and each vCPU gets a line of its own when it is loaded.
 *
 * A line is redrawn for the causes of enum kvmclock_cause only, with all vCPUs
 * out of the guest from before the instant is taken until all pages are written.
 * See Documentation/virt/kvm/x86/kvmclock.rst.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/ratelimit.h>

#include <asm/vdso/clocksource.h>

#include "hyperv.h"
#include "kvmclock.h"
#include "kvmclock_math.h"
#include "trace.h"
#include "x86.h"

#define CREATE_TRACE_POINTS
#include "kvmclock_trace.h"

/*
 * By how much @line and the host's clock may differ where they are the same but
 * for rounding.  Both round down to 1 ns; and @line knows whole cycles of its TSC
 * only, which with scaling do not begin when the host's do: one cycle, rounded up.
 */
static s64 kvmclock_rounding_ns(const struct pvclock_vcpu_time_info *line)
{
	return kvmclock_scale_delta(1, line->tsc_to_system_mul, line->tsc_shift) + 2;
}

bool kvmclock_same_rate(const struct pvclock_vcpu_time_info *a,
			const struct pvclock_vcpu_time_info *b)
{
	return a->tsc_to_system_mul == b->tsc_to_system_mul && a->tsc_shift == b->tsc_shift;
}

/* Frequency of a TSC that is scaled by @ratio, in units of 2^-20 Hz. */
u64 kvmclock_guest_freq(u32 khz, u64 ratio)
{
	u64 freq = kvmclock_tsc_freq(khz, ratio, kvm_caps.tsc_scaling_ratio_frac_bits);

	/* tsc_khz is 0 if calibrating the TSC has failed; user space cannot ask for less than 1. */
	return max(freq, 1000ULL << KVMCLOCK_HZ_FRAC_BITS);
}

/*
 * Draw @line through @ns at @now, for a TSC scaled by @ratio.  If it is to go on
 * from @from, extend that one where the rate is the same, and where it is not, do
 * not fall below it by rounding.
 */
static void kvmclock_draw(struct pvclock_vcpu_time_info *line, const struct kvmclock_instant *now,
			  u64 ns, u32 khz, u64 ratio, const struct kvmclock_track *from)
{
	line->tsc_timestamp = kvm_scale_tsc(now->tsc, ratio);
	line->system_time = ns;
	kvmclock_line_set_rate(line, kvmclock_guest_freq(khz, ratio));

	if (!from)
		return;

	if (from->ratio == ratio && kvmclock_same_rate(&from->line, line))
		*line = from->line;
	else
		line->system_time += from->slack_ns;
}

u64 kvmclock_ns(const struct kvm_clock *clock, const struct kvmclock_instant *now)
{
	if (clock->use_master_clock)
		return kvmclock_line_ns(&clock->line, kvm_scale_tsc(now->tsc, clock->ratio));

	return now->boot_ns + clock->offset;
}

/* Read the clock at one instant on the host, which is passed on. */
static u64 kvmclock_read(struct kvm *kvm, clockid_t id, struct kvmclock_instant *now)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	unsigned int seq;
	u64 ns;

	do {
		seq = read_seqcount_begin(&clock->sc);
		kvmclock_get_instant(id, now);
		ns = kvmclock_ns(clock, now);
	} while (read_seqcount_retry(&clock->sc, seq));

	return ns;
}

/*
 * From here on the guest may know what the clock reads, in one way or another.
 * Either who sets the clock finds that noted, or the guest is given what the
 * clock was set to.
 */
void kvmclock_note_reading(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;

	if (likely(READ_ONCE(clock->guest_has_read)))
		return;

	WRITE_ONCE(clock->guest_has_read, true);
	smp_mb();	/* Pairs with smp_mb() in kvmclock_raise_by(). */
}

/* Get the clock for the guest. */
u64 get_kvmclock_ns(struct kvm *kvm)
{
	struct kvmclock_instant now;

	kvmclock_note_reading(kvm);
	return kvmclock_read(kvm, CLOCK_REALTIME, &now);
}

/* Get the clock for the guest, and the host's CLOCK_MONOTONIC at the same instant. */
u64 kvmclock_get_monotonic(struct kvm *kvm, s64 *monotonic_ns)
{
	struct kvmclock_instant now;
	u64 ns;

	kvmclock_note_reading(kvm);
	ns = kvmclock_read(kvm, CLOCK_MONOTONIC, &now);
	*monotonic_ns = now.sys_ns;
	return ns;
}

/*
 * Get the wall clock time at which the clock was 0.  The two run at different
 * rates, because only the wall clock is adjusted by NTP, so that the epoch is
 * right for the instant at which it is computed.
 */
u64 kvm_get_wall_clock_epoch(struct kvm *kvm)
{
	struct kvmclock_instant now;
	u64 ns = kvmclock_read(kvm, CLOCK_REALTIME, &now);

	return now.sys_ns - ns;
}

/* What GET tells: a VMM that has not asked for new flags gets none. */
static u32 kvmclock_get_flags(struct kvm *kvm, bool master, bool tsc_based)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	bool guest_tsc = READ_ONCE(clock->enabled) & KVM_CLOCK_GUEST_TSC;
	/* Realtime is of the clock's instant in host clock mode as well. */
	u32 flags = guest_tsc ? KVM_CLOCK_REALTIME : 0;

	/* A line that waits for vCPUs is no clock that they compute with. */
	if (!master || !atomic_read(&kvm->online_vcpus))
		return flags;

	flags |= KVM_CLOCK_TSC_STABLE;
	if (!tsc_based)
		return flags;

	flags |= KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	if (guest_tsc && !READ_ONCE(clock->tsc_protected))
		flags |= KVM_CLOCK_GUEST_TSC;
	return flags;
}

void kvmclock_get(struct kvm *kvm, struct kvm_clock_data *data)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct pvclock_vcpu_time_info line;
	struct kvmclock_instant now;
	u64 scaled_tsc, guest_tsc;
	unsigned int seq;
	s64 offset;
	bool master;

	do {
		seq = read_seqcount_begin(&clock->sc);
		kvmclock_get_instant(CLOCK_REALTIME, &now);
		master = clock->use_master_clock;
		line = clock->line;
		offset = clock->offset;
		scaled_tsc = kvm_scale_tsc(now.tsc, clock->ratio);
		guest_tsc = scaled_tsc + READ_ONCE(clock->cur_tsc_offset);
	} while (read_seqcount_retry(&clock->sc, seq));

	data->clock = master ? kvmclock_line_ns(&line, scaled_tsc) : now.boot_ns + offset;
	data->flags = kvmclock_get_flags(kvm, master, now.tsc_based);

	if (data->flags & KVM_CLOCK_REALTIME)
		data->realtime = now.sys_ns;
	if (data->flags & KVM_CLOCK_TSC_STABLE)
		data->host_tsc = now.tsc;
	if (data->flags & KVM_CLOCK_GUEST_TSC) {
		data->guest_tsc = guest_tsc;
		data->tsc_to_system_mul = line.tsc_to_system_mul;
		data->tsc_shift = line.tsc_shift;
	}
}

/*
 * The master clock needs a host clocksource that is the TSC, and guest TSCs that
 * are the host's, all scaled in the same way and shifted by any offset.  @ratio
 * is the vCPUs' scaling ratio then, or that of the vCPUs to come.
 */
bool kvmclock_can_use_master_clock(struct kvm *kvm, const struct kvmclock_instant *now,
				   u64 *ratio)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	*ratio = 0;
	if (!now->tsc_based || clock->backwards_tsc_observed || clock->boot_vcpu_runs_old_kvmclock)
		return false;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		u64 vcpu_ratio = READ_ONCE(vcpu->arch.l1_tsc_scaling_ratio);

		if (READ_ONCE(vcpu->arch.tsc_catchup))
			return false;
		if (*ratio && *ratio != vcpu_ratio)
			return false;
		*ratio = vcpu_ratio;
	}

	if (!*ratio)
		*ratio = kvmclock_default_ratio(kvm);
	return *ratio;
}

/* Without vCPUs, the clock is the host's, unless they are to join a restored TSC. */
static bool kvmclock_choose_mode(struct kvm *kvm, const struct kvmclock_instant *now, u64 *ratio)
{
	return kvmclock_can_use_master_clock(kvm, now, ratio) &&
	       (atomic_read(&kvm->online_vcpus) || kvm->arch.clock.cur_tsc_generation);
}

/*
 * Guests may compare readings through the pages of different vCPUs, as the vDSO
 * does with PVCLOCK_TSC_STABLE_BIT, only if the vCPUs read the same TSC.  @offset
 * is the vCPUs' TSC offset then, else 0.  vCPUs whose creation is not complete
 * have no TSC offset yet.
 */
static bool kvmclock_tsc_offsets_match(struct kvm *kvm, u64 *offset)
{
	struct kvm_vcpu *vcpu;
	bool found = false;
	unsigned long i;

	*offset = 0;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		u64 vcpu_offset = READ_ONCE(vcpu->arch.l1_tsc_offset);

		if (!READ_ONCE(vcpu->arch.clock.tsc_synchronized))
			continue;
		if (found && vcpu_offset != *offset) {
			*offset = 0;
			return false;
		}
		*offset = vcpu_offset;
		found = true;
	}

	return true;
}

/* The pages' flag, and Hyper-V's page for all vCPUs, depend on the TSC offsets. */
static void kvmclock_note_tsc_offsets(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;

	clock->tsc_offset = 0;
	clock->tsc_stable = clock->use_master_clock &&
			    kvmclock_tsc_offsets_match(kvm, &clock->tsc_offset);
}

static bool kvmclock_tsc_offsets_changed(struct kvm *kvm, bool master)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	u64 offset = 0;
	bool stable = master && kvmclock_tsc_offsets_match(kvm, &offset);

	return stable != clock->tsc_stable || offset != clock->tsc_offset;
}

/*
 * Get the line that the clock goes on from at @now: the VM's, or the one of the
 * vCPUs' own lines that is ahead of the others.
 */
void kvmclock_get_track(struct kvm *kvm, const struct kvmclock_instant *now,
			struct kvmclock_track *track)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	*track = (struct kvmclock_track){};

	if (clock->use_master_clock) {
		track->line = clock->line;
		track->ratio = clock->ratio;
		track->ns = kvmclock_ns(clock, now);
		track->slack_ns = kvmclock_line_slack_ns(&track->line);
		return;
	}

	kvm_for_each_vcpu(i, vcpu, kvm) {
		const struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
		u64 ns;

		if (!vclock->line.tsc_to_system_mul)
			continue;

		ns = kvmclock_line_ns(&vclock->line, kvm_scale_tsc(now->tsc, vclock->ratio));
		if (!track->ratio || ns > track->ns) {
			track->line = vclock->line;
			track->ratio = vclock->ratio;
			track->ns = ns;
			track->slack_ns = kvmclock_line_slack_ns(&track->line);
		}
	}
}

/* Draw @vcpu's own line, for host clock mode. */
static void kvmclock_draw_vcpu(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now,
			       u64 ns, u32 khz, const struct kvmclock_track *from)
{
	struct kvm_vcpu_clock *clock = &vcpu->arch.clock;

	clock->ratio = READ_ONCE(vcpu->arch.l1_tsc_scaling_ratio);
	kvmclock_draw(&clock->line, now, ns, khz, clock->ratio, from);
}

/*
 * Redraw the clock's line through @ns at @now, or extend @from, and choose the
 * mode that it runs in.  This is the only place that does so; all vCPUs are out
 * of the guest.
 *
 * On leaving master clock mode, the vCPUs go on with lines of their own from the
 * same point, until they are loaded elsewhere or ask for an update.
 */
void kvmclock_redraw(struct kvm *kvm, const struct kvmclock_instant *now, u64 ns,
		     const struct kvmclock_track *from, enum kvmclock_cause cause)
{
	u32 khz = kvmclock_host_khz() ? : tsc_khz;
	struct kvm_clock *clock = &kvm->arch.clock;
	struct pvclock_vcpu_time_info old = clock->line;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	lockdep_assert_held(&clock->tsc_write_lock);

	/* Pairs with the barrier in kvmclock_tsc_offset_written(). */
	smp_store_mb(clock->use_master_clock,
		     kvmclock_choose_mode(kvm, now, &clock->ratio));
	kvmclock_note_tsc_offsets(kvm);
	clock->offset = ns - now->boot_ns;
	clock->khz = khz;

	if (clock->use_master_clock) {
		kvmclock_draw(&clock->line, now, ns, khz, clock->ratio, from);
	} else {
		clock->line = (struct pvclock_vcpu_time_info){ .system_time = clock->offset };
		kvm_for_each_vcpu(i, vcpu, kvm)
			kvmclock_draw_vcpu(vcpu, now, ns, khz, from);
	}

	kvm->stat.clock_reanchors++;
	trace_kvm_clock_line(cause, &old, &clock->line);
#ifdef CONFIG_X86_64
	/* The event is not there on 32-bit hosts, which have no master clock. */
	trace_kvm_update_master_clock(clock->use_master_clock, kvmclock_host_vclock_mode(),
				      clock->tsc_stable);
#endif
}

/*
 * Get a value for the clock to go on from at @now: no guest has read more, and a
 * line through it is nowhere below the one that the guest computed with.
 */
u64 kvmclock_get_floor(struct kvm *kvm, const struct kvmclock_instant *now,
		       const struct kvmclock_track *track)
{
	u64 ns = kvmclock_ns(&kvm->arch.clock, now);

	return track->ratio ? max(ns, track->ns + track->slack_ns) : ns;
}

/*
 * Let the clock go on from what it is, but in its new mode or at its new rate.
 * Its line is extended, unless the host's clock is ahead of it by more than
 * rounding.
 */
static void kvmclock_continue(struct kvm *kvm, const struct kvmclock_instant *now,
			      enum kvmclock_cause cause)
{
	u64 ns = kvmclock_ns(&kvm->arch.clock, now);
	struct kvmclock_track track;

	kvmclock_get_track(kvm, now, &track);

	if (track.ratio && (s64)(ns - track.ns) <= kvmclock_rounding_ns(&track.line))
		kvmclock_redraw(kvm, now, track.ns, &track, cause);
	else
		kvmclock_redraw(kvm, now, kvmclock_get_floor(kvm, now, &track), NULL, cause);
}

/*
 * Kick all vCPUs out of the guest, and lock the clock.  A vCPU that comes online
 * meanwhile could slip into the guest and read the old line after @now, unless
 * it still has to get its first page, for which it needs the lock.
 */
void kvmclock_begin_update(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	int nr_vcpus;

	lockdep_assert_held(&clock->update_lock);

	kvm_hv_request_tsc_page_update(kvm);

	for (;;) {
		nr_vcpus = atomic_read(&kvm->online_vcpus);
		kvm_make_all_cpus_request(kvm, KVM_REQ_MCLOCK_INPROGRESS);

		raw_spin_lock_irq(&clock->tsc_write_lock);
		if (likely(nr_vcpus == atomic_read(&kvm->online_vcpus)))
			break;
		raw_spin_unlock_irq(&clock->tsc_write_lock);
	}

	write_seqcount_begin(&clock->sc);
}

/*
 * Let vCPUs enter the guest again, but not before one of them has rewritten all
 * pages.  That is left to them because it may have to wait for user space to
 * provide the memory, which only KVM_RUN may.
 */
void kvmclock_end_update(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	WRITE_ONCE(clock->generation, clock->generation + 1);
	write_seqcount_end(&clock->sc);
	raw_spin_unlock_irq(&clock->tsc_write_lock);

	kvm_for_each_vcpu(i, vcpu, kvm) {
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
		kvm_clear_request(KVM_REQ_MCLOCK_INPROGRESS, vcpu);
	}
}

/*
 * Why the line has to be redrawn for the clock's present circumstances, or -1 if
 * it is to be extended.  @offsets_changed tells whether the pages have to be
 * rewritten nevertheless.
 */
int kvmclock_check(struct kvm *kvm, const struct kvmclock_instant *now, bool *offsets_changed)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	u64 ratio;
	bool master = kvmclock_choose_mode(kvm, now, &ratio);

	lockdep_assert_held(&clock->tsc_write_lock);

	*offsets_changed = kvmclock_tsc_offsets_changed(kvm, master);

	if (master != clock->use_master_clock)
		return KVMCLOCK_CAUSE_MODE;
	if (master && (ratio != clock->ratio || (kvmclock_host_khz() ? : tsc_khz) != clock->khz))
		return KVMCLOCK_CAUSE_FREQUENCY;
	return -1;
}

/* Whether anything is to be done at all: mostly it is not, and needs no kick. */
static bool kvmclock_is_up_to_date(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;
	bool offsets_changed;

	guard(raw_spinlock_irq)(&clock->tsc_write_lock);

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	return kvmclock_check(kvm, &now, &offsets_changed) < 0 && !offsets_changed;
}

/*
 * Adapt the clock after one of the conditions for its mode, its frequency, or a
 * TSC offset has changed.
 */
void kvmclock_update(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;
	bool offsets_changed;
	int cause;

	guard(mutex)(&clock->update_lock);

	if (kvmclock_is_up_to_date(kvm))
		return;

	kvmclock_begin_update(kvm);
	kvmclock_get_instant(CLOCK_REALTIME, &now);
	cause = kvmclock_check(kvm, &now, &offsets_changed);
	if (cause >= 0)
		kvmclock_continue(kvm, &now, cause);
	else
		kvmclock_note_tsc_offsets(kvm);
	kvmclock_end_update(kvm);
}

/*
 * Stop all vCPUs and have the clock follow the host's time instead of the TSC,
 * while the host's TSC jumps, and take it from there again.
 */
void kvmclock_hold(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;
	struct kvmclock_track track;

	mutex_lock_nest_lock(&clock->update_lock, &kvm_lock);
	kvmclock_begin_update(kvm);
	kvmclock_get_instant(CLOCK_REALTIME, &now);
	kvmclock_get_track(kvm, &now, &track);
	clock->offset = kvmclock_get_floor(kvm, &now, &track) - now.boot_ns;
	clock->use_master_clock = false;
	write_seqcount_end(&clock->sc);
	raw_spin_unlock_irq(&clock->tsc_write_lock);
}

void kvmclock_release(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;

	kvmclock_begin_update(kvm);
	kvmclock_get_instant(CLOCK_REALTIME, &now);
	kvmclock_redraw(kvm, &now, now.boot_ns + clock->offset, NULL,
			KVMCLOCK_CAUSE_FREQUENCY);
	kvmclock_end_update(kvm);
	mutex_unlock(&clock->update_lock);
}

/*
 * The host's TSC was reset.  Leave the master clock for the host's time, which
 * knows how long the host was suspended.  @last_tsc is the last host TSC at
 * which a vCPU ran, not after @now: do not go below what the guest may have read
 * then.  Called as CPUs come up, possibly with interrupts disabled.
 */
void kvmclock_leave_on_tsc_reset(struct kvm *kvm, u64 last_tsc,
				 const struct kvmclock_instant *now)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant last = { .tsc = last_tsc, .boot_ns = now->boot_ns };
	struct kvmclock_track track;
	struct kvm_vcpu *vcpu;
	unsigned long i;
	u64 ns;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	clock->backwards_tsc_observed = true;
	kvmclock_get_track(kvm, &last, &track);
	ns = max(kvmclock_get_floor(kvm, &last, &track), now->boot_ns + clock->offset);

	write_seqcount_begin(&clock->sc);
	kvmclock_redraw(kvm, now, ns, NULL, KVMCLOCK_CAUSE_TSC_RESET);
	WRITE_ONCE(clock->generation, clock->generation + 1);
	write_seqcount_end(&clock->sc);

	kvm_for_each_vcpu(i, vcpu, kvm) {
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
	}
}

/*
 * Whether @vcpu's line can be extended, because for the same frequency it shows
 * the host's clock, @ns at @now, still.
 */
static bool kvmclock_vcpu_line_is_good(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now,
				       u64 ns, u32 khz)
{
	const struct kvm_vcpu_clock *clock = &vcpu->arch.clock;
	u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
	struct pvclock_vcpu_time_info line;
	s64 ahead_ns;

	if (!now->tsc_based || clock->ratio != ratio)
		return false;

	kvmclock_draw(&line, now, ns, khz, ratio, NULL);
	if (!kvmclock_same_rate(&line, &clock->line))
		return false;

	ahead_ns = kvmclock_line_ns(&clock->line, line.tsc_timestamp) - ns;
	return abs(ahead_ns) <= kvmclock_rounding_ns(&clock->line);
}

/*
 * In host clock mode, draw @vcpu's line anew, on the CPU that it runs on.  Fails
 * if the CPU is going offline and its frequency is not known any more.
 */
int kvmclock_redraw_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;
	u32 khz;
	u64 ns;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	if (clock->use_master_clock)
		return 0;

	khz = kvmclock_host_khz();
	if (unlikely(!khz))
		return -EAGAIN;

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	kvmclock_catch_up(vcpu, &now);

	ns = now.boot_ns + clock->offset;
	if (!kvmclock_vcpu_line_is_good(vcpu, &now, ns, khz))
		kvmclock_draw_vcpu(vcpu, &now, ns, khz, NULL);
	return 0;
}

void kvmclock_init_vm(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;

	mutex_init(&clock->update_lock);
	mutex_init(&clock->publish_lock);
	raw_spin_lock_init(&clock->tsc_write_lock);
	seqcount_raw_spinlock_init(&clock->sc, &clock->tsc_write_lock);
	ratelimit_state_init(&clock->update_rs, HZ, 10);
	ratelimit_set_flags(&clock->update_rs, RATELIMIT_MSG_ON_RELEASE);

	/* The clock starts at 0, and without vCPUs it is the host's. */
	kvmclock_get_instant(CLOCK_REALTIME, &now);
	clock->offset = -now.boot_ns;

	kvm->arch.default_tsc_khz = kvmclock_default_tsc_khz();
}
