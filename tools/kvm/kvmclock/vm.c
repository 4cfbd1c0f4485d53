// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * What saving and restoring share: the VM's clock at an instant, and how its
 * TSCs are computed from the host's.
 */
#include <errno.h>

#include "internal.h"
#include "tsc_math.h"

int kvmclock_check_vm(const struct kvmclock_vm *vm)
{
	if (!vm || !vm->caps || vm->vm_fd < 0 || (vm->nr_vcpus && !vm->vcpu_fds) ||
	    vm->nr_vcpus > KVMCLOCK_MAX_VCPUS)
		return KVMCLOCK_E_ARGUMENT;
	if (!vm->caps->adjust_clock)
		return KVMCLOCK_E_UNSUPPORTED;

	return 0;
}

/*
 * Opt in to TAI, and @guest_tsc, if the kernel has them, and to MONOTONIC if @flags ask
 * for it.  @usable is what the VM has then of KVM_CAP_ADJUST_CLOCK: where it may not opt
 * in, in a sandbox, what there is without; but MONOTONIC is a promise.
 */
int kvmclock_opt_in(const struct kvmclock_vm *vm, uint32_t flags, bool guest_tsc,
		    uint32_t *usable)
{
	uint32_t opt_in = flags & KVMCLOCK_MONOTONIC;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ADJUST_CLOCK };

	*usable = vm->caps->adjust_clock;
	if (!guest_tsc)
		*usable &= ~KVMCLOCK_GUEST_TSC;
	if (opt_in & ~vm->caps->adjust_clock)
		return KVMCLOCK_E_UNSUPPORTED;
	/* Where there is nothing to opt in to, there is nothing to opt out of. */
	if (!(vm->caps->adjust_clock & (KVMCLOCK_GUEST_TSC | KVMCLOCK_MONOTONIC)))
		return 0;
	opt_in |= *usable & (KVMCLOCK_GUEST_TSC | KVMCLOCK_TAI);

	cap.args[0] = opt_in;
	if (!kvmclock_ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap))
		return 0;
	if (flags & KVMCLOCK_MONOTONIC)
		return kvmclock_kernel_error(errno);

	*usable &= ~(KVMCLOCK_GUEST_TSC | KVMCLOCK_TAI);
	return 0;
}

/*
 * Ioctls of a vCPU wait for one that is in KVM_RUN.  The VM's KVM_SET_CLOCK does not: where
 * TSCs have to move, it fails with EBUSY.  So ask for a move that cannot be, to a host TSC
 * that is still to come: without a vCPU that runs, it fails with ERANGE.
 */
int kvmclock_check_stopped(const struct kvmclock_vm *vm, uint32_t usable)
{
	struct kvm_clock_data data = { };

	if (!(usable & KVMCLOCK_GUEST_TSC))
		return 0;
	if (kvmclock_ioctl(vm->vm_fd, KVM_GET_CLOCK, &data))
		return kvmclock_kernel_error(errno);
	if (!(data.flags & KVMCLOCK_GUEST_TSC))
		return 0;

	data.flags = KVMCLOCK_GUEST_TSC | KVMCLOCK_HOST_TSC;
	data.host_tsc = UINT64_MAX;
	if (kvmclock_ioctl(vm->vm_fd, KVM_SET_CLOCK, &data) && errno == EBUSY)
		return KVMCLOCK_E_BUSY;

	return 0;
}

static uint64_t cycles_ns(const struct kvmclock_caps *caps, uint64_t cycles)
{
	return caps->host_khz ? (__uint128_t)cycles * 1000000 / caps->host_khz : 0;
}

/*
 * One KVM_GET_CLOCK.  What the kernel does not report is read around the call and
 * taken to be of the middle, and off by the width between.
 */
static int get_clock(const struct kvmclock_vm *vm, struct kvmclock_instant *now)
{
	uint64_t tsc, real, width;

	*now = (struct kvmclock_instant) { };
	real = kvmclock_sys.realtime_ns();
	tsc = kvmclock_sys.rdtsc();
	if (kvmclock_ioctl(vm->vm_fd, KVM_GET_CLOCK, &now->data))
		return kvmclock_kernel_error(errno);
	width = kvmclock_sys.rdtsc() - tsc;
	real = kvmclock_sys.realtime_ns() / 2 + real / 2;

	if (!(now->data.flags & KVMCLOCK_HOST_TSC))
		now->data.host_tsc = tsc + width / 2;
	if (!(now->data.flags & KVMCLOCK_REALTIME))
		now->data.realtime = real;
	if (~now->data.flags & (KVMCLOCK_HOST_TSC | KVMCLOCK_REALTIME)) {
		width = cycles_ns(vm->caps, width) + 1;
		now->width_ns = width > UINT32_MAX ? UINT32_MAX : width;
	}

	return 0;
}

