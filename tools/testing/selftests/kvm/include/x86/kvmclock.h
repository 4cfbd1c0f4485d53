/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kvmclock_* tests share: a VM whose vCPUs do what the host tells
 * them, the lines that its pvclock pages hold, and the record of measurements.
 *
 * A pvclock page is a line that maps the vCPU's TSC to nanoseconds.  The tests
 * never compare durations: they take the lines before and after an event and
 * evaluate both at one and the same TSC, exactly as the guest does.  The result
 * is a property of the code, however slow the machine or its emulator is.
 *
 * TSC offsets change, so "the same TSC" means the same host TSC h, at which
 * vCPU i reads scale(h) + offset_i.
 */
#ifndef SELFTEST_KVM_KVMCLOCK_H
#define SELFTEST_KVM_KVMCLOCK_H

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <asm/kvm_para.h>

#include "hyperv.h"
#include "kvm_util.h"
#include "kvmclock_guests.h"
#include "processor.h"
#include "test_util.h"

#define KVMCLOCK_MAX_VCPUS	352
#define KVMCLOCK_MAX_SAMPLES	256

#define KVMCLOCK_MASTER_FLAGS	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

/* What GET has for a VM that opted in to the guest's TSC. */
#define KVMCLOCK_RESTORE_FLAGS	(KVMCLOCK_MASTER_FLAGS | KVM_CLOCK_GUEST_TSC)

#define KVMCLOCK_SYSFS	"/sys/devices/system/clocksource/clocksource0/"

/* ---- Guest ---- */

enum kvmclock_op {
	KVMCLOCK_NOP,
	KVMCLOCK_RDMSR,		/* ret = rdmsr(arg0) */
	KVMCLOCK_WRMSR,		/* wrmsr(arg0, arg1) */
	KVMCLOCK_ADD_MSR,	/* wrmsr(arg0, rdmsr(arg0) + arg1) */
	KVMCLOCK_READ,		/* ret = the clock through time[arg0] */
	KVMCLOCK_RDTSC,		/* ret = the TSC, read as a tsc clocksource does */
	KVMCLOCK_LOOK,		/* reading = the clock as each kind of guest reads it */
};

/* One page per vCPU: the host's order, the guest's answer, the pvclock pages. */
struct kvmclock_guest {
	u64 op;
	u64 arg[2];
	u64 ret;
	struct pvclock_vcpu_time_info time[2] __aligned(64);
	struct pvclock_wall_clock wall __aligned(64);
	/* The guest's addresses; what is read there, all at one TSC; which kinds can. */
	struct kvmclock_pages pages;
	u64 reading[KVMCLOCK_NR_FORMULAS];
	u64 kinds;
	/* Hyper-V's counter, read after that, where its page is. */
	u64 counter;
};

/*
 * Copy the line out of a page, with the version protocol of pvclock-abi.h.
 * rdtsc() is fenced on both sides, so the TSC belongs to the version read.
 */
static inline u64 kvmclock_snapshot(const struct pvclock_vcpu_time_info *page,
				    struct pvclock_vcpu_time_info *line)
{
	u32 version;
	u64 tsc;

	do {
		version = READ_ONCE(page->version);
		asm volatile("lfence" ::: "memory");
		memcpy(line, (const void *)page, sizeof(*line));
		tsc = rdtsc();
		asm volatile("lfence" ::: "memory");
	} while ((version & 1) || version != READ_ONCE(page->version));

	return tsc;
}

/* Readings of a guest, and pages seen by the host, of which guests make different things. */
static int kvmclock_guest_differs, kvmclock_differs;

/* What the guest reads at @tsc.  Guests that compare have to read the same. */
static inline u64 kvmclock_guest_eval(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	u64 now = kvmclock_eval(line, tsc);

	if ((s64)(tsc - line->tsc_timestamp) >= 0 && kvmclock_eval_compared(line, tsc) != now)
		__sync_fetch_and_add(&kvmclock_guest_differs, 1);
	return now;
}

/* For the guest. */
static inline u64 kvmclock_read(const struct pvclock_vcpu_time_info *page)
{
	struct pvclock_vcpu_time_info line;
	u64 tsc = kvmclock_snapshot(page, &line);

	return kvmclock_guest_eval(&line, tsc);
}

/* ---- Guests whose vCPUs compare their readings ---- */

/* Readings that were less than one from before, and by how much at most. */
struct kvmclock_backwards {
	u64 nr;
	u64 worst_ns;
};

/* @highest was loaded before the clock was read: rdtsc() is fenced. */
static inline void kvmclock_note_reading(struct kvmclock_backwards *back, u64 highest, u64 now)
{
	if ((s64)(now - highest) >= 0)
		return;

	back->nr++;
	if (highest - now > back->worst_ns)
		back->worst_ns = highest - now;
}

static inline void kvmclock_add_backwards(struct kvmclock_backwards *sum,
					  const struct kvmclock_backwards *back)
{
	sum->nr += back->nr;
	if (back->worst_ns > sum->worst_ns)
		sum->worst_ns = back->worst_ns;
}

/* What all have to reach from now on. */
static inline void kvmclock_raise(u64 *highest, u64 now)
{
	u64 seen = READ_ONCE(*highest), old;

	while ((s64)(now - seen) > 0) {
		old = __sync_val_compare_and_swap(highest, seen, now);
		if (old == seen)
			break;
		seen = old;
	}
}

/* A guest of each kind goes on from what it has read before. */
static inline void kvmclock_guest_look(struct kvmclock_guest *guest)
{
	const struct kvmclock_formula *formula;
	struct kvmclock_view view;
	u64 tsc, kind;

	tsc = kvmclock_look(&guest->pages, &view);
	guest->kinds = 0;
	for (kind = 0; kind < KVMCLOCK_NR_FORMULAS; kind++) {
		formula = &kvmclock_formulas[kind];
		if (!formula->can(&view))
			continue;
		guest->reading[kind] = formula->read(&view, tsc, guest->reading[kind]);
		guest->kinds |= 1UL << kind;
	}
	if (guest->pages.hyperv)
		guest->counter = kvmclock_hyperv_counter();
}

