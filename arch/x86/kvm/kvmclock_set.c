// SPDX-License-Identifier: GPL-2.0
/*
 * What user space asks of the clock: KVM_GET_CLOCK, KVM_SET_CLOCK, which restores a line
 * with the TSCs that belong to it, too, the ioctls of a vCPU, and debugfs.
 *
 * What is set takes effect at an instant at which no vCPU is in the guest.  Wall time
 * and TSC are of that instant.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kvmclock.h"
#include "kvmclock_math.h"
#include "x86.h"

/* The ioctls' numbers encode the size, for 32-bit user space, too. */
static_assert(sizeof(struct kvm_clock_data) == 48);
static_assert(offsetof(struct kvm_clock_data, tsc_to_system_mul) == 40);
static_assert(offsetofend(struct kvm_clock_data, pad) == 48);

/*
 * How a line is to be restored: the line, in the domain of the TSC scaled by @ratio, what it
 * reads now, and the offset of the TSC that it is for.
 */
struct kvmclock_plan {
	bool fallback;		/* no line is asked for, or no master clock here: set a value */
	bool moves_tsc;		/* the boot vCPU's TSC, and all others, get another offset */
	bool keeps_rate;	/* of @line, whatever this kernel takes the TSC's for */
	u64 offset;
	u64 ratio;
	u64 ns;
	struct pvclock_vcpu_time_info line;
};

/*
 * The time since @data was saved, never negative: another host's wall clock may be behind.  A
 * host that does not know by how much CLOCK_TAI is ahead says 0.
 */
static u64 kvmclock_ns_since(const struct kvm_clock_data *data,
			     const struct kvmclock_instant *now)
{
	s64 leap_s = 0;

	if (!(data->flags & KVM_CLOCK_REALTIME))
		return 0;

	if (data->flags & KVM_CLOCK_TAI && data->tai_offset && now->tai_offset)
		leap_s = (s64)now->tai_offset - data->tai_offset;

	return kvmclock_elapsed_ns(data->realtime, now->sys_ns, leap_s);
}

/* KVM_CLOCK_MONOTONIC for all VMs of the host, whose VMMs may not know of it. */
static bool __read_mostly clock_monotonic;
module_param(clock_monotonic, bool, 0644);

/* Whether @data must not take the clock below what the guest may have read. */
static bool kvmclock_is_monotonic(struct kvm *kvm, const struct kvm_clock_data *data)
{
	return READ_ONCE(clock_monotonic) ||
	       (data->flags | READ_ONCE(kvm->arch.clock.enabled)) & KVM_CLOCK_MONOTONIC;
}

/*
 * By how much @ns is to be raised so that a line through it is nowhere below what the guest
 * may have read up to @now.  @vcpus_ns is NULL without KVM_CLOCK_MONOTONIC.
 */
static u64 kvmclock_raise_by(struct kvm *kvm, const struct kvmclock_instant *now, u64 ns,
			     const u64 *vcpus_ns)
{
	u64 floor;

	/* A vCPU that has not noted it yet finds that the clock was set. */
	if (!vcpus_ns || !READ_ONCE(kvm->arch.clock.guest_has_run))
		return 0;

	/* The guest reads the clock itself, too, by Hyper-V's and Xen's interfaces. */
	floor = max(kvmclock_get_floor(kvm, now, *vcpus_ns), kvmclock_ns(&kvm->arch.clock, now));
	if (ns >= floor)
		return 0;

	kvm->stat.clock_raised++;
	kvm->stat.clock_raised_max_ns = max(kvm->stat.clock_raised_max_ns, floor - ns);
	return floor - ns;
}

/* Whether the line can run on as it is: if nothing else calls for another one. */
static bool kvmclock_can_run_on(struct kvm *kvm, const struct kvmclock_instant *now)
{
	return kvm->arch.clock.use_master_clock &&
	       kvmclock_must_redraw(kvm, now->tsc_based) == KVMCLOCK_CAUSE_NONE;
}

