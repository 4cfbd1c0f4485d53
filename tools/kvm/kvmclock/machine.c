// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM that runs the built-in guest: one piece of memory, 64-bit mode from the
 * first instruction, a thread for each vCPU.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <time.h>

#include "tool.h"

#ifndef KVM_GET_STATS_FD
#define KVM_GET_STATS_FD	_IO(KVMIO, 0xce)
#endif

#define MSR_KVM_SYSTEM_TIME_NEW	0x4b564d01

/* Bits of the page tables and of control registers. */
#define PTE_TABLE	0x3		/* present, writable */
#define PTE_LARGE	0x83		/* and 2 MB */
#define CR0_PE_NE_ET_PG	0x80000031
#define CR4_PAE		0x20
#define EFER_LME_LMA	0x500
/*
 * Interrupts are enabled, although none will come: Bochs leaves a guest that has them
 * disabled for no interrupt of the host.
 */
#define RFLAGS_IF	0x202

/* A busy machine may let a vCPU wait for its first instruction. */
#define FIRST_READING_MS	10000

static void checked_ioctl(int fd, unsigned long request, void *arg, const char *name)
{
	if (ioctl(fd, request, arg) < 0)
		fail_errno("%s", name);
}

#define CHECKED_IOCTL(fd, request, arg)	checked_ioctl(fd, request, arg, #request)

static void create_memory(struct machine *m)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_MEMORY };

	m->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	if (m->memory == MAP_FAILED)
		fail_errno("the guest's memory");

	region.userspace_addr = (uintptr_t)m->memory;
	CHECKED_IOCTL(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* The VM without vCPUs, so that it can be prepared. */
void machine_create(struct machine *m)
{
	*m = (struct machine) { };
	m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm_fd < 0)
		fail_library(KVMCLOCK_E_NO_KVM, "open");

	m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, NULL);
	if (m->vm_fd < 0)
		fail_errno("KVM_CREATE_VM");

	/* Only old Intel processors need it, and all take it. */
	CHECKED_IOCTL(m->vm_fd, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul);
	/* Kept open, for 'kvmclock watch'; a kernel without it is no worse. */
	ioctl(m->vm_fd, KVM_GET_STATS_FD, NULL);
	create_memory(m);
}

static struct kvm_cpuid2 *supported_cpuid(const struct machine *m)
{
	unsigned int entries = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));

	if (!cpuid)
		fail_errno("CPUID");

	cpuid->nent = entries;
	CHECKED_IOCTL(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	return cpuid;
}

static void create_vcpu(struct machine *m, unsigned long i, struct kvm_cpuid2 *cpuid)
{
	int size = ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);

	m->fds[i] = ioctl(m->vm_fd, KVM_CREATE_VCPU, (void *)i);
	if (m->fds[i] < 0)
		fail_errno("KVM_CREATE_VCPU");

	m->vcpus[i].machine = m;
	m->vcpus[i].run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[i], 0);
	if (m->vcpus[i].run == MAP_FAILED)
		fail_errno("kvm_run");

	CHECKED_IOCTL(m->fds[i], KVM_SET_CPUID2, cpuid);
}

void machine_create_vcpus(struct machine *m, uint32_t nr_vcpus)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(m);
	uint32_t i;

	for (i = 0; i < nr_vcpus; i++)
		create_vcpu(m, i, cpuid);
	m->nr_vcpus = nr_vcpus;
	free(cpuid);
}

/* The library's view of it. */
struct kvmclock_vm machine_vm(const struct machine *m)
{
	return (struct kvmclock_vm) {
		.vm_fd = m->vm_fd,
		.nr_vcpus = m->nr_vcpus,
		.vcpu_fds = m->fds,
		.caps = &m->caps,
	};
}

/* ---- A new guest ---- */

static void fill_memory(struct machine *m)
{
	uint64_t *tables = (uint64_t *)(m->memory + GUEST_TABLES);
	const unsigned int entries = GUEST_PAGE / sizeof(*tables);
	size_t size = __stop_guest_code - __start_guest_code;

	if (GUEST_CODE + size > GUEST_SHARED)
		fail(EXIT_FAILED, "the guest's code is too large");

	tables[0] = (GUEST_TABLES + GUEST_PAGE) | PTE_TABLE;
	tables[entries] = (GUEST_TABLES + 2 * GUEST_PAGE) | PTE_TABLE;
	tables[2 * entries] = PTE_LARGE;
	memcpy(m->memory + GUEST_CODE, __start_guest_code, size);
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment) {
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1,
		.s = 1, .g = 1, .l = type & 8 ? 1 : 0, .db = type & 8 ? 0 : 1,
	};
}

static void set_long_mode(struct kvm_sregs *sregs)
{
	struct kvm_segment data = flat_segment(16, 3);

	sregs->cs = flat_segment(8, 11);
	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
	sregs->cr0 = CR0_PE_NE_ET_PG;
	sregs->cr3 = GUEST_TABLES;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME_LMA;
}

/* guest_main(vcpu, shared), as if called: the stack has a return address. */
static void set_entry(struct kvm_regs *regs, uint32_t i)
{
	*regs = (struct kvm_regs) {
		.rip = GUEST_CODE + ((const uint8_t *)guest_main - __start_guest_code),
		.rsp = GUEST_STACKS + (i + 1) * GUEST_PAGE - 8,
		.rdi = GUEST_VCPUS + i * GUEST_PAGE,
		.rsi = GUEST_SHARED,
		.rflags = RFLAGS_IF,
	};
}

