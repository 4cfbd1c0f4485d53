// SPDX-License-Identifier: GPL-2.0
/*
 * The KVM clock: its lines and modes.  See Documentation/virt/kvm/x86/kvmclock.rst.
 *
 * In master clock mode, one line maps the scaled TSC, i.e. the host TSC after scaling and
 * before any vCPU's offset, to nanoseconds.  In host clock mode, the clock is the host's time
 * since boot plus an offset, and each vCPU gets a line of its own when it is loaded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/random.h>
#include <linux/ratelimit.h>

#include "kvmclock.h"
#include "kvmclock_math.h"
#include "trace.h"
#include "x86.h"

#define CREATE_TRACE_POINTS
#include "kvmclock_trace.h"

/* The host's TSC is about to jump, or has just done so: no vCPU enters a guest. */
static bool tsc_is_held;

/* Frequency of a TSC that is scaled by @ratio, in units of 2^-20 Hz. */
u64 kvmclock_guest_freq(u32 khz, u64 ratio)
{
	u64 freq = kvmclock_tsc_freq(khz, ratio, kvm_caps.tsc_scaling_ratio_frac_bits);

	/* tsc_khz is 0 if calibrating the TSC has failed; user space cannot ask for less than 1. */
	return max(freq, 1000ULL << KVMCLOCK_HZ_FRAC_BITS);
}

/* Draw @line for a host TSC that runs at @khz and is scaled by @ratio. */
static void kvmclock_draw_line(struct pvclock_vcpu_time_info *line, u64 host_tsc, u64 ns,
			       u32 khz, u64 ratio)
{
	line->tsc_timestamp = kvm_scale_tsc(host_tsc, ratio);
	line->system_time = ns;
	kvmclock_line_set_rate(line, kvmclock_guest_freq(khz, ratio));
}

/* Draw @vcpu's own line, for host clock mode, on the CPU that it runs on. */
void kvmclock_draw_vcpu(struct kvm_vcpu *vcpu, u64 host_tsc, u64 ns, u32 khz)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	lockdep_assert_held(&clock->tsc_write_lock);

	vclock->ratio = vclock->tsc_ratio;
	vclock->redraws = clock->redraws;
	kvmclock_draw_line(&vclock->line, host_tsc, ns, khz, vclock->ratio);
}

/* This CPU's TSC frequency, or 0 if no vCPU may enter: it goes offline, or its TSC jumps. */
u32 kvmclock_host_khz(void)
{
	return unlikely(READ_ONCE(tsc_is_held)) ? 0 : get_cpu_tsc_khz();
}

u64 kvmclock_ns(const struct kvm_clock *clock, const struct kvmclock_instant *now)
{
	if (clock->use_master_clock && !READ_ONCE(clock->tsc_before_reset))
		return kvmclock_line_ns(&clock->line, kvm_scale_tsc(now->tsc, clock->ratio));

	return kvmclock_boot_ns(now) + clock->offset;
}

static u64 kvmclock_read(struct kvm *kvm, clockid_t id, struct kvmclock_instant *now)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	unsigned int seq;
	u64 ns;

	do {
		seq = read_seqcount_begin(&clock->sc);
		kvmclock_get_instant(id, now);
		/* Repeated if it races, but KCSAN takes the loop in the call above for the end. */
		ns = data_race(kvmclock_ns(clock, now));
	} while (read_seqcount_retry(&clock->sc, seq));

	return ns;
}

/* In master clock mode, the TSC and the line are enough.  Fails in host clock mode. */
static bool kvmclock_read_line(struct kvm *kvm, u64 *ns)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	unsigned int seq;
	bool master;

	do {
		seq = read_seqcount_begin(&clock->sc);
		master = clock->use_master_clock && !READ_ONCE(clock->tsc_before_reset);
		*ns = kvmclock_line_ns(&clock->line, kvm_scale_tsc(rdtsc_ordered(), clock->ratio));
	} while (read_seqcount_retry(&clock->sc, seq));

	return master;
}

