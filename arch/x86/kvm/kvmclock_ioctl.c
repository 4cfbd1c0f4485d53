// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_CLOCK and KVM_SET_CLOCK: copy, validate, call.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/kvm_host.h>
#include <linux/uaccess.h>

#include "kvmclock.h"

/* The ioctls' numbers encode the size, for 32-bit user space, too. */
static_assert(sizeof(struct kvm_clock_data) == 48);

int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data = {};

	kvmclock_get(kvm, &data);
	if (copy_to_user(argp, &data, sizeof(data)))
		return -EFAULT;

	return 0;
}

/*
 * Take whatever KVM_GET_CLOCK reports, because VMMs hand its result back
 * unchanged: flags that only say something about it, and any padding.
 */
int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp)
{
	struct kvm_clock_data data;

	if (copy_from_user(&data, argp, sizeof(data)))
		return -EFAULT;

	if (data.flags & ~KVM_CLOCK_VALID_FLAGS)
		return -EINVAL;

	kvmclock_set(kvm, &data);
	return 0;
}