static inline void kvmclock_guest_do(struct kvmclock_guest *guest)
{
	switch (guest->op) {
	case KVMCLOCK_RDMSR:
		guest->ret = rdmsr(guest->arg[0]);
		break;
	case KVMCLOCK_WRMSR:
		wrmsr(guest->arg[0], guest->arg[1]);
		break;
	case KVMCLOCK_ADD_MSR:
		wrmsr(guest->arg[0], rdmsr(guest->arg[0]) + guest->arg[1]);
		break;
	case KVMCLOCK_READ:
		guest->ret = kvmclock_read(&guest->time[guest->arg[0]]);
		break;
	case KVMCLOCK_RDTSC:
		guest->ret = rdtsc();
		break;
	case KVMCLOCK_LOOK:
		kvmclock_guest_look(guest);
		break;
	}
}

static inline void kvmclock_guest_main(struct kvmclock_guest *guest)
{
	for (;;) {
		kvmclock_guest_do(guest);
		GUEST_UCALL_NONE();
	}
}

/* Readings until a vCPU that only reads lets user space have a look. */
#define KVMCLOCK_BATCH	64

/* Read the clock all the time: arg[0] counts readings, ret is the worst step back. */
static inline void kvmclock_guest_reader(struct kvmclock_guest *guest)
{
	u64 now, last = 0;

	for (;;) {
		now = kvmclock_read(&guest->time[0]);
		if (last > now && last - now > guest->ret)
			guest->ret = last - now;
		last = now;
		guest->arg[0]++;
		if (!(guest->arg[0] % KVMCLOCK_BATCH))
			GUEST_UCALL_NONE();
	}
}

/* ---- Host's clocks ---- */

static inline u64 kvmclock_host_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- TSC frequencies ---- */

/* The host's tsc_khz: what KVM takes 0 for. */
static inline u32 kvmclock_host_khz(void)
{
	static u32 khz;
	struct kvm_vm *vm;

	if (khz)
		return khz;

	vm = vm_create_barebones();
	vm_ioctl(vm, KVM_SET_TSC_KHZ, NULL);
	khz = __vm_ioctl(vm, KVM_GET_TSC_KHZ, NULL);
	kvm_vm_free(vm);
	return khz;
}

static inline bool kvmclock_can_scale(void)
{
	return kvm_has_cap(KVM_CAP_TSC_CONTROL) && kvm_has_cap(KVM_CAP_VM_TSC_CONTROL);
}

static inline int kvmclock_frac_bits(void)
{
	return host_cpu_is_intel ? 48 : 32;
}

/* How far two TSC frequencies may differ that KVM takes for the same. */
static inline u64 kvmclock_tolerance_ppm(void)
{
	return kvm_get_module_param_integer("kvm", "tsc_tolerance_ppm");
}

/*
 * The scaling ratio that KVM programs for a guest TSC of @khz (0: the host's):
 * khz / tsc_khz as a fixed-point number, rounded down, with 48 fractional bits
 * on VMX and 32 on SVM; but 1.0 if @khz is within tsc_tolerance_ppm of tsc_khz, or
 * the host cannot scale.
 */
static inline u64 kvmclock_ratio(u32 khz)
{
	unsigned __int128 one = 1ULL << kvmclock_frac_bits();
	u64 host = kvmclock_host_khz(), ppm = kvmclock_tolerance_ppm();

	if (!khz || !kvmclock_can_scale() ||
	    (khz >= host * (1000000 - ppm) / 1000000 &&
	     khz <= host * (1000000 + ppm) / 1000000))
		return one;

	return one * khz / host;
}

/* The first host TSC at which kvmclock_scale() is @tsc or more. */
static inline u64 kvmclock_unscale(u64 tsc, u64 ratio)
{
	unsigned __int128 shifted = (unsigned __int128)tsc << kvmclock_frac_bits();

	return (shifted + ratio - 1) / ratio;
}

/* What a guest with scaling ratio @ratio and TSC offset 0 reads at host TSC @tsc. */
static inline u64 kvmclock_scale(u64 tsc, u64 ratio)
{
	return kvmclock_mul_shr(tsc, ratio, kvmclock_frac_bits());
}

struct kvmclock_mode {
	const char *name;
	u32 khz;
};

#define KVMCLOCK_MAX_MODES	4

/*
 * 1:1; a round frequency; one below and one above the host's that make a ratio
 * with no exact binary fraction and a frequency that is no whole number of kHz.
 */
static inline const struct kvmclock_mode *kvmclock_modes(void)
{
	static struct kvmclock_mode modes[KVMCLOCK_MAX_MODES] = {
		{ "1to1", 0 },
		{ "1500MHz", 1500000 },
		{ "down" },
		{ "up" },
	};
	u64 host = kvmclock_host_khz();

	modes[2].khz = host * 3 / 7;
	modes[3].khz = host * 2 + 1;
	return modes;
}

/*
 * Without TSC scaling, only the first one.  KVMCLOCK_MODES in the environment names
 * those that are tested, e.g. "down up"; else it is all of them.
 */
static inline bool kvmclock_mode_is_tested(int mode)
{
	const char *names = getenv("KVMCLOCK_MODES");

	if (!kvmclock_can_scale())
		return !mode;
	return !names || strstr(names, kvmclock_modes()[mode].name);
}

/* Go on to the next mode that is tested, from -1 to the first one.  False behind the last. */
static inline bool kvmclock_next_mode(int *mode)
{
	while (++*mode < KVMCLOCK_MAX_MODES)
		if (kvmclock_mode_is_tested(*mode))
			return true;
	return false;
}

static inline int kvmclock_nr_modes(void)
{
	int mode = -1, nr = 0;

	while (kvmclock_next_mode(&mode))
		nr++;
	return nr;
}

/* ---- VM ---- */

struct kvmclock_vm {
	struct kvm_vm *vm;
	int nr_vcpus;
	int max_vcpus;
	struct kvm_vcpu *vcpu[KVMCLOCK_MAX_VCPUS];
	gva_t guest_gva[KVMCLOCK_MAX_VCPUS];
	/* Where each vCPU's clock is; NULL: nowhere. */
	struct pvclock_vcpu_time_info *page[KVMCLOCK_MAX_VCPUS];
	/* The same of what vCPU 0 has for Xen's vDSO, and of Hyper-V's page. */
	struct pvclock_vcpu_time_info *xen_page;
	struct kvmclock_tsc_page *tsc_page;
	u64 ratio;
};

