/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM for measuring, by KVM's ioctls alone: any number of vCPUs in real mode, all on one thread,
 * each with its kvmclock page in a slot of 64 bytes, as Linux lays them out. The guest halts, and
 * without an interrupt controller in the kernel, a halt ends KVM_RUN.
 */
#ifndef VM_H
#define VM_H

#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/ioctl.h>

#include <linux/kvm.h>
#include <linux/kvm_para.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define NS_PER_S		1000000000ULL

enum program {
	PROGRAM_IDLE,			/* halt, again and again */
	PROGRAM_NOP,			/* the floor of those below */
	PROGRAM_WRMSR,
	PROGRAM_RDMSR,
	PROGRAM_HYPERCALL,
	PROGRAM_COUNT,
};

struct vcpu {
	int fd;
	struct kvm_run *run;
};

struct vm {
	int kvm;
	int fd;
	int nr_vcpus;
	unsigned long supported;	/* ioctl that says which CPUID the guest gets */
	size_t run_size;
	__u8 *memory;
	struct vcpu *vcpus;
};

/* What a guest finds in its page, see Documentation/virt/kvm/x86/msr.rst. */
struct clock_page {
	__u32 version;
	__u32 pad0;
	__u64 tsc_timestamp;
	__u64 system_time;
	__u32 tsc_to_system_mul;
	__s8 tsc_shift;
	__u8 flags;
	__u8 pad[2];
};

struct registers {
	__u64 rax, rbx, rcx, rdx;
};

noreturn void die(const char *what, ...);

/* ioctl() that must succeed; its result. */
int do_ioctl(int fd, unsigned long request, const char *name, void *argument);
#define kvm_ioctl(fd, request, argument) do_ioctl(fd, request, #request, (void *)(argument))

static inline __u64 tsc(void)
{
	__u32 low, high;

	__asm__ __volatile__("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (__u64)high << 32 | low;
}

/* What a statement costs. */
#define TICKS(statement)			\
({						\
	__u64 __before = tsc();			\
						\
	statement;				\
	tsc() - __before;			\
})

/*
 * An empty VM, a vCPU more, and what KVM took to create them; vCPUs up to that number, which all
 * have enabled kvmclock and have run; the end.
 */
__u64 vm_create(struct vm *vm);
__u64 vm_add_vcpu(struct vm *vm);
void vm_start(struct vm *vm, int nr_vcpus);
void vm_destroy(struct vm *vm);

/* Instead of vm_start(): a guest of Hyper-V's kind. Before it: Xen's hypercalls are KVM's. */
void vm_start_hyperv(struct vm *vm, int nr_vcpus);
void vm_enable_xen(struct vm *vm);

struct kvm_clock_data vm_get_clock(struct vm *vm);

/* KVM_RUN until the guest halts, and the ticks that it took; of all vCPUs, one after the other. */
__u64 vcpu_run(struct vm *vm, int index);
__u64 vm_run_all(struct vm *vm);

/* The next KVM_RUN of this vCPU runs that program once, and idles from then on. */
void vcpu_program(struct vm *vm, int index, enum program program, const struct registers *regs);
struct registers vcpu_registers(struct vm *vm, int index);

void vcpu_set_msr(struct vm *vm, int index, __u32 msr, __u64 value);
__u64 clock_page_address(int index);
struct clock_page *clock_page(struct vm *vm, int index);

#endif
