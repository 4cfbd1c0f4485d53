// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Save a VM's time.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"
#include "tsc_math.h"

#define SAVE_FLAGS	(KVMCLOCK_MONOTONIC | KVMCLOCK_SAVE_NO_GUEST_TSC)

/*
 * The kernel's line, or, where it reports none, the one of the frequency at which
 * the TSC runs.
 */
static int save_line(struct kvmclock_record *rec, const struct kvm_clock_data *data)
{
	if (data->flags & KVMCLOCK_GUEST_TSC) {
		rec->mul = data->tsc_to_system_mul;
		rec->shift = data->tsc_shift;
		return 0;
	}

	if (!kvmclock_line(rec->host_khz, rec->ratio, rec->frac_bits, &rec->mul, &rec->shift))
		return KVMCLOCK_E_FREQUENCY;

	return 0;
}

/*
 * Whose TSC the kernel reports: the boot vCPU's, which is vCPU 0 unless the figures say
 * that it is another.
 */
static uint32_t boot_vcpu(const struct kvmclock_record *rec, uint64_t offset)
{
	uint32_t i;

	for (i = 0; i < rec->nr_vcpus; i++) {
		if (rec->vcpus[i].offset == offset)
			return i;
	}

	return 0;
}

/* The offsets are in place. */
static void save_tscs(struct kvmclock_record *rec, const struct kvm_clock_data *data)
{
	uint64_t scaled = kvmclock_scale_tsc(data->host_tsc, rec->ratio, rec->frac_bits);
	uint32_t i;

	if (data->flags & KVMCLOCK_GUEST_TSC) {
		i = boot_vcpu(rec, data->guest_tsc - scaled);
		scaled = data->guest_tsc - rec->vcpus[i].offset;
	}

	for (i = 0; i < rec->nr_vcpus; i++)
		rec->vcpus[i].tsc = scaled + rec->vcpus[i].offset;
}

static int save_instant(const struct kvmclock_vm *vm, struct kvmclock_record *rec)
{
	struct kvmclock_instant now;
	int r;

	r = kvmclock_get_instant(vm, &now);
	if (r)
		return r;

	rec->clock = now.data.clock;
	rec->realtime = now.data.realtime;
	rec->host_tsc = now.data.host_tsc;
	rec->flags = now.data.flags & (KVMCLOCK_TSC_STABLE | KVMCLOCK_REALTIME |
				       KVMCLOCK_HOST_TSC | KVMCLOCK_GUEST_TSC);
	if (now.data.flags & KVMCLOCK_TAI)
		rec->tai_offset = now.data.tai_offset;
	rec->sample_ns += now.width_ns;
	save_tscs(rec, &now.data);

	return save_line(rec, &now.data);
}

static int save_offsets(const struct kvmclock_vm *vm, struct kvmclock_record *rec)
{
	struct kvmclock_scale scale = { rec->ratio, rec->frac_bits };
	uint64_t *offsets = calloc(vm->nr_vcpus, sizeof(*offsets));
	uint32_t i;
	int r;

	if (!offsets)
		return KVMCLOCK_E_MEMORY;

	r = kvmclock_read_offsets(vm, &scale, offsets, &rec->sample_ns);
	for (i = 0; i < vm->nr_vcpus; i++)
		rec->vcpus[i].offset = offsets[i];
	free(offsets);

	return r;
}

static int save(const struct kvmclock_vm *vm, bool guest_tsc, struct kvmclock_record *rec)
{
	struct kvmclock_scale scale;
	int r;

	r = kvmclock_vm_khz(vm, &rec->tsc_khz);
	if (r)
		return r;

	scale = kvmclock_vm_scale(vm->caps, rec->tsc_khz);
	rec->host_khz = vm->caps->host_khz;
	rec->ratio = scale.ratio;
	rec->frac_bits = scale.frac_bits;

	r = save_offsets(vm, rec);
	if (!r && !guest_tsc && vm->caps->tsc_offset)
		r = kvmclock_check_scale(vm->vcpu_fds[0], &scale, rec->tsc_khz);
	r = r ?: save_instant(vm, rec);
	if (!r && !kvmclock_record_valid(rec))
		r = KVMCLOCK_E_RANGE;

	return r;
}

KVMCLOCK_PUBLIC int kvmclock_save(const struct kvmclock_vm *vm, uint32_t flags,
				  struct kvmclock_record **out)
{
	struct kvmclock_record *rec;
	uint32_t usable;
	int r;

	if (!out)
		return KVMCLOCK_E_ARGUMENT;
	*out = NULL;
	r = kvmclock_check_vm(vm);
	if (r)
		return r;
	if (!vm->nr_vcpus || flags & ~SAVE_FLAGS)
		return KVMCLOCK_E_ARGUMENT;

	r = kvmclock_opt_in(vm, flags, !(flags & KVMCLOCK_SAVE_NO_GUEST_TSC), &usable);
	r = r ?: kvmclock_check_stopped(vm, usable);
	if (r)
		return r;

	rec = kvmclock_record_alloc(vm->nr_vcpus);
	if (!rec)
		return KVMCLOCK_E_MEMORY;

	r = save(vm, usable & KVMCLOCK_GUEST_TSC, rec);
	if (r) {
		kvmclock_record_free(rec);
		return r;
	}

	*out = rec;
	return 0;
}