static inline struct kvmclock_guest *kvmclock_guest(struct kvmclock_vm *kc, int i)
{
	return addr_gva2hva(kc->vm, kc->guest_gva[i]);
}

static inline void kvmclock_check_exit(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
}

/*
 * Memory of its own for pvclock pages, which the guest's code does not touch: a
 * slot of @nr_pages pages.
 */
#define KVMCLOCK_PAGES_SLOT	1
#define KVMCLOCK_PAGES_GPA	0x40000000ULL

static inline void kvmclock_add_pages(struct kvmclock_vm *kc, int nr_pages)
{
	vm_userspace_mem_region_add(kc->vm, VM_MEM_SRC_ANONYMOUS, KVMCLOCK_PAGES_GPA,
				    KVMCLOCK_PAGES_SLOT, nr_pages, 0);
	memset(addr_gpa2hva(kc->vm, KVMCLOCK_PAGES_GPA), 0, nr_pages * PAGE_SIZE);
}

static inline gpa_t kvmclock_page_gpa(int page)
{
	return KVMCLOCK_PAGES_GPA + page * PAGE_SIZE;
}

/* Let the guest read them, at the addresses that they have for the host. */
static inline void kvmclock_map_pages(struct kvmclock_vm *kc, int nr_pages)
{
	virt_map(kc->vm, KVMCLOCK_PAGES_GPA, KVMCLOCK_PAGES_GPA, nr_pages);
}

static inline void *kvmclock_page_hva(struct kvmclock_vm *kc, int page)
{
	return addr_gpa2hva(kc->vm, kvmclock_page_gpa(page));
}

/* Let vCPU @i do one thing and come back. */
static inline u64 kvmclock_run(struct kvmclock_vm *kc, int i, enum kvmclock_op op,
			       u64 arg0, u64 arg1)
{
	struct kvmclock_guest *guest = kvmclock_guest(kc, i);

	guest->op = op;
	guest->arg[0] = arg0;
	guest->arg[1] = arg1;
	vcpu_run(kc->vcpu[i]);
	kvmclock_check_exit(kc->vcpu[i]);
	return guest->ret;
}

/*
 * Let each vCPU enter the guest twice: requests that one vCPU makes to the
 * others when it enters are served, and the pages hold what guests go on with.
 */
static inline void kvmclock_settle(struct kvmclock_vm *kc)
{
	int pass, i;

	for (pass = 0; pass < 2; pass++)
		for (i = 0; i < kc->nr_vcpus; i++)
			kvmclock_run(kc, i, KVMCLOCK_NOP, 0, 0);
}

static inline gpa_t kvmclock_time_gpa(struct kvmclock_vm *kc, int i, int slot)
{
	return addr_gva2gpa(kc->vm, kc->guest_gva[i]) +
	       offsetof(struct kvmclock_guest, time) +
	       slot * sizeof(struct pvclock_vcpu_time_info);
}

/* Tell the guests where vCPU @i's clock is. */
static inline void kvmclock_tell_page(struct kvmclock_vm *kc, int i, int slot)
{
	void *page = (void *)(kc->guest_gva[i] + offsetof(struct kvmclock_guest, time) +
			      slot * sizeof(struct pvclock_vcpu_time_info));
	int k;

	kvmclock_guest(kc, i)->pages.own = page;
	for (k = 0; !i && k < kc->max_vcpus; k++)
		kvmclock_guest(kc, k)->pages.boot = page;
}

/* The guest enables its clock at time[@slot] of vCPU @i. */
static inline void kvmclock_enable(struct kvmclock_vm *kc, int i, int slot)
{
	kvmclock_tell_page(kc, i, slot);
	kvmclock_run(kc, i, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_time_gpa(kc, i, slot) | KVM_MSR_ENABLED);
	kc->page[i] = &kvmclock_guest(kc, i)->time[slot];
}

/* The guest enables its clock at the beginning of @page, see kvmclock_add_pages(). */
static inline void kvmclock_enable_page(struct kvmclock_vm *kc, int i, int page)
{
	kvmclock_run(kc, i, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_page_gpa(page) | KVM_MSR_ENABLED);
	kc->page[i] = kvmclock_page_hva(kc, page);
}

/* Create the next vCPU; its clock stays off. */
static inline int kvmclock_vcpu_add(struct kvmclock_vm *kc)
{
	int i = kc->nr_vcpus;

	TEST_ASSERT(i < kc->max_vcpus, "Room for %d vCPUs only", kc->max_vcpus);
	kc->vcpu[i] = vm_vcpu_add(kc->vm, i, kvmclock_guest_main);
	vcpu_args_set(kc->vcpu[i], 1, kc->guest_gva[i]);
	kc->nr_vcpus++;
	return i;
}

/* A VM with @max_vcpus at most and none yet, its guest TSC at @khz (0: the host's). */
static inline void kvmclock_vm_init(struct kvmclock_vm *kc, u32 khz, int max_vcpus)
{
	int i;

	TEST_ASSERT(max_vcpus <= KVMCLOCK_MAX_VCPUS, "KVMCLOCK_MAX_VCPUS is too small");
	memset(kc, 0, sizeof(*kc));
	/* Memory for a vCPU's stack, and one page more for each. */
	kc->vm = vm_create(max_vcpus + DIV_ROUND_UP(max_vcpus, DEFAULT_STACK_PGS));
	kc->max_vcpus = max_vcpus;
	kc->ratio = kvmclock_ratio(khz);
	if (khz)
		vm_ioctl(kc->vm, KVM_SET_TSC_KHZ, (void *)(unsigned long)khz);

	for (i = 0; i < max_vcpus; i++) {
		kc->guest_gva[i] = vm_alloc_page(kc->vm);
		memset(kvmclock_guest(kc, i), 0, sizeof(struct kvmclock_guest));
	}
}

