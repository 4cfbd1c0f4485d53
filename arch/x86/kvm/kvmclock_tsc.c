// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPUs' TSCs, as far as the KVM clock follows or moves them: matching of
 * TSC writes, catching up with the host's time, and TSCs that are reset.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/timekeeping.h>

#include <asm/tsc.h>

#include "kvmclock.h"
#include "kvmclock_math.h"
#include "lapic.h"
#include "trace.h"
#include "x86.h"

/* Find @mul and @shift that convert ticks of @base_hz to ticks of @scaled_hz. */
void kvm_get_time_scale(u64 scaled_hz, u64 base_hz, s8 *shift, u32 *mul)
{
	kvmclock_fraction(scaled_hz, base_hz, mul, shift);
}

/*
 * After @vcpu's TSC offset has changed: its pages are to be rewritten, and with
 * them those of all vCPUs if PVCLOCK_TSC_STABLE_BIT has to follow.  The latter
 * is found out by @vcpu when it enters the guest again, because the offset may be
 * written with preemption disabled.  Until then the others go on: the line is the
 * same, and so are their TSCs.
 */
void kvmclock_tsc_offset_written(struct kvm_vcpu *vcpu)
{
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);

	/*
	 * Either the clock is found in master clock mode here, or who enters it
	 * finds the new offset.  Pairs with smp_store_mb() in kvmclock_redraw().
	 */
	smp_mb__after_atomic();
	if (READ_ONCE(vcpu->kvm->arch.clock.use_master_clock))
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
}

/*
 * After a call of KVM_SET_TSC_KHZ, which returns @ret.  A TSC that could not be
 * scaled was made to catch up; it need not any more once it runs at the host's
 * frequency, unless the host's TSC is unstable.
 */
int kvmclock_tsc_khz_set(struct kvm_vcpu *vcpu, int ret, bool scaled)
{
	if (!ret && !scaled && vcpu->arch.tsc_always_catchup) {
		vcpu->arch.tsc_always_catchup = 0;
		WRITE_ONCE(vcpu->arch.tsc_catchup, kvm_check_tsc_unstable());
	}

	/* While it is created, the vCPU has no clock yet. */
	if (vcpu->arch.clock.tsc_synchronized)
		kvmclock_update(vcpu->kvm);

	return ret;
}

/*
 * Whether a write of @data to @vcpu's TSC is meant to match the last write to
 * one of the VM's TSCs, @elapsed_ns ago.
 *
 * A vCPU that is created joins the others, and so does one for which user space
 * writes 0.  Other values that user space writes match if they are within one
 * second of what the TSC written last reads by now: VMMs restore one vCPU after
 * the other, and their TSCs were saved so, too.  The first write cannot match
 * what came from the creation of vCPUs, or a young guest would lose its first
 * second.
 */
static bool kvmclock_tsc_write_matches(struct kvm_vcpu *vcpu, u64 data, u64 elapsed_ns)
{
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 expected, slop;

	if (!vcpu->arch.virtual_tsc_khz || vcpu->arch.virtual_tsc_khz != clock->last_tsc_khz)
		return false;

	if (!data)
		return true;

	if (!clock->user_set_tsc)
		return false;

	slop = vcpu->arch.virtual_tsc_khz * 1000ULL;
	expected = clock->last_tsc_write + nsec_to_cycles(vcpu, elapsed_ns);
	return data < expected + slop && data + slop > expected;
}

/* Start a generation, whose first TSC has @offset and reads @tsc at @ns. */
static void kvmclock_start_generation(struct kvm_clock *clock, u64 offset, u64 tsc, u64 ns)
{
	clock->cur_tsc_generation++;
	clock->cur_tsc_nsec = ns;
	clock->cur_tsc_write = tsc;
	WRITE_ONCE(clock->cur_tsc_offset, offset);
	clock->nr_vcpus_matched_tsc = 0;
}

/* What later TSC writes are matched with. */
static void kvmclock_note_tsc_write(struct kvm_clock *clock, u64 offset, u64 tsc, u64 ns, u32 khz)
{
	clock->last_tsc_nsec = ns;
	clock->last_tsc_write = tsc;
	clock->last_tsc_khz = khz;
	clock->last_tsc_offset = offset;
}

/*
 * Write @vcpu's TSC offset, with which its TSC reads @tsc at @ns, and keep track
 * of the generation of matching TSCs that it belongs to from now on.
 */
