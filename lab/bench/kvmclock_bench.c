// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the KVM clock costs, in ticks of the TSC: instructions, on the emulated Intel host.
 *
 *	kvmclock_bench [CASE...] VCPUS...
 *
 * Each result is a line of JSON with the least, the median and the greatest of its samples, and
 * the name of the result that is its floor, if it has one: what the same way to KVM and back costs
 * without the work. lab/bench/judge.py subtracts it and judges.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "kinds.h"
#include "samples.h"
#include "vm.h"

#define MSR_TSC			0x10
#define MSR_TSC_ADJUST		0x3b
#define HV_TIME_REF_COUNT	0x40000020
#define XEN_SET_TIMER_OP	15
#define PAIRING_ADDRESS		0x2000

/* The ways into KVM and back, with nothing to do there. */
static void measure_floors(struct vm *vm)
{
	SAMPLES(rejected, "rejected", "");
	SAMPLES(run, "run", "");
	SAMPLES(program, "program", "");
	int i;

	for (i = 0; i < repetitions(1); i++) {
		add(&rejected, TICKS(ioctl(vm->fd, _IO(KVMIO, 0xff), 0)));
		add(&run, vcpu_run(vm, 0));
		vcpu_program(vm, 0, PROGRAM_NOP, NULL);
		add(&program, vcpu_run(vm, 0));
	}
	emit(&rejected, vm->nr_vcpus);
	emit(&run, vm->nr_vcpus);
	emit(&program, vm->nr_vcpus);
}

static void measure_get(struct vm *vm)
{
	SAMPLES(get, "get_clock", "rejected");
	struct kvm_clock_data data = {};
	int i;

	for (i = 0; i < repetitions(1); i++)
		add(&get, TICKS(kvm_ioctl(vm->fd, KVM_GET_CLOCK, &data)));
	emit(&get, vm->nr_vcpus);
}

/* A cost of writing pages is none where they are not written. */
static void check_pages(struct vm *vm, const __u64 *old)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		if (clock_page(vm, i)->system_time + clock_page(vm, i)->version == old[i])
			die("vCPU %d has run after a SET without a new page", i);
}

static __u64 *save_pages(struct vm *vm)
{
	__u64 *old = calloc(vm->nr_vcpus, sizeof(*old));
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		old[i] = clock_page(vm, i)->system_time + clock_page(vm, i)->version;
	return old;
}

/* The first KVM_RUN of each vCPU after a change, and all of them together. */
static __u64 run_each(struct vm *vm, struct samples *first, struct samples *other,
		      struct samples *all)
{
	__u64 ticks, sum = 0;
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		ticks = vcpu_run(vm, i);
		add(i ? other : first, ticks);
		sum += ticks;
	}
	add(all, sum);
	return sum;
}

static __u64 least(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static void measure_set(struct vm *vm)
{
	SAMPLES(set, "set_clock", "");
	SAMPLES(first, "set_first", "");
	SAMPLES(other, "set_other", "");
	SAMPLES(all, "set_all", "");
	SAMPLES(part, "set_part", "");
	struct kvm_clock_data data = { .clock = vm_get_clock(vm).clock };
	__u64 run = -1, set_ticks, *old;
	int i;

	for (i = 0; i < repetitions(1); i++)
		run = least(run, vcpu_run(vm, 0));
	for (i = 0; i < repetitions(vm->nr_vcpus); i++) {
		data.clock += NS_PER_S;
		old = save_pages(vm);
		set_ticks = TICKS(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data));
		add(&set, set_ticks);
		/* Without what KVM_RUNs cost that find nothing to do: it hides the clock's part. */
		add(&part, set_ticks + run_each(vm, &first, &other, &all) - vm->nr_vcpus * run);
		check_pages(vm, old);
		free(old);
	}
	emit(&set, vm->nr_vcpus);
	emit(&first, vm->nr_vcpus);
	emit(&other, vm->nr_vcpus);
	emit(&all, vm->nr_vcpus);
	emit(&part, vm->nr_vcpus);
}

/* The guest of vCPU 0 writes an MSR and goes on. The others run in between, as they would. */
static __u64 guest_wrmsr(struct vm *vm, __u32 msr, __u64 value)
{
	struct registers registers = { .rcx = msr, .rax = (__u32)value, .rdx = value >> 32 };
	__u64 ticks;

	vcpu_program(vm, 0, PROGRAM_WRMSR, &registers);
	ticks = vcpu_run(vm, 0);
	vm_run_all(vm);
	return ticks;
}

