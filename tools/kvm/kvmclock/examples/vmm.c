// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * How a VMM moves the time of its guest, by KVM's ioctls alone.  vmm-lib.c does the same
 * with libkvmclock; why it is done so is in Documentation/virt/kvm/x86/kvmclock-vmm.rst.
 *
 *	gcc vmm.c -o vmm && ./vmm
 *
 * Runs a guest, saves its time, destroys it, restores it in another VM a second later,
 * and looks at what the guest reads there.  It is right on each kernel, and says whether
 * KVM restored the TSCs or the VMM had to.
 *
 *	-s	the source does not opt in, as on a kernel that has nothing to opt in to
 *	-d	nor does the destination
 *	-t	vCPU 1's TSC differs from vCPU 0's, as if the guest had written it
 *	-c CMD	run a command in between, instead of "sleep 1"
 */
#include <errno.h>
#include <time.h>

#include "machine.h"

#define MSR_IA32_TSC	0x10

/* What a VMM keeps of a guest's time. */
struct saved_time {
	struct kvm_clock_data clock;	/* all of it that KVM_GET_CLOCK has returned */
	uint32_t tsc_khz;
	uint64_t tsc_offset[NR_VCPUS];	/* for their differences */
	uint64_t tsc[NR_VCPUS];		/* for where KVM_SET_CLOCK cannot restore them */
};

static uint64_t get_tsc(int vcpu)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} msr = { .nmsrs = 1, .entry.index = MSR_IA32_TSC };

	if (ioctl(vcpu, KVM_GET_MSRS, &msr) != 1)
		err(1, "KVM_GET_MSRS of the TSC");

	return msr.entry.data;
}

static uint64_t get_tsc_offset(int vcpu)
{
	uint64_t offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	checked(ioctl(vcpu, KVM_GET_DEVICE_ATTR, &attr), "KVM_VCPU_TSC_OFFSET");
	return offset;
}

static void set_tsc_offset(int vcpu, uint64_t offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	checked(ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr), "KVM_VCPU_TSC_OFFSET");
}

#define WANTED		(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI)

static uint32_t known_flags(int vm)
{
	return checked(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK), "KVM_CHECK_EXTENSION");
}

/* When a VM is created, on both hosts. Returns the flags that can be used with it. */
static uint32_t opt_in(int vm)
{
	uint32_t known = known_flags(vm);
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ADJUST_CLOCK,
		.args[0] = known & WANTED,
	};

	if (cap.args[0] && ioctl(vm, KVM_ENABLE_CAP, &cap)) {
		warn("KVM_ENABLE_CAP");
		return known & ~WANTED;		/* as on a kernel that has not got them */
	}

	return known;
}

/* Before the first vCPU is created: the frequency that the line is for. */
static void set_frequency(int vm, uint32_t khz)
{
	if (ioctl(vm, KVM_SET_TSC_KHZ, khz))
		err(1, "KVM_SET_TSC_KHZ");
}