u64 get_kvmclock_ns(struct kvm *kvm)
{
	struct kvmclock_instant now;
	u64 ns;

	if (likely(kvmclock_read_line(kvm, &ns)))
		return ns;

	return kvmclock_read(kvm, CLOCK_REALTIME, &now);
}

/* The clock, and the host's CLOCK_MONOTONIC at the same instant. */
u64 kvmclock_get_monotonic(struct kvm *kvm, s64 *monotonic_ns)
{
	struct kvmclock_instant now;
	u64 ns;

	ns = kvmclock_read(kvm, CLOCK_MONOTONIC, &now);
	*monotonic_ns = now.sys_ns;
	return ns;
}

/* The wall clock time at which the clock was 0, as of now: NTP adjusts only the wall clock. */
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

static u32 kvmclock_get_at(struct kvm *kvm, const struct kvmclock_instant *now, bool tai,
			   struct kvm_clock_data *data)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	u32 flags = kvmclock_get_flags(kvm, clock->use_master_clock, now->tsc_based);

	data->clock = kvmclock_ns(clock, now);
	if (flags & KVM_CLOCK_REALTIME)
		data->realtime = now->sys_ns;
	if (flags & KVM_CLOCK_REALTIME && tai) {
		data->tai_offset = now->tai_offset;
		flags |= KVM_CLOCK_TAI;
	}
	if (flags & KVM_CLOCK_TSC_STABLE)
		data->host_tsc = now->tsc;
	if (flags & KVM_CLOCK_GUEST_TSC) {
		/* The guest may write it at any time; the line does not depend on it. */
		data->guest_tsc = kvm_scale_tsc(now->tsc, clock->ratio) +
				  (READ_ONCE(clock->boot_vcpu) ?
				   READ_ONCE(clock->boot_tsc_offset) :
				   READ_ONCE(kvm->arch.cur_tsc_offset));
		data->tsc_to_system_mul = clock->line.tsc_to_system_mul;
		data->tsc_shift = clock->line.tsc_shift;
	}

	return flags;
}

/* What KVM_GET_CLOCK reports; callers in KVM may use it as well.  Sleeps. */
void kvm_get_clock(struct kvm *kvm, struct kvm_clock_data *data)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	bool tai = READ_ONCE(clock->enabled) & KVM_CLOCK_TAI;
	struct kvmclock_instant now;
	unsigned int seq;

	if (unlikely(READ_ONCE(clock->must_update)))
		kvmclock_update(kvm, NULL);

	do {
		*data = (struct kvm_clock_data){};
		seq = read_seqcount_begin(&clock->sc);
		kvmclock_get_instant(tai ? CLOCK_TAI : CLOCK_REALTIME, &now);
		/* Repeated if it races, as in kvmclock_read(). */
		data->flags = data_race(kvmclock_get_at(kvm, &now, tai, data));
	} while (read_seqcount_retry(&clock->sc, seq));
}

/* Each vCPU is to write its pages and the boot vCPU's before it enters the guest. */
void kvmclock_publish(struct kvm_clock *clock)
{
	lockdep_assert_held(&clock->tsc_write_lock);

	WRITE_ONCE(clock->generation, clock->generation + 2);
}

/*
 * Guests may compare readings through the pages of different vCPUs, as the vDSO
 * does with PVCLOCK_TSC_STABLE_BIT, only if the vCPUs read the same TSC.
 */
static bool kvmclock_tsc_is_stable(const struct kvm_clock *clock)
{
	return clock->use_master_clock && !clock->nr_offset_steps;
}

/* Add @count for what two vCPUs beside each other in the list differ in. */
static void kvmclock_count_steps(struct kvm_clock *clock, const struct list_head *a,
				 const struct list_head *b, int count)
{
	const struct kvm_vcpu_clock *left, *right;

	if (a == &clock->vcpus || b == &clock->vcpus)
		return;

	left = list_entry(a, struct kvm_vcpu_clock, node);
	right = list_entry(b, struct kvm_vcpu_clock, node);
	if (left->tsc_offset != right->tsc_offset)
		clock->nr_offset_steps += count;
	if (left->tsc_ratio != right->tsc_ratio)
		clock->nr_ratio_steps += count;
}

