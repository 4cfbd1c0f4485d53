// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * What this kernel's KVM offers, and a new VM's preparation.
 */
#include <errno.h>

#include "internal.h"
#include "tsc_math.h"

static uint32_t extension(int fd, unsigned long cap)
{
	int r = kvmclock_ioctl(fd, KVM_CHECK_EXTENSION, (void *)cap);

	return r > 0 ? r : 0;
}

/*
 * The mode that a VM gets on this host.  Mainline decides it when a vCPU runs or
 * the clock is set, so set it: the VM is ours, and nobody runs in it.
 */
static uint32_t clock_flags(int vm_fd)
{
	struct kvm_clock_data data = { };

	if (kvmclock_ioctl(vm_fd, KVM_SET_CLOCK, &data) ||
	    kvmclock_ioctl(vm_fd, KVM_GET_CLOCK, &data))
		return 0;

	return data.flags;
}

static int probe_vcpu(int vm_fd, struct kvmclock_caps *caps)
{
	int vcpu_fd = kvmclock_ioctl(vm_fd, KVM_CREATE_VCPU, NULL);
	int r;

	if (vcpu_fd < 0)
		return KVMCLOCK_E_KERNEL;

	r = kvmclock_get_khz(vcpu_fd, &caps->host_khz);
	if (!r) {
		caps->tsc_offset = kvmclock_has_tsc_offset(vcpu_fd);
		caps->clock_flags = clock_flags(vm_fd);
	}
	kvmclock_sys.close(vcpu_fd);

	return r;
}

static int probe_kvm(int kvm_fd, struct kvmclock_caps *caps)
{
	int vm_fd, r;

	caps->adjust_clock = extension(kvm_fd, KVM_CAP_ADJUST_CLOCK);
	caps->tsc_control = extension(kvm_fd, KVM_CAP_TSC_CONTROL);
	caps->vm_tsc_control = extension(kvm_fd, KVM_CAP_VM_TSC_CONTROL);
	caps->stats_fd = extension(kvm_fd, KVM_CAP_BINARY_STATS_FD);
	caps->clock_guest = extension(kvm_fd, KVM_CAP_CLOCK_GUEST) == 1;
	caps->frac_bits = kvmclock_sys.frac_bits();
	caps->tolerance_ppm = kvmclock_sys.tolerance_ppm();

	vm_fd = kvmclock_ioctl(kvm_fd, KVM_CREATE_VM, NULL);
	if (vm_fd < 0)
		return KVMCLOCK_E_KERNEL;

	r = probe_vcpu(vm_fd, caps);
	kvmclock_sys.close(vm_fd);

	return r;
}

KVMCLOCK_PUBLIC int kvmclock_probe(int kvm_fd, struct kvmclock_caps *caps)
{
	int fd = kvm_fd, r;

	if (!caps)
		return KVMCLOCK_E_ARGUMENT;
	*caps = (struct kvmclock_caps) { };

	if (kvm_fd < 0)
		fd = kvmclock_sys.open_kvm();
	if (fd < 0)
		return KVMCLOCK_E_NO_KVM;

	r = probe_kvm(fd, caps);
	if (kvm_fd < 0)
		kvmclock_sys.close(fd);

	return r;
}

/* Whether KVM gives a vCPU this frequency, be it by scaling or because it is the host's. */
static bool can_run_at(const struct kvmclock_caps *caps, uint32_t khz)
{
	return caps->tsc_control || kvmclock_within(khz, caps->host_khz, caps->tolerance_ppm);
}

KVMCLOCK_PUBLIC int kvmclock_prepare(const struct kvmclock_vm *vm, uint32_t tsc_khz, uint32_t flags)
{
	unsigned long khz = tsc_khz;
	uint32_t usable;
	int r;

	r = kvmclock_check_vm(vm);
	if (r)
		return r;
	if (flags & ~KVMCLOCK_MONOTONIC || tsc_khz > KVMCLOCK_MAX_KHZ)
		return KVMCLOCK_E_ARGUMENT;
	if (tsc_khz && !can_run_at(vm->caps, tsc_khz))
		return KVMCLOCK_E_FREQUENCY;

	r = kvmclock_opt_in(vm, flags, true, &usable);
	if (r || !tsc_khz)
		return r;

	if (kvmclock_ioctl(vm->vm_fd, KVM_SET_TSC_KHZ, (void *)khz))
		return errno == EINVAL ? KVMCLOCK_E_FREQUENCY : kvmclock_kernel_error(errno);

	return 0;
}
