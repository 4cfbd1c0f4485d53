// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Unit test of examples/vmm.c, and of the library beside it, on simulated kernels: who
 * restores the TSCs, for each kind of source and destination.  These are the cells of the
 * table in Documentation/virt/kvm/x86/kvmclock-vmm.rst.
 */
#include <err.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "fake_kvm.h"
#include "tap.h"
#include "tsc_math.h"

int vmm_main(int argc, char **argv);

static int warnings;

#define warn(...)	(warnings++)
#define ioctl(fd, request, arg) \
	kvmclock_ioctl(fd, request, (void *)(unsigned long)(arg))
#define main vmm_main
#include "examples/vmm.c"
#undef main
#undef ioctl
#undef warn

#define STOCK	14	/* what KVM_CAP_ADJUST_CLOCK returns: mainline, */
#define OURS	254	/* with all that this tree adds */

#define SECOND	1000000000LL
#define KHZ	1500000

enum kind { ON_STOCK, NOT_OPTED_IN, OPTED_IN, NO_MASTER_CLOCK, NR_KINDS };

static const char * const kind_names[] = {
	"stock", "not opted in", "opted in", "no master clock"
};

/* A host whose TSC runs at @khz, with a VM. */
static struct fake_kvm host(enum kind kind, uint32_t khz, uint64_t tsc)
{
	return (struct fake_kvm){
		.adjust_clock = kind == ON_STOCK ? STOCK : OURS,
		.enable_cap_errno = kind == NOT_OPTED_IN ? EPERM : 0,
		.no_master_clock = kind == NO_MASTER_CLOCK,
		.khz = khz,
		.vm_khz = khz,
		.frac_bits = 48,
		.step = 100,
		.tsc = tsc,
		.wall_ns = 1800000000 * SECOND - (__uint128_t)tsc * 1000000 / khz,
	};
}

/* Probing creates a VM of its own. */
static struct kvmclock_caps probe(const struct fake_kvm *h)
{
	struct fake_kvm scratch = *h;
	struct kvmclock_caps caps;

	scratch.nr_vcpus = 0;
	fake_use(&scratch);
	kvmclock_probe(-1, &caps);

	return caps;
}

static struct machine machine(void)
{
	return (struct machine) {
		.vm = FAKE_VM_FD,
		.vcpu = { FAKE_VCPU_FD, FAKE_VCPU_FD + 1 },
	};
}

static void create_vcpus(struct fake_kvm *h)
{
	int i;

	h->nr_vcpus = NR_VCPUS;
	for (i = 0; i < NR_VCPUS; i++)
		h->offset[i] = h->ref_offset;
}

/* A guest that is an hour old, and has written its TSCs. */
static void run_source(struct fake_kvm *h)
{
	int i;

	fake_use(h);
	h->vm_khz = KHZ;
	create_vcpus(h);
	for (i = 0; i < NR_VCPUS; i++)
		h->offset[i] += 12345 + 70000 * i;
	fake_set_clock(h, 3600 * SECOND);
	fake_run(h, 2 * SECOND);
}

/* Another second passes on the way. */
static void travel(const struct fake_kvm *from, struct fake_kvm *to)
{
	fake_use(to);
	fake_run(to, fake_wall(from) + SECOND - fake_wall(to));
}

/* By how much more than wall time the clock has gained, and each TSC than the clock. */
static bool is_right(const struct fake_kvm *from, const struct fake_kvm *to, int64_t wall_limit,
		     int64_t limit)
{
	int64_t wall = fake_wall(to) - fake_wall(from);
	int64_t clock = fake_clock(to) - fake_clock(from);
	int64_t tsc;
	uint32_t i;

	if (llabs(clock - wall) > wall_limit)
		return false;

	for (i = 0; i < NR_VCPUS; i++) {
		tsc = (__int128)(int64_t)(fake_tsc(to, i) - fake_tsc(from, i)) * 1000000 / KHZ;
		if (llabs(tsc - clock) > limit)
			return false;
	}

	return true;
}

/* Only there does KVM restore the TSCs. */
static bool by_kvm(enum kind source, enum kind destination)
{
	return source == OPTED_IN && destination == OPTED_IN;
}