static inline void kvmclock_vm_create(struct kvmclock_vm *kc, u32 khz, int nr_vcpus,
				      int max_vcpus)
{
	int i;

	kvmclock_vm_init(kc, khz, max_vcpus);
	for (i = 0; i < nr_vcpus; i++)
		kvmclock_vcpu_add(kc);
	for (i = 0; i < nr_vcpus; i++)
		kvmclock_enable(kc, i, 0);
	kvmclock_settle(kc);
}

/* The same for a guest on Hyper-V, whose page is the one of vCPU @page, which is never created. */
static inline void kvmclock_hyperv_create(struct kvmclock_vm *kc, u32 khz, int nr_vcpus, int page)
{
	int i;

	kvmclock_vm_init(kc, khz, page + 1);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_set_hv_cpuid(kc->vcpu[kvmclock_vcpu_add(kc)]);
	for (i = 0; i < nr_vcpus; i++)
		kvmclock_enable(kc, i, 0);
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC,
		     addr_gva2gpa(kc->vm, kc->guest_gva[page]) | 1);
	kc->tsc_page = (void *)kvmclock_guest(kc, page);
	for (i = 0; i < page; i++)
		kvmclock_guest(kc, i)->pages.hyperv = (void *)kc->guest_gva[page];
	kvmclock_settle(kc);
}

static inline void kvmclock_vm_destroy(struct kvmclock_vm *kc)
{
	sync_global_from_guest(kc->vm, kvmclock_guest_differs);
	if (kvmclock_guest_differs)
		ksft_print_msg("the guest compares, and reads something else %d times\n",
			       kvmclock_guest_differs);
	kvmclock_differs += kvmclock_guest_differs;
	kvm_vm_free(kc->vm);
	kc->vm = NULL;
}

static inline u64 kvmclock_get_offset(struct kvm_vcpu *vcpu)
{
	u64 offset;

	vcpu_device_attr_get(vcpu, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, &offset);
	return offset;
}

static inline void kvmclock_set_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	vcpu_device_attr_set(vcpu, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, &offset);
}

static inline struct kvm_clock_data kvmclock_get(struct kvmclock_vm *kc)
{
	struct kvm_clock_data data;

	memset(&data, 0xff, sizeof(data));
	vm_ioctl(kc->vm, KVM_GET_CLOCK, &data);
	return data;
}

static inline void kvmclock_set(struct kvmclock_vm *kc, u64 clock, u32 flags, u64 realtime)
{
	struct kvm_clock_data data = {
		.clock = clock,
		.flags = flags,
		.realtime = realtime,
	};

	vm_ioctl(kc->vm, KVM_SET_CLOCK, &data);
}

/* KVM_SET_CLOCK; returns 0 or errno. */
static inline int kvmclock_try_set(struct kvmclock_vm *kc, const struct kvm_clock_data *data)
{
	return ioctl(kc->vm->fd, KVM_SET_CLOCK, data) ? errno : 0;
}

/* Whether this KVM knows all of @flags. */
static inline bool kvmclock_knows(u32 flags)
{
	return (kvm_check_cap(KVM_CAP_ADJUST_CLOCK) & flags) == flags;
}

/* Why a test that needs @flags cannot run on this KVM, or NULL. */
static inline const char *kvmclock_lacks(u32 flags)
{
	if (flags & KVM_CLOCK_GUEST_TSC && !kvmclock_knows(KVM_CLOCK_GUEST_TSC))
		return "this KVM has no KVM_CLOCK_GUEST_TSC";
	if (flags & KVM_CLOCK_MONOTONIC && !kvmclock_knows(KVM_CLOCK_MONOTONIC))
		return "this KVM has no KVM_CLOCK_MONOTONIC";
	if (flags & KVM_CLOCK_TAI && !kvmclock_knows(KVM_CLOCK_TAI))
		return "this KVM has no KVM_CLOCK_TAI";
	if (flags & KVM_CLOCK_GUEST_STOPPED && !kvmclock_knows(KVM_CLOCK_GUEST_STOPPED))
		return "this KVM has no KVM_CLOCK_GUEST_STOPPED";
	return NULL;
}

/* Opt in to @flags, in place of what the VM opted in to before; returns 0 or errno. */
static inline int kvmclock_opt_in(struct kvmclock_vm *kc, u64 flags)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ADJUST_CLOCK,
		.args[0] = flags,
	};

	return __vm_ioctl(kc->vm, KVM_ENABLE_CAP, &cap) ? errno : 0;
}

/* The boot vCPU's old MSR stops the master clock, the new one starts it. */
static inline void kvmclock_set_master(struct kvmclock_vm *kc, bool on)
{
	kvmclock_run(kc, 0, KVMCLOCK_WRMSR, on ? MSR_KVM_SYSTEM_TIME_NEW : MSR_KVM_SYSTEM_TIME,
		     kvmclock_time_gpa(kc, 0, 0) | KVM_MSR_ENABLED);
	kvmclock_settle(kc);
}

/* The VM's statistic @name; false if this KVM does not have it. */
static inline bool kvmclock_stat(struct kvmclock_vm *kc, const char *name, u64 *value)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *all, *desc;
	int fd = vm_get_stats_fd(kc->vm), i;
	bool found = false;

	read_stats_header(fd, &header);
	all = read_stats_descriptors(fd, &header);
	for (i = 0; i < header.num_desc && !found; i++) {
		desc = get_stats_descriptor(all, i, &header);
		found = !strcmp(desc->name, name);
		if (found)
			read_stat_data(fd, &header, desc, value, 1);
	}
	free(all);
	close(fd);
	return found;
}

/* ---- Lines ---- */

/*
 * Evaluate @line at @tsc.  Other than for the guest, whose TSC is never before the
 * line's, the line goes on backwards as well.
 */
static inline u64 kvmclock_line_at(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	s64 delta = tsc - line->tsc_timestamp;

	if (delta < 0)
		return 2 * line->system_time - kvmclock_eval(line, line->tsc_timestamp - delta);
	return kvmclock_eval(line, tsc);
}

/*
 * By how much a line through a point of @line, of the same rate, may be below it
 * elsewhere.  What a line adds to its anchor is rounded down, and once more where
 * the shift is negative.
 */
static inline s64 kvmclock_rounding_ns(const struct pvclock_vcpu_time_info *line)
{
	return line->tsc_shift < 0 ? 2 : 1;
}

