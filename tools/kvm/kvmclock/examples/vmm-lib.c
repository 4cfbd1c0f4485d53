// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * How a VMM moves the time of its guest with libkvmclock; vmm.c does the same without.
 *
 *	gcc vmm-lib.c -o vmm-lib -lkvmclock && ./vmm-lib
 *
 * Runs a guest, saves its time, destroys it, restores it in another VM a second later,
 * and looks at what the guest reads there.
 *
 *	-s	save as a kernel without KVM_CLOCK_GUEST_TSC would
 *	-d	restore by offsets, as there
 *	-t	vCPU 1's TSC differs from vCPU 0's, as if the guest had written it
 *	-c CMD	run a command in between, instead of "sleep 1"
 */
#include <libkvmclock.h>

#include "machine.h"

static void check(int r, const char *what)
{
	if (r)
		errx(1, "%s: %s", what, kvmclock_strerror(r));
}

/* The source, with the vCPUs stopped. The bytes can be sent to any host. */
static void *save_time(const struct kvmclock_vm *vm, uint32_t flags, size_t *size)
{
	struct kvmclock_record *rec;
	void *bytes;

	check(kvmclock_save(vm, flags, &rec), "kvmclock_save");
	*size = kvmclock_record_size(rec);
	bytes = malloc(*size);
	if (!bytes)
		err(1, "memory");
	check(kvmclock_record_write(rec, bytes, *size), "kvmclock_record_write");
	kvmclock_record_free(rec);

	return bytes;
}

static struct kvmclock_record *read_time(const void *bytes, size_t size)
{
	struct kvmclock_record *rec;

	check(kvmclock_record_read(bytes, size, &rec), "kvmclock_record_read");
	return rec;
}

/* Before the first vCPU is created. */
static void prepare(const struct kvmclock_vm *vm, const struct kvmclock_record *rec)
{
	struct kvmclock_info info;

	kvmclock_record_info(rec, &info);
	check(kvmclock_prepare(vm, info.tsc_khz, 0), "kvmclock_prepare");
}

/* As late as possible before the vCPUs run. No TSC is written after it. */
static struct kvmclock_report restore_time(const struct kvmclock_vm *vm,
					   const struct kvmclock_record *rec, uint32_t way)
{
	struct kvmclock_restore_options opt = { .way = way, .flags = KVMCLOCK_GUEST_STOPPED };
	struct kvmclock_report report;
	uint32_t note;

	check(kvmclock_restore(vm, rec, &opt, &report), "kvmclock_restore");
	for (note = 0; note < KVMCLOCK_NR_NOTES; note++) {
		if (report.notes & 1u << note)
			printf("note: %s\n", kvmclock_note_text(1u << note));
	}

	return report;
}

struct options {
	uint32_t save_flags;
	uint32_t way;
	bool skew;
	const char *command;
};

static struct options parse(int argc, char **argv)
{
	struct options opt = { .command = "sleep 1" };
	int o;

	while ((o = getopt(argc, argv, "sdtc:")) != -1) {
		if (o == 's')
			opt.save_flags = KVMCLOCK_SAVE_NO_GUEST_TSC;
		if (o == 'd')
			opt.way = KVMCLOCK_WAY_OFFSET;
		opt.skew |= o == 't';
		if (o == 'c')
			opt.command = optarg;
		if (o == '?')
			exit(2);
	}

	return opt;
}

int main(int argc, char **argv)
{
	struct options opt = parse(argc, argv);
	struct reading before[NR_VCPUS], after[NR_VCPUS];
	struct kvmclock_report report;
	struct kvmclock_record *rec;
	struct kvmclock_caps caps;
	struct kvmclock_vm vm = { .caps = &caps };
	struct machine m;
	uint64_t pause_ns;
	bool exact;
	void *bytes;
	size_t size;

	check(kvmclock_probe(-1, &caps), "kvmclock_probe");

	machine_create(&m);
	vm.vm_fd = m.vm;
	check(kvmclock_prepare(&vm, 0, 0), "kvmclock_prepare");
	machine_create_vcpus(&m);
	vm.vcpu_fds = m.vcpu;
	vm.nr_vcpus = NR_VCPUS;
	if (opt.skew)
		machine_skew(&m, 1 << 30);
	machine_run(&m, before);
	bytes = save_time(&vm, opt.save_flags, &size);
	machine_destroy(&m);

	pause_ns = machine_pause(opt.command);

	rec = read_time(bytes, size);
	machine_create(&m);
	vm = (struct kvmclock_vm) { .vm_fd = m.vm, .caps = &caps };
	prepare(&vm, rec);
	machine_create_vcpus(&m);
	vm.vcpu_fds = m.vcpu;
	vm.nr_vcpus = NR_VCPUS;
	report = restore_time(&vm, rec, opt.way);
	machine_run(&m, after);
	machine_destroy(&m);
	kvmclock_record_free(rec);
	free(bytes);

	exact = report.way == KVMCLOCK_WAY_EXACT && !(report.notes & KVMCLOCK_NOTE_SAVED_INEXACT);
	printf("restored by the way %s: %s\n", kvmclock_way_name(report.way),
	       kvmclock_way_text(report.way));
	return guest_is_right(before, after, pause_ns, exact) ? 0 : 1;
}
