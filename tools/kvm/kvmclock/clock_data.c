// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * A record of what KVM_GET_CLOCK reports and the TSC offsets, and the way back.
 */
#include <string.h>

#include "internal.h"
#include "tsc_math.h"

/*
 * The kernel's line, or, where it reports none, the one of the frequency at which
 * the TSC runs.
 */
static int fill_line(struct kvmclock_record *rec, const struct kvm_clock_data *data)
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
static void fill_tscs(struct kvmclock_record *rec, const struct kvm_clock_data *data)
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

/* How the source's TSC makes the guest's. */
struct kvmclock_scale kvmclock_record_set_source(struct kvmclock_record *rec,
						 const struct kvmclock_caps *caps, uint32_t khz)
{
	struct kvmclock_scale scale = kvmclock_vm_scale(caps, khz);

	rec->tsc_khz = khz;
	rec->host_khz = caps->host_khz;
	rec->ratio = scale.ratio;
	rec->frac_bits = scale.frac_bits;

	return scale;
}

/* The rest of a record that has source and offsets.  @data has wall time and host TSC. */
int kvmclock_record_fill(struct kvmclock_record *rec, const struct kvm_clock_data *data)
{
	rec->clock = data->clock;
	rec->realtime = data->realtime;
	rec->host_tsc = data->host_tsc;
	rec->flags = data->flags & KVMCLOCK_RECORD_FLAGS;
	if (data->flags & KVMCLOCK_TAI)
		rec->tai_offset = data->tai_offset;
	fill_tscs(rec, data);

	return fill_line(rec, data);
}

KVMCLOCK_PUBLIC int kvmclock_record_from_clock_data(const void *clock_data,
						    const uint64_t *offsets, uint32_t nr_vcpus,
						    uint32_t tsc_khz,
						    const struct kvmclock_caps *source,
						    struct kvmclock_record **out)
{
	struct kvm_clock_data data;
	struct kvmclock_record *rec;
	uint32_t i;

	if (!out)
		return KVMCLOCK_E_ARGUMENT;
	*out = NULL;
	if (!clock_data || !offsets || !nr_vcpus || nr_vcpus > KVMCLOCK_MAX_VCPUS || !source ||
	    !kvmclock_frac_bits_valid(source->frac_bits))
		return KVMCLOCK_E_ARGUMENT;

	memcpy(&data, clock_data, sizeof(data));
	if (~data.flags & (KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC))
		return KVMCLOCK_E_ARGUMENT;

	rec = kvmclock_record_alloc(nr_vcpus);
	if (!rec)
		return KVMCLOCK_E_MEMORY;

	kvmclock_record_set_source(rec, source, tsc_khz);
	for (i = 0; i < nr_vcpus; i++)
		rec->vcpus[i].offset = offsets[i];
	if (kvmclock_record_fill(rec, &data) || !kvmclock_record_valid(rec)) {
		kvmclock_record_free(rec);
		return KVMCLOCK_E_ARGUMENT;
	}

	*out = rec;
	return 0;
}

/* A line that the kernel did not report is the frequency's, and is found again. */
KVMCLOCK_PUBLIC void kvmclock_record_to_clock_data(const struct kvmclock_record *rec,
						   void *clock_data, uint64_t *offsets)
{
	struct kvm_clock_data data = {
		.clock = rec->clock,
		.realtime = rec->realtime,
		.host_tsc = rec->host_tsc,
		.flags = rec->flags | KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC,
	};
	uint32_t i;

	if (rec->flags & KVMCLOCK_GUEST_TSC) {
		data.guest_tsc = rec->vcpus[0].tsc;
		data.tsc_to_system_mul = rec->mul;
		data.tsc_shift = rec->shift;
	}
	if (rec->tai_offset) {
		data.flags |= KVMCLOCK_TAI;
		data.tai_offset = rec->tai_offset;
	}

	for (i = 0; i < rec->nr_vcpus; i++)
		offsets[i] = rec->vcpus[i].offset;
	memcpy(clock_data, &data, sizeof(data));
}
