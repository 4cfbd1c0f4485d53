// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_CLOCK, KVM_SET_CLOCK and KVM_ENABLE_CAP(KVM_CAP_ADJUST_CLOCK): copy,
 * validate, call.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/kvm_host.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kvmclock.h"

/* The ioctls' numbers encode the size, for 32-bit user space, too. */
static_assert(sizeof(struct kvm_clock_data) == 48);
static_assert(offsetof(struct kvm_clock_data, tsc_to_system_mul) == 40);
static_assert(offsetofend(struct kvm_clock_data, pad) == 48);

/* A line that was saved, to be restored: only what is documented is accepted. */
static bool kvmclock_is_valid_line(struct kvm *kvm, const struct kvm_clock_data *data)
{
	return READ_ONCE(kvm->arch.clock.enabled) & KVM_CLOCK_GUEST_TSC &&
	       data->tsc_to_system_mul && data->tsc_shift >= -31 && data->tsc_shift <= 31 &&
	       !memchr_inv(data->pad, 0, sizeof(data->pad));
}

/*
 * What KVM_SET_CLOCK does, for callers in KVM, too.  Sleeps; the caller holds neither
 * kvm->lock nor a vCPU's mutex.
 *
 * Take whatever KVM_GET_CLOCK reports, because VMMs hand its result back
 * unchanged: flags that only say something about it, and any padding.
 */
int kvm_set_clock(struct kvm *kvm, const struct kvm_clock_data *data)
{
	if (data->flags & ~KVM_CLOCK_VALID_FLAGS)
		return -EINVAL;

	if (!(data->flags & KVM_CLOCK_GUEST_TSC)) {
		kvmclock_set(kvm, data);
		return 0;
	}

	if (!kvmclock_is_valid_line(kvm, data))
		return -EINVAL;

	return kvmclock_restore(kvm, data);
}

int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data __uninitialized;

	kvm_get_clock(kvm, &data);
	if (copy_to_user(argp, &data, sizeof(data)))
		return -EFAULT;

	return 0;
}

int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data;

	if (copy_from_user(&data, argp, sizeof(data)))
		return -EFAULT;

	return kvm_set_clock(kvm, &data);
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
