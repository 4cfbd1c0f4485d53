// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * The simulated host of fake_kvm.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "fake_kvm.h"
#include "tsc_math.h"

#define FAKE_ALL_FLAGS	(KVMCLOCK_TSC_STABLE | KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC)

struct fake_kvm *fake;

/* ---- The machine ---- */

static uint64_t ratio(const struct fake_kvm *h)
{
	if (h->no_tsc_control || kvmclock_within(h->vm_khz, h->khz, 250))
		return 1ULL << h->frac_bits;

	return kvmclock_ratio(h->vm_khz, h->khz, h->frac_bits) + (h->wrong_ratio ? 1ULL << 40 : 0);
}

static uint64_t scaled(const struct fake_kvm *h)
{
	return kvmclock_scale_tsc(h->tsc, ratio(h), h->frac_bits);
}

static void line(const struct fake_kvm *h, uint32_t *mul, int8_t *shift)
{
	if (!kvmclock_line(h->khz, ratio(h), h->frac_bits, mul, shift))
		abort();
}

uint64_t fake_tsc(const struct fake_kvm *h, uint32_t vcpu)
{
	return scaled(h) + h->offset[vcpu];
}

uint64_t fake_clock(const struct fake_kvm *h)
{
	uint32_t mul;
	int8_t shift;

	line(h, &mul, &shift);
	return h->clock_ns + kvmclock_cycles_to_ns(scaled(h) - h->clock_tsc, mul, shift);
}

void fake_set_clock(struct fake_kvm *h, uint64_t ns)
{
	h->clock_ns = ns;
	h->clock_tsc = scaled(h);
}

uint64_t fake_wall(const struct fake_kvm *h)
{
	return h->wall_ns + (__uint128_t)h->tsc * 1000000 / h->khz;
}

void fake_run(struct fake_kvm *h, uint64_t ns)
{
	h->tsc += (__uint128_t)ns * h->khz / 1000000;
}

/* ---- ioctls: 0 or more, or -errno ---- */

/* Of the TSC that KVM_CLOCK_GUEST_TSC is about: the boot vCPU's, once there is one. */
static uint64_t boot_offset(const struct fake_kvm *h)
{
	return h->nr_vcpus && !h->reference_tsc ? h->offset[0] : h->ref_offset;
}

static int get_clock(struct fake_kvm *h, struct kvm_clock_data *data)
{
	*data = (struct kvm_clock_data) { .clock = fake_clock(h) };
	if (!(h->adjust_clock & KVMCLOCK_REALTIME))
		return 0;
	if (h->no_master_clock && !(h->opt_in & KVMCLOCK_GUEST_TSC))
		return 0;

	data->flags = h->no_master_clock ? KVMCLOCK_REALTIME : FAKE_ALL_FLAGS;
	data->realtime = fake_wall(h);
	if (h->opt_in & KVMCLOCK_TAI) {
		data->flags |= KVMCLOCK_TAI;
		data->tai_offset = h->tai_offset;
	}
	if (h->no_master_clock)
		return 0;

	data->host_tsc = h->tsc;
	if (h->opt_in & KVMCLOCK_GUEST_TSC) {
		data->flags |= KVMCLOCK_GUEST_TSC;
		data->guest_tsc = scaled(h) + boot_offset(h);
		line(h, &data->tsc_to_system_mul, &data->tsc_shift);
	}

	return 0;
}

static uint64_t elapsed(const struct fake_kvm *h, const struct kvm_clock_data *data)
{
	__int128 ns = (__int128)fake_wall(h) - data->realtime;

	if (data->flags & KVMCLOCK_TAI && data->tai_offset && h->tai_offset)
		ns += ((__int128)h->tai_offset - data->tai_offset) * 1000000000;

	return data->flags & KVMCLOCK_REALTIME && ns > 0 ? ns : 0;
}

static void move_tscs(struct fake_kvm *h, uint64_t offset)
{
	uint64_t by = offset - boot_offset(h);
	uint32_t i;

	for (i = 0; i < h->nr_vcpus; i++)
		h->offset[i] += by;
	h->ref_offset += by;
}