/* Any value is accepted: sums wrap. */
static void kvmclock_set_value(struct kvm *kvm, const struct kvmclock_instant *now,
			       const struct kvm_clock_data *data, const u64 *vcpus_ns)
{
	u64 ns = data->clock + kvmclock_ns_since(data, now);
	u64 raise_ns = kvmclock_raise_by(kvm, now, ns, vcpus_ns);

	if (raise_ns && kvmclock_can_run_on(kvm, now))
		return;

	ns += raise_ns;

	/* A line that is asked for what it reads is not another line. */
	if (ns != kvmclock_ns(&kvm->arch.clock, now) ||
	    kvmclock_must_redraw(kvm, now->tsc_based) != KVMCLOCK_CAUSE_NONE)
		kvmclock_redraw(kvm, now, ns, NULL, KVMCLOCK_CAUSE_SET);
}

static void kvmclock_stop_guests(struct kvm *kvm, const struct kvm_clock_data *data)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (likely(!(data->flags & KVM_CLOCK_GUEST_STOPPED)))
		return;

	kvm_for_each_vcpu(i, vcpu, kvm)
		kvm_set_guest_paused(vcpu);
}

/*
 * Find the boot vCPU's TSC offset: by wall time, by the cycles that the time since then takes
 * on the line; on the same host, by @host_tsc.  A line in terms of @vcpu's TSC moves no TSC.
 */
static void kvmclock_plan_tsc(struct kvm *kvm, const struct kvm_vcpu *vcpu,
			      const struct kvmclock_instant *now,
			      const struct kvm_clock_data *data, struct kvmclock_plan *plan)
{
	u64 scaled_tsc = kvm_scale_tsc(now->tsc, plan->ratio);
	u64 cycles;

	if (vcpu) {
		plan->offset = vcpu->arch.clock.tsc_offset;
		return;
	}

	if (data->flags & KVM_CLOCK_REALTIME) {
		cycles = kvmclock_cycles(kvmclock_ns_since(data, now),
					 data->tsc_to_system_mul, data->tsc_shift);
		plan->offset = data->guest_tsc + cycles - scaled_tsc;
	} else if (data->flags & KVM_CLOCK_HOST_TSC) {
		plan->offset = data->guest_tsc - kvm_scale_tsc(data->host_tsc, plan->ratio);
	} else {
		plan->offset = kvmclock_boot_offset(kvm, plan->ratio);
	}

	/* Without any TSC yet, those that are created are to join this one. */
	plan->moves_tsc = !kvm->arch.cur_tsc_generation ||
			  plan->offset != kvmclock_boot_offset(kvm, plan->ratio);
}

/*
 * Whether the TSC now is not before the line's anchor.  The host's does not wrap, nor does
 * @vcpu's by KVM_SET_CLOCK_GUEST.  A guest's may: differences are signed.
 */
static int kvmclock_check_tsc(const struct kvm_vcpu *vcpu, const struct kvm_clock_data *data,
			      const struct kvmclock_instant *now, u64 tsc)
{
	if (vcpu && tsc < data->guest_tsc)
		return -EINVAL;
	if (data->flags & KVM_CLOCK_REALTIME)
		return 0;
	if (data->flags & KVM_CLOCK_HOST_TSC)
		return now->tsc >= data->host_tsc ? 0 : -ERANGE;

	return (s64)(tsc - data->guest_tsc) >= 0 ? 0 : -ERANGE;
}

static bool kvmclock_same_rate(const struct pvclock_vcpu_time_info *a,
			       const struct pvclock_vcpu_time_info *b)
{
	return a->tsc_to_system_mul == b->tsc_to_system_mul && a->tsc_shift == b->tsc_shift;
}

/*
 * Whether the clock is to run at the line's very rate: on the same host, whatever another
 * kernel called that, unless it is scaled; and if it does already, or would if drawn now.
 */
static bool kvmclock_keeps_rate(const struct kvm_clock *clock, const struct kvm_clock_data *data,
				const struct kvmclock_plan *plan)
{
	u32 way = data->flags & (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC);
	struct pvclock_vcpu_time_info own;

	if (way == KVM_CLOCK_HOST_TSC && plan->ratio == kvm_caps.default_tsc_scaling_ratio)
		return true;

	if (clock->use_master_clock && clock->ratio == plan->ratio && clock->khz == tsc_khz &&
	    kvmclock_same_rate(&clock->line, &plan->line))
		return true;

	kvmclock_line_set_rate(&own, kvmclock_guest_freq(tsc_khz, plan->ratio));
	return kvmclock_same_rate(&own, &plan->line);
}