static void kvmclock_count_vcpu(struct kvm_clock *clock, const struct kvm_vcpu_clock *vclock,
				int count)
{
	kvmclock_count_steps(clock, vclock->node.prev, &vclock->node, count);
	kvmclock_count_steps(clock, &vclock->node, vclock->node.next, count);
	if (vclock->catching_up)
		clock->nr_catching_up += count;
}

/* For others, who may look while @vcpu changes its own view of its TSC. */
static void kvmclock_copy_tsc(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	vclock->tsc_offset = vcpu->arch.l1_tsc_offset;
	vclock->tsc_ratio = vcpu->arch.l1_tsc_scaling_ratio;
	vclock->tsc_khz = vcpu->arch.virtual_tsc_khz;
	vclock->catching_up = vcpu->arch.tsc_catchup;

	if (vcpu == clock->boot_vcpu)
		WRITE_ONCE(clock->boot_tsc_offset, vclock->tsc_offset);
}

/*
 * Publish PVCLOCK_TSC_STABLE_BIT, unless it is as it @was.  All are to leave the guest: it may
 * put the old bit back, as it clears PVCLOCK_GUEST_STOPPED in the same byte.
 */
static void kvmclock_publish_stable_bit(struct kvm_clock *clock, bool was)
{
	if (kvmclock_tsc_is_stable(clock) == was)
		return;

	kvmclock_publish(clock);
	WRITE_ONCE(clock->must_update, true);
}

/*
 * @vcpu's TSC offset or frequency has changed, or whether it has to catch up.  If
 * PVCLOCK_TSC_STABLE_BIT does, who enters the guest next kicks the others before.
 */
void kvmclock_note_tsc(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	bool stable = kvmclock_tsc_is_stable(clock);

	lockdep_assert_held(&clock->tsc_write_lock);

	/* While it is created, a vCPU has no TSC yet. */
	if (list_empty(&vclock->node))
		return;

	kvmclock_count_vcpu(clock, vclock, -1);
	kvmclock_copy_tsc(vcpu);
	kvmclock_count_vcpu(clock, vclock, 1);
	kvmclock_publish_stable_bit(clock, stable);
}

/* @vcpu has a TSC from now on. */
void kvmclock_join(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	bool stable = kvmclock_tsc_is_stable(clock);

	lockdep_assert_held(&clock->tsc_write_lock);

	if (vcpu->vcpu_id == vcpu->kvm->arch.bsp_vcpu_id)
		WRITE_ONCE(clock->boot_vcpu, vcpu);
	kvmclock_copy_tsc(vcpu);
	if (vcpu->arch.guest_tsc_protected)
		WRITE_ONCE(clock->tsc_protected, true);
	else
		vclock->at_origin = !vcpu->kvm->arch.user_set_tsc;

	list_add_tail_rcu(&vclock->node, &clock->vcpus);	/* for kvmclock_keep_vcpus_out() */
	clock->nr_vcpus++;
	kvmclock_count_vcpu(clock, vclock, 1);
	kvmclock_publish_stable_bit(clock, stable);
}

/* @vcpu is destroyed, and with it the VM; or it could not be created. */
void kvmclock_leave(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	if (list_empty(&vclock->node))
		return;

	kvmclock_count_vcpu(clock, vclock, -1);
	list_del_init(&vclock->node);
	clock->nr_vcpus--;
}

static struct kvm_vcpu_clock *kvmclock_first_vcpu(struct kvm_clock *clock)
{
	lockdep_assert_held(&clock->tsc_write_lock);

	return list_first_entry_or_null(&clock->vcpus, struct kvm_vcpu_clock, node);
}

/* The frequency that the guest was told, or will be. */
u32 kvmclock_vm_khz(struct kvm *kvm)
{
	const struct kvm_vcpu_clock *first = kvmclock_first_vcpu(&kvm->arch.clock);

	return first ? first->tsc_khz : READ_ONCE(kvm->arch.default_tsc_khz);
}