/* vCPU 0's TSC deviates at last, from then on by something else each time. */
static void measure_guest_tsc(struct vm *vm)
{
	SAMPLES(adjust, "guest_tsc_adjust", "program");
	SAMPLES(write, "guest_tsc", "program");
	int i;

	guest_wrmsr(vm, MSR_TSC_ADJUST, 1000);
	for (i = 2; i < repetitions(vm->nr_vcpus) + 2; i++)
		add(&adjust, guest_wrmsr(vm, MSR_TSC_ADJUST, 1000 * i));
	for (i = 1; i < repetitions(vm->nr_vcpus) + 1; i++)
		add(&write, guest_wrmsr(vm, MSR_TSC, (__u64)i << 40));
	emit(&adjust, vm->nr_vcpus);
	emit(&write, vm->nr_vcpus);
}

/* TSCs differ, agree, differ: each write turns PVCLOCK_TSC_STABLE_BIT of all pages. */
static void measure_guest_toggle(struct vm *vm)
{
	SAMPLES(toggle, "guest_tsc_toggle", "program");
	int i;

	for (i = 1; i < repetitions(vm->nr_vcpus) + 1; i++)
		add(&toggle, guest_wrmsr(vm, MSR_TSC_ADJUST, i % 2 * 1000));
	emit(&toggle, vm->nr_vcpus);
}

static void measure_guest_enable(struct vm *vm)
{
	SAMPLES(enable, "guest_system_time", "program");
	int i;

	for (i = 0; i < repetitions(vm->nr_vcpus); i++)
		add(&enable, guest_wrmsr(vm, MSR_KVM_SYSTEM_TIME_NEW,
					 clock_page_address(0) | KVM_MSR_ENABLED));
	emit(&enable, vm->nr_vcpus);
}

/* As a VMM restores the vCPUs of its guest, one after the other. */
static void measure_set_tsc(struct vm *vm)
{
	SAMPLES(set, "set_msrs_tsc", "");
	__u64 sum;
	int i, vcpu;

	for (i = 1; i < repetitions(vm->nr_vcpus) + 1; i++) {
		for (sum = 0, vcpu = 0; vcpu < vm->nr_vcpus; vcpu++)
			sum += TICKS(vcpu_set_msr(vm, vcpu, MSR_TSC, (__u64)i << 40));
		add(&set, sum);
		vm_run_all(vm);
		vm_run_all(vm);
	}
	emit(&set, vm->nr_vcpus);
}

static __u64 tsc_offset(struct vm *vm, int vcpu, unsigned long request, __u64 *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	return TICKS(do_ioctl(vm->vcpus[vcpu].fd, request, "KVM_VCPU_TSC_OFFSET", &attr));
}

/* All vCPUs get the same offset, the one that they have moved by so much, and run. */
static void measure_offsets(struct vm *vm, struct samples *samples, __u64 move)
{
	__u64 offset, sum;
	int i, vcpu;

	for (i = 0; i < repetitions(vm->nr_vcpus); i++) {
		tsc_offset(vm, 0, KVM_GET_DEVICE_ATTR, &offset);
		offset += move;
		for (sum = 0, vcpu = 0; vcpu < vm->nr_vcpus; vcpu++)
			sum += tsc_offset(vm, vcpu, KVM_SET_DEVICE_ATTR, &offset);
		add(samples, sum + vm_run_all(vm));
		vm_run_all(vm);
	}
	emit(samples, vm->nr_vcpus);
}

static void measure_tsc_offset(struct vm *vm)
{
	SAMPLES(same, "tsc_offset_same", "");
	SAMPLES(moved, "tsc_offset_moved", "");

	measure_offsets(vm, &same, 0);
	measure_offsets(vm, &moved, 1 << 20);
}

/* Restore a line together with the TSC, as one host does to another; only our KVM can. */
static void measure_restore(struct vm *vm)
{
	SAMPLES(same, "restore_same", "");
	SAMPLES(moved, "restore_moved", "");
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ADJUST_CLOCK,
		.args = { KVM_CLOCK_GUEST_TSC },
	};
	struct kvm_clock_data data = {};
	int i, flags;

	flags = kvm_ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK);
	if (!(flags & KVM_CLOCK_GUEST_TSC))
		return;
	kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	for (i = 0; i < 2 * repetitions(vm->nr_vcpus); i++) {
		kvm_ioctl(vm->fd, KVM_GET_CLOCK, &data);
		if (!(data.flags & KVM_CLOCK_GUEST_TSC))
			die("no guest TSC to restore");
		data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
		if (i % 2)
			data.guest_tsc += 1000000;
		add(i % 2 ? &moved : &same,
		    TICKS(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data)));
		vm_run_all(vm);
	}
	emit(&same, vm->nr_vcpus);
	emit(&moved, vm->nr_vcpus);
}

