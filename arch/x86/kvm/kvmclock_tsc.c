// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPUs' TSCs, as far as the KVM clock follows or moves them: matching of
 * TSC writes, and catching up with the host's time.
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

/* Write @vcpu's TSC offset, and have its pages follow before it enters the guest. */
static void kvmclock_write_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	bool changes = offset != vcpu->arch.l1_tsc_offset;

	lockdep_assert_held(&vcpu->kvm->arch.clock.tsc_write_lock);

	vcpu->arch.clock.at_origin = false;
	__kvm_vcpu_write_tsc_offset(vcpu, offset);
	if (!changes)
		return;

	kvmclock_note_tsc(vcpu);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/* For all others: the guest writes its TSC or TSC_ADJUST, or it is adjusted. */
void kvm_vcpu_write_tsc_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	guard(raw_spinlock_irqsave)(&vcpu->kvm->arch.clock.tsc_write_lock);

	kvmclock_write_offset(vcpu, offset);
}

/*
 * Whether a write of @data to @vcpu's TSC is meant to match the last write to one of the
 * VM's TSCs, @elapsed_ns ago.  0 matches.  Else it does within one second of what that
 * reads by now, as VMMs save and restore one vCPU after the other; but not if that came
 * from the creation of vCPUs, or a young guest would lose its first second.
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
	if (!clock->boot_vcpu)
		WRITE_ONCE(clock->boot_tsc_offset, offset);
}

/* What later TSC writes are matched with. */
static void kvmclock_note_tsc_write(struct kvm_clock *clock, u64 offset, u64 tsc, u64 ns, u32 khz)
{
	clock->last_tsc_nsec = ns;
	clock->last_tsc_write = tsc;
	clock->last_tsc_khz = khz;
	clock->last_tsc_offset = offset;
}

/* Write @vcpu's TSC offset, with which its TSC reads @tsc at @ns: join or start a generation. */
static void kvmclock_commit_tsc_write(struct kvm_vcpu *vcpu, u64 offset, u64 tsc, u64 ns,
				      bool matched)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	lockdep_assert_held(&clock->tsc_write_lock);

	if (vcpu->arch.guest_tsc_protected)
		return;

	kvmclock_note_tsc_write(clock, offset, tsc, ns, vcpu->arch.virtual_tsc_khz);
	kvmclock_write_offset(vcpu, offset);

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
			    READ_ONCE(kvmclock_vclock_mode));
#endif
}

/* The offset of a TSC scaled by @ratio that read 0 when the VM was created, like the clock. */
static u64 kvmclock_origin_offset(const struct kvm_clock *clock, u64 ratio)
{
	return -kvm_scale_tsc(clock->origin_tsc, ratio);
}

/* The offset of the reference TSC: what a vCPU that is created now would have. */
static u64 kvmclock_reference_offset(const struct kvm_clock *clock, u64 ratio)
{
	return clock->cur_tsc_generation ? clock->cur_tsc_offset :
					   kvmclock_origin_offset(clock, ratio);
}

/* The offset of the boot vCPU's TSC, or of what that would join if it were created now. */
u64 kvmclock_boot_offset(const struct kvm_clock *clock, u64 ratio)
{
	lockdep_assert_held(&clock->tsc_write_lock);

	return clock->cur_tsc_generation ? clock->boot_tsc_offset :
					   kvmclock_origin_offset(clock, ratio);
}

/*
 * Until a TSC is written, all have counted since the VM was created, each at its own
 * frequency: as if 0 had been written to them then.
 */
static void kvmclock_join_origin(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
	bool matched = clock->cur_tsc_generation &&
		       clock->last_tsc_khz == vcpu->arch.virtual_tsc_khz;
	u64 elapsed_ns = kvmclock_boot_ns(now) - clock->origin_ns;
	u64 offset;

	/* Whether the host's TSC has counted since then.  A reset without vCPUs is not observed. */
	if (likely(!kvm_check_tsc_unstable() && !vcpu->kvm->arch.backwards_tsc_observed &&
		   now->tsc >= clock->origin_tsc))
		offset = kvmclock_origin_offset(clock, ratio);
	else
		offset = nsec_to_cycles(vcpu, elapsed_ns) - kvm_scale_tsc(now->tsc, ratio);

	kvmclock_commit_tsc_write(vcpu, offset, 0, clock->origin_ns, matched);
	vcpu->arch.clock.at_origin = !vcpu->arch.guest_tsc_protected;
}

/*
 * Write @data to @vcpu's TSC, or its first as it is @created.  Matching TSCs get the same
 * offset; with unreliable host TSCs, it is advanced to what the others read by now.
 */