static u32 kvmclock_adjust_khz(u32 khz, s32 ppm)
{
	return div_u64((u64)khz * (1000000 + ppm), 1000000);
}

/* Find the ratio for a TSC of @khz, or 0 if it has to catch up.  Fails if it cannot run at that. */
bool kvmclock_find_ratio(u32 khz, u64 *ratio)
{
	*ratio = kvm_caps.default_tsc_scaling_ratio;
	if (khz >= kvmclock_adjust_khz(tsc_khz, -tsc_tolerance_ppm) &&
	    khz <= kvmclock_adjust_khz(tsc_khz, tsc_tolerance_ppm))
		return true;

	if (!kvm_caps.has_tsc_control) {
		*ratio = 0;
		return khz > tsc_khz;
	}

	if (!tsc_khz)
		return false;

	*ratio = mul_u64_u32_div(1ULL << kvm_caps.tsc_scaling_ratio_frac_bits, khz, tsc_khz);
	return *ratio && *ratio < kvm_caps.max_tsc_scaling_ratio;
}

/*
 * The master clock needs a clocksource that is the TSC, guest TSCs that are all scaled by the
 * same @ratio, and with several vCPUs, that KVM knows their offsets.
 */
bool kvmclock_can_use_master_clock(struct kvm *kvm, bool tsc_based, u64 *ratio)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	const struct kvm_vcpu_clock *first;

	lockdep_assert_held(&clock->tsc_write_lock);

	*ratio = 0;
	if (!tsc_based || READ_ONCE(tsc_is_held) || clock->boot_vcpu_runs_old_kvmclock)
		return false;

	if (kvm->arch.backwards_tsc_observed)
		return false;

	if (clock->nr_ratio_steps || clock->nr_catching_up)
		return false;

	first = kvmclock_first_vcpu(clock);
	if (clock->tsc_protected && clock->nr_vcpus > 1)
		return false;

	/* Without vCPUs, that of one that is created now: 0 if it will have to catch up. */
	if (first)
		*ratio = first->tsc_ratio;
	else if (!kvmclock_find_ratio(READ_ONCE(kvm->arch.default_tsc_khz), ratio))
		*ratio = kvm_caps.default_tsc_scaling_ratio;
	return *ratio;
}

/* Without vCPUs, the clock is the host's, unless they are to join a restored TSC. */
static bool kvmclock_choose_mode(struct kvm *kvm, bool tsc_based, u64 *ratio)
{
	const struct kvm_clock *clock = &kvm->arch.clock;

	return kvmclock_can_use_master_clock(kvm, tsc_based, ratio) &&
	       (clock->nr_vcpus || kvm->arch.cur_tsc_generation);
}

/*
 * @vclock's own line, for host clock mode, and the scaling ratio that it is for.  If it has
 * not drawn one since the clock was redrawn, it goes on from there.
 */
static u64 kvmclock_get_own_line(const struct kvm_clock *clock, const struct kvm_vcpu_clock *vclock,
				 struct pvclock_vcpu_time_info *line)
{
	if (vclock->redraws == clock->redraws) {
		*line = vclock->line;
		return vclock->ratio;
	}

	kvmclock_draw_line(line, clock->line.tsc_timestamp, clock->line.system_time, clock->khz,
			   vclock->tsc_ratio);
	return vclock->tsc_ratio;
}

/*
 * The line that @vcpu's pages are to show, for who writes them, or with @master, for who asks
 * whether it is the master clock's: others depend on the CPU.  Fails if @vcpu has no TSC yet.
 */
bool kvmclock_get_vcpu_line(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *line,
			    bool *master)
{
	const struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	if (list_empty(&vclock->node))
		return false;

	if (master)
		*master = clock->use_master_clock;
	else
		vcpu->kvm->stat.clock_updates++;

	if (clock->use_master_clock)
		*line = clock->line;
	else
		kvmclock_get_own_line(clock, vclock, line);

	line->tsc_timestamp += vclock->tsc_offset;
	line->flags = kvmclock_tsc_is_stable(clock) ? PVCLOCK_TSC_STABLE_BIT : 0;
	return true;
}