/* Bare vCPUs, of which the last one counts. */
static void measure_create(int vcpus)
{
	SAMPLES(create_vm, "create_vm", "");
	SAMPLES(create_vcpu, "create_vcpu", "");
	struct vm vm;
	int i;

	for (i = 0; i < repetitions(vcpus); i++) {
		add(&create_vm, vm_create(&vm));
		while (vm.nr_vcpus < vcpus - 1)
			vm_add_vcpu(&vm);
		add(&create_vcpu, vm_add_vcpu(&vm));
		vm_destroy(&vm);
	}
	if (vcpus == 1)
		emit(&create_vm, vcpus);
	emit(&create_vcpu, vcpus);
}

/* What a guest leaves to KVM for and gets an answer to: 0 in EAX where it is a call. */
static void measure_exit(struct vm *vm, const char *name, enum program program,
			 const struct registers *registers)
{
	SAMPLES(samples, name, "program");
	int i;

	for (i = 0; i < repetitions(1); i++) {
		vcpu_program(vm, 0, program, registers);
		add(&samples, vcpu_run(vm, 0));
		if (program == PROGRAM_HYPERCALL && (__u32)vcpu_registers(vm, 0).rax)
			die("%s: the hypercall fails", name);
	}
	emit(&samples, vm->nr_vcpus);
}

static void measure_pairing(void)
{
	struct registers call = { .rax = KVM_HC_CLOCK_PAIRING, .rbx = PAIRING_ADDRESS };
	struct vm vm;

	vm_create(&vm);
	vm_start(&vm, 1);
	measure_exit(&vm, "clock_pairing", PROGRAM_HYPERCALL, &call);
	vm_destroy(&vm);
}

static void measure_hyperv(void)
{
	struct registers read = { .rcx = HV_TIME_REF_COUNT };
	struct vm vm;

	vm_create(&vm);
	vm_start_hyperv(&vm, 1);
	measure_exit(&vm, "hyperv_counter", PROGRAM_RDMSR, &read);
	if (!vcpu_registers(&vm, 0).rax && !vcpu_registers(&vm, 0).rdx)
		die("Hyper-V's counter is 0");
	vm_destroy(&vm);
}

static void measure_xen(void)
{
	struct kvm_xen_vcpu_attr timer = { .type = KVM_XEN_VCPU_ATTR_TYPE_TIMER };
	struct registers call = { .rax = XEN_SET_TIMER_OP };
	__u64 timeout;
	struct vm vm;

	vm_create(&vm);
	vm_enable_xen(&vm);
	vm_start(&vm, 1);
	timer.u.timer.port = 5;
	timer.u.timer.priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL;
	kvm_ioctl(vm.vcpus[0].fd, KVM_XEN_VCPU_SET_ATTR, &timer);
	timeout = vm_get_clock(&vm).clock + 1000 * NS_PER_S;
	call.rbx = (__u32)timeout;
	call.rcx = timeout >> 32;
	measure_exit(&vm, "xen_set_timer", PROGRAM_HYPERCALL, &call);
	vm_destroy(&vm);
}

/* One after the other on one VM. Those that leave TSCs behind that differ come last. */
static const struct {
	const char *name;
	void (*measure)(struct vm *vm);
} cases[] = {
	{ "floors",	measure_floors },
	{ "get",	measure_get },
	{ "set",	measure_set },
	{ "enable",	measure_guest_enable },
	{ "msrs",	measure_set_tsc },
	{ "offset",	measure_tsc_offset },
	{ "restore",	measure_restore },
	{ "toggle",	measure_guest_toggle },
	{ "tsc",	measure_guest_tsc },
};

/* Each on VMs of its own. */
static const struct {
	const char *name;
	void (*measure)(int vcpus);
} kinds[] = {
	{ "create",	measure_create },
	{ "host",	measure_host_clock },
	{ "absent",	measure_absent },
	{ "slot",	measure_no_slot },
	{ "pages",	measure_other_pages },
};

/* No case named is all of them. */
static int wanted(char **names, const char *name)
{
	char **n;

	for (n = names; *n && !atoi(*n); n++)
		if (!strcmp(*n, name))
			return 1;
	return n == names;
}

static void measure(int vcpus, char **names)
{
	struct vm vm;
	size_t i;

	vm_create(&vm);
	vm_start(&vm, vcpus);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		if (wanted(names, cases[i].name))
			cases[i].measure(&vm);
	vm_destroy(&vm);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (wanted(names, kinds[i].name))
			kinds[i].measure(vcpus);
	if (vcpus == 1 && wanted(names, "exits")) {
		measure_pairing();
		measure_hyperv();
		measure_xen();
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { 8192, 8192 };
	int i = 1;

	setrlimit(RLIMIT_NOFILE, &files);
	while (i < argc && !atoi(argv[i]))
		i++;
	if (i == argc)
		die("usage: kvmclock_bench [CASE...] VCPUS...");
	for (; i < argc; i++) {
		if (atoi(argv[i]) < 1)
			die("%s: no number of vCPUs", argv[i]);
		measure(atoi(argv[i]), argv + 1);
	}
	return 0;
}
