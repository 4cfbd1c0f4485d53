// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs of a kind of their own: in host clock mode, with a page that cannot be written, with the
 * pages of Xen and of Hyper-V.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "kinds.h"
#include "samples.h"
#include "vm.h"

#define HV_REFERENCE_TSC	0x40000021

/* Guest physical addresses, apart from those of vm.c. */
#define ABSENT_PAGE		0x80000
#define XEN_VCPU_INFO		0x90000
#define XEN_TIME_INFO		0xa0000
#define HV_PAGE			0xb0000
#define NO_MEMORY		0x40000000
#define SLOT_SIZE		64

/* The clock is set ahead, and all vCPUs run. */
static void measure_set(struct vm *vm, struct samples *set, struct samples *all)
{
	struct kvm_clock_data data = { .clock = vm_get_clock(vm).clock };
	__u64 ticks;
	int i;

	for (i = 0; i < repetitions(vm->nr_vcpus); i++) {
		data.clock += NS_PER_S;
		ticks = TICKS(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data));
		if (set)
			add(set, ticks);
		add(all, vm_run_all(vm));
	}
	if (set)
		emit(set, vm->nr_vcpus);
	emit(all, vm->nr_vcpus);
}

/* A boot vCPU whose guest enables kvmclock by the old MSR has the VM in host clock mode. */
static void enter_host_clock_mode(struct vm *vm)
{
	struct registers registers = {
		.rcx = MSR_KVM_SYSTEM_TIME,
		.rax = clock_page_address(0) | KVM_MSR_ENABLED,
	};

	vcpu_program(vm, 0, PROGRAM_WRMSR, &registers);
	vm_run_all(vm);
	vm_run_all(vm);
	if (vm_get_clock(vm).flags & KVM_CLOCK_TSC_STABLE)
		die("the VM is still in master clock mode");
}

void measure_host_clock(int vcpus)
{
	SAMPLES(get, "host_get_clock", "rejected");
	SAMPLES(set, "host_set_clock", "");
	SAMPLES(all, "host_set_all", "");
	SAMPLES(own, "host_own_update", "run");
	struct kvm_clock_data data = {};
	struct vm vm;
	int i;

	vm_create(&vm);
	vm_start(&vm, vcpus);
	enter_host_clock_mode(&vm);
	for (i = 0; i < repetitions(1); i++) {
		add(&get, TICKS(kvm_ioctl(vm.fd, KVM_GET_CLOCK, &data)));
		kvm_ioctl(vm.vcpus[0].fd, KVM_KVMCLOCK_CTRL, 0);
		add(&own, vcpu_run(&vm, 0));
	}
	emit(&get, vcpus);
	emit(&own, vcpus);
	measure_set(&vm, &set, &all);
	vm_destroy(&vm);
}

/* Each entry of another vCPU while the boot vCPU's page is not there, and shows an old clock. */
void measure_absent(int vcpus)
{
	SAMPLES(run, "absent_run", "");
	struct kvm_clock_data data = {};
	struct vm vm;
	int i;

	if (vcpus == 1)
		return;
	vm_create(&vm);
	vm_start(&vm, vcpus);
	vcpu_set_msr(&vm, 0, MSR_KVM_SYSTEM_TIME_NEW, ABSENT_PAGE | KVM_MSR_ENABLED);
	vm_run_all(&vm);
	if (mprotect(vm.memory + ABSENT_PAGE, 4096, PROT_NONE))
		die("mprotect fails");
	data.clock = vm_get_clock(&vm).clock + NS_PER_S;
	kvm_ioctl(vm.fd, KVM_SET_CLOCK, &data);
	vcpu_run(&vm, 1);
	for (i = 0; i < repetitions(1); i++)
		add(&run, vcpu_run(&vm, 1));
	emit(&run, vcpus);
	mprotect(vm.memory + ABSENT_PAGE, 4096, PROT_READ | PROT_WRITE);
	vm_destroy(&vm);
}

/* The guest has put its page where there is no memory; each entry of that vCPU, and of another. */
void measure_no_slot(int vcpus)
{
	SAMPLES(own, "no_slot_run", "");
	SAMPLES(other, "no_slot_other_run", "");
	struct vm vm;
	int i;

	vm_create(&vm);
	vm_start(&vm, vcpus);
	vcpu_set_msr(&vm, 0, MSR_KVM_SYSTEM_TIME_NEW, NO_MEMORY | KVM_MSR_ENABLED);
	vm_run_all(&vm);
	vm_run_all(&vm);
	for (i = 0; i < repetitions(1); i++) {
		add(&own, vcpu_run(&vm, 0));
		if (vcpus > 1)
			add(&other, vcpu_run(&vm, 1));
	}
	emit(&own, vcpus);
	emit(&other, vcpus);
	vm_destroy(&vm);
}

static void add_xen_pages(struct vm *vm)
{
	struct kvm_xen_vcpu_attr info = { .type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO };
	struct kvm_xen_vcpu_attr time = { .type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO };
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		info.u.gpa = XEN_VCPU_INFO + i * SLOT_SIZE;
		time.u.gpa = XEN_TIME_INFO + i * SLOT_SIZE;
		kvm_ioctl(vm->vcpus[i].fd, KVM_XEN_VCPU_SET_ATTR, &info);
		kvm_ioctl(vm->vcpus[i].fd, KVM_XEN_VCPU_SET_ATTR, &time);
	}
}

/* After a change of the clock, with kvmclock's pages and Xen's. */
static void measure_xen_pages(int vcpus)
{
	SAMPLES(all, "xen_set_all", "");
	struct vm vm;

	vm_create(&vm);
	vm_enable_xen(&vm);
	vm_start(&vm, vcpus);
	add_xen_pages(&vm);
	vm_run_all(&vm);
	measure_set(&vm, NULL, &all);
	vm_destroy(&vm);
}

/* The same with kvmclock's pages and Hyper-V's. */
static void measure_hyperv_page(int vcpus)
{
	SAMPLES(all, "hyperv_set_all", "");
	struct vm vm;

	vm_create(&vm);
	vm_start_hyperv(&vm, vcpus);
	vcpu_set_msr(&vm, 0, HV_REFERENCE_TSC, HV_PAGE | 1);
	vm_run_all(&vm);
	vm_run_all(&vm);
	if (!*(__u32 *)(vm.memory + HV_PAGE))
		die("Hyper-V's page is not valid");
	measure_set(&vm, NULL, &all);
	vm_destroy(&vm);
}

void measure_other_pages(int vcpus)
{
	measure_xen_pages(vcpus);
	measure_hyperv_page(vcpus);
}
