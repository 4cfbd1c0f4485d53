// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * One vCPU: its TSC offset, its TSC, its frequency.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define MSR_IA32_TSC	0x10

/* What the kernel's errno means to our caller, who finds it in errno as well. */
int kvmclock_kernel_error(int error)
{
	switch (error) {
	case EBUSY:
		return KVMCLOCK_E_BUSY;
	case ERANGE:
		return KVMCLOCK_E_RANGE;
	case EOPNOTSUPP:
	case EINVAL:
	case ENXIO:
	case ENOTTY:
		return KVMCLOCK_E_UNSUPPORTED;
	case ENOMEM:
		return KVMCLOCK_E_MEMORY;
	default:
		return KVMCLOCK_E_KERNEL;
	}
}

static int offset_attr(int vcpu_fd, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	if (kvmclock_ioctl(vcpu_fd, request, &attr))
		return kvmclock_kernel_error(errno);

	return 0;
}

bool kvmclock_has_tsc_offset(int vcpu_fd)
{
	return !offset_attr(vcpu_fd, KVM_HAS_DEVICE_ATTR, NULL);
}

int kvmclock_get_offset(int vcpu_fd, uint64_t *offset)
{
	return offset_attr(vcpu_fd, KVM_GET_DEVICE_ATTR, offset);
}

int kvmclock_set_offset(int vcpu_fd, uint64_t offset)
{
	return offset_attr(vcpu_fd, KVM_SET_DEVICE_ATTR, &offset);
}

/* A struct kvm_msrs with one entry.  The ioctls return the number of MSRs that went well. */
static int tsc_msr(int vcpu_fd, unsigned long request, uint64_t *tsc)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} msr = {
		.nmsrs = 1,
		.entry = { .index = MSR_IA32_TSC, .data = *tsc },
	};
	int r = kvmclock_ioctl(vcpu_fd, request, &msr);

	if (r < 0)
		return kvmclock_kernel_error(errno);
	if (r != 1)
		return KVMCLOCK_E_UNSUPPORTED;

	*tsc = msr.entry.data;
	return 0;
}

int kvmclock_get_tsc(int vcpu_fd, uint64_t *tsc)
{
	*tsc = 0;
	return tsc_msr(vcpu_fd, KVM_GET_MSRS, tsc);
}

int kvmclock_set_tsc(int vcpu_fd, uint64_t tsc)
{
	return tsc_msr(vcpu_fd, KVM_SET_MSRS, &tsc);
}

/*
 * The VM's clock as a line of this vCPU's TSC.  What cannot be done in this way,
 * because there is no master clock or the frequency is another, may be in others.
 */
int kvmclock_set_line(int vcpu_fd, const struct kvmclock_pvclock *line)
{
	struct kvmclock_pvclock copy = *line;

	if (!kvmclock_ioctl(vcpu_fd, KVM_SET_CLOCK_GUEST, &copy))
		return 0;
	if (errno == ENODATA || errno == ERANGE)
		return KVMCLOCK_E_UNSUPPORTED;

	return kvmclock_kernel_error(errno);
}

/* Without kvmclock, a vCPU has nobody to tell. */
int kvmclock_tell_stopped(int vcpu_fd)
{
	if (kvmclock_ioctl(vcpu_fd, KVM_KVMCLOCK_CTRL, NULL) && errno != EINVAL)
		return kvmclock_kernel_error(errno);

	return 0;
}

/* Of a vCPU, or of what a vCPU that is created now would have if @fd is a VM. */
int kvmclock_get_khz(int fd, uint32_t *khz)
{
	int r = kvmclock_ioctl(fd, KVM_GET_TSC_KHZ, NULL);

	if (r <= 0)
		return r < 0 ? kvmclock_kernel_error(errno) : KVMCLOCK_E_UNSUPPORTED;

	*khz = r;
	return 0;
}
