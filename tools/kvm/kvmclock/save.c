// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Save a VM's time.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"
#include "tsc_math.h"

#define SAVE_FLAGS	(KVMCLOCK_MONOTONIC | KVMCLOCK_SAVE_NO_GUEST_TSC)

static int save_instant(const struct kvmclock_vm *vm, struct kvmclock_record *rec)
{
	struct kvmclock_instant now;
	int r;

	r = kvmclock_get_instant(vm, &now);
	if (r)
		return r;

	rec->sample_ns += now.width_ns;
	return kvmclock_record_fill(rec, &now.data);
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
	uint32_t khz;
	int r;

	r = kvmclock_vm_khz(vm, &khz);
	if (r)
		return r;

	scale = kvmclock_record_set_source(rec, vm->caps, khz);
	r = save_offsets(vm, rec);
	if (!r && !guest_tsc && vm->caps->tsc_offset)
		r = kvmclock_check_scale(vm->vcpu_fds[0], &scale, khz);
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
