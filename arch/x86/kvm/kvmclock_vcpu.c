// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPU's own interface to the KVM clock: KVM_GET_CLOCK_GUEST and
 * KVM_SET_CLOCK_GUEST, the line as the guest sees it, in terms of the TSC of that
 * vCPU; and KVM_VCPU_TSC_SCALE, by which a VMM computes that TSC from the host's.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/kvm_host.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kvmclock.h"
#include "x86.h"

static_assert(sizeof(struct pvclock_vcpu_time_info) == 32);
static_assert(sizeof(struct kvm_vcpu_tsc_scale) == 16);

static int kvmclock_get_guest(struct kvm_vcpu *vcpu, void __user *argp)
{
	struct pvclock_vcpu_time_info line;

	/* What is returned here, KVM_SET_CLOCK_GUEST takes. */
	kvmclock_update_for(vcpu);

	if (!kvmclock_get_master_line(vcpu, &line))
		return -ENODATA;

	return copy_to_user(argp, &line, sizeof(line)) ? -EFAULT : 0;
}

/* Take what KVM_GET_CLOCK_GUEST reports, or a guest's page: @version and @flags are ignored. */
static int kvmclock_set_guest(struct kvm_vcpu *vcpu, void __user *argp)
{
	struct pvclock_vcpu_time_info line;

	if (copy_from_user(&line, argp, sizeof(line)))
		return -EFAULT;

	if (line.pad0 || memchr_inv(line.pad, 0, sizeof(line.pad)))
		return -EINVAL;

	if (!line.tsc_to_system_mul || line.tsc_shift < -31 || line.tsc_shift > 31)
		return -EINVAL;

	return kvmclock_restore_vcpu_line(vcpu, &line);
}

int kvmclock_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned int ioctl, void __user *argp)
{
	/* 32-bit hosts have no master clock, and do not offer the ioctls. */
	if (!IS_ENABLED(CONFIG_X86_64))
		return -EINVAL;

	if (ioctl == KVM_GET_CLOCK_GUEST)
		return kvmclock_get_guest(vcpu, argp);

	return kvmclock_set_guest(vcpu, argp);
}

static int kvmclock_get_tsc_scale(struct kvm_vcpu *vcpu, void __user *argp)
{
	const struct kvm_vcpu_tsc_scale scale = {
		.tsc_ratio = vcpu->arch.l1_tsc_scaling_ratio,
		.tsc_frac_bits = kvm_caps.tsc_scaling_ratio_frac_bits,
	};

	return copy_to_user(argp, &scale, sizeof(scale)) ? -EFAULT : 0;
}

/*
 * KVM_VCPU_TSC_SCALE is there only where hardware scales TSCs.  It follows from
 * KVM_SET_TSC_KHZ, and cannot be written.
 */
int kvmclock_tsc_scale_attr(struct kvm_vcpu *vcpu, unsigned int ioctl,
			    const struct kvm_device_attr *attr)
{
	if (!IS_ENABLED(CONFIG_X86_64) || !kvm_caps.has_tsc_control)
		return -ENXIO;

	switch (ioctl) {
	case KVM_HAS_DEVICE_ATTR:
		return 0;
	case KVM_GET_DEVICE_ATTR:
		return kvmclock_get_tsc_scale(vcpu, u64_to_user_ptr(attr->addr));
	default:
		return -EINVAL;
	}
}
