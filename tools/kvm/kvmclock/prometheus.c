// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs and their clocks in the text format of Prometheus, for node_exporter's textfile
 * collector.  What is not known is left out.
 */
#include "watch.h"

#define NSEC_PER_SEC	1000000000ull

static void head(FILE *file, const char *name, const char *type, const char *help)
{
	fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A command has no control characters any more. */
static void sample(FILE *file, const char *name, const struct vm *vm)
{
	const char *p;

	fprintf(file, "%s{vm=\"%s\",pid=\"%d\",command=\"", name, vm->name, vm->pid);
	for (p = vm->command; *p; p++)
		fprintf(file, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	fputs("\"} ", file);
}

static void print_number(FILE *file, const char *name, const struct vm *vm, struct value value)
{
	if (!value.known)
		return;

	sample(file, name, vm);
	fprintf(file, "%llu\n", (unsigned long long)value.value);
}

static void print_seconds(FILE *file, const char *name, const struct vm *vm, struct value ns)
{
	if (!ns.known)
		return;

	sample(file, name, vm);
	fprintf(file, "%llu.%09llu\n", ns.value / NSEC_PER_SEC, ns.value % NSEC_PER_SEC);
}

static struct value get_vcpus(const struct vm *vm)
{
	return (struct value) { true, vm->vcpus };
}

static struct value get_equal(const struct vm *vm)
{
	return (struct value) { vm->vcpus, vm->equal };
}

static struct value get_clock(const struct vm *vm)
{
	return vm->clock;
}

static struct value get_master(const struct vm *vm)
{
	return (struct value) { vm->clock.known, !!(vm->flags & KVMCLOCK_TSC_STABLE) };
}

static struct value get_updates(const struct vm *vm)
{
	return vm->stats[STAT_UPDATES];
}

static struct value get_reanchors(const struct vm *vm)
{
	return vm->stats[STAT_REANCHORS];
}

static struct value get_raised(const struct vm *vm)
{
	return vm->stats[STAT_RAISED];
}

static struct value get_raised_max(const struct vm *vm)
{
	return vm->stats[STAT_RAISED_MAX];
}

static const struct {
	const char *name;
	const char *type;
	const char *help;
	struct value (*get)(const struct vm *vm);
	void (*print)(FILE *file, const char *name, const struct vm *vm, struct value value);
} metrics[] = {
	{ "kvmclock_uptime_seconds", "gauge", "Time since the VM was created.", vm_uptime_s,
	  print_number },
	{ "kvmclock_vcpus", "gauge", "vCPUs of the VM.", get_vcpus, print_number },
	{ "kvmclock_tsc_offsets_equal", "gauge", "1 if all vCPUs have the same TSC offset.",
	  get_equal, print_number },
	{ "kvmclock_clock_seconds", "gauge", "KVM clock of the VM.", get_clock, print_seconds },
	{ "kvmclock_master_clock", "gauge", "1 if the VM runs the master clock.", get_master,
	  print_number },
	{ "kvmclock_updates_total", "counter", "Updates of the clock.", get_updates,
	  print_number },
	{ "kvmclock_reanchors_total", "counter", "Lines of the clock that were drawn anew.",
	  get_reanchors, print_number },
	{ "kvmclock_raised_total", "counter", "Times that the clock was kept from going back.",
	  get_raised, print_number },
	{ "kvmclock_raised_max_seconds", "gauge", "The most that the clock was raised by.",
	  get_raised_max, print_seconds },
};

void prometheus_print(FILE *file, const struct vm *vms, uint32_t n)
{
	uint32_t i, k;

	for (i = 0; i < ARRAY_SIZE(metrics); i++) {
		head(file, metrics[i].name, metrics[i].type, metrics[i].help);
		for (k = 0; k < n; k++)
			metrics[i].print(file, metrics[i].name, &vms[k], metrics[i].get(&vms[k]));
	}
}
