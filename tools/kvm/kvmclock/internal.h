/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * What the parts of libkvmclock share.
 */
#ifndef KVMCLOCK_INTERNAL_H
#define KVMCLOCK_INTERNAL_H

#include <assert.h>
#include <stdbool.h>

#include "kvmclock_uapi.h"
#include "libkvmclock.h"
#include "pvclock.h"

#define KVMCLOCK_PUBLIC		__attribute__((visibility("default")))

#define KVMCLOCK_ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static_assert(sizeof(struct kvm_clock_data) == 48, "the ioctls' numbers encode the size");

#ifndef KVM_CAP_BINARY_STATS_FD
#define KVM_CAP_BINARY_STATS_FD	203
#endif

/* The version of the record's bytes, see record.c. */
#define KVMCLOCK_RECORD_MAJOR	1
#define KVMCLOCK_RECORD_MINOR	1

/* Of KVM_GET_CLOCK. */
#define KVMCLOCK_RECORD_FLAGS	(KVMCLOCK_TSC_STABLE | KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC | \
				 KVMCLOCK_GUEST_TSC)

/* tsc - offset is the same for all vCPUs: the scaled TSC of the host. */
struct kvmclock_record_vcpu {
	uint64_t tsc;
	uint64_t offset;
};

struct kvmclock_record {
	uint64_t clock;
	uint64_t realtime;
	uint64_t host_tsc;
	uint64_t ratio;		/* of scaling, with frac_bits */
	uint32_t flags;
	uint32_t tsc_khz;
	uint32_t host_khz;
	uint32_t sample_ns;
	uint32_t mul;
	int8_t shift;
	uint8_t frac_bits;
	int32_t tai_offset;
	uint32_t nr_vcpus;
	struct kvmclock_record_vcpu *vcpus;
};

/* record.c */
struct kvmclock_record *kvmclock_record_alloc(uint32_t nr_vcpus);
bool kvmclock_record_valid(const struct kvmclock_record *rec);

static inline bool kvmclock_frac_bits_valid(uint32_t frac_bits)
{
	return frac_bits >= 20 && frac_bits <= 63;
}

/* What the library asks the machine; tests put a simulated one here. */
struct kvmclock_sys {
	int (*open_kvm)(void);
	void (*close)(int fd);
	/* As ioctl(2): -1 and errno on an error. */
	int (*ioctl)(int fd, unsigned long request, void *arg);
	uint64_t (*rdtsc)(void);
	uint64_t (*realtime_ns)(void);
	uint32_t (*frac_bits)(void);
	uint32_t (*tolerance_ppm)(void);
};

extern struct kvmclock_sys kvmclock_sys;

static inline int kvmclock_ioctl(int fd, unsigned long request, void *arg)
{
	return kvmclock_sys.ioctl(fd, request, arg);
}

/* vcpu.c: one vCPU, one step.  0 or KVMCLOCK_E_*. */
bool kvmclock_has_tsc_offset(int vcpu_fd);
int kvmclock_get_offset(int vcpu_fd, uint64_t *offset);
int kvmclock_set_offset(int vcpu_fd, uint64_t offset);
int kvmclock_get_tsc(int vcpu_fd, uint64_t *tsc);
int kvmclock_set_tsc(int vcpu_fd, uint64_t tsc);
int kvmclock_set_line(int vcpu_fd, const struct kvmclock_pvclock *line);
int kvmclock_tell_stopped(int vcpu_fd);
int kvmclock_get_khz(int fd, uint32_t *khz);
int kvmclock_kernel_error(int error);

/* An instant of the VM: clock, wall time and host TSC that belong together. */
struct kvmclock_instant {
	struct kvm_clock_data data;
	uint32_t width_ns;	/* 0: it is the kernel's */
};

/* vm.c: the VM, and what its TSC is computed with. */
struct kvmclock_scale {
	uint64_t ratio;
	uint32_t frac_bits;
};

int kvmclock_check_vm(const struct kvmclock_vm *vm);
int kvmclock_opt_in(const struct kvmclock_vm *vm, uint32_t flags, bool guest_tsc,
		    uint32_t *usable);
int kvmclock_check_stopped(const struct kvmclock_vm *vm, uint32_t usable);
int kvmclock_get_instant(const struct kvmclock_vm *vm, struct kvmclock_instant *now);
int kvmclock_vm_khz(const struct kvmclock_vm *vm, uint32_t *khz);
struct kvmclock_scale kvmclock_vm_scale(const struct kvmclock_caps *caps, uint32_t khz);
int kvmclock_check_scale(int vcpu_fd, const struct kvmclock_scale *scale, uint32_t khz);
int kvmclock_read_offsets(const struct kvmclock_vm *vm, const struct kvmclock_scale *scale,
			  uint64_t *offsets, uint32_t *width);

/* clock_data.c: a record of what the kernel reports, once its offsets are in place. */
struct kvmclock_scale kvmclock_record_set_source(struct kvmclock_record *rec,
						 const struct kvmclock_caps *caps, uint32_t khz);
int kvmclock_record_fill(struct kvmclock_record *rec, const struct kvm_clock_data *data);

#endif /* KVMCLOCK_INTERNAL_H */