static int set_line(struct fake_kvm *h, const struct kvm_clock_data *data)
{
	uint32_t way = data->flags & (KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC);
	uint32_t mul = data->tsc_to_system_mul;
	uint64_t tsc = scaled(h) + boot_offset(h);

	if (!(h->opt_in & KVMCLOCK_GUEST_TSC) || !mul)
		return -EINVAL;
	if (h->set_guest_tsc_errno)
		return -h->set_guest_tsc_errno;
	if (h->no_master_clock && !(data->flags & KVMCLOCK_REALTIME))
		return -EOPNOTSUPP;
	if (h->vcpu_runs)
		return -EBUSY;
	if (way == KVMCLOCK_HOST_TSC && data->host_tsc > h->tsc)
		return -ERANGE;
	fake_set_clock(h, data->clock + elapsed(h, data));
	if (h->no_master_clock)
		return 0;

	if (data->flags & KVMCLOCK_REALTIME)
		tsc = data->guest_tsc +
		      kvmclock_ns_to_cycles(elapsed(h, data), mul, data->tsc_shift);
	else if (data->flags & KVMCLOCK_HOST_TSC)
		tsc = data->guest_tsc + scaled(h) -
		      kvmclock_scale_tsc(data->host_tsc, ratio(h), h->frac_bits);
	move_tscs(h, tsc - scaled(h));
	h->clock_ns = data->clock +
		      kvmclock_cycles_to_ns(tsc - data->guest_tsc, mul, data->tsc_shift);

	return 0;
}

static int set_clock(struct fake_kvm *h, const struct kvm_clock_data *data)
{
	uint32_t known = h->adjust_clock > 1 ? h->adjust_clock : 0;
	int r = 0;

	if (data->flags & ~known)
		return -EINVAL;
	if (h->set_clock_errno)
		return -h->set_clock_errno;

	if (data->flags & KVMCLOCK_GUEST_TSC)
		r = set_line(h, data);
	else
		fake_set_clock(h, data->clock + elapsed(h, data));
	h->clock_writes += !r;
	if (!r && data->flags & KVMCLOCK_GUEST_STOPPED)
		h->told_at_once++;
	return r;
}

static int set_vcpu_line(struct fake_kvm *h, uint32_t vcpu, const struct kvmclock_pvclock *data)
{
	uint64_t tsc = fake_tsc(h, vcpu);

	if (!h->clock_guest)
		return -EINVAL;
	if (h->set_line_errno)
		return -h->set_line_errno;
	if (h->no_master_clock)
		return -ENODATA;
	if (tsc < data->tsc_timestamp)
		return -EINVAL;

	h->line_writes++;
	fake_set_clock(h, data->system_time + kvmclock_cycles_to_ns(tsc - data->tsc_timestamp,
								    data->mul, data->shift));
	return 0;
}

static int check_extension(const struct fake_kvm *h, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_ADJUST_CLOCK:
		return h->adjust_clock;
	case KVM_CAP_CLOCK_GUEST:
		return h->clock_guest;
	case KVM_CAP_TSC_CONTROL:
	case KVM_CAP_VM_TSC_CONTROL:
		return !h->no_tsc_control;
	default:
		return 0;
	}
}

static int enable_cap(struct fake_kvm *h, const struct kvm_enable_cap *cap)
{
	const uint32_t valid = h->adjust_clock & (KVMCLOCK_GUEST_TSC | KVMCLOCK_MONOTONIC |
						  KVMCLOCK_TAI);

	if (cap->cap != KVM_CAP_ADJUST_CLOCK || cap->flags || cap->args[0] & ~(uint64_t)valid)
		return -EINVAL;
	if (h->enable_cap_errno)
		return -h->enable_cap_errno;

	h->opt_in = cap->args[0];
	return 0;
}

static int vm_ioctl(struct fake_kvm *h, unsigned long request, void *arg)
{
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return check_extension(h, (uintptr_t)arg);
	case KVM_CREATE_VCPU:
		h->offset[h->nr_vcpus] = h->ref_offset;
		return FAKE_VCPU_FD + h->nr_vcpus++;
	case KVM_GET_CLOCK:
		return get_clock(h, arg);
	case KVM_SET_CLOCK:
		return set_clock(h, arg);
	case KVM_ENABLE_CAP:
		return enable_cap(h, arg);
	case KVM_SET_TSC_KHZ:
		h->vm_khz = (uintptr_t)arg ?: h->khz;
		return 0;
	default:
		return -ENOTTY;
	}
}