/* @data has nothing where a line would be, and in the padding behind it. */
static inline bool kvmclock_has_no_line(const struct kvm_clock_data *data)
{
	static const u8 zero[3];

	return !data->guest_tsc && !data->tsc_to_system_mul && !data->tsc_shift &&
	       !memcmp(data->pad, zero, sizeof(zero));
}

/* The line that @data describes, for the boot vCPU's TSC. */
static inline struct pvclock_vcpu_time_info kvmclock_line_of(const struct kvm_clock_data *data)
{
	return (struct pvclock_vcpu_time_info) {
		.tsc_timestamp = data->guest_tsc,
		.system_time = data->clock,
		.tsc_to_system_mul = data->tsc_to_system_mul,
		.tsc_shift = data->tsc_shift,
	};
}

/* The lines of all vCPUs, and what turns a host TSC into the TSC they are for. */
struct kvmclock_shot {
	struct pvclock_vcpu_time_info line[KVMCLOCK_MAX_VCPUS];
	bool valid[KVMCLOCK_MAX_VCPUS];
	u64 offset[KVMCLOCK_MAX_VCPUS];
	struct pvclock_vcpu_time_info xen;
	struct kvmclock_tsc_page tsc_page;
	u64 ratio;
};

static inline void kvmclock_shoot_lines(struct kvmclock_vm *kc, struct kvmclock_shot *shot)
{
	int i;

	memset(shot, 0, sizeof(*shot));
	shot->ratio = kc->ratio;
	for (i = 0; i < kc->nr_vcpus; i++) {
		shot->offset[i] = kvmclock_get_offset(kc->vcpu[i]);
		shot->valid[i] = kc->page[i];
		if (kc->page[i])
			kvmclock_snapshot(kc->page[i], &shot->line[i]);
	}
	if (kc->xen_page)
		kvmclock_snapshot(kc->xen_page, &shot->xen);
	if (kc->tsc_page)
		memcpy(&shot->tsc_page, kc->tsc_page, sizeof(shot->tsc_page));
}

/* What vCPU @i's TSC is at host TSC @host_tsc. */
static inline u64 kvmclock_tsc_at(const struct kvmclock_shot *shot, int i, u64 host_tsc)
{
	return kvmclock_scale(host_tsc, shot->ratio) + shot->offset[i];
}

/*
 * What a guest reads on vCPU @i.  If its TSC is not the boot vCPU's, what it reads of
 * that one and of Hyper-V is out of date: it would find other pages if it ran.
 */
static inline void kvmclock_view_shot(const struct kvmclock_shot *shot, int i,
				      struct kvmclock_view *view)
{
	memset(view, 0, sizeof(*view));
	view->own = shot->line[i];
	view->is_boot = !i;
	if (shot->offset[i] != shot->offset[0])
		return;

	view->boot = shot->line[0];
	view->xen = shot->xen;
	view->hyperv = shot->tsc_page;
}

/*
 * Whether all kinds of guests read on vCPU @i at @host_tsc what Linux does.  Not for
 * lines that begin later: no guest uses them so.
 */
static inline bool kvmclock_kinds_agree(const struct kvmclock_shot *shot, int i, u64 host_tsc)
{
	u64 tsc = kvmclock_tsc_at(shot, i, host_tsc), ns = kvmclock_eval(&shot->line[i], tsc);
	struct kvmclock_view view;
	bool ok = true;
	s64 error;
	int kind;

	if (!shot->valid[i] || (s64)(tsc - shot->line[i].tsc_timestamp) < 0)
		return true;

	kvmclock_view_shot(shot, i, &view);
	for (kind = 0; kind < KVMCLOCK_NR_FORMULAS; kind++) {
		error = kvmclock_formula_error(kind, &view, tsc, ns);
		if (!error)
			continue;
		ksft_print_msg("vCPU %d: %s is off by %ld\n", i, kvmclock_formulas[kind].name,
			       error);
		ok = false;
	}
	return ok;
}

static inline void kvmclock_shoot(struct kvmclock_vm *kc, struct kvmclock_shot *shot)
{
	u64 now;
	int i;

	kvmclock_shoot_lines(kc, shot);
	now = rdtsc();
	for (i = 0; i < kc->nr_vcpus; i++)
		kvmclock_differs += !kvmclock_kinds_agree(shot, i, now);
}

/* What vCPU @i reads at host TSC @host_tsc. */
static inline u64 kvmclock_at(const struct kvmclock_shot *shot, int i, u64 host_tsc)
{
	return kvmclock_line_at(&shot->line[i], kvmclock_tsc_at(shot, i, host_tsc));
}

/*
 * By how much realtime and clock of one instant may lag each other: both count
 * cycles, but with scaling these are cycles of TSCs that tick at other times.
 * One cycle of the guest's in nanoseconds, rounded up.  Without scaling, a negative
 * shift of the guest's line drops cycles that realtime counts: 1 ns at the most,
 * because what is left is multiplied by less than 1.
 */
static inline s64 kvmclock_cycle_ns(const struct kvmclock_vm *kc)
{
	u64 one = 1ULL << kvmclock_frac_bits();

	if (kc->ratio == one)
		return kc->page[0] && kc->page[0]->tsc_shift < 0;
	return 1000000 / kvmclock_mul_shr(kvmclock_host_khz(), kc->ratio,
					  kvmclock_frac_bits()) + 1;
}

/*
 * How far @page, one of vCPU @i's, is from KVM_GET_CLOCK at its instant.  It is off
 * by 1 ns at most if it shows the line of the master clock.
 */
static inline s64 kvmclock_page_error(struct kvmclock_vm *kc, int i,
				      const struct pvclock_vcpu_time_info *page)
{
	struct kvm_clock_data data = kvmclock_get(kc);
	struct pvclock_vcpu_time_info line;
	u64 tsc;

	kvmclock_snapshot(page, &line);
	tsc = kvmclock_scale(data.host_tsc, kc->ratio) + kvmclock_get_offset(kc->vcpu[i]);
	if ((s64)(tsc - line.tsc_timestamp) >= 0 &&
	    kvmclock_eval_compared(&line, tsc) != kvmclock_eval(&line, tsc))
		return kvmclock_eval_compared(&line, tsc) - data.clock;
	return kvmclock_line_at(&line, tsc) - data.clock;
}