/*
 * What @line reads at most at @now, wherever another line goes on from it.  If the host's TSC
 * was reset, lines are good up to when a vCPU ran last.
 */
static u64 kvmclock_line_floor(const struct kvm_clock *clock, const struct kvmclock_instant *now,
			       const struct pvclock_vcpu_time_info *line, u64 ratio)
{
	u64 host_tsc = READ_ONCE(clock->tsc_before_reset) ? : now->tsc;

	return kvmclock_line_ns(line, kvm_scale_tsc(host_tsc, ratio)) +
	       kvmclock_line_slack_ns(line);
}

/* What the vCPUs' own lines read at most at @now.  Takes the lock for each. */
static u64 kvmclock_vcpus_floor(struct kvm *kvm, const struct kvmclock_instant *now)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	u64 ns = 0, ratio;
	struct pvclock_vcpu_time_info line;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	/* Only who holds update_lock changes the mode. */
	lockdep_assert_held(&clock->update_lock);
	if (clock->use_master_clock)
		return 0;

	/* A line is for the TSC of the CPU that it was drawn on, which is not the others' here. */
	if (kvm_check_tsc_unstable())
		return 0;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		guard(raw_spinlock_irq)(&clock->tsc_write_lock);
		ratio = kvmclock_get_own_line(clock, &vcpu->arch.clock, &line);
		ns = max(ns, kvmclock_line_floor(clock, now, &line, ratio));
	}
	return ns;
}

/*
 * Redraw the line through @ns at @now, or as @asked, and choose the mode.  Nothing else
 * does, and all vCPUs are out of the guest.  In host clock mode, each then draws its own
 * line, unless the master clock was just left: that goes on, so that nothing steps.
 */
void kvmclock_redraw(struct kvm *kvm, const struct kvmclock_instant *now, u64 ns,
		     const struct pvclock_vcpu_time_info *asked, enum kvmclock_cause cause)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct pvclock_vcpu_time_info old = clock->line;
	bool keeps_rate, was_master;
	u64 ratio;

	lockdep_assert_held(&clock->tsc_write_lock);

	WRITE_ONCE(clock->tsc_before_reset, 0);
	was_master = clock->use_master_clock;
	WRITE_ONCE(clock->use_master_clock, kvmclock_choose_mode(kvm, now->tsc_based, &ratio));
	keeps_rate = was_master && clock->khz == tsc_khz && clock->ratio == ratio;
	clock->offset = ns - kvmclock_boot_ns(now);
	clock->redraws++;
	clock->ratio = ratio;
	clock->khz = tsc_khz;

	if (!clock->use_master_clock) {
		clock->khz = kvmclock_host_khz() ? : tsc_khz;
		clock->lines_go_on = was_master && cause == KVMCLOCK_CAUSE_MODE;
		clock->line = (struct pvclock_vcpu_time_info) {
			.tsc_timestamp = now->tsc,
			.system_time = ns,
		};
	} else if (asked) {
		clock->line = *asked;
	} else if (keeps_rate) {
		clock->line.tsc_timestamp = kvm_scale_tsc(now->tsc, ratio);
		clock->line.system_time = ns;
	} else {
		kvmclock_draw_line(&clock->line, now->tsc, ns, tsc_khz, ratio);
	}

	kvmclock_publish(clock);
	kvm->stat.clock_reanchors++;
	trace_kvm_clock_line(kvm, cause, &old, &clock->line);
#ifdef CONFIG_X86_64
	/* The event is not there on 32-bit hosts, which have no master clock. */
	trace_kvm_update_master_clock(clock->use_master_clock, READ_ONCE(kvmclock_vclock_mode),
				      kvmclock_tsc_is_stable(clock));
#endif
}

