// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define MEMORY_SIZE	0x100000
#define CODE		0x1000
#define CODE_SIZE	16
#define FAULT		0x1800
#define CLOCK_PAGES	0x10000
#define SLOT_SIZE	64
#define MAX_CPUID	256
#define HV_GUEST_OS_ID	0x40000000
#define XEN_HYPERCALL_MSR	0x40000200

void die(const char *what, ...)
{
	va_list arguments;

	va_start(arguments, what);
	vprintf(what, arguments);
	va_end(arguments);
	putchar('\n');
	exit(1);
}

int do_ioctl(int fd, unsigned long request, const char *name, void *argument)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		die("%s: %s", name, strerror(errno));
	return result;
}

__u64 clock_page_address(int index)
{
	return CLOCK_PAGES + index * SLOT_SIZE;
}

struct clock_page *clock_page(struct vm *vm, int index)
{
	return (void *)(vm->memory + clock_page_address(index));
}

static int host_is_amd(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && ecx & 1 << 2;
}

/* Each program ends in halts; whatever faults ends up in an OUT, which no program holds. */
static void write_code(__u8 *memory)
{
	static const __u8 instruction[PROGRAM_COUNT][3] = {
		[PROGRAM_IDLE]		= { 0x90, 0x90, 0x90 },
		[PROGRAM_NOP]		= { 0x90, 0x90, 0x90 },
		[PROGRAM_WRMSR]		= { 0x0f, 0x30, 0x90 },
		[PROGRAM_RDMSR]		= { 0x0f, 0x32, 0x90 },
		[PROGRAM_HYPERCALL]	= { 0x0f, 0x01, 0xc1 },
	};
	static const __u8 halts[] = { 0xf4, 0xeb, 0xfd };
	static const __u8 out[] = { 0xe6, 0x10 };
	__u8 *code = memory + CODE;
	int i;

	for (i = 0; i < PROGRAM_COUNT; i++, code += CODE_SIZE) {
		memcpy(code, instruction[i], sizeof(instruction[i]));
		memcpy(code + sizeof(instruction[i]), halts, sizeof(halts));
	}
	if (host_is_amd())
		memory[CODE + PROGRAM_HYPERCALL * CODE_SIZE + 2] = 0xd9;
	memcpy(memory + FAULT, out, sizeof(out));
	for (i = 0; i < 256; i++)
		memory[4 * i + 1] = FAULT >> 8;
}

__u64 vm_create(struct vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	vm->kvm = open("/dev/kvm", O_RDWR);
	if (vm->kvm < 0)
		die("/dev/kvm: %s", strerror(errno));
	vm->run_size = kvm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	vm->supported = KVM_GET_SUPPORTED_CPUID;
	return TICKS(vm->fd = kvm_ioctl(vm->kvm, KVM_CREATE_VM, 0));
}

static void add_memory(struct vm *vm)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY_SIZE };

	vm->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	if (vm->memory == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	write_code(vm->memory);
	region.userspace_addr = (uintptr_t)vm->memory;
	kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

__u64 vm_add_vcpu(struct vm *vm)
{
	int nr = vm->nr_vcpus++;

	vm->vcpus = realloc(vm->vcpus, vm->nr_vcpus * sizeof(*vm->vcpus));
	if (!vm->vcpus)
		die("no memory for vCPU %d", nr);
	vm->vcpus[nr].run = NULL;
	return TICKS(vm->vcpus[nr].fd = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (long)nr));
}