/* The narrowest of some tries, unless the first is the kernel's own instant. */
int kvmclock_get_instant(const struct kvmclock_vm *vm, struct kvmclock_instant *best)
{
	struct kvmclock_instant now;
	int i, r;

	r = get_clock(vm, best);
	for (i = 0; !r && best->width_ns && i < 8; i++) {
		r = get_clock(vm, &now);
		if (!r && now.width_ns < best->width_ns)
			*best = now;
	}

	return r;
}

/* The frequency of all vCPUs, which has to be one. */
int kvmclock_vm_khz(const struct kvmclock_vm *vm, uint32_t *khz)
{
	uint32_t i, other;
	int r;

	r = kvmclock_get_khz(vm->vcpu_fds[0], khz);
	for (i = 1; !r && i < vm->nr_vcpus; i++) {
		r = kvmclock_get_khz(vm->vcpu_fds[i], &other);
		if (!r && other != *khz)
			r = KVMCLOCK_E_FREQUENCY;
	}

	return r;
}

/* As KVM decides it.  Without scaling there is no other ratio than 1. */
struct kvmclock_scale kvmclock_vm_scale(const struct kvmclock_caps *caps, uint32_t khz)
{
	struct kvmclock_scale scale = {
		.ratio = 1ULL << caps->frac_bits,
		.frac_bits = caps->frac_bits,
	};

	if (caps->tsc_control && caps->host_khz &&
	    !kvmclock_within(khz, caps->host_khz, caps->tolerance_ppm))
		scale.ratio = kvmclock_ratio(khz, caps->host_khz, caps->frac_bits);

	return scale;
}

/*
 * Whether the vCPU's TSC is what we compute: the kernel reads it between two
 * reads of ours.  Allow for a host whose CPUs differ by some cycles.
 */
int kvmclock_check_scale(int vcpu_fd, const struct kvmclock_scale *scale, uint32_t khz)
{
	uint64_t before, after, tsc, offset, slack = khz / 1000 + 1;
	int r;

	r = kvmclock_get_offset(vcpu_fd, &offset);
	if (r)
		return r;

	before = kvmclock_scale_tsc(kvmclock_sys.rdtsc(), scale->ratio, scale->frac_bits);
	r = kvmclock_get_tsc(vcpu_fd, &tsc);
	after = kvmclock_scale_tsc(kvmclock_sys.rdtsc(), scale->ratio, scale->frac_bits);
	if (r)
		return r;

	if (tsc - offset - before + slack > after - before + 2 * slack)
		return KVMCLOCK_E_SCALE;

	return 0;
}

/* Without KVM_VCPU_TSC_OFFSET: from the TSC, which the kernel reads between two reads of ours. */
static int measure_offset(int vcpu_fd, const struct kvmclock_scale *scale, uint64_t *offset,
			  uint64_t *width)
{
	uint64_t before, tsc;
	int r;

	before = kvmclock_sys.rdtsc();
	r = kvmclock_get_tsc(vcpu_fd, &tsc);
	*width = kvmclock_sys.rdtsc() - before;
	*offset = tsc - kvmclock_scale_tsc(before + *width / 2, scale->ratio, scale->frac_bits);

	return r;
}

/* All vCPUs' offsets; @width becomes by how many ns they can be off. */
int kvmclock_read_offsets(const struct kvmclock_vm *vm, const struct kvmclock_scale *scale,
			  uint64_t *offsets, uint32_t *width)
{
	uint64_t cycles, ns;
	uint32_t i;
	int r = 0;

	*width = 0;
	for (i = 0; !r && i < vm->nr_vcpus; i++) {
		if (vm->caps->tsc_offset) {
			r = kvmclock_get_offset(vm->vcpu_fds[i], &offsets[i]);
			continue;
		}
		r = measure_offset(vm->vcpu_fds[i], scale, &offsets[i], &cycles);
		ns = cycles_ns(vm->caps, cycles) + 1;
		if (ns > *width)
			*width = ns > UINT32_MAX ? UINT32_MAX : ns;
	}

	return r;
}
