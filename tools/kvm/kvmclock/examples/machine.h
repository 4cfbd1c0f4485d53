/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * The rest of the VMM of the examples, which is not about time: a VM with memory and
 * vCPUs, whose guest reads its TSC and comes back.
 */
#ifndef EXAMPLES_MACHINE_H
#define EXAMPLES_MACHINE_H

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kvmclock_uapi.h"

#define NR_VCPUS		2

#define MSR_KVM_SYSTEM_TIME_NEW	0x4b564d01

#define GUEST_MEMORY		0x4000
#define GUEST_CODE		0x1000
#define GUEST_TSCS		0x2000	/* 8 bytes for each vCPU */
#define GUEST_PVCLOCKS		0x3000	/* struct pvclock_vcpu_time_info, 64 bytes apart */

struct machine {
	int kvm;
	int vm;
	int vcpu[NR_VCPUS];
	struct kvm_run *run[NR_VCPUS];
	uint8_t *memory;
};

/* What a vCPU reads, and the line by which the guest computes the clock. */
struct reading {
	uint64_t tsc;
	uint64_t clock_ns;
	struct pvclock_vcpu_time_info line;
};

static const uint8_t guest_code[] = {	/* in real mode */
	0x0f, 0x31,			/* again: rdtsc */
	0x66, 0x89, 0x07,		/* mov %eax,(%bx) */
	0x66, 0x89, 0x57, 0x04,		/* mov %edx,4(%bx) */
	0xe6, 0x10,			/* out %al,$0x10: an exit */
	0xeb, 0xf3,			/* jmp again */
};

static int checked(int r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);

	return r;
}

/* The guest's clock runs from here on. */
static void machine_create(struct machine *m)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_MEMORY };

	m->kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	m->vm = checked(ioctl(m->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	m->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	if (m->memory == MAP_FAILED)
		err(1, "memory");

	memcpy(m->memory + GUEST_CODE, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)m->memory;
	checked(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void set_msr(int vcpu, uint32_t index, uint64_t value)
{
	struct {
		uint32_t nmsrs, pad;	/* struct kvm_msrs with one entry */
		struct kvm_msr_entry entry;
	} msr = { .nmsrs = 1, .entry = { .index = index, .data = value } };

	if (ioctl(vcpu, KVM_SET_MSRS, &msr) != 1)
		err(1, "KVM_SET_MSRS of %#x", index);
}

static void machine_create_vcpu(struct machine *m, int i)
{
	struct kvm_regs regs = { .rip = GUEST_CODE, .rbx = GUEST_TSCS + 8 * i, .rflags = 2 };
	int size = checked(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_sregs sregs;

	m->vcpu[i] = checked(ioctl(m->vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
	m->run[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu[i], 0);
	if (m->run[i] == MAP_FAILED)
		err(1, "struct kvm_run");

	checked(ioctl(m->vcpu[i], KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	checked(ioctl(m->vcpu[i], KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	checked(ioctl(m->vcpu[i], KVM_SET_REGS, &regs), "KVM_SET_REGS");
	set_msr(m->vcpu[i], MSR_KVM_SYSTEM_TIME_NEW, (GUEST_PVCLOCKS + 64 * i) | 1);
}

static void machine_create_vcpus(struct machine *m)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		machine_create_vcpu(m, i);
}

/* The arithmetic that struct pvclock_vcpu_time_info asks of guests. */
static uint64_t line_ns(const struct pvclock_vcpu_time_info *line, uint64_t cycles)
{
	if (line->tsc_shift < 0)
		cycles >>= -line->tsc_shift;
	else
		cycles <<= line->tsc_shift;

	return (__uint128_t)cycles * line->tsc_to_system_mul >> 32;
}

/* Let the guest's vCPUs read their TSCs, one after the other. */
static void machine_run(struct machine *m, struct reading *readings)
{
	struct reading *r;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		r = &readings[i];
		checked(ioctl(m->vcpu[i], KVM_RUN, 0), "KVM_RUN");
		if (m->run[i]->exit_reason != KVM_EXIT_IO)
			errx(1, "the guest ended with exit reason %u", m->run[i]->exit_reason);

		memcpy(&r->tsc, m->memory + GUEST_TSCS + 8 * i, sizeof(r->tsc));
		memcpy(&r->line, m->memory + GUEST_PVCLOCKS + 64 * i, sizeof(r->line));
		r->clock_ns = r->line.system_time + line_ns(&r->line,
							    r->tsc - r->line.tsc_timestamp);
	}
}

/* As if the guest had written its TSC: vCPU 1 reads @cycles more than vCPU 0. */
static void machine_skew(const struct machine *m, int64_t cycles)
{
	uint64_t offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	checked(ioctl(m->vcpu[0], KVM_GET_DEVICE_ATTR, &attr), "KVM_VCPU_TSC_OFFSET");
	offset += cycles;
	checked(ioctl(m->vcpu[1], KVM_SET_DEVICE_ATTR, &attr), "KVM_VCPU_TSC_OFFSET");
}

/* What happens while the guest is away. Returns for how long it was. */
static uint64_t machine_pause(const char *command)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (system(command))
		errx(1, "%s: failed", command);
	clock_gettime(CLOCK_MONOTONIC, &end);

	return (end.tv_sec - begin.tv_sec) * 1000000000ll + end.tv_nsec - begin.tv_nsec;
}

static void machine_destroy(struct machine *m)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		close(m->vcpu[i]);
	close(m->vm);
	close(m->kvm);
}

/*
 * What the guest has seen of a move that took more than @pause_ns: whether both of its
 * clocks count that, and are as far apart as they were, to 4 ns if it was @exact.
 */
static bool guest_is_right(const struct reading *before, const struct reading *after,
			   uint64_t pause_ns, bool exact)
{
	int64_t limit_ns = exact ? 4 : pause_ns / 2;
	int64_t clock_ns, tsc_ns;
	bool right = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		clock_ns = after[i].clock_ns - before[i].clock_ns;
		tsc_ns = line_ns(&before[i].line, after[i].tsc - before[i].tsc);
		printf("vCPU %d: its clock has gained %lld ns, its TSC %+lld ns more\n", i,
		       (long long)clock_ns, (long long)(tsc_ns - clock_ns));
		if (clock_ns < (int64_t)pause_ns || llabs(tsc_ns - clock_ns) > limit_ns)
			right = false;
	}

	return right;
}

#endif /* EXAMPLES_MACHINE_H */