/*
 * Evaluate the line that @data describes at the TSC that was planned.  Neither the host
 * that it comes from nor this one need run at just the frequency that the guest was told.
 */
static int kvmclock_plan_line(struct kvm *kvm, const struct kvm_vcpu *vcpu,
			      const struct kvmclock_instant *now,
			      const struct kvm_clock_data *data, struct kvmclock_plan *plan)
{
	u64 freq = kvmclock_guest_freq(kvmclock_vm_khz(kvm), kvm_caps.default_tsc_scaling_ratio);
	u64 tsc = kvm_scale_tsc(now->tsc, plan->ratio) + plan->offset;
	u64 ns;
	int r;

	plan->line = (struct pvclock_vcpu_time_info) {
		.tsc_timestamp = data->guest_tsc - plan->offset,
		.system_time = data->clock,
		.tsc_to_system_mul = data->tsc_to_system_mul,
		.tsc_shift = data->tsc_shift,
	};

	plan->keeps_rate = kvmclock_keeps_rate(&kvm->arch.clock, data, plan);

	if (!kvmclock_freq_within(kvmclock_line_freq(data->tsc_to_system_mul, data->tsc_shift),
				  freq, tsc_tolerance_ppm))
		return -ERANGE;

	r = kvmclock_check_tsc(vcpu, data, now, tsc);
	if (r)
		return r;

	ns = kvmclock_scale_delta_sat(tsc - data->guest_tsc, data->tsc_to_system_mul,
				      data->tsc_shift);
	return kvmclock_add_ns(data->clock, ns, &plan->ns) ? 0 : -ERANGE;
}

/* Whether the planned line is the one that the clock runs on, as GET has read it. */
static bool kvmclock_is_current(struct kvm *kvm, const struct kvmclock_instant *now,
				const struct kvmclock_plan *plan)
{
	const struct pvclock_vcpu_time_info *line = &kvm->arch.clock.line;
	const struct pvclock_vcpu_time_info *asked = &plan->line;

	return !plan->moves_tsc && kvmclock_can_run_on(kvm, now) &&
	       kvmclock_same_rate(line, asked) &&
	       (s64)(asked->tsc_timestamp - line->tsc_timestamp) >= 0 &&
	       kvmclock_line_ns(line, asked->tsc_timestamp) == asked->system_time;
}

/* Changes nothing.  TSCs can be moved only with all vCPUs @locked. */
static int kvmclock_plan_restore(struct kvm *kvm, const struct kvm_vcpu *vcpu,
				 const struct kvmclock_instant *now,
				 const struct kvm_clock_data *data, bool locked,
				 struct kvmclock_plan *plan)
{
	lockdep_assert_held(&kvm->arch.clock.tsc_write_lock);

	*plan = (struct kvmclock_plan){ .fallback = !(data->flags & KVM_CLOCK_GUEST_TSC) };
	if (plan->fallback)
		return 0;

	if (kvm->arch.clock.tsc_protected)
		return -EOPNOTSUPP;

	/* Without the master clock, there is no line to restore, but the clock's value is. */
	if (!kvmclock_can_use_master_clock(kvm, now->tsc_based, &plan->ratio)) {
		plan->fallback = data->flags & KVM_CLOCK_REALTIME;
		if (!plan->fallback)
			return -EOPNOTSUPP;
		return kvmclock_add_ns(data->clock, kvmclock_ns_since(data, now), &plan->ns) ?
		       0 : -ERANGE;
	}

	kvmclock_plan_tsc(kvm, vcpu, now, data, plan);
	if (plan->moves_tsc && !locked)
		return -EBUSY;

	return kvmclock_plan_line(kvm, vcpu, now, data, plan);
}

/*
 * Below the floor, the clock runs on as it does, or the line is raised if the TSC moves.
 * Returns by how many cycles the TSCs, which cannot be written here, are to be moved.
 */
static u64 kvmclock_commit_restore(struct kvm *kvm, const struct kvmclock_instant *now,
				   struct kvmclock_plan *plan, const u64 *vcpus_ns)
{
	u64 raise_ns, cycles = 0;

	if (kvmclock_is_current(kvm, now, plan))
		return 0;

