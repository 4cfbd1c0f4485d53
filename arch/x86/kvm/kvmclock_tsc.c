// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPUs' TSCs, as far as the KVM clock follows or moves them.  Which TSC writes match
 * is decided in x86.c.
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
void kvmclock_write_offset(struct kvm_vcpu *vcpu, u64 offset)
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

void kvmclock_track_tsc(struct kvm_vcpu *vcpu)
{
#ifdef CONFIG_X86_64
	/* The event is not there on 32-bit hosts, which have no master clock. */
	trace_kvm_track_tsc(vcpu->vcpu_id, vcpu->kvm->arch.nr_vcpus_matched_tsc,
			    atomic_read(&vcpu->kvm->online_vcpus),
			    vcpu->kvm->arch.clock.use_master_clock,
			    READ_ONCE(kvmclock_vclock_mode));
#endif
}

/* The offset of a TSC scaled by @ratio that read 0 when the VM was created, like the clock. */
static u64 kvmclock_origin_offset(struct kvm *kvm, u64 ratio)
{
	return -kvm_scale_tsc(kvm->arch.clock.origin_tsc, ratio);
}

/* The offset of the reference TSC: what a vCPU that is created now would have. */
static u64 kvmclock_reference_offset(struct kvm *kvm, u64 ratio)
{
	return kvm->arch.cur_tsc_generation ? kvm->arch.cur_tsc_offset :
					      kvmclock_origin_offset(kvm, ratio);
}

/* The offset of the boot vCPU's TSC, or of what that would join if it were created now. */
u64 kvmclock_boot_offset(struct kvm *kvm, u64 ratio)
{
	const struct kvm_clock *clock = &kvm->arch.clock;

	lockdep_assert_held(&clock->tsc_write_lock);

	return clock->boot_vcpu ? clock->boot_tsc_offset : kvmclock_reference_offset(kvm, ratio);
}

/*
 * Until a TSC is written, all have counted since the VM was created, each at its own
 * frequency: as if 0 had been written to them then.
 */
static u64 kvmclock_find_origin(struct kvm_vcpu *vcpu)
{
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
	struct kvmclock_instant now;

	kvmclock_get_instant(CLOCK_REALTIME, &now);

	/* Whether the host's TSC has counted since then.  A reset without vCPUs is not observed. */
	if (likely(!kvm_check_tsc_unstable() && !vcpu->kvm->arch.backwards_tsc_observed &&
		   now.tsc >= clock->origin_tsc))
		return kvmclock_origin_offset(vcpu->kvm, ratio);

	return nsec_to_cycles(vcpu, kvmclock_boot_ns(&now) - clock->origin_ns) -
	       kvm_scale_tsc(now.tsc, ratio);
}

/*
 * @vcpu is created: find its TSC's @offset, and that it reads @data at @ns.  One that joins
 * TSCs which were written reads what they do, and not 0.
 */
void kvmclock_find_first_tsc(struct kvm_vcpu *vcpu, u64 *offset, u64 *data, u64 *ns)
{
	if (vcpu->kvm->arch.user_set_tsc) {
		*data = kvm_scale_tsc(rdtsc(), vcpu->arch.l1_tsc_scaling_ratio) + *offset;
		return;
	}

	*offset = kvmclock_find_origin(vcpu);
	*data = 0;
	*ns = vcpu->kvm->arch.clock.origin_ns;
}

/* Have @vcpu's TSC run at @khz, scaled by @ratio, or catching up if that is 0. */
static void kvmclock_commit_tsc_khz(struct kvm_vcpu *vcpu, u32 khz, u64 ratio)
{
	struct kvm *kvm = vcpu->kvm;

	guard(raw_spinlock_irqsave)(&kvm->arch.clock.tsc_write_lock);

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
	if (vcpu->arch.clock.at_origin && !kvm->arch.user_set_tsc) {
		__kvm_synchronize_tsc(vcpu, kvmclock_find_origin(vcpu), 0,
				      kvm->arch.clock.origin_ns, kvm->arch.last_tsc_khz == khz,
				      false);
		vcpu->arch.clock.at_origin = true;
	}
}

static int kvmclock_set_tsc_khz(struct kvm_vcpu *vcpu, u32 khz)
{
	u64 ratio;

	/* tsc_khz, which stands for the host's frequency, is 0 if calibrating it has failed. */
	if (!khz || !kvmclock_find_ratio(khz, &ratio)) {
		pr_warn_ratelimited("the TSC cannot run at %u kHz on this host\n", khz);
		return -EINVAL;
	}

	kvmclock_commit_tsc_khz(vcpu, khz, ratio);
	return 0;
}