static void kvmclock_commit_tsc_write(struct kvm_vcpu *vcpu, u64 offset, u64 tsc, u64 ns,
				      bool matched)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	lockdep_assert_held(&clock->tsc_write_lock);

	if (vcpu->arch.guest_tsc_protected)
		return;

	kvmclock_note_tsc_write(clock, offset, tsc, ns, vcpu->arch.virtual_tsc_khz);
	vclock->last_guest_tsc = tsc;

	kvm_vcpu_write_tsc_offset(vcpu, offset);

	if (!matched)
		kvmclock_start_generation(clock, offset, tsc, ns);
	else if (vclock->this_tsc_generation != clock->cur_tsc_generation)
		clock->nr_vcpus_matched_tsc++;

	vclock->this_tsc_generation = clock->cur_tsc_generation;
	vclock->this_tsc_nsec = clock->cur_tsc_nsec;
	vclock->this_tsc_write = clock->cur_tsc_write;

#ifdef CONFIG_X86_64
	/* The event is not there on 32-bit hosts, which have no master clock. */
	trace_kvm_track_tsc(vcpu->vcpu_id, clock->nr_vcpus_matched_tsc,
			    atomic_read(&vcpu->kvm->online_vcpus), clock->use_master_clock,
			    kvmclock_host_vclock_mode());
#endif
}

/*
 * Write @vcpu's TSC for user space, or, without @user_value, as it is created.
 * With reliable host TSCs, matching TSCs get the same offset; otherwise, the one
 * written is advanced to what the others read by now.
 */
static void kvmclock_write_tsc(struct kvm_vcpu *vcpu, const u64 *user_value)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 data = user_value ? *user_value : 0;
	u64 offset, scaled_tsc, elapsed_ns;
	struct kvmclock_instant now;
	bool matched;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	scaled_tsc = kvm_scale_tsc(now.tsc, vcpu->arch.l1_tsc_scaling_ratio);
	elapsed_ns = now.boot_ns - clock->last_tsc_nsec;

	matched = kvmclock_tsc_write_matches(vcpu, data, elapsed_ns);
	if (matched && kvm_check_tsc_unstable())
		data += nsec_to_cycles(vcpu, elapsed_ns);

	if (matched && !kvm_check_tsc_unstable())
		offset = clock->cur_tsc_offset;
	else
		offset = data - scaled_tsc;

	/* A vCPU that joins others as it is created reads what they do, and not 0. */
	if (!user_value)
		data = scaled_tsc + offset;

	if (user_value && !vcpu->arch.guest_tsc_protected)
		clock->user_set_tsc = true;

	kvmclock_commit_tsc_write(vcpu, offset, data, now.boot_ns, matched);
}

void kvm_synchronize_tsc(struct kvm_vcpu *vcpu, u64 *user_value)
{
	if (vcpu->arch.guest_tsc_protected)
		WRITE_ONCE(vcpu->kvm->arch.clock.tsc_protected, true);

	kvmclock_write_tsc(vcpu, user_value);
	WRITE_ONCE(vcpu->arch.clock.tsc_synchronized, true);
	kvmclock_update(vcpu->kvm);
}

/* Write @vcpu's TSC offset for user space; equal offsets match. */
static void kvmclock_write_tsc_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;
	bool matched;
	u64 tsc;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	kvmclock_get_instant(CLOCK_REALTIME, &now);
	tsc = kvm_scale_tsc(now.tsc, vcpu->arch.l1_tsc_scaling_ratio) + offset;
	matched = vcpu->arch.virtual_tsc_khz &&
		  vcpu->arch.virtual_tsc_khz == clock->last_tsc_khz &&
		  offset == clock->last_tsc_offset;

	if (!vcpu->arch.guest_tsc_protected)
		clock->user_set_tsc = true;

	kvmclock_commit_tsc_write(vcpu, offset, tsc, now.boot_ns, matched);
}

void kvmclock_set_tsc_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	kvmclock_write_tsc_offset(vcpu, offset);
	kvmclock_update(vcpu->kvm);
}

/* The frequency that the guest was told, or will be. */
u32 kvmclock_vm_khz(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm)
		return READ_ONCE(vcpu->arch.virtual_tsc_khz);

	return READ_ONCE(kvm->arch.default_tsc_khz);
}

/*
 * The scaling ratio that a vCPU gets which is created now, or 0 if its TSC cannot
 * run at the VM's frequency without catching up.
 */