/* How far the clock of vCPU @i jumps at @host_tsc from one line to the other. */
static inline s64 kvmclock_step(const struct kvmclock_shot *from,
				const struct kvmclock_shot *to, int i, u64 host_tsc)
{
	return kvmclock_at(to, i, host_tsc) - kvmclock_at(from, i, host_tsc);
}

/* ---- Measurements and results ---- */

/* By how much @value is not from @low to @high. */
static inline s64 kvmclock_outside(u64 value, u64 low, u64 high)
{
	if ((s64)(value - low) < 0)
		return value - low;
	return (s64)(value - high) > 0 ? value - high : 0;
}

struct kvmclock_series {
	s64 value[KVMCLOCK_MAX_SAMPLES];
	int nr;
};

static inline void kvmclock_record(struct kvmclock_series *series, s64 value)
{
	TEST_ASSERT(series->nr < KVMCLOCK_MAX_SAMPLES, "KVMCLOCK_MAX_SAMPLES is too small");
	series->value[series->nr++] = value;
}

static inline int kvmclock_compare(const void *a, const void *b)
{
	s64 x = *(const s64 *)a, y = *(const s64 *)b;

	return (x > y) - (x < y);
}

static inline void kvmclock_measure(const char *key, s64 value, const char *unit)
{
	ksft_print_msg("measure %s %ld %s\n", key, value, unit);
}

/* Sort @series and print its minimum, median and maximum. */
static inline void kvmclock_print(struct kvmclock_series *series, const char *key,
				  const char *unit)
{
	static const char * const names[] = { "min", "median", "max" };
	char full[128];
	int i;

	if (!series->nr)
		return;

	qsort(series->value, series->nr, sizeof(s64), kvmclock_compare);
	for (i = 0; i < 3; i++) {
		snprintf(full, sizeof(full), "%s.%s", key, names[i]);
		kvmclock_measure(full, series->value[i * (series->nr - 1) / 2], unit);
	}
}

/* Print @series and tell whether it has values and all are from @low to @high. */
static inline bool kvmclock_within(struct kvmclock_series *series, const char *key,
				   const char *unit, s64 low, s64 high)
{
	kvmclock_print(series, key, unit);
	return series->nr && series->value[0] >= low && series->value[series->nr - 1] <= high;
}

/* Say what is wrong, but go on, and let the case fail. */
#define check(cond, fmt, ...) ({						\
	bool __ok = (cond);							\
										\
	if (!__ok)								\
		ksft_print_msg("line %d: %s: " fmt "\n", __LINE__, #cond,	\
			       ##__VA_ARGS__);					\
	__ok;									\
})

/* ---- Tables of tests ---- */

struct kvmclock_test {
	const char *name;
	bool (*run)(void);
	/* Why it cannot run here, or NULL. */
	const char *(*missing)(void);
	/* Run it without the flags that the others need, too: it shows what they are for. */
	bool always;
};

/* Run @test, or skip it; its result has the name of @mode as well if there is one. */
static inline void kvmclock_run_test(const struct kvmclock_test *test, u32 flags, const char *mode)
{
	const char *why = test->always ? NULL : kvmclock_lacks(flags);
	const char *blank = mode ? " " : "";

	if (!mode)
		mode = "";
	if (!why && test->missing)
		why = test->missing();
	if (why)
		ksft_test_result_skip("%s%s%s: %s\n", test->name, blank, mode, why);
	else
		ksft_test_result(test->run(), "%s%s%s\n", test->name, blank, mode);
}

/* ---- The state that user space and the guest see ---- */

struct kvmclock_state {
	struct kvmclock_shot shot;
	struct kvm_clock_data data;
	u64 stats[4];
};

static inline void kvmclock_get_state(struct kvmclock_vm *kc, struct kvmclock_state *state)
{
	static const char * const names[] = {
		"clock_reanchors", "clock_updates", "clock_raised", "clock_raised_max_ns",
	};
	int i;

	memset(state, 0, sizeof(*state));
	kvmclock_settle(kc);
	kvmclock_shoot(kc, &state->shot);
	state->data = kvmclock_get(kc);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		kvmclock_stat(kc, names[i], &state->stats[i]);
}

/*
 * Pages are compared with their version: they have not even been rewritten.  The
 * clock goes on along the line of the boot vCPU's page where there is a master
 * clock.
 */
static inline bool kvmclock_is_state(struct kvmclock_vm *kc, const struct kvmclock_state *state)
{
	struct kvmclock_state now;
	s64 diff;
	int i;
	bool ok;

	kvmclock_get_state(kc, &now);
	diff = now.data.clock - kvmclock_at(&state->shot, 0, now.data.host_tsc);
	ok = check(!memcmp(&now.shot, &state->shot, sizeof(now.shot)), "a page changed") &&
	     check(now.data.flags == state->data.flags, "flags 0x%x", now.data.flags) &&
	     check(now.data.tsc_to_system_mul == state->data.tsc_to_system_mul, "mul %u",
		   now.data.tsc_to_system_mul) &&
	     check(now.data.tsc_shift == state->data.tsc_shift, "shift %d", now.data.tsc_shift);
	if (kc->page[0] && (now.data.flags & KVM_CLOCK_HOST_TSC))
		ok &= check(labs(diff) <= 1, "GET is off by %ld ns", diff);
	for (i = 0; i < ARRAY_SIZE(now.stats); i++)
		ok &= check(now.stats[i] == state->stats[i], "statistic %d: %lu after %lu", i,
			    now.stats[i], state->stats[i]);
	return ok;
}

/* ---- The tracepoint of the line's changes ---- */

#define KVMCLOCK_TRACING	"/sys/kernel/tracing/"
#define KVMCLOCK_TRACE_ENABLE	KVMCLOCK_TRACING "events/kvm/kvm_clock_line/enable"

static inline const char *kvmclock_no_tracepoint(void)
{
	return access(KVMCLOCK_TRACE_ENABLE, W_OK) ? "no tracepoint kvm_clock_line" : NULL;
}