/* Where the clock can go on at @now, with @vcpus_ns of kvmclock_begin_update(). */
u64 kvmclock_get_floor(struct kvm *kvm, const struct kvmclock_instant *now, u64 vcpus_ns)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	u64 ns = kvmclock_ns(clock, now);
	u64 cycle_ns;

	if (!clock->use_master_clock) {
		/* A guest's line knows whole cycles only: within one, it is where the clock is. */
		cycle_ns = div_u64(NSEC_PER_MSEC, kvmclock_vm_khz(kvm) ? : 1) + 1;
		return ns > vcpus_ns + cycle_ns + 2 ? ns : vcpus_ns;
	}

	return max(ns, kvmclock_line_floor(clock, now, &clock->line, clock->ratio));
}

/*
 * Have no vCPU enter the guest, because the generation is odd, and those that are there leave
 * it.  The list is only added to; where a vCPU comes online meanwhile, this is called again.
 */
static void kvmclock_keep_vcpus_out(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	DECLARE_BITMAP(inside, KVM_MAX_VCPUS) = {};
	const struct kvm_vcpu_clock *vclock;
	const struct kvm_vcpu *vcpu;
	bool all, any = false;

	scoped_guard(raw_spinlock_irq, &clock->tsc_write_lock) {
		WRITE_ONCE(clock->generation, clock->generation | 1);
		all = clock->nr_vcpus != atomic_read(&kvm->online_vcpus);
	}
	smp_mb();	/* Pairs with that between vcpu->mode and kvm_vcpu_exit_request(). */

	if (unlikely(all)) {
		kvm_make_all_cpus_request(kvm, KVM_REQ_OUTSIDE_GUEST_MODE);
		return;
	}

	list_for_each_entry_lockless(vclock, &clock->vcpus, node) {
		vcpu = container_of(vclock, struct kvm_vcpu, arch.clock);
		if (READ_ONCE(vcpu->mode) != OUTSIDE_GUEST_MODE) {
			__set_bit(vcpu->vcpu_idx, inside);
			any = true;
		}
	}
	if (any)
		kvm_make_vcpus_request_mask(kvm, KVM_REQ_OUTSIDE_GUEST_MODE, inside);
}

/*
 * Kick all vCPUs out of the guest, take the instant, of clock @id, find what their own
 * lines read if @vcpus_ns is not NULL, and lock the clock.  A vCPU that comes online
 * meanwhile could slip into the guest and read the old line after @now, unless it
 * still has to get its first page, for which it needs the lock.  With all vCPUs
 * @locked, none is in the guest.
 */
void kvmclock_begin_update(struct kvm *kvm, bool locked, clockid_t id,
			   struct kvmclock_instant *now, u64 *vcpus_ns)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	int nr_vcpus;

	lockdep_assert_held(&clock->update_lock);

	for (;;) {
		nr_vcpus = atomic_read(&kvm->online_vcpus);
		if (!locked)
			kvmclock_keep_vcpus_out(kvm);
		/* No interrupt between a clocksource that is not the TSC, and the TSC. */
		scoped_guard(irq)
			kvmclock_get_instant(id, now);
		if (vcpus_ns)
			*vcpus_ns = kvmclock_vcpus_floor(kvm, now);

		raw_spin_lock_irq(&clock->tsc_write_lock);
		if (likely(nr_vcpus == atomic_read(&kvm->online_vcpus)))
			break;
		raw_spin_unlock_irq(&clock->tsc_write_lock);
	}

	write_seqcount_begin(&clock->sc);
}

/* No vCPU enters the guest yet. */
void kvmclock_unlock_update(struct kvm *kvm)
{
	write_seqcount_end(&kvm->arch.clock.sc);
	raw_spin_unlock_irq(&kvm->arch.clock.tsc_write_lock);
}

/* Let vCPUs enter the guest again, unless the host's TSC is held. */
void kvmclock_end_update(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;

	guard(raw_spinlock_irq)(&clock->tsc_write_lock);

	if (likely(!READ_ONCE(tsc_is_held)))
		WRITE_ONCE(clock->generation, clock->generation & ~1UL);
}