/* And after: a host that cannot scale TSCs has only frequencies that are near its own. */
static void check_frequency(int vcpu, uint32_t khz)
{
	int here = checked(ioctl(vcpu, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");

	if (llabs((int64_t)here - khz) > khz / 4000)
		errx(1, "the guest's TSC runs at %d kHz here, not %u", here, khz);
}

/* The source, with the vCPUs stopped. */
static void save_time(const struct machine *m, struct saved_time *t)
{
	struct timespec now;
	int i;

	t->tsc_khz = checked(ioctl(m->vcpu[0], KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");
	for (i = 0; i < NR_VCPUS; i++) {
		t->tsc_offset[i] = get_tsc_offset(m->vcpu[i]);
		t->tsc[i] = get_tsc(m->vcpu[i]);
	}

	if (ioctl(m->vm, KVM_GET_CLOCK, &t->clock))	/* keep all of it */
		err(1, "KVM_GET_CLOCK");
	if (t->clock.flags & KVM_CLOCK_REALTIME)
		return;

	/* A kernel that does not tell, or not without master clock: some us later has to do. */
	clock_gettime(CLOCK_REALTIME, &now);
	t->clock.realtime = now.tv_sec * 1000000000ull + now.tv_nsec;
	t->clock.flags |= KVM_CLOCK_REALTIME;
}

/* Before KVM_SET_CLOCK: by how much the TSCs differ, because the guest has written them. */
static void restore_differences(const struct machine *m, const struct saved_time *t)
{
	uint64_t base = get_tsc_offset(m->vcpu[0]);
	bool differ = false;
	int i;

	for (i = 1; i < NR_VCPUS; i++)
		differ |= t->tsc_offset[i] != t->tsc_offset[0];

	for (i = NR_VCPUS - 1; differ && i >= 0; i--)	/* the boot vCPU last */
		set_tsc_offset(m->vcpu[i], base + t->tsc_offset[i] - t->tsc_offset[0]);
}

/*
 * KVM has restored the clock only, which has gained @ns since the save: so do the TSCs.
 * That is as exact as a kHz, and as what passes between two ioctls.
 */
static void restore_tscs(const struct machine *m, const struct saved_time *t, uint64_t ns)
{
	uint64_t cycles = (__uint128_t)ns * t->tsc_khz / 1000000;
	int i;

	for (i = NR_VCPUS - 1; i >= 0; i--)
		set_msr(m->vcpu[i], MSR_IA32_TSC, t->tsc[i] + cycles);
	restore_differences(m, t);
}

/* As late as possible before the vCPUs run. Returns whether KVM restored the TSCs, too. */
static bool restore_time(const struct machine *m, const struct saved_time *t, uint32_t usable)
{
	struct kvm_clock_data data = t->clock, now;
	int r;

	restore_differences(m, t);

	data.flags &= usable & (KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME | KVM_CLOCK_TAI);
	data.flags |= usable & (KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED);
	r = ioctl(m->vm, KVM_SET_CLOCK, &data);
	if (r && errno == ERANGE) {			/* the line is for another frequency */
		data.flags &= ~KVM_CLOCK_GUEST_TSC;
		r = ioctl(m->vm, KVM_SET_CLOCK, &data);
	}
	if (r || ioctl(m->vm, KVM_GET_CLOCK, &now))
		err(1, "the clock");

	if (data.flags & now.flags & KVM_CLOCK_GUEST_TSC)
		return true;				/* write no TSC after that */

	restore_tscs(m, t, now.clock - t->clock.clock);
	return false;
}

struct options {
	bool no_source;
	bool no_destination;
	bool skew;
	const char *command;
};

static struct options parse(int argc, char **argv)
{
	struct options opt = { .command = "sleep 1" };
	int o;

	while ((o = getopt(argc, argv, "sdtc:")) != -1) {
		opt.no_source |= o == 's';
		opt.no_destination |= o == 'd';
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
	struct machine source, destination;
	struct saved_time t;
	uint64_t pause_ns;
	uint32_t usable;
	bool exact;

	machine_create(&source);
	if (!opt.no_source)
		opt_in(source.vm);
	machine_create_vcpus(&source);
	if (opt.skew)
		machine_skew(&source, 1 << 30);
	machine_run(&source, before);
	save_time(&source, &t);
	machine_destroy(&source);

	pause_ns = machine_pause(opt.command);

	machine_create(&destination);
	usable = known_flags(destination.vm) & ~WANTED;
	if (!opt.no_destination)
		usable = opt_in(destination.vm);
	set_frequency(destination.vm, t.tsc_khz);
	machine_create_vcpus(&destination);
	check_frequency(destination.vcpu[0], t.tsc_khz);
	exact = restore_time(&destination, &t, usable);
	machine_run(&destination, after);
	machine_destroy(&destination);

	printf("TSCs restored by %s\n", exact ? "KVM" : "the VMM");
	return guest_is_right(before, after, pause_ns, exact) ? 0 : 1;
}