static void test_example(enum kind source, enum kind destination)
{
	struct fake_kvm from = host(source, 3000000, 5000000 * SECOND);
	struct fake_kvm to = host(destination, 2200000, 77 * SECOND);
	struct machine m = machine();
	struct saved_time t;
	uint32_t usable;
	bool exact;

	warnings = 0;
	run_source(&from);
	opt_in(m.vm);
	save_time(&m, &t);

	travel(&from, &to);
	usable = opt_in(m.vm);
	set_frequency(m.vm, t.tsc_khz);
	create_vcpus(&to);
	check_frequency(m.vcpu[0], t.tsc_khz);
	exact = restore_time(&m, &t, usable);

	tap_ok(exact == by_kvm(source, destination), "%s to %s: TSCs by %s", kind_names[source],
	       kind_names[destination], exact ? "KVM" : "the VMM");
	tap_ok(is_right(&from, &to, 1000, exact ? 400 : 5000), "%s to %s: clock and TSCs",
	       kind_names[source], kind_names[destination]);
	tap_ok(!exact || !to.msr_writes, "%s to %s: %d TSCs written", kind_names[source],
	       kind_names[destination], to.msr_writes);
	tap_ok(to.offset[1] - to.offset[0] == 70000, "%s to %s: their difference",
	       kind_names[source], kind_names[destination]);
	tap_ok(warnings == (source == NOT_OPTED_IN) + (destination == NOT_OPTED_IN),
	       "%s to %s: %d warnings", kind_names[source], kind_names[destination], warnings);
}

static int library_restore(struct fake_kvm *from, struct fake_kvm *to,
			   struct kvmclock_report *rep)
{
	const struct machine m = machine();
	struct kvmclock_caps caps = probe(from);
	struct kvmclock_vm vm = {
		.vm_fd = m.vm, .vcpu_fds = m.vcpu, .nr_vcpus = NR_VCPUS, .caps = &caps,
	};
	struct kvmclock_record *rec;
	int r;

	run_source(from);
	r = kvmclock_save(&vm, 0, &rec);
	if (r)
		return r;

	caps = probe(to);
	travel(from, to);
	vm.nr_vcpus = 0;
	r = kvmclock_prepare(&vm, KHZ, 0);
	create_vcpus(to);
	vm.nr_vcpus = NR_VCPUS;
	r = r ?: kvmclock_restore(&vm, rec, NULL, rep);
	kvmclock_record_free(rec);

	return r;
}

static void test_library(enum kind source, enum kind destination)
{
	const uint32_t way = destination == OPTED_IN ? KVMCLOCK_WAY_EXACT : KVMCLOCK_WAY_OFFSET;
	struct fake_kvm from = host(source, 3000000, 5000000 * SECOND);
	struct fake_kvm to = host(destination, 2200000, 77 * SECOND);
	struct kvmclock_report rep = { };
	int r = library_restore(&from, &to, &rep);

	tap_ok(!r && rep.way == way, "library, %s to %s: %s (%s)", kind_names[source],
	       kind_names[destination], kvmclock_way_name(rep.way), kvmclock_strerror(r));
	tap_ok(is_right(&from, &to, 5000, 5000), "library, %s to %s: clock and TSCs",
	       kind_names[source], kind_names[destination]);
	tap_ok(!(rep.notes & KVMCLOCK_NOTE_SAVED_INEXACT) == (source == OPTED_IN),
	       "library, %s to %s: note of the source", kind_names[source],
	       kind_names[destination]);
	tap_ok(!(rep.notes & KVMCLOCK_NOTE_NO_MASTER_CLOCK) == (destination != NO_MASTER_CLOCK),
	       "library, %s to %s: note of the destination", kind_names[source],
	       kind_names[destination]);
}

/* A frequency that KVM does not take the line for: by wall time. */
static void test_range(void)
{
	struct fake_kvm from = host(OPTED_IN, 3000000, 5000000 * SECOND);
	struct fake_kvm to = host(OPTED_IN, 2200000, 77 * SECOND);
	struct machine m = machine();
	struct saved_time t;
	uint32_t usable;
	bool exact;

	run_source(&from);
	opt_in(m.vm);
	save_time(&m, &t);

	to.set_guest_tsc_errno = ERANGE;
	travel(&from, &to);
	usable = opt_in(m.vm);
	set_frequency(m.vm, t.tsc_khz);
	create_vcpus(&to);
	exact = restore_time(&m, &t, usable);
	tap_ok(!exact && to.msr_writes == NR_VCPUS && is_right(&from, &to, 1000, 5000),
	       "ERANGE: TSCs by the VMM");
}

int main(void)
{
	enum kind source, destination;

	for (source = 0; source < NR_KINDS; source++) {
		for (destination = 0; destination < NR_KINDS; destination++) {
			test_example(source, destination);
			test_library(source, destination);
		}
	}
	test_range();

	return tap_done();
}