static inline bool kvmclock_sysfs_write(const char *path, const char *value)
{
	FILE *file = fopen(path, "w");
	bool ok;

	if (!file)
		return false;

	ok = fputs(value, file) >= 0;
	return !fclose(file) && ok;
}

static inline void kvmclock_trace_start(void)
{
	kvmclock_sysfs_write(KVMCLOCK_TRACING "trace", "");
	kvmclock_sysfs_write(KVMCLOCK_TRACE_ENABLE, "1");
}

static inline void kvmclock_trace_stop(void)
{
	kvmclock_sysfs_write(KVMCLOCK_TRACE_ENABLE, "0");
}

/* How many lines of the trace have both @a and @b. */
static inline int kvmclock_count_traced(const char *a, const char *b)
{
	FILE *file = fopen(KVMCLOCK_TRACING "trace", "r");
	char line[512];
	int nr = 0;

	TEST_ASSERT(file, "Cannot read the trace");
	while (fgets(line, sizeof(line), file))
		nr += strstr(line, a) && strstr(line, b);
	fclose(file);
	return nr;
}

/* ---- vCPUs that run by themselves ---- */

/*
 * TCG's SVM makes a guest shut down now and then, on any KVM (lab/tests.list).  Sometimes it is
 * the same fault, but an error of KVM's, or a guest that never comes back: what TCG has stored
 * as the guest's state is the host's, in the midst of VMRUN.  Guests have no code up there.
 */
static inline bool kvmclock_is_at_host(struct kvm_vcpu *vcpu)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	return (s64)regs.rip < 0;
}

/* vCPU @i is to run @code from now on, from its beginning. */
static inline void kvmclock_set_code(struct kvmclock_vm *kc, int i, void *code)
{
	memset(kvmclock_guest(kc, i), 0, offsetof(struct kvmclock_guest, time));
	vcpu_arch_set_entry_point(kc->vcpu[i], code);
	vcpu_args_set(kc->vcpu[i], 1, kc->guest_gva[i]);
}

struct kvmclock_thread {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	bool stop;
};

static inline void *kvmclock_thread_main(void *arg)
{
	struct kvmclock_thread *thread = arg;

	while (!READ_ONCE(thread->stop)) {
		vcpu_run(thread->vcpu);
		kvmclock_check_exit(thread->vcpu);
	}
	return NULL;
}

static inline void kvmclock_thread_start(struct kvmclock_thread *thread, struct kvm_vcpu *vcpu)
{
	thread->vcpu = vcpu;
	thread->stop = false;
	kvm_pthread_create(&thread->thread, NULL, kvmclock_thread_main, thread);
}

static inline void kvmclock_thread_stop(struct kvmclock_thread *thread)
{
	WRITE_ONCE(thread->stop, true);
	kvm_pthread_join(thread->thread, NULL);
}

/* Random numbers for who keeps the state, guests among them; it is not 0. */
static inline u64 kvmclock_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL;
}

/* ---- What must not wait for ever ---- */

static inline u64 kvmclock_now_ms(void)
{
	return kvmclock_host_ns(CLOCK_MONOTONIC) / 1000000;
}

/* @run(@arg), in a thread that nobody joins: it may never come back. */
struct kvmclock_job {
	void (*run)(void *arg);
	void *arg;
	bool done;
};