/* Why the line has to be redrawn for the clock's present circumstances. */
enum kvmclock_cause kvmclock_must_redraw(struct kvm *kvm, bool tsc_based)
{
	const struct kvm_clock *clock = &kvm->arch.clock;
	bool master;
	u64 ratio;

	lockdep_assert_held(&clock->tsc_write_lock);

	if (READ_ONCE(clock->tsc_before_reset))
		return KVMCLOCK_CAUSE_TSC_RESET;

	master = kvmclock_choose_mode(kvm, tsc_based, &ratio);
	if (master != clock->use_master_clock)
		return KVMCLOCK_CAUSE_MODE;

	/* The clocksource counts at tsc_khz, whatever a CPU may run at. */
	if (master && (ratio != clock->ratio || tsc_khz != clock->khz))
		return KVMCLOCK_CAUSE_FREQUENCY;

	return KVMCLOCK_CAUSE_NONE;
}

/*
 * Whether the line's anchor is ahead of @vcpu's TSC, because that was set back: some guests
 * take the two for unsigned numbers.  For @vcpu itself, or who holds its mutex.
 */
static bool kvmclock_line_is_ahead(const struct kvm_vcpu *vcpu)
{
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 offset = vcpu->arch.l1_tsc_offset, tsc;
	unsigned int seq;
	bool ahead;

	do {
		seq = read_seqcount_begin(&clock->sc);
		tsc = kvm_scale_tsc(rdtsc_ordered(), clock->ratio);
		ahead = clock->use_master_clock &&
			kvmclock_anchor_is_ahead(clock->line.tsc_timestamp + offset, tsc + offset);
	} while (read_seqcount_retry(&clock->sc, seq));

	return ahead;
}

/*
 * Adapt the clock after one of the conditions for its mode or its frequency may have
 * changed, or @vcpu's TSC, if that is not NULL.  Who has left a note has all kicked, and pages
 * written, in any case.  Mostly there is none, and nothing to be done.
 */
void kvmclock_update(struct kvm *kvm, const struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	enum kvmclock_cause cause, otherwise;
	struct kvmclock_instant now;
	u64 vcpus_ns, ns;

	guard(mutex)(&clock->update_lock);

	/* Nobody else redraws the line meanwhile. */
	otherwise = vcpu && kvmclock_line_is_ahead(vcpu) ? KVMCLOCK_CAUSE_TSC_SET_BACK :
							   KVMCLOCK_CAUSE_NONE;

	scoped_guard(raw_spinlock_irq, &clock->tsc_write_lock) {
		cause = kvmclock_must_redraw(kvm, kvmclock_host_is_tsc_based()) ? : otherwise;
		if (cause == KVMCLOCK_CAUSE_NONE && !READ_ONCE(clock->must_update))
			return;
	}

	kvmclock_begin_update(kvm, false, CLOCK_REALTIME, &now, &vcpus_ns);
	cause = kvmclock_must_redraw(kvm, now.tsc_based) ? : otherwise;
	if (cause != KVMCLOCK_CAUSE_NONE) {
		ns = kvmclock_get_floor(kvm, &now, vcpus_ns);
		kvmclock_redraw(kvm, &now, ns, NULL, cause);
	} else {
		kvmclock_publish(clock);
	}
	WRITE_ONCE(clock->must_update, false);
	kvmclock_unlock_update(kvm);
	kvmclock_end_update(kvm);
}

/*
 * Do so if there is a reason to, before a line is made known in terms of @vcpu's TSC.  Others
 * read @vcpu's page by their own TSCs only while those are equal to it.
 */
void kvmclock_update_for(struct kvm_vcpu *vcpu)
{
	if (unlikely(READ_ONCE(vcpu->kvm->arch.clock.must_update) || kvmclock_line_is_ahead(vcpu)))
		kvmclock_update(vcpu->kvm, vcpu);
}

/*
 * The host's clocksource has changed: leave a note in each VM, on which whoever needs its
 * clock next acts, so that nobody waits for its update_lock with kvm_lock held.  With
 * tsc_write_lock held, who removes the note has seen what happened.
 */