void machine_boot(struct machine *m)
{
	struct machine_state state;
	uint32_t i;

	fill_memory(m);
	for (i = 0; i < m->nr_vcpus; i++) {
		CHECKED_IOCTL(m->fds[i], KVM_GET_SREGS, &state.sregs);
		set_long_mode(&state.sregs);
		set_entry(&state.regs, i);
		CHECKED_IOCTL(m->fds[i], KVM_SET_SREGS, &state.sregs);
		CHECKED_IOCTL(m->fds[i], KVM_SET_REGS, &state.regs);
	}
	machine_start_clocks(m);
}

/* ---- State ---- */

void machine_get_state(const struct machine *m, struct machine_state *states)
{
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		CHECKED_IOCTL(m->fds[i], KVM_GET_SREGS, &states[i].sregs);
		CHECKED_IOCTL(m->fds[i], KVM_GET_REGS, &states[i].regs);
	}
}

void machine_set_state(struct machine *m, const struct machine_state *states)
{
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		CHECKED_IOCTL(m->fds[i], KVM_SET_SREGS, (void *)&states[i].sregs);
		CHECKED_IOCTL(m->fds[i], KVM_SET_REGS, (void *)&states[i].regs);
	}
}

/* Where KVM publishes each vCPU's line. */
void machine_start_clocks(struct machine *m)
{
	struct {
		uint32_t nmsrs, pad;	/* struct kvm_msrs with one entry */
		struct kvm_msr_entry entry;
	} msr = { .nmsrs = 1, .entry.index = MSR_KVM_SYSTEM_TIME_NEW };
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		msr.entry.data = (GUEST_VCPUS + i * GUEST_PAGE) | 1;
		if (ioctl(m->fds[i], KVM_SET_MSRS, &msr) != 1)
			fail_errno("KVM_SET_MSRS of the KVM clock");
	}
}

/* Give each vCPU a TSC that is @cycles ahead of the one before. */
void machine_skew(struct machine *m, int64_t cycles)
{
	uint64_t offset;
	struct kvm_device_attr attr = { .addr = (uintptr_t)&offset };
	uint32_t i;

	CHECKED_IOCTL(m->fds[0], KVM_GET_DEVICE_ATTR, &attr);
	for (i = 1; i < m->nr_vcpus; i++) {
		offset += cycles;
		CHECKED_IOCTL(m->fds[i], KVM_SET_DEVICE_ATTR, &attr);
	}
}

/* Have the guest's @vcpu, or ALL_VCPUS, write @tsc to its TSC as it starts. */
void machine_write_tsc(struct machine *m, uint32_t vcpu, uint64_t tsc)
{
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		if (vcpu == i || vcpu == ALL_VCPUS)
			machine_guest(m, i)->write_tsc = tsc;
	}
}

/* ---- Running ---- */

static void wake(int signal)
{
	(void)signal;
}

static void *run_vcpu(void *arg)
{
	struct machine_vcpu *vcpu = arg;
	int fd = vcpu->machine->fds[vcpu - vcpu->machine->vcpus];

	while (!__atomic_load_n(&vcpu->machine->stop, __ATOMIC_SEQ_CST)) {
		if (!ioctl(fd, KVM_RUN, NULL)) {
			vcpu->failed = vcpu->run->exit_reason;
			break;
		}
		if (errno != EINTR && errno != EAGAIN) {
			vcpu->failed = -errno;
			break;
		}
	}

	return NULL;
}

static void sleep_ms(uint32_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Whether each vCPU has read its clock since it was put in place, or has ended. */
static bool all_have_read(const struct machine *m)
{
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		if (!__atomic_load_n(&machine_guest(m, i)->first.tsc, __ATOMIC_RELAXED) &&
		    !__atomic_load_n(&m->vcpus[i].failed, __ATOMIC_RELAXED))
			return false;
	}

	return true;
}

/* immediate_exit ends a KVM_RUN that begins, the signal one that is under way. */
static void stop_vcpus(struct machine *m)
{
	uint32_t i;

	__atomic_store_n(&m->stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < m->nr_vcpus; i++)
		m->vcpus[i].run->immediate_exit = 1;
	for (i = 0; i < m->nr_vcpus; i++)
		pthread_kill(m->vcpus[i].thread, SIGUSR1);
	for (i = 0; i < m->nr_vcpus; i++) {
		pthread_join(m->vcpus[i].thread, NULL);
		m->vcpus[i].run->immediate_exit = 0;
	}
}

static void check_alive(const struct machine *m)
{
	uint32_t i;
	int failed;

	for (i = 0; i < m->nr_vcpus; i++) {
		failed = m->vcpus[i].failed;
		if (failed < 0)
			fail(EXIT_FAILED, "KVM_RUN of vCPU %u: %s", i, strerror(-failed));
		if (failed)
			fail(EXIT_FAILED, "the guest's vCPU %u ended with KVM's exit reason %d", i,
			     failed);
	}
}

/* Run all vCPUs until each has read its clock, and on. */
void machine_start(struct machine *m)
{
	struct sigaction action = { .sa_handler = wake };
	uint32_t i, waited;

	sigaction(SIGUSR1, &action, NULL);
	m->stop = false;
	for (i = 0; i < m->nr_vcpus; i++) {
		if (pthread_create(&m->vcpus[i].thread, NULL, run_vcpu, &m->vcpus[i]))
			fail(EXIT_FAILED, "cannot create a thread for vCPU %u", i);
	}
	for (waited = 0; waited < FIRST_READING_MS && !all_have_read(m); waited++)
		sleep_ms(1);
}

void machine_stop(struct machine *m)
{
	stop_vcpus(m);
	check_alive(m);
}

void machine_run(struct machine *m, uint32_t ms)
{
	machine_start(m);
	sleep_ms(ms);
	machine_stop(m);
}