	raise_ns = kvmclock_raise_by(kvm, now, plan->ns, vcpus_ns);
	if (raise_ns && !plan->moves_tsc && kvmclock_can_run_on(kvm, now))
		return 0;

	plan->ns += raise_ns;
	plan->line.system_time += raise_ns;

	if (plan->moves_tsc)
		cycles = kvmclock_move_reference(kvm, now, plan->ratio, plan->offset);
	kvmclock_redraw(kvm, now, plan->ns, plan->keeps_rate ? &plan->line : NULL,
			KVMCLOCK_CAUSE_SET);
	return cycles;
}

/*
 * Restore @data, in terms of the TSC of @vcpu, or of the boot vCPU without one.
 * Fails if TSCs have to move and not all vCPUs are @locked.
 */
static int kvmclock_restore_with(struct kvm *kvm, const struct kvm_vcpu *vcpu,
				 const struct kvm_clock_data *data, bool locked)
{
	u64 ns, *vcpus_ns = kvmclock_is_monotonic(kvm, data) ? &ns : NULL;
	struct kvmclock_instant now;
	u64 cycles = 0;
	struct kvmclock_plan plan;
	int r;

	guard(mutex)(&kvm->arch.clock.update_lock);

	kvmclock_begin_update(kvm, locked, data->flags & KVM_CLOCK_TAI ? CLOCK_TAI : CLOCK_REALTIME,
			      &now, vcpus_ns);
	r = kvmclock_plan_restore(kvm, vcpu, &now, data, locked, &plan);
	if (!r && plan.fallback)
		kvmclock_set_value(kvm, &now, data, vcpus_ns);
	else if (!r)
		cycles = kvmclock_commit_restore(kvm, &now, &plan, vcpus_ns);
	kvmclock_unlock_update(kvm);
	if (!r)
		kvmclock_stop_guests(kvm, data);
	kvmclock_end_update(kvm);
	if (r)
		return r;

	if (cycles)
		kvmclock_move_tscs(kvm, cycles);
	return 0;
}

/*
 * Set a value, or a line with its TSCs.  vCPUs whose TSCs move must not run in between: hold
 * all their mutexes then.  Mostly they need not move, and nobody is locked.
 */
static int kvmclock_restore(struct kvm *kvm, const struct kvm_clock_data *data)
{
	int r = kvmclock_restore_with(kvm, NULL, data, false);

	if (r != -EBUSY)
		return r;

	if (mutex_lock_killable(&kvm->lock))
		return -EINTR;

	if (!kvm_trylock_all_vcpus(kvm)) {
		r = kvmclock_restore_with(kvm, NULL, data, true);
		kvm_unlock_all_vcpus(kvm);
	}
	mutex_unlock(&kvm->lock);

	return r;
}

static bool kvmclock_is_valid_rate(u32 mul, s8 shift)
{
	return mul && shift >= -31 && shift <= 31;
}

/* A line that was saved, to be restored: only what is documented is accepted. */
static bool kvmclock_is_valid_line(struct kvm *kvm, const struct kvm_clock_data *data)
{
	return READ_ONCE(kvm->arch.clock.enabled) & KVM_CLOCK_GUEST_TSC &&
	       kvmclock_is_valid_rate(data->tsc_to_system_mul, data->tsc_shift) &&
	       !memchr_inv(data->pad, 0, sizeof(data->pad));
}

int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data __uninitialized;

	kvm_get_clock(kvm, &data);
	return copy_to_user(argp, &data, sizeof(data)) ? -EFAULT : 0;
}

/*
 * Take whatever KVM_GET_CLOCK reports, because VMMs hand its result back unchanged:
 * flags that only say something about it, and any padding.
 */
int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data;

	if (copy_from_user(&data, argp, sizeof(data)))
		return -EFAULT;

	if (data.flags & ~KVM_CLOCK_VALID_FLAGS)
		return -EINVAL;

	if (data.flags & KVM_CLOCK_GUEST_TSC && !kvmclock_is_valid_line(kvm, &data))
		return -EINVAL;

	return kvmclock_restore(kvm, &data);
}

/*
 * A VMM opts in to the flags that it knows: one that does not hands a structure
 * to SET that GET of another kernel has filled.
 */