/* Returns 0 if @vcpu's TSC is to run at @khz from now on; otherwise nothing has changed. */
int kvm_set_tsc_khz(struct kvm_vcpu *vcpu, u32 khz)
{
	int r = kvmclock_set_tsc_khz(vcpu, khz);

	if (!r) {
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
		kvmclock_update(vcpu->kvm, NULL);
	}
	return r;
}

/*
 * @vcpu is created.  If a TSC cannot have the frequency that was asked of the VM, it runs at
 * the host's, and KVM_GET_TSC_KHZ of the vCPU says so.
 */
void kvmclock_init_tsc_khz(struct kvm_vcpu *vcpu)
{
	if (kvmclock_set_tsc_khz(vcpu, READ_ONCE(vcpu->kvm->arch.default_tsc_khz)) &&
	    kvmclock_set_tsc_khz(vcpu, tsc_khz))
		kvm_vcpu_write_tsc_multiplier(vcpu, kvm_caps.default_tsc_scaling_ratio);
}

/*
 * Move the boot vCPU's TSC to @boot_offset, and the reference TSC with it, which counts as
 * a write by user space of all TSCs.  Returns by how many cycles; the vCPUs' own offsets are
 * for kvmclock_move_tscs() to write.
 */
u64 kvmclock_move_reference(struct kvm *kvm, const struct kvmclock_instant *now, u64 ratio,
			    u64 boot_offset)
{
	struct kvm_clock *clock = &kvm->arch.clock;
	u64 cycles = boot_offset - kvmclock_boot_offset(kvm, ratio);
	u64 offset = kvmclock_reference_offset(kvm, ratio) + cycles;

	lockdep_assert_held(&clock->tsc_write_lock);

	kvm->arch.cur_tsc_generation++;
	kvm->arch.nr_vcpus_matched_tsc = 0;
	kvm->arch.cur_tsc_offset = offset;
	kvm->arch.cur_tsc_write = kvm_scale_tsc(now->tsc, ratio) + offset;
	kvm->arch.cur_tsc_nsec = kvmclock_boot_ns(now);
	kvm->arch.last_tsc_offset = offset;
	kvm->arch.last_tsc_write = kvm->arch.cur_tsc_write;
	kvm->arch.last_tsc_nsec = kvm->arch.cur_tsc_nsec;
	kvm->arch.last_tsc_khz = kvmclock_vm_khz(kvm);
	kvm->arch.user_set_tsc = true;

	/* GET finds it together with the line; the boot vCPU itself, if any, follows. */
	WRITE_ONCE(clock->boot_tsc_offset, boot_offset);

	return cycles;
}

/*
 * Move @vcpu's TSC offset, and note from where it catches up if it becomes unstable.  With
 * the reference's offset, it belongs to the generation.
 */
static void kvmclock_move_offset(struct kvm_vcpu *vcpu, u64 cycles)
{
	struct kvm_arch *arch = &vcpu->kvm->arch;
	u64 offset = vcpu->arch.l1_tsc_offset + cycles;

	guard(raw_spinlock_irqsave)(&arch->clock.tsc_write_lock);

	kvmclock_write_offset(vcpu, offset);
	vcpu->arch.this_tsc_nsec = arch->cur_tsc_nsec;
	vcpu->arch.this_tsc_write = arch->cur_tsc_write + offset - arch->cur_tsc_offset;
	if (offset != arch->cur_tsc_offset)
		return;

	arch->nr_vcpus_matched_tsc += vcpu->arch.clock.node.prev != &arch->clock.vcpus;
	vcpu->arch.this_tsc_generation = arch->cur_tsc_generation;
}

/*
 * Move the TSCs of all vCPUs, which cannot run, by @cycles.  An armed deadline is a value of
 * the TSC, but its timer runs on the host's time; so does a nested guest's preemption timer.
 */
void kvmclock_move_tscs(struct kvm *kvm, u64 cycles)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	u64 deadline;

	kvm_for_each_vcpu(i, vcpu, kvm) {
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
}

/*
 * Advance a TSC that lags behind the host's time.  It is never set back.  The pages are
 * about to be written anyway.
 */
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now)
{
	u64 tsc, target;

	if (!vcpu->arch.tsc_catchup)
		return;

	tsc = kvm_read_l1_tsc(vcpu, now->tsc);
	target = compute_guest_tsc(vcpu, kvmclock_boot_ns(now));
	if (target <= tsc)
		return;

	kvmclock_write_offset(vcpu, vcpu->arch.l1_tsc_offset + target - tsc);
	kvm_clear_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}

/*
 * With an unreliable host TSC, the guest's goes on from where it was when @vcpu ran last, and
 * catches up from there.  The clock is updated on @vcpu's way into the guest.
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