void kvmclock_note_host_event(void)
{
	struct kvm *kvm;

	guard(mutex)(&kvm_lock);

	list_for_each_entry(kvm, &vm_list, vm_list) {
		scoped_guard(raw_spinlock_irq, &kvm->arch.clock.tsc_write_lock)
			WRITE_ONCE(kvm->arch.clock.must_update, true);
		kvm_make_all_cpus_request(kvm, KVM_REQ_MASTERCLOCK_UPDATE);
	}
}

/*
 * The host is resumed, on the only CPU that runs, and its TSC is behind @last_tsc, at
 * which a vCPU ran last: no line means anything from there.
 */
void kvmclock_note_tsc_reset(struct kvm *kvm, u64 last_tsc)
{
	struct kvm_clock *clock = &kvm->arch.clock;

	/* A line that waits for one reset already has not been used since. */
	if (!clock->tsc_before_reset)
		WRITE_ONCE(clock->tsc_before_reset, last_tsc);
	WRITE_ONCE(clock->must_update, true);
}

/*
 * The host's TSC is about to jump, or has just @jumped.  Have the clock leave it for the
 * host's time before, and take it from there behind.
 */
static void kvmclock_redraw_for_jump(struct kvm *kvm, bool jumped)
{
	struct kvmclock_instant now;
	u64 vcpus_ns, ns;

	guard(mutex)(&kvm->arch.clock.update_lock);

	kvmclock_begin_update(kvm, false, CLOCK_REALTIME, &now, &vcpus_ns);
	ns = jumped ? kvmclock_ns(&kvm->arch.clock, &now) :
		      kvmclock_get_floor(kvm, &now, vcpus_ns);
	kvmclock_redraw(kvm, &now, ns, NULL, KVMCLOCK_CAUSE_FREQUENCY);
	kvmclock_unlock_update(kvm);
	kvmclock_end_update(kvm);
}

static void kvmclock_redraw_all_vms(bool jumped)
{
	struct kvm *kvm;

	guard(mutex)(&kvm_lock);

	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_redraw_for_jump(kvm, jumped);
}

/* All vCPUs leave the guest, and stay out, also of a VM that is created meanwhile. */
void kvmclock_leave_tsc(void)
{
	WRITE_ONCE(tsc_is_held, true);
	kvmclock_redraw_all_vms(false);
}

void kvmclock_return_to_tsc(void)
{
	kvmclock_redraw_all_vms(true);
	WRITE_ONCE(tsc_is_held, false);
	kvmclock_redraw_all_vms(false);
}

/* Have @vcpu's pages written, in host clock mode with a new line. */
void kvmclock_request_update(struct kvm_vcpu *vcpu)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;

	if (!READ_ONCE(clock->use_master_clock) && __ratelimit(&clock->update_rs))
		kvm_make_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, vcpu);
	else
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

void kvmclock_init_vm(struct kvm *kvm)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	struct kvmclock_instant now;

	mutex_init(&clock->update_lock);
	raw_spin_lock_init(&clock->tsc_write_lock);
	seqcount_raw_spinlock_init(&clock->sc, &clock->tsc_write_lock);
	ratelimit_state_init(&clock->update_rs, HZ, 10);
	ratelimit_set_flags(&clock->update_rs, RATELIMIT_MSG_ON_RELEASE);
	INIT_LIST_HEAD(&clock->vcpus);

	kvm_gpc_init(&clock->hyperv.cache, kvm);
	raw_spin_lock_init(&clock->hyperv.lock);
	clock->hyperv.gpa = INVALID_GPA;
	clock->hyperv.sequence = get_random_u32();

	clock->generation = 2;

	/* The clock starts at 0, and without vCPUs it is the host's. */
	kvmclock_get_instant(CLOCK_REALTIME, &now);
	clock->offset = -kvmclock_boot_ns(&now);
	clock->line.tsc_timestamp = now.tsc;
	clock->khz = tsc_khz;
	clock->redraws = 1;
	clock->origin_tsc = now.tsc;
	clock->origin_ns = kvmclock_boot_ns(&now);
}