u64 kvmclock_default_ratio(struct kvm *kvm)
{
	u32 khz = READ_ONCE(kvm->arch.default_tsc_khz);
	u64 ratio;

	if (khz >= adjust_tsc_khz(tsc_khz, -tsc_tolerance_ppm) &&
	    khz <= adjust_tsc_khz(tsc_khz, tsc_tolerance_ppm))
		return kvm_caps.default_tsc_scaling_ratio;

	if (!kvm_caps.has_tsc_control || !tsc_khz)
		return 0;

	ratio = mul_u64_u32_div(1ULL << kvm_caps.tsc_scaling_ratio_frac_bits, khz, tsc_khz);
	return ratio < kvm_caps.max_tsc_scaling_ratio ? ratio : 0;
}

/* The first half of moving @vcpu's TSC by @cycles: what KVM knows of it. */
static void kvmclock_note_tsc_move(struct kvm_vcpu *vcpu, u64 scaled_tsc, u64 cycles)
{
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	u64 offset = vcpu->arch.l1_tsc_offset + vclock->tsc_offset_adjustment + cycles;

	/* A TSC that becomes unstable from here on is resumed from that value. */
	vclock->last_guest_tsc = scaled_tsc + offset;
	vclock->this_tsc_write = vclock->last_guest_tsc;
	vclock->this_tsc_nsec = clock->cur_tsc_nsec;
	if (offset == clock->cur_tsc_offset)
		vclock->this_tsc_generation = clock->cur_tsc_generation;
}

/*
 * Have the reference TSC read what it does with @offset, which counts as a write
 * by user space of all vCPUs' TSCs: those that are created or written later match
 * it.  The vCPUs' own offsets are for kvmclock_move_tscs() to write, by the cycles
 * that are returned.  @ratio is the scaling ratio of all vCPUs.
 */
u64 kvmclock_move_reference(struct kvm *kvm, const struct kvmclock_instant *now, u64 ratio,
			    u64 offset)
{
	u64 scaled_tsc = kvm_scale_tsc(now->tsc, ratio), tsc = scaled_tsc + offset;
	struct kvm_clock *clock = &kvm->arch.clock;
	u64 cycles = offset - clock->cur_tsc_offset;
	struct kvm_vcpu *vcpu;
	unsigned long i;
	int matched = 0;

	lockdep_assert_held(&clock->tsc_write_lock);

	kvmclock_start_generation(clock, offset, tsc, now->boot_ns);
	kvm_for_each_vcpu(i, vcpu, kvm) {
		kvmclock_note_tsc_move(vcpu, scaled_tsc, cycles);
		matched += vcpu->arch.clock.this_tsc_generation == clock->cur_tsc_generation;
	}
	clock->nr_vcpus_matched_tsc = max(matched - 1, 0);
	kvmclock_note_tsc_write(clock, offset, tsc, now->boot_ns, kvmclock_vm_khz(kvm));
	clock->user_set_tsc = true;

	return cycles;
}

/*
 * The second half of moving @vcpu's TSC by @cycles: its offset.  An armed deadline
 * is a value of the TSC, but its timer runs on the host's time.
 */
static void kvmclock_move_tsc(struct kvm_vcpu *vcpu, u64 cycles)
{
	u64 deadline;

	lockdep_assert_held(&vcpu->mutex);

	vcpu_load(vcpu);
	if (likely(!kvm_check_tsc_unstable()))
		kvm_vcpu_write_tsc_offset(vcpu, vcpu->arch.l1_tsc_offset + cycles);

	deadline = kvm_get_lapic_tscdeadline_msr(vcpu);
	if (deadline)
		kvm_set_lapic_tscdeadline_msr(vcpu, deadline);
	vcpu_put(vcpu);
}

/* Move the TSCs of all vCPUs, which cannot run, by @cycles. */
void kvmclock_move_tscs(struct kvm *kvm, u64 cycles)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm)
		kvmclock_move_tsc(vcpu, cycles);
}

/*
 * Advance a TSC that lags behind the host's time, because it stood still while
 * the vCPU moved between CPUs with different TSCs, or runs slower than the guest
 * was told.  It is never set back.  The pages are about to be written anyway.
 */
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now)
{
	struct kvm_vcpu_clock *clock = &vcpu->arch.clock;
	u64 tsc = kvm_read_l1_tsc(vcpu, now->tsc);
	u64 target;

	if (vcpu->arch.tsc_catchup) {
		target = clock->this_tsc_write +
			 nsec_to_cycles(vcpu, now->boot_ns - clock->this_tsc_nsec);
		if (target > tsc) {
			adjust_tsc_offset_guest(vcpu, target - tsc);
			kvm_clear_request(KVM_REQ_CLOCK_UPDATE, vcpu);
			tsc = target;
		}
	}

	clock->last_guest_tsc = tsc;
}