static void kvmclock_write_tsc(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now,
			       u64 data, bool created)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 scaled_tsc = kvm_scale_tsc(now->tsc, vcpu->arch.l1_tsc_scaling_ratio);
	u64 boot_ns = kvmclock_boot_ns(now);
	u64 elapsed_ns = boot_ns - clock->last_tsc_nsec;
	bool matched = kvmclock_tsc_write_matches(vcpu, data, elapsed_ns);
	u64 offset;

	if (matched && kvm_check_tsc_unstable())
		data += nsec_to_cycles(vcpu, elapsed_ns);

	if (matched && !kvm_check_tsc_unstable())
		offset = clock->cur_tsc_offset;
	else
		offset = data - scaled_tsc;

	/* A vCPU that joins others as it is created reads what they do, and not 0. */
	if (created)
		data = scaled_tsc + offset;

	kvmclock_commit_tsc_write(vcpu, offset, data, boot_ns, matched);
}

/*
 * Write @vcpu's TSC for user space; or, without @user_value, its first as it is created: it
 * joins the reference TSC.
 */
void kvm_synchronize_tsc(struct kvm_vcpu *vcpu, u64 *user_value)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;

	scoped_guard(raw_spinlock_irqsave, &clock->tsc_write_lock) {
		kvmclock_get_instant(CLOCK_REALTIME, &now);
		if (user_value || clock->user_set_tsc)
			kvmclock_write_tsc(vcpu, &now, user_value ? *user_value : 0, !user_value);
		else
			kvmclock_join_origin(vcpu, &now);

		if (!user_value)
			kvmclock_join(vcpu);
		else if (!vcpu->arch.guest_tsc_protected)
			clock->user_set_tsc = true;
	}

	/* There is a vCPU more, and the first one brings the master clock. */
	if (!user_value)
		kvmclock_update(vcpu->kvm, NULL);
}

/* Write @vcpu's TSC offset for user space; equal offsets match. */
void kvmclock_set_tsc_offset(struct kvm_vcpu *vcpu, u64 offset)
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

	kvmclock_commit_tsc_write(vcpu, offset, tsc, kvmclock_boot_ns(&now), matched);
}

/*
 * Have @vcpu's TSC run at @khz, scaled by @ratio, or catching up if that is 0, which it then
 * need not any more once it runs at its frequency, unless the host's TSC is unstable.
 */
static void kvmclock_commit_tsc_khz(struct kvm_vcpu *vcpu, u32 khz, u64 ratio)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvmclock_instant now;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	kvmclock_fraction(khz * 1000ULL, NSEC_PER_SEC, &vcpu->arch.virtual_tsc_mult,
			  &vcpu->arch.virtual_tsc_shift);
	vcpu->arch.virtual_tsc_khz = khz;

	if (!ratio) {
		vcpu->arch.tsc_catchup = 1;
		vcpu->arch.tsc_always_catchup = 1;
	} else if (vcpu->arch.tsc_always_catchup) {
		vcpu->arch.tsc_catchup = kvm_check_tsc_unstable();
		vcpu->arch.tsc_always_catchup = 0;
	}
	kvm_vcpu_write_tsc_multiplier(vcpu, ratio ? : kvm_caps.default_tsc_scaling_ratio);
	kvmclock_note_tsc(vcpu);

	/* It has counted at that frequency since the VM was created, not just from now on. */
	if (vcpu->arch.clock.at_origin && !clock->user_set_tsc) {
		kvmclock_get_instant(CLOCK_REALTIME, &now);
		kvmclock_join_origin(vcpu, &now);
	}
}

/* Returns 0 if @vcpu's TSC is to run at @khz from now on; otherwise nothing has changed. */
int kvm_set_tsc_khz(struct kvm_vcpu *vcpu, u32 khz)
{
	u64 ratio;

	/* tsc_khz, which stands for the host's frequency, is 0 if calibrating it has failed. */
	if (!khz || !kvmclock_find_ratio(khz, &ratio)) {
		pr_warn_ratelimited("the TSC cannot run at %u kHz on this host\n", khz);
		return -EINVAL;
	}

	kvmclock_commit_tsc_khz(vcpu, khz, ratio);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	kvmclock_update(vcpu->kvm, NULL);
	return 0;
}

/*
 * @vcpu is created.  If a TSC cannot have the frequency that was asked of the VM, it runs at
 * the host's, and KVM_GET_TSC_KHZ of the vCPU says so.
 */
void kvmclock_init_tsc_khz(struct kvm_vcpu *vcpu)
{
	u32 khz = READ_ONCE(vcpu->kvm->arch.default_tsc_khz);
	u64 ratio;

	if (khz && !kvmclock_find_ratio(khz, &ratio)) {
		pr_warn_ratelimited("the TSC cannot run at %u kHz on this host\n", khz);
		khz = tsc_khz;
		ratio = kvm_caps.default_tsc_scaling_ratio;
	}

	/* Not even the host's frequency is known if calibrating its TSC has failed. */
	if (khz)
		kvmclock_commit_tsc_khz(vcpu, khz, ratio);
	else
		kvm_vcpu_write_tsc_multiplier(vcpu, kvm_caps.default_tsc_scaling_ratio);
}