static int set_offset(struct fake_kvm *h, uint32_t vcpu, uint64_t offset)
{
	if (++h->offset_writes == h->set_offset_fails_at)
		return -EFAULT;

	h->offset[vcpu] = offset;
	h->ref_offset = offset;
	h->last_offset_vcpu = vcpu;
	return 0;
}

static int device_attr(struct fake_kvm *h, uint32_t vcpu, unsigned long request,
		       const struct kvm_device_attr *attr)
{
	uint64_t *value = (uint64_t *)(uintptr_t)attr->addr;

	if (h->no_tsc_offset)
		return -ENXIO;
	if (request == KVM_SET_DEVICE_ATTR)
		return set_offset(h, vcpu, *value);
	if (request == KVM_GET_DEVICE_ATTR)
		*value = h->offset[vcpu];

	return 0;
}

static int msrs(struct fake_kvm *h, uint32_t vcpu, unsigned long request, struct kvm_msrs *msrs)
{
	if (request == KVM_GET_MSRS) {
		msrs->entries[0].data = fake_tsc(h, vcpu);
		return 1;
	}
	if (h->set_msr_errno)
		return -h->set_msr_errno;

	h->msr_writes++;
	h->offset[vcpu] = msrs->entries[0].data - scaled(h);
	h->ref_offset = h->offset[vcpu];
	return 1;
}

static int vcpu_ioctl(struct fake_kvm *h, uint32_t vcpu, unsigned long request, void *arg)
{
	h->waits += h->vcpu_runs;
	switch (request) {
	case KVM_GET_TSC_KHZ:
		return h->get_khz_errno ? -h->get_khz_errno : (int)h->vm_khz;
	case KVM_SET_CLOCK_GUEST:
		return set_vcpu_line(h, vcpu, arg);
	case KVM_KVMCLOCK_CTRL:
		h->told++;
		return -h->ctrl_errno;
	case KVM_HAS_DEVICE_ATTR:
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR:
		return device_attr(h, vcpu, request, arg);
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return msrs(h, vcpu, request, arg);
	default:
		return -ENOTTY;
	}
}

static int kvm_ioctl(struct fake_kvm *h, unsigned long request, void *arg)
{
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return check_extension(h, (uintptr_t)arg);
	case KVM_CREATE_VM:
		return FAKE_VM_FD;
	default:
		return -ENOTTY;
	}
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	fake->tsc += fake->step;
	if (fd == FAKE_KVM_FD)
		r = kvm_ioctl(fake, request, arg);
	else if (fd == FAKE_VM_FD)
		r = vm_ioctl(fake, request, arg);
	else
		r = vcpu_ioctl(fake, fd - FAKE_VCPU_FD, request, arg);

	/* A call that succeeds may leave anything there. */
	errno = r < 0 ? -r : EXFULL;
	return r < 0 ? -1 : r;
}

/* ---- The rest of what the library asks ---- */

static int fake_open(void)
{
	if (!fake->no_kvm)
		return FAKE_KVM_FD;

	errno = ENOENT;
	return -1;
}

/* The scratch vCPU of a probe; the VM's state is the test's. */
static void fake_close(int fd)
{
	if (fd >= FAKE_VCPU_FD)
		fake->nr_vcpus--;
}

static uint64_t fake_rdtsc(void)
{
	fake->tsc += fake->step;
	return fake->tsc;
}

static uint64_t fake_realtime(void)
{
	return fake_wall(fake);
}

static uint32_t fake_frac_bits(void)
{
	return fake->frac_bits;
}

static uint32_t fake_tolerance(void)
{
	return 250;
}

void fake_use(struct fake_kvm *host)
{
	fake = host;
	kvmclock_sys = (struct kvmclock_sys) {
		.open_kvm = fake_open,
		.close = fake_close,
		.ioctl = fake_ioctl,
		.rdtsc = fake_rdtsc,
		.realtime_ns = fake_realtime,
		.frac_bits = fake_frac_bits,
		.tolerance_ppm = fake_tolerance,
	};
}