/*
 * With an unreliable host TSC, the guest's TSC goes on from where it was when
 * the vCPU ran last, and catches up with the time from there.
 */
static void kvmclock_resume_unstable_tsc(struct kvm_vcpu *vcpu)
{
	u64 offset = kvm_compute_l1_tsc_offset(vcpu, vcpu->arch.clock.last_guest_tsc);

	kvm_vcpu_write_tsc_offset(vcpu, offset);
	if (vcpu->arch.guest_tsc_protected || vcpu->arch.tsc_catchup)
		return;

	WRITE_ONCE(vcpu->arch.tsc_catchup, 1);
	kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
}

void kvmclock_vcpu_load(struct kvm_vcpu *vcpu, int cpu)
{
	struct kvm_vcpu_clock *clock = &vcpu->arch.clock;

	/* The host's TSC was reset. */
	if (unlikely(clock->tsc_offset_adjustment)) {
		adjust_tsc_offset_host(vcpu, clock->tsc_offset_adjustment);
		clock->tsc_offset_adjustment = 0;
	}

	if (likely(vcpu->cpu == cpu) && !kvm_check_tsc_unstable())
		return;

	if (clock->last_host_tsc && (s64)(rdtsc() - clock->last_host_tsc) < 0)
		mark_tsc_unstable("KVM discovered backwards TSC");

	if (kvm_check_tsc_unstable())
		kvmclock_resume_unstable_tsc(vcpu);

	/* In master clock mode, the line is the same on all CPUs. */
	if (!READ_ONCE(vcpu->kvm->arch.clock.use_master_clock) || vcpu->cpu == -1)
		kvmclock_request_update(vcpu);
}

/* The last host TSC at which a vCPU was loaded, if it is ahead of @tsc, else 0. */
static u64 kvmclock_tsc_ahead_of(struct kvm *kvm, u64 tsc)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	u64 last = 0;

	kvm_for_each_vcpu(i, vcpu, kvm)
		last = max(last, vcpu->arch.clock.last_host_tsc);

	return last > tsc ? last : 0;
}

/*
 * Have the vCPUs' TSCs adjusted when they are loaded, and do so once: the other
 * CPUs that come up find @local_tsc.  Adjustments add up, in case the host is
 * suspended again before a vCPU has run.  The time for which it was suspended is
 * missing from the TSCs, because it is not known yet.
 */
static void kvmclock_adjust_reset_tscs(struct kvm *kvm, u64 last_tsc, u64 local_tsc)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		vcpu->arch.clock.tsc_offset_adjustment += last_tsc - local_tsc;
		vcpu->arch.clock.last_host_tsc = local_tsc;
	}

	/* TSCs written before have nothing in common with those written now. */
	kvm->arch.clock.last_tsc_nsec = 0;
	kvm->arch.clock.last_tsc_write = 0;
}

/*
 * Some hosts reset their TSCs while they are suspended, but keep them in sync.
 * Find out as CPUs come up, from the TSC at which vCPUs ran last.  With unstable
 * TSCs, this is left to kvmclock_vcpu_load().
 */
void kvmclock_host_cpu_up(void)
{
	struct kvmclock_instant now = { .tsc = rdtsc() };
	u64 last_tsc = 0;
	struct kvm *kvm;

	if (kvm_check_tsc_unstable())
		return;

	list_for_each_entry(kvm, &vm_list, vm_list)
		last_tsc = max(last_tsc, kvmclock_tsc_ahead_of(kvm, now.tsc));

	if (likely(!last_tsc))
		return;

	/* The only accessor that may be used while timekeeping is suspended. */
	now.boot_ns = ktime_to_ns(ktime_mono_to_any(ktime_get_raw_fast_ns(), TK_OFFS_BOOT));

	list_for_each_entry(kvm, &vm_list, vm_list) {
		kvmclock_leave_on_tsc_reset(kvm, last_tsc, &now);
		kvmclock_adjust_reset_tscs(kvm, last_tsc, now.tsc);
	}
}