int kvmclock_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
	if (cap->args[0] & ~(u64)KVM_CLOCK_OPTIONAL_FLAGS)
		return -EINVAL;

	if (cap->args[1] || cap->args[2] || cap->args[3])
		return -EINVAL;

	WRITE_ONCE(kvm->arch.clock.enabled, cap->args[0]);
	return 0;
}

static int kvmclock_debugfs_ns(void *data, u64 *val)
{
	struct kvm_clock_data clock;

	kvm_get_clock(data, &clock);
	*val = clock.clock;
	return 0;
}

static int kvmclock_debugfs_flags(void *data, u64 *val)
{
	struct kvm_clock_data clock;

	kvm_get_clock(data, &clock);
	*val = clock.flags;
	return 0;
}

DEFINE_SIMPLE_ATTRIBUTE(kvmclock_debugfs_ns_fops, kvmclock_debugfs_ns, NULL, "%llu\n");
DEFINE_SIMPLE_ATTRIBUTE(kvmclock_debugfs_flags_fops, kvmclock_debugfs_flags, NULL, "%llu\n");

void kvmclock_create_debugfs(struct kvm *kvm)
{
	debugfs_create_file("clock_ns", 0444, kvm->debugfs_dentry, kvm,
			    &kvmclock_debugfs_ns_fops);
	debugfs_create_file("clock_flags", 0444, kvm->debugfs_dentry, kvm,
			    &kvmclock_debugfs_flags_fops);
}

int kvmclock_get_guest(struct kvm_vcpu *vcpu, void __user *argp)
{
	struct pvclock_vcpu_time_info line;
	bool master;

	/* What is returned here, KVM_SET_CLOCK_GUEST takes. */
	kvmclock_update_for(vcpu);

	if (!kvmclock_get_vcpu_line(vcpu, &line, &master) || !master)
		return -ENODATA;

	return copy_to_user(argp, &line, sizeof(line)) ? -EFAULT : 0;
}

/*
 * Restore a line in terms of @vcpu's TSC, which cannot change meanwhile: what
 * KVM_GET_CLOCK_GUEST reports, or a guest's page.  All vCPUs' follow; no TSC is moved.
 */
int kvmclock_set_guest(struct kvm_vcpu *vcpu, void __user *argp)
{
	struct kvm_clock_data data = { .flags = KVM_CLOCK_GUEST_TSC };
	struct pvclock_vcpu_time_info line;
	int r;

	lockdep_assert_held(&vcpu->mutex);

	if (copy_from_user(&line, argp, sizeof(line)))
		return -EFAULT;

	if (line.pad0 || memchr_inv(line.pad, 0, sizeof(line.pad)) ||
	    !kvmclock_is_valid_rate(line.tsc_to_system_mul, line.tsc_shift))
		return -EINVAL;

	/* It is being created, and has no TSC yet. */
	if (list_empty(&vcpu->arch.clock.node))
		return -ENODATA;

	data.clock = line.system_time;
	data.guest_tsc = line.tsc_timestamp;
	data.tsc_to_system_mul = line.tsc_to_system_mul;
	data.tsc_shift = line.tsc_shift;
	r = kvmclock_restore_with(vcpu->kvm, vcpu, &data, false);
	return r == -EOPNOTSUPP ? -ENODATA : r;
}

/*
 * KVM_VCPU_TSC_SCALE is there only where hardware scales TSCs.  It follows from
 * KVM_SET_TSC_KHZ, and cannot be written.
 */
int kvmclock_tsc_scale_attr(struct kvm_vcpu *vcpu, unsigned int ioctl,
			    const struct kvm_device_attr *attr)
{
	const struct kvm_vcpu_tsc_scale scale = {
		.tsc_ratio = vcpu->arch.l1_tsc_scaling_ratio,
		.tsc_frac_bits = kvm_caps.tsc_scaling_ratio_frac_bits,
	};

	if (!IS_ENABLED(CONFIG_X86_64) || !kvm_caps.has_tsc_control)
		return -ENXIO;
	if (ioctl == KVM_HAS_DEVICE_ATTR)
		return 0;
	if (ioctl != KVM_GET_DEVICE_ATTR)
		return -EINVAL;

	return copy_to_user(u64_to_user_ptr(attr->addr), &scale, sizeof(scale)) ? -EFAULT : 0;
}
