// SPDX-License-Identifier: GPL-2.0-only
/*
 * For how long the KVM clock keeps interrupts off, in ticks of the TSC: instructions, on the
 * emulated Intel host with its one CPU.
 *
 *	irqs_off VCPUS...
 *
 * The kernel's tracepoints of interrupts that go off and on say when; a sample is the longest time
 * in between while KVM did one thing, of the times that KVM itself began. The kernel that has
 * them checks its locks as well, so a sample is good for one question only: does it grow with the
 * number of vCPUs?
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "samples.h"
#include "vm.h"

#define TRACING		"/sys/kernel/tracing/"
#define CLOCKSOURCE	"/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define MSR_TSC		0x10
#define MSR_TSC_ADJUST	0x3b
#define REPETITIONS	3

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s: %m", file);
	close(fd);
}

static void trace_setup(void)
{
	put(TRACING "trace_clock", "x86-tsc");
	put(TRACING "buffer_size_kb", "16384");
	put(TRACING "tracing_on", "0");
	put(TRACING "events/preemptirq/irq_disable/enable", "1");
	put(TRACING "events/preemptirq/irq_enable/enable", "1");
}

/* "task-1 [000] d..1. 1234: irq_disable: caller=..." */
static int parse(const char *line, const char *event, __u64 *when)
{
	const char *found = strstr(line, event);

	if (!found)
		return 0;
	while (found > line && found[-1] >= '0' && found[-1] <= '9')
		found--;
	*when = strtoull(found, NULL, 10);
	return 1;
}

/* Not an interrupt, the scheduler, or the like; nor the time that the guest runs. */
static int is_kvms(const char *line)
{
	return strstr(line, "[kvm") && !strstr(line, "vcpu_enter_exit");
}

/* The longest time between an event of either kind, and how many there were. */
static __u64 longest(int *events)
{
	FILE *trace = fopen(TRACING "trace", "r");
	__u64 off = 0, when, most = 0;
	char line[512];

	if (!trace)
		die(TRACING "trace: %m");
	for (*events = 0; fgets(line, sizeof(line), trace);) {
		if (strstr(line, "LOST"))
			die("the trace has lost events");
		if (parse(line, ": irq_disable:", &when)) {
			off = is_kvms(line) ? when : 0;
			*events += !!off;
		} else if (off && parse(line, ": irq_enable:", &when)) {
			most = when - off > most ? when - off : most;
			off = 0;
		}
	}
	fclose(trace);
	return most;
}

static void sample(struct samples *samples, struct vm *vm, void (*action)(struct vm *vm, int i),
		   int i)
{
	int events;
	__u64 most;

	put(TRACING "trace", "");
	put(TRACING "tracing_on", "1");
	action(vm, i);
	put(TRACING "tracing_on", "0");
	most = longest(&events);
	if (!events)
		die("%s: KVM never turned interrupts off", samples->name);
	add(samples, most);
}

/* What a vCPU that runs first after a change has to do is part of each change. */
static void set_clock(struct vm *vm, int i)
{
	struct kvm_clock_data data = { .clock = (i + 1) * 1000000000000ULL };

	kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data);
	vcpu_run(vm, 0);
}

static void set_tsc(struct vm *vm, int i)
{
	vcpu_set_msr(vm, vm->nr_vcpus - 1, MSR_TSC, (__u64)(i + 1) << 40);
	vcpu_run(vm, 0);
}

/* vCPU 0's TSC is to differ from the others' and not to: both change all pages. */
static void guest_tsc_adjust(struct vm *vm, int i)
{
	struct registers registers = { .rcx = MSR_TSC_ADJUST, .rax = 1000 };

	(void)i;
	vcpu_program(vm, 0, PROGRAM_WRMSR, &registers);
	vcpu_run(vm, 0);
	registers.rax = 0;
	vcpu_program(vm, 0, PROGRAM_WRMSR, &registers);
	vcpu_run(vm, 0);
}

/* KVM hears of it later. */
static void clocksource(struct vm *vm, int i)
{
	(void)i;
	put(CLOCKSOURCE, "acpi_pm");
	usleep(20000);
	vcpu_run(vm, 0);
	put(CLOCKSOURCE, "tsc");
	usleep(20000);
	vcpu_run(vm, 0);
}

/* Not started: from here on nothing runs all vCPUs. */
static void create_vcpu(struct vm *vm, int i)
{
	(void)i;
	vm_add_vcpu(vm);
}

static const struct {
	const char *name;
	void (*action)(struct vm *vm, int i);
	int started;
} cases[] = {
	{ "irqs_off_set_clock",		set_clock,		1 },
	{ "irqs_off_clocksource",	clocksource,		1 },
	{ "irqs_off_set_tsc",		set_tsc,		1 },
	{ "irqs_off_guest_tsc",		guest_tsc_adjust,	1 },
	{ "irqs_off_create_vcpu",	create_vcpu,		0 },
};

static void measure(int vcpus)
{
	struct samples samples;
	struct vm vm;
	size_t c;
	int i;

	vm_create(&vm);
	vm_start(&vm, vcpus);
	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		samples = (struct samples){ .name = cases[c].name, .floor = "" };
		for (i = 0; i < REPETITIONS; i++) {
			sample(&samples, &vm, cases[c].action, i);
			if (cases[c].started)
				vm_run_all(&vm);
		}
		emit(&samples, vcpus);
	}
	vm_destroy(&vm);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 8192, 8192 };
	int i;

	setrlimit(RLIMIT_NOFILE, &files);
	trace_setup();
	for (i = 1; i < argc; i++)
		measure(atoi(argv[i]));
	return argc < 2;
}