/*
 * Move the boot vCPU's TSC to @boot_offset, and the reference TSC with it, which counts as
 * a write by user space of all vCPUs' TSCs.  Returns by how many cycles; the vCPUs' own
 * offsets are for kvmclock_move_tscs() to write.  @ratio is the scaling ratio of all.
 */
u64 kvmclock_move_reference(struct kvm *kvm, const struct kvmclock_instant *now, u64 ratio,
			    u64 boot_offset)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	u64 cycles = boot_offset - kvmclock_boot_offset(clock, ratio);
	u64 boot_ns = kvmclock_boot_ns(now);
	u64 offset, tsc;

	lockdep_assert_held(&clock->tsc_write_lock);

	offset = kvmclock_reference_offset(clock, ratio) + cycles;
	tsc = kvm_scale_tsc(now->tsc, ratio) + offset;
	kvmclock_start_generation(clock, offset, tsc, boot_ns);
	kvmclock_note_tsc_write(clock, offset, tsc, boot_ns, kvmclock_vm_khz(kvm));
	clock->user_set_tsc = true;

	/* GET finds it together with the line; the boot vCPU itself, if any, follows. */
	WRITE_ONCE(clock->boot_tsc_offset, boot_offset);

	return cycles;
}

/*
 * Move @vcpu's TSC offset, and note what its TSC read when the reference was moved,
 * from which it catches up if it becomes unstable.  With the reference's offset, it
 * belongs to the generation.
 */
static void kvmclock_move_offset(struct kvm_vcpu *vcpu, u64 cycles)
{
	struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	u64 offset = vcpu->arch.l1_tsc_offset + cycles;

	guard(raw_spinlock_irqsave)(&clock->tsc_write_lock);

	kvmclock_write_offset(vcpu, offset);
	vclock->this_tsc_nsec = clock->cur_tsc_nsec;
	vclock->this_tsc_write = clock->cur_tsc_write + offset - clock->cur_tsc_offset;
	if (offset != clock->cur_tsc_offset)
		return;

	clock->nr_vcpus_matched_tsc += vclock->node.prev != &clock->vcpus;
	vclock->this_tsc_generation = clock->cur_tsc_generation;
}

/*
 * Move @vcpu's TSC by @cycles.  An armed deadline is a value of the TSC, but its
 * timer runs on the host's time; so does the preemption timer of a nested guest.
 */
static void kvmclock_move_tsc(struct kvm_vcpu *vcpu, u64 cycles)
{
	u64 deadline;

	lockdep_assert_held(&vcpu->mutex);

	vcpu_load(vcpu);
	kvmclock_move_offset(vcpu, cycles);

	deadline = kvm_get_lapic_tscdeadline_msr(vcpu);
	if (deadline)
		kvm_set_lapic_tscdeadline_msr(vcpu, deadline);
	if (is_guest_mode(vcpu) && kvm_nested_ops.tsc_moved)
		kvm_nested_ops.tsc_moved(vcpu);
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
 * Advance a TSC that lags behind the host's time.  It is never set back.  The pages are
 * about to be written anyway.
 */
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now)
{
	struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;
	u64 tsc, target;

	if (!vcpu->arch.tsc_catchup)
		return;

	tsc = kvm_read_l1_tsc(vcpu, now->tsc);
	target = vclock->this_tsc_write +
		 nsec_to_cycles(vcpu, kvmclock_boot_ns(now) - vclock->this_tsc_nsec);
	if (target <= tsc)
		return;

	kvmclock_write_offset(vcpu, vcpu->arch.l1_tsc_offset + target - tsc);
	kvm_clear_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * With an unreliable host TSC, the guest's goes on from where it was when @vcpu ran last, and
 * catches up from there.  The clock cannot be updated with preemption disabled: @vcpu does
 * so on its way into the guest.
 */
static void kvmclock_resume_unstable_tsc(struct kvm_vcpu *vcpu)
{
	u64 last_tsc = kvm_read_l1_tsc(vcpu, vcpu->arch.last_host_tsc);

	guard(raw_spinlock_irqsave)(&vcpu->kvm->arch.clock.tsc_write_lock);

	if (vcpu->arch.last_host_tsc)
		kvmclock_write_offset(vcpu, kvm_compute_l1_tsc_offset(vcpu, last_tsc));
	if (vcpu->arch.guest_tsc_protected || vcpu->arch.tsc_catchup)
		return;

	vcpu->arch.tsc_catchup = 1;
	kvmclock_note_tsc(vcpu);
	WRITE_ONCE(vcpu->kvm->arch.clock.must_update, true);
	kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
}

/* @vcpu is loaded on another CPU, or the host's TSC is unstable. */
void kvmclock_vcpu_moved(struct kvm_vcpu *vcpu)
{
	if (kvm_check_tsc_unstable())
		kvmclock_resume_unstable_tsc(vcpu);

	/* In master clock mode, the line is the same on all CPUs. */
	if (!READ_ONCE(vcpu->kvm->arch.clock.use_master_clock) || vcpu->cpu == -1)
		kvmclock_request_update(vcpu);
}