static inline void *kvmclock_job_main(void *arg)
{
	struct kvmclock_job *job = arg;

	job->run(job->arg);
	__atomic_store_n(&job->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static inline void kvmclock_job_start(struct kvmclock_job *job, void (*run)(void *arg), void *arg)
{
	pthread_t thread;

	job->run = run;
	job->arg = arg;
	job->done = false;
	kvm_pthread_create(&thread, NULL, kvmclock_job_main, job);
	pthread_detach(thread);
}

/* Whether another thread says within @ms that it is @done. */
static inline bool kvmclock_wait_done(const bool *done, u64 ms)
{
	u64 end = kvmclock_now_ms() + ms;

	while (!__atomic_load_n(done, __ATOMIC_ACQUIRE)) {
		if (kvmclock_now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static inline bool kvmclock_job_is_done(struct kvmclock_job *job)
{
	return __atomic_load_n(&job->done, __ATOMIC_ACQUIRE);
}

/* Whether @job comes back within @ms. */
static inline bool kvmclock_job_wait(struct kvmclock_job *job, u64 ms)
{
	return kvmclock_wait_done(&job->done, ms);
}

/* ---- Memory ---- */

/* Slabs give up what nobody uses, and KASAN what it has kept of that, where root asks. */
static inline void kvmclock_shrink_slabs(void)
{
	DIR *slabs = opendir("/sys/kernel/slab");
	struct dirent *slab;
	char path[320];

	if (!slabs)
		return;
	while ((slab = readdir(slabs))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", slab->d_name);
		kvmclock_sysfs_write(path, "1");
	}
	closedir(slabs);
}

/* What the kernel has for itself, but for what it gives up when asked. */
static inline long kvmclock_memory_kb(void)
{
	static const char * const names[] = {
		"SUnreclaim:", "KernelStack:", "PageTables:", "SecPageTables:", "VmallocUsed:",
		"Percpu:",
	};
	long kb, sum = 0;
	char name[64];
	FILE *file;
	int i;

	kvmclock_shrink_slabs();
	file = fopen("/proc/meminfo", "r");
	TEST_ASSERT(file, "Cannot read /proc/meminfo");
	while (fscanf(file, "%63s %ld%*[^\n]", name, &kb) == 2)
		for (i = 0; i < ARRAY_SIZE(names); i++)
			if (!strcmp(name, names[i]))
				sum += kb;
	fclose(file);
	return sum;
}

/* Not more than @slack_kb above @before_kb; what nobody uses is freed a while later. */
static inline bool kvmclock_memory_is(const char *test, long before_kb, long slack_kb)
{
	char key[64];
	long now_kb;
	int i;

	for (i = 0; i < 20; i++) {
		now_kb = kvmclock_memory_kb();
		if (now_kb <= before_kb + slack_kb)
			break;
		usleep(500000);
	}
	snprintf(key, sizeof(key), "%s.memory.before", test);
	kvmclock_measure(key, before_kb, "kB");
	snprintf(key, sizeof(key), "%s.memory.after", test);
	kvmclock_measure(key, now_kb, "kB");
	return check(now_kb <= before_kb + slack_kb, "%ld kB more than before",
		     now_kb - before_kb);
}

/* ---- Host ---- */

static inline u64 kvmclock_realtime(void)
{
	return kvmclock_host_ns(CLOCK_REALTIME);
}

/*
 * How far realtime and clock may drift apart, in ppb: by up to 500 ppm if NTP
 * steers realtime, else by the rounding of the timekeeper's multiplier.  That is
 * 10^9 / Hz * 2^shift, with a shift of 24 some 6.5 million at 2.6 GHz, rounded
 * by up to half and steered by up to one: 230 ppb.
 */
static inline u64 kvmclock_drift_ppb(void)
{
	struct timex tx = {};

	adjtimex(&tx);
	return tx.freq || tx.offset || (tx.status & STA_PLL) ? 500000 : 500;
}

/*
 * Take what a drift of @ppb may explain in @elapsed_ns out of @error.  It is nothing
 * for the microseconds between two calls, unless something else ran meanwhile.
 */
static inline s64 kvmclock_without(s64 error, u64 elapsed_ns, u64 ppb)
{
	s64 drift_ns = (unsigned __int128)elapsed_ns * ppb / NSEC_PER_SEC;

	if (labs(error) <= drift_ns)
		return 0;
	return error > 0 ? error - drift_ns : error + drift_ns;
}

static inline u64 kvmclock_cycles_to_ns(u64 host_cycles)
{
	return (unsigned __int128)host_cycles * 1000000 / kvmclock_host_khz();
}

/* The same for the drift of realtime between two host TSCs. */
static inline s64 kvmclock_without_drift(s64 error, u64 from_tsc, u64 to_tsc)
{
	return kvmclock_without(error, kvmclock_cycles_to_ns(to_tsc - from_tsc),
				kvmclock_drift_ppb());
}

/*
 * Some cases change the host's clocksource for a moment, take a CPU offline, or
 * suspend the host.  Set KVMCLOCK_KEEP_HOST in the environment to skip them.
 */
static inline bool kvmclock_may_change_host(void)
{
	return !geteuid() && !getenv("KVMCLOCK_KEEP_HOST");
}

static inline bool kvmclock_set_clocksource(const char *name)
{
	return kvmclock_sysfs_write(KVMCLOCK_SYSFS "current_clocksource", name);
}

/* A clocksource that is not based on the TSC and that may be switched to, or NULL. */
static inline const char *kvmclock_other_clocksource(void)
{
	static const char * const names[] = { "hpet", "acpi_pm" };
	char list[256] = "";
	FILE *file;
	int i;

	if (!kvmclock_may_change_host())
		return NULL;

	file = fopen(KVMCLOCK_SYSFS "available_clocksource", "r");
	if (!file)
		return NULL;
	if (!fgets(list, sizeof(list), file))
		list[0] = '\0';
	fclose(file);

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (strstr(list, names[i]))
			return names[i];
	return NULL;
}

/* Why a case that needs one is skipped, or NULL. */
static inline const char *kvmclock_no_clocksource(void)
{
	return kvmclock_other_clocksource() ? NULL : "no other clocksource";
}

#define KVMCLOCK_PM_TEST	"/sys/power/pm_test"
#define KVMCLOCK_PM_STATE	"/sys/power/state"
#define KVMCLOCK_PM_TEST_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

static inline bool kvmclock_can_suspend_host(void)
{
	return kvmclock_may_change_host() && kvmclock_sysfs_write(KVMCLOCK_PM_TEST, "none") &&
	       !access(KVMCLOCK_PM_STATE, W_OK);
}

/* Go through the motions of suspending the host to memory, up to @level. */
static inline bool kvmclock_suspend_host(const char *level)
{
	bool ok;

	kvmclock_sysfs_write(KVMCLOCK_PM_TEST_DELAY, "0");
	ok = kvmclock_sysfs_write(KVMCLOCK_PM_TEST, level) &&
	     kvmclock_sysfs_write(KVMCLOCK_PM_STATE, "mem");
	kvmclock_sysfs_write(KVMCLOCK_PM_TEST, "none");
	return ok;
}

/*
 * Poll until GET's flags are @flags, for 2 s at most; but do not wait for long
 * again for what did not come once.
 */
static inline bool kvmclock_wait_flags(struct kvmclock_vm *kc, u32 flags)
{
	static int tries = 200;
	int i;

	for (i = 0; i < tries; i++) {
		if (kvmclock_get(kc).flags == flags)
			return true;
		usleep(10000);
	}
	tries = 10;
	return false;
}

/*
 * The tests are about master clock mode, which needs a clocksource based on the
 * TSC.  A host that has just booted may still be calibrating it.
 */
static inline void kvmclock_require_tsc(void)
{
	int i;

	for (i = 0; i < 500; i++) {
		if (sys_clocksource_is_based_on_tsc())
			return;
		usleep(10000);
	}
	ksft_exit_skip("The host's clocksource is not based on the TSC\n");
}

/*
 * What every test begins with.  There are @nr results, and @nr_per_mode more for
 * every mode; if there is only one mode, one result says what is left out.  The last
 * one is kvmclock_finished()'s.
 */
static inline void kvmclock_start(int nr, int nr_per_mode)
{
	ksft_print_header();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_HOST_TSC);
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GET_TSC_KHZ));
	kvmclock_require_tsc();

	ksft_set_plan(nr + nr_per_mode * kvmclock_nr_modes() + !!nr_per_mode + 1);
	if (nr_per_mode && kvmclock_can_scale())
		ksft_test_result_pass("tsc_scaling\n");
	else if (nr_per_mode)
		ksft_test_result_skip("tsc_scaling: this host cannot scale a guest's TSC\n");
}

/* And ends with: whatever was seen, all kinds of guests would have read the same. */
static inline void kvmclock_finished(void)
{
	ksft_test_result(check(!kvmclock_differs, "%d times", kvmclock_differs),
			 "all_kinds_of_guests\n");
	ksft_finished();
}

#endif /* SELFTEST_KVM_KVMCLOCK_H */