/* A guest that has all that this KVM supports, of the kind that the VM is for. */
static void set_cpuid(struct vm *vm)
{
	struct kvm_cpuid2 *cpuid;
	int i;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	if (!cpuid)
		die("no memory for CPUID");
	cpuid->nent = MAX_CPUID;
	do_ioctl(vm->kvm, vm->supported, "KVM_GET_SUPPORTED_CPUID", cpuid);
	for (i = 0; i < vm->nr_vcpus; i++)
		kvm_ioctl(vm->vcpus[i].fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void start_vcpu(struct vm *vm, int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	struct kvm_sregs sregs;

	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("mmap of vCPU %d: %s", index, strerror(errno));
	kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	vcpu_program(vm, index, PROGRAM_IDLE, NULL);
	vcpu_set_msr(vm, index, MSR_KVM_SYSTEM_TIME_NEW,
		     clock_page_address(index) | KVM_MSR_ENABLED);
}

struct kvm_clock_data vm_get_clock(struct vm *vm)
{
	struct kvm_clock_data data = {};

	kvm_ioctl(vm->fd, KVM_GET_CLOCK, &data);
	return data;
}

/* In master clock mode, or there is nothing to measure. */
static void check_mode(struct vm *vm)
{
	int i;

	if (!(vm_get_clock(vm).flags & KVM_CLOCK_TSC_STABLE))
		die("the VM is not in master clock mode");
	for (i = 0; i < vm->nr_vcpus; i++)
		if (!clock_page(vm, i)->version || clock_page(vm, i)->version % 2)
			die("vCPU %d has run without a page", i);
}

void vm_start(struct vm *vm, int nr_vcpus)
{
	int i;

	add_memory(vm);
	while (vm->nr_vcpus < nr_vcpus)
		vm_add_vcpu(vm);
	set_cpuid(vm);
	for (i = 0; i < nr_vcpus; i++)
		start_vcpu(vm, i);
	vm_run_all(vm);
	vm_run_all(vm);
	check_mode(vm);
}

void vm_start_hyperv(struct vm *vm, int nr_vcpus)
{
	vm->supported = KVM_GET_SUPPORTED_HV_CPUID;
	vm_start(vm, nr_vcpus);
	vcpu_set_msr(vm, 0, HV_GUEST_OS_ID, 1);
}

void vm_enable_xen(struct vm *vm)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = XEN_HYPERCALL_MSR,
	};

	kvm_ioctl(vm->fd, KVM_XEN_HVM_CONFIG, &config);
}

void vm_destroy(struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i].run)
			munmap(vm->vcpus[i].run, vm->run_size);
		close(vm->vcpus[i].fd);
	}
	free(vm->vcpus);
	close(vm->fd);
	close(vm->kvm);
	if (vm->memory)
		munmap(vm->memory, MEMORY_SIZE);
}

__u64 vcpu_run(struct vm *vm, int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	__u64 before, after;
	int result;

	before = tsc();
	result = ioctl(vcpu->fd, KVM_RUN, NULL);
	after = tsc();
	if (result)
		die("KVM_RUN of vCPU %d: %s", index, strerror(errno));
	if (vcpu->run->exit_reason != KVM_EXIT_HLT)
		die("KVM_RUN of vCPU %d: exit %u instead of a halt", index, vcpu->run->exit_reason);
	return after - before;
}

__u64 vm_run_all(struct vm *vm)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		sum += vcpu_run(vm, i);
	return sum;
}

void vcpu_program(struct vm *vm, int index, enum program program, const struct registers *given)
{
	struct kvm_regs regs = { .rip = CODE + program * CODE_SIZE, .rflags = 2 };

	if (given) {
		regs.rax = given->rax;
		regs.rbx = given->rbx;
		regs.rcx = given->rcx;
		regs.rdx = given->rdx;
	}
	kvm_ioctl(vm->vcpus[index].fd, KVM_SET_REGS, &regs);
}

struct registers vcpu_registers(struct vm *vm, int index)
{
	struct kvm_regs regs;

	kvm_ioctl(vm->vcpus[index].fd, KVM_GET_REGS, &regs);
	return (struct registers){ regs.rax, regs.rbx, regs.rcx, regs.rdx };
}

void vcpu_set_msr(struct vm *vm, int index, __u32 msr, __u64 value)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} msrs = { { .nmsrs = 1 }, { .index = msr, .data = value } };

	if (kvm_ioctl(vm->vcpus[index].fd, KVM_SET_MSRS, &msrs) != 1)
		die("KVM_SET_MSRS of %#x: rejected", msr);
}
