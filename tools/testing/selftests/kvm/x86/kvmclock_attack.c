// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attack the clock with nothing but /dev/kvm.
 *
 * Each case is a process of its own that has given up all privileges.  Meanwhile a
 * bystander, another VM of another user, reads the clock, and is timed: it may not
 * wait for what the attacker does, nor see its clock go back.  At the end of a case
 * the attacker is killed, if it is still there, and has to be gone soon.
 *
 * The fuzzers call all that sets the time, in any order, with values that are right
 * but for some fields, or at random, and on a kernel that tells what they reach, like
 * those that have reached something.  After each call that has failed, the vCPUs'
 * lines and TSC offsets, and KVM_GET_CLOCK, are what they were; after each that has
 * succeeded, KVM_GET_CLOCK and the lines agree.
 *
 * The places are where a guest may say that its page is, and should not.
 */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/kcov.h>
#include <linux/userfaultfd.h>

#include "kvmclock.h"

#define NR_VCPUS	3
#define MAX_VCPUS	8
#define NOBODY		65534

/* Memory that the clock may be put into; the last two pages are for the places. */
#define NR_PAGES	8
#define RO_SLOT		2
#define RO_GPA		(KVMCLOCK_PAGES_GPA + 64 * PAGE_SIZE)
#define NEXT_SLOT	3
#define NEXT_GPA	(KVMCLOCK_PAGES_GPA + NR_PAGES * PAGE_SIZE)
#define HOLE_GPA	(KVMCLOCK_PAGES_GPA + 128 * PAGE_SIZE)
#define APIC_GPA	0xfee00000UL

/* After this, it waits; computing takes a small part of it, also in an emulator. */
#define PATIENCE_MS	10000

#define PUBLIC_KVM	0666
#define UFFD_SYSCTL	"/proc/sys/vm/unprivileged_userfaultfd"

/* How long a fuzzer runs, and how many times that on a host that is busy. */
static int seconds = 8;
#define MOST_TIMES	8

static unsigned int seed = 1;
static struct kvmclock_vm kc;

/* ---- Guest: as kvmclock_guest_main(), but what it may not do tells by its vector ---- */

static void guest_main(struct kvmclock_guest *guest)
{
	for (;;) {
		switch (guest->op) {
		case KVMCLOCK_WRMSR:
			guest->ret = wrmsr_safe(guest->arg[0], guest->arg[1]);
			break;
		case KVMCLOCK_RDMSR:
			guest->ret = rdmsr_safe(guest->arg[0], &guest->arg[1]);
			break;
		}
		GUEST_UCALL_NONE();
	}
}

/*
 * TCG's SVM makes a guest shut down now and then, on any KVM (lab/tests.list); what it
 * was to do may be done or not.
 */
static u64 nr_shutdowns;

/* Or the guest exits all the time, and never comes back. */
static bool is_lost[MAX_VCPUS], is_stuck;

static void give_up(int i)
{
	struct kvm_regs regs;

	vcpu_regs_get(kc.vcpu[i], &regs);
	is_lost[i] = true;
	if (kvmclock_is_at_host(kc.vcpu[i]))
		__atomic_fetch_add(&nr_shutdowns, 1, __ATOMIC_RELAXED);
	else
		is_stuck = true;
	ksft_print_msg("vCPU %d does not come back: rip 0x%llx, rsp 0x%llx, rflags 0x%llx\n", i,
		       regs.rip, regs.rsp, regs.rflags);
}

static void interrupt(int signal)
{
}

/* KVM_RUN, which this thread gives up after some time, even if the signal comes before it. */
static int run_for(int i, int ms)
{
	struct itimerspec limit = {
		.it_value = { ms / 1000, ms % 1000 * 1000000 },
		.it_interval.tv_sec = 1,
	};
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGUSR1,
		._sigev_un._tid = syscall(__NR_gettid),
	};
	struct sigaction action = { .sa_handler = interrupt };
	timer_t timer;
	int r, error;

	sigaction(SIGUSR1, &action, NULL);
	TEST_ASSERT(!timer_create(CLOCK_MONOTONIC, &event, &timer) &&
		    !timer_settime(timer, 0, &limit, NULL), "timer: errno %d", errno);
	r = __vcpu_run(kc.vcpu[i]);
	error = errno;
	timer_delete(timer);
	errno = error;
	return r;
}

/* Returns 0, the vector of the exception, or -1 if the guest did not come to an end. */
static int guest_do(int i, enum kvmclock_op op, u64 arg0, u64 arg1)
{
	struct kvmclock_guest *guest = kvmclock_guest(&kc, i);

	guest->op = op;
	guest->arg[0] = arg0;
	guest->arg[1] = arg1;
	guest->ret = 0;
	if (is_lost[i])
		return -1;
	if (run_for(i, 3 * PATIENCE_MS)) {
		if (errno == EINTR)
			give_up(i);
		return -1;
	}
	if (kc.vcpu[i]->run->exit_reason == KVM_EXIT_SHUTDOWN)
		__atomic_fetch_add(&nr_shutdowns, 1, __ATOMIC_RELAXED);
	return kc.vcpu[i]->run->exit_reason == KVM_EXIT_IO ? guest->ret : -1;
}

static void create_vm(int nr_vcpus)
{
	int i;

	memset(is_lost, 0, sizeof(is_lost));
	kvmclock_vm_init(&kc, 0, MAX_VCPUS);
	kvmclock_add_pages(&kc, NR_PAGES);
	for (i = 0; i < nr_vcpus; i++) {
		kvmclock_vcpu_add(&kc);
		vcpu_set_hv_cpuid(kc.vcpu[i]);
		kvmclock_set_code(&kc, i, guest_main);
		guest_do(i, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
			 kvmclock_page_gpa(i) | KVM_MSR_ENABLED);
	}
}

/* ---- What is seen of the clock ---- */

struct seen {
	int has_line[MAX_VCPUS];
	struct pvclock_vcpu_time_info line[MAX_VCPUS];
	u64 offset[MAX_VCPUS];
	int khz[MAX_VCPUS];
	u32 flags;
	int nr_vcpus;
	/* These go on; CLOCK_MONOTONIC_RAW was between @raw[0] and @raw[1] at @clock. */
	u64 clock;
	u64 host_tsc;
	u64 raw[2];
};

static void look(struct seen *seen)
{
	struct kvm_clock_data data;
	int i;

	memset(seen, 0, sizeof(*seen));
	seen->nr_vcpus = kc.nr_vcpus;
	/* To ask for a line in terms of a TSC that was set back redraws it, for all vCPUs. */
	for (i = 0; i < kc.nr_vcpus; i++)
		ioctl(kc.vcpu[i]->fd, KVM_GET_CLOCK_GUEST, &seen->line[i]);
	memset(seen->line, 0, sizeof(seen->line));
	for (i = 0; i < kc.nr_vcpus; i++) {
		seen->has_line[i] = !ioctl(kc.vcpu[i]->fd, KVM_GET_CLOCK_GUEST, &seen->line[i]);
		seen->offset[i] = kvmclock_get_offset(kc.vcpu[i]);
		seen->khz[i] = __vcpu_ioctl(kc.vcpu[i], KVM_GET_TSC_KHZ, NULL);
	}
	seen->raw[0] = kvmclock_host_ns(CLOCK_MONOTONIC_RAW);
	data = kvmclock_get(&kc);
	seen->raw[1] = kvmclock_host_ns(CLOCK_MONOTONIC_RAW);
	seen->clock = data.clock;
	seen->host_tsc = data.host_tsc;
	seen->flags = data.flags;
}

static u64 ratio_of(int i)
{
	struct kvm_vcpu_tsc_scale scale;

	if (__vcpu_device_attr_get(kc.vcpu[i], KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_SCALE, &scale))
		return 1ULL << kvmclock_frac_bits();
	return scale.tsc_ratio;
}

/* What vCPU @i's guest reads at the instant of GET, less what GET has. */
static s64 line_error(const struct seen *seen, int i)
{
	u64 tsc = kvmclock_scale(seen->host_tsc, ratio_of(i)) + seen->offset[i];

	return kvmclock_eval(&seen->line[i], tsc) - seen->clock;
}

static bool agrees(const struct seen *seen)
{
	bool ok = true;
	s64 error;
	int i;

	for (i = 0; i < seen->nr_vcpus; i++) {
		if (!seen->has_line[i])
			continue;
		error = line_error(seen, i);
		ok &= check(labs(error) <= 1, "vCPU %d: the line is off by %ld ns", i, error);
	}
	return ok;
}

static bool goes_on(const struct seen *was, const struct seen *is)
{
	u64 least = was->clock + is->raw[0] - was->raw[1];
	u64 most = was->clock + is->raw[1] - was->raw[0];

	/* With master clock, the line says so, and to the nanosecond. */
	if (is->has_line[0])
		return agrees(is);
	return check(!kvmclock_outside(is->clock, least - 2, most + 2),
		     "the clock is off by %ld ns", kvmclock_outside(is->clock, least, most));
}

static bool is_same(const struct seen *was)
{
	struct seen is;

	look(&is);
	return check(!memcmp(is.has_line, was->has_line, sizeof(is.has_line)), "mode") &&
	       check(!memcmp(is.line, was->line, sizeof(is.line)), "a line changed") &&
	       check(!memcmp(is.offset, was->offset, sizeof(is.offset)), "an offset changed") &&
	       check(!memcmp(is.khz, was->khz, sizeof(is.khz)), "a frequency changed") &&
	       check(is.flags == was->flags, "flags 0x%x, not 0x%x", is.flags, was->flags) &&
	       goes_on(was, &is);
}

/* ---- Values ---- */

/* Each thread has numbers of its own. */
static __thread u64 state64;

/*
 * What a call is made of, where that is to be used again: the numbers that were drawn
 * for it.  Some others in their place make a call that is like it.
 */
#define NR_NUMBERS	64

struct input {
	u64 number[NR_NUMBERS];
	int nr;
};

static __thread struct input *input;
static __thread int nr_drawn;

static u64 random64(void)
{
	if (!input || nr_drawn == NR_NUMBERS)
		return kvmclock_random(&state64);

	if (nr_drawn == input->nr)
		input->number[input->nr++] = kvmclock_random(&state64);
	return input->number[nr_drawn++];
}

static u32 below(u32 limit)
{
	return (random64() >> 33) % limit;
}

static bool one_in(u32 n)
{
	return !below(n);
}

static u64 value64(u64 near)
{
	static const u64 edges[] = {
		0, 1, ~0ULL, 1ULL << 31, 1ULL << 32, 1ULL << 62, ~0ULL >> 1, 1ULL << 63,
		1000000000,
	};

	switch (below(4)) {
	case 0:
		return edges[below(ARRAY_SIZE(edges))] + below(3) - 1;
	case 1:
		return near + (s64)random64() / (1LL << below(62));
	case 2:
		return random64() >> below(64);
	default:
		return near;
	}
}

/* Where a guest may say that its page is, except for memory with its code. */
static u64 value_gpa(void)
{
	static const u64 places[] = {
		KVMCLOCK_PAGES_GPA, NEXT_GPA, RO_GPA, HOLE_GPA, APIC_GPA,
	};
	u64 gpa = one_in(8) ? random64() | HOLE_GPA << 1 :
		  places[below(ARRAY_SIZE(places))] + below(2 * PAGE_SIZE) - PAGE_SIZE;

	if (gpa < KVMCLOCK_PAGES_GPA)
		gpa += KVMCLOCK_PAGES_GPA;
	return one_in(4) ? gpa & ~1ULL : gpa | 1;
}

/* A place for @size bytes of @from, most of the time one that is there. */
static void *argument(const void *from, size_t size)
{
	static __thread char *pages;

	if (!pages) {
		pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		TEST_ASSERT(pages != MAP_FAILED, "mmap: errno %d", errno);
		munmap(pages + PAGE_SIZE, PAGE_SIZE);
	}
	if (one_in(24))
		return (void *)(random64() >> below(64));

	memcpy(pages, from, size);
	if (!one_in(24))
		return pages;

	/* A part of it is not there. */
	memcpy(pages + PAGE_SIZE - size / 2, from, size / 2);
	return pages + PAGE_SIZE - size / 2;
}

/* ---- Calls, each of which returns 0 or says that it has failed ---- */

/* vCPUs below this one are left alone. */
static int first_vcpu;

static struct kvm_vcpu *some_vcpu(void)
{
	return kc.vcpu[first_vcpu + below(kc.nr_vcpus - first_vcpu)];
}

static int call_set_clock(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	int i, nr = below(4);

	data.flags = (below(128) * 2) | (one_in(16) ? random64() : 0);
	for (i = 0; i < nr; i++) {
		switch (below(7)) {
		case 0:
			data.clock = value64(data.clock);
			break;
		case 1:
			data.realtime = value64(data.realtime);
			break;
		case 2:
			data.host_tsc = value64(data.host_tsc);
			break;
		case 3:
			data.guest_tsc = value64(data.guest_tsc);
			break;
		case 4:
			data.tsc_to_system_mul = value64(data.tsc_to_system_mul);
			break;
		case 5:
			data.tsc_shift = value64(data.tsc_shift);
			break;
		case 6:
			if (one_in(4))
				data.pad[below(3)] = random64();
			data.tai_offset = value64(data.tai_offset);
			break;
		}
	}
	return ioctl(kc.vm->fd, KVM_SET_CLOCK, argument(&data, sizeof(data)));
}

static int call_set_clock_guest(void)
{
	struct kvm_vcpu *vcpu = some_vcpu();
	struct pvclock_vcpu_time_info line = {};
	int i, nr = below(3);

	ioctl(vcpu->fd, KVM_GET_CLOCK_GUEST, &line);
	for (i = 0; i < nr; i++) {
		switch (below(6)) {
		case 0:
			line.tsc_timestamp = value64(line.tsc_timestamp);
			break;
		case 1:
			line.system_time = value64(line.system_time);
			break;
		case 2:
			line.tsc_to_system_mul = value64(line.tsc_to_system_mul);
			break;
		case 3:
			line.tsc_shift = value64(line.tsc_shift);
			break;
		case 4:
			line.version = random64();
			line.flags = random64();
			break;
		case 5:
			if (one_in(2))
				line.pad0 = random64();
			else
				line.pad[below(2)] = random64();
			break;
		}
	}
	return ioctl(vcpu->fd, KVM_SET_CLOCK_GUEST, argument(&line, sizeof(line)));
}

static int call_get_clock(void)
{
	struct kvm_clock_data data = {};

	return ioctl(kc.vm->fd, KVM_GET_CLOCK, argument(&data, sizeof(data)));
}

static int call_get_clock_guest(void)
{
	struct pvclock_vcpu_time_info line = {};

	return ioctl(some_vcpu()->fd, KVM_GET_CLOCK_GUEST, argument(&line, sizeof(line)));
}

static int call_enable_cap(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ADJUST_CLOCK,
		.args[0] = below(2) ? KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI : below(256),
	};

	if (one_in(4))
		cap.args[below(4)] = value64(0);
	if (one_in(8))
		cap.flags = value64(0);
	return ioctl(kc.vm->fd, KVM_ENABLE_CAP, argument(&cap, sizeof(cap)));
}

static u32 value_khz(void)
{
	u32 khz = kvmclock_host_khz();

	return one_in(2) ? khz + below(20000) - 10000 : value64(khz);
}

static int call_set_vm_khz(void)
{
	return ioctl(kc.vm->fd, KVM_SET_TSC_KHZ, (unsigned long)value_khz());
}

static int call_set_khz(void)
{
	/* Without scaling a TSC is caught up with for good: not too often. */
	u32 khz = one_in(16) ? value_khz() : kvmclock_host_khz();

	return ioctl(some_vcpu()->fd, KVM_SET_TSC_KHZ, (unsigned long)khz);
}

static int call_tsc_ctrl(void)
{
	static const unsigned long calls[] = {
		KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR,
	};
	struct kvm_vcpu *vcpu = some_vcpu();
	u64 offset = value64(kvmclock_get_offset(vcpu)), value[2] = { offset, random64() };
	struct kvm_device_attr attr = {
		.group = one_in(16) ? value64(0) : KVM_VCPU_TSC_CTRL,
		.attr = one_in(16) ? value64(0) : below(3),
		.flags = one_in(16) ? value64(0) : 0,
		.addr = (u64)argument(value, sizeof(value)),
	};

	/* Other groups are not the clock's. */
	if (attr.group != KVM_VCPU_TSC_CTRL && attr.group < 8)
		attr.group += 8;
	return ioctl(vcpu->fd, calls[below(ARRAY_SIZE(calls))], &attr);
}

static const u32 tsc_msrs[] = { MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_DEADLINE };
static const u32 page_msrs[] = {
	MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK_NEW,
	HV_X64_MSR_REFERENCE_TSC,
};

static const u32 other_msrs[] = { HV_X64_MSR_TIME_REF_COUNT, HV_X64_MSR_GUEST_OS_ID };

static void some_msr(u32 *msr, u64 *value)
{
	switch (below(8)) {
	case 0:
		*msr = other_msrs[below(ARRAY_SIZE(other_msrs))];
		*value = value64(HYPERV_LINUX_OS_ID);
		break;
	case 1 ... 3:
		*msr = tsc_msrs[below(ARRAY_SIZE(tsc_msrs))];
		*value = value64(rdtsc());
		break;
	default:
		*msr = page_msrs[below(ARRAY_SIZE(page_msrs))];
		*value = value_gpa();
	}
}

static int call_msr(void)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} msrs = { .header.nmsrs = 1 };
	u64 value;
	u32 msr;

	some_msr(&msr, &value);
	msrs.entry.index = msr;
	msrs.entry.data = value;
	/* What comes back is the number of those that were written. */
	return ioctl(some_vcpu()->fd, one_in(4) ? KVM_GET_MSRS : KVM_SET_MSRS,
		     argument(&msrs, sizeof(msrs))) == 1 ? 0 : -1;
}

static int call_guest_msr(void)
{
	u64 value;
	u32 msr;

	some_msr(&msr, &value);
	return guest_do(below(kc.nr_vcpus), one_in(4) ? KVMCLOCK_RDMSR : KVMCLOCK_WRMSR,
			msr, value);
}

static int call_ctrl(void)
{
	return ioctl(some_vcpu()->fd, KVM_KVMCLOCK_CTRL, random64());
}

static int call_run(void)
{
	guest_do(below(kc.nr_vcpus), KVMCLOCK_NOP, 0, 0);
	return 0;
}

static int call_create_vcpu(void)
{
	int fd = ioctl(kc.vm->fd, KVM_CREATE_VCPU,
		       one_in(2) ? value64(0) : NR_VCPUS + below(4096));

	return fd < 0 ? -1 : close(fd);
}

static const struct call {
	const char *name;
	int (*call)(void);
	int weight;
	/* Most of what it is called with is wrong, or all. */
	bool fails;
	bool never_works;
} calls[] = {
	{ "KVM_SET_CLOCK", call_set_clock, 8, .fails = true },
	{ "KVM_SET_CLOCK_GUEST", call_set_clock_guest, 4, .fails = true },
	{ "KVM_GET_CLOCK", call_get_clock, 1 },
	{ "KVM_GET_CLOCK_GUEST", call_get_clock_guest, 1 },
	{ "KVM_ENABLE_CAP", call_enable_cap, 2, .fails = true },
	{ "KVM_SET_TSC_KHZ of the VM", call_set_vm_khz, 1, .fails = true, .never_works = true },
	{ "KVM_SET_TSC_KHZ", call_set_khz, 2 },
	{ "KVM_VCPU_TSC_CTRL", call_tsc_ctrl, 4, .fails = true },
	{ "MSRs of user space", call_msr, 6, .fails = true },
	{ "MSRs of the guest", call_guest_msr, 4 },
	{ "KVM_KVMCLOCK_CTRL", call_ctrl, 1 },
	{ "KVM_RUN", call_run, 4 },
	{ "KVM_CREATE_VCPU", call_create_vcpu, 1 },
};

#define NR_CALLS	ARRAY_SIZE(calls)

static int some_call(void)
{
	int sum = 0, i, n;

	for (i = 0; i < NR_CALLS; i++)
		sum += calls[i].weight;
	n = below(sum);
	for (i = 0; n >= calls[i].weight; i++)
		n -= calls[i].weight;
	return i;
}

/* ---- Fuzzers ---- */

struct counts {
	u64 done[NR_CALLS];
	u64 failed[NR_CALLS];
};

static void print_counts(const char *name, const struct counts *counts)
{
	u64 done = 0, failed = 0;
	char key[64];
	int i;

	for (i = 0; i < NR_CALLS; i++) {
		ksft_print_msg("%-28s %8lu, %8lu of them failed\n", calls[i].name,
			       counts->done[i], counts->failed[i]);
		done += counts->done[i];
		failed += counts->failed[i];
	}
	snprintf(key, sizeof(key), "attack.%s.calls", name);
	kvmclock_measure(key, done, "calls");
	snprintf(key, sizeof(key), "attack.%s.failed", name);
	kvmclock_measure(key, failed, "calls");
}

/* Calls have to have been refused and taken, or it was no attack. */
static bool is_enough_of(const struct counts *counts, int i)
{
	return (counts->done[i] > counts->failed[i] || calls[i].never_works) &&
	       (counts->failed[i] || !calls[i].fails);
}

/* A busy host needs longer until it was an attack. */
static bool goes_on_until(const struct counts *counts, u64 start_ms)
{
	u64 ms = kvmclock_now_ms() - start_ms;
	int i;

	for (i = 0; i < NR_CALLS; i++)
		if (!is_enough_of(counts, i))
			return ms < MOST_TIMES * 1000ULL * seconds;
	return ms < 1000ULL * seconds;
}

static bool is_enough(const struct counts *counts)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_CALLS; i++)
		ok &= check(is_enough_of(counts, i), "%s never %s", calls[i].name,
			    counts->done[i] > counts->failed[i] ? "failed" : "worked");
	return ok;
}

/* ---- What of KVM is reached, where the kernel tells (CONFIG_KCOV) ---- */

#define COVER_FILE	"/sys/kernel/debug/kcov"
#define COVER_WORDS	(64 << 10)
#define NR_KEPT		1024

/* A hash of 16 bits. */
#define NR_PLACES	0x10000

/* How many places were passed, and which; of the thread that has opened it. */
static u64 *cover;

/* All of them, by their hash. */
static u64 *reached;
static u64 nr_reached;

/* Calls that have reached what none had before. */
static struct input *kept;
static u32 nr_kept;

static void open_cover(void)
{
	int fd = open(COVER_FILE, O_RDWR);

	if (fd < 0)
		return;

	TEST_ASSERT(!ioctl(fd, KCOV_INIT_TRACE, COVER_WORDS), "KCOV_INIT_TRACE: errno %d", errno);
	cover = mmap(NULL, COVER_WORDS * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(cover != MAP_FAILED, "mmap of kcov: errno %d", errno);
	TEST_ASSERT(!ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC), "KCOV_ENABLE: errno %d", errno);

	/* Not static: guests get a copy of all that is. */
	reached = calloc(NR_PLACES, sizeof(*reached));
	kept = calloc(NR_KEPT, sizeof(*kept));
	TEST_ASSERT(reached && kept, "calloc");
}

/* False if @pc was reached before, or there is no room left for it. */
static bool is_first_at(u64 pc)
{
	u64 i = (pc * 0x9e3779b97f4a7c15ULL) >> 48;
	int tries;

	for (tries = 0; tries < 64; tries++, i++) {
		u64 *place = &reached[i % NR_PLACES];

		if (*place == pc)
			return false;
		if (!*place) {
			*place = pc;
			nr_reached++;
			return true;
		}
	}
	return false;
}

static bool reached_new(void)
{
	u64 i, nr = READ_ONCE(cover[0]);
	bool first = false;

	for (i = 1; i <= nr && i < COVER_WORDS; i++)
		first |= is_first_at(READ_ONCE(cover[i]));
	return first;
}

/* A new call, or one that is like some that has reached something. */
static void begin_input(struct input *new)
{
	int i;

	if (!cover)
		return;

	new->nr = 0;
	if (nr_kept && !one_in(4)) {
		*new = kept[below(nr_kept)];
		for (i = below(3); i >= 0 && new->nr; i--)
			new->number[below(new->nr)] = random64();
		if (one_in(4))
			new->nr = below(new->nr + 1);
	}
	nr_drawn = 0;
	input = new;
	WRITE_ONCE(cover[0], 0);
}

static void end_input(const struct input *used)
{
	input = NULL;
	if (!cover || !reached_new())
		return;

	kept[nr_kept < NR_KEPT ? nr_kept++ : below(NR_KEPT)] = *used;
}

static void print_cover(void)
{
	if (!cover) {
		ksft_print_msg("no %s: calls are not chosen by what they reach\n", COVER_FILE);
		return;
	}
	kvmclock_measure("attack.alone.reached", nr_reached, "places");
	kvmclock_measure("attack.alone.kept", nr_kept, "calls");
}

/*
 * Some TSC is to run faster than this host's, and cannot be scaled: KVM moves it at
 * each KVM_RUN.
 */
static bool catches_up(const struct seen *seen)
{
	int i;

	for (i = 0; i < seen->nr_vcpus; i++)
		if ((u32)seen->khz[i] > kvmclock_host_khz() && !kvm_has_cap(KVM_CAP_TSC_CONTROL))
			return true;
	return false;
}

/* One call, and what it must leave behind. */
static bool attack_once(struct counts *counts)
{
	u64 shutdowns = nr_shutdowns;
	struct seen before, after;
	struct input new;
	bool failed;
	int i;

	look(&before);
	begin_input(&new);
	i = some_call();
	failed = calls[i].call();
	end_input(&new);
	if (nr_shutdowns != shutdowns)
		return true;
	counts->done[i]++;
	counts->failed[i] += failed;
	if (failed && !(calls[i].call == call_guest_msr && catches_up(&before)))
		return check(is_same(&before), "%s has failed, and changed something",
			     calls[i].name);
	look(&after);
	return check(agrees(&after), "after %s", calls[i].name);
}

/* A new VM from time to time: one that has left the master clock does not always return. */
#define CALLS_PER_VM	1000

static bool attack_alone(void)
{
	u64 start = kvmclock_now_ms(), n = 0, shutdowns = 0;
	struct counts counts = {};
	bool ok = true;

	state64 = seed * 0x9e3779b97f4a7c15ULL + 1;
	create_vm(NR_VCPUS);
	while (ok && goes_on_until(&counts, start)) {
		u64 now = state64;

		ok = check(attack_once(&counts), "call %lu, state 0x%lx", n, now);
		if (!(++n % CALLS_PER_VM) || nr_shutdowns != shutdowns) {
			shutdowns = nr_shutdowns;
			kvmclock_vm_destroy(&kc);
			create_vm(NR_VCPUS);
		}
	}
	kvmclock_vm_destroy(&kc);
	print_counts("alone", &counts);
	print_cover();
	kvmclock_measure("attack.alone.shutdowns", nr_shutdowns, "guests");
	return check(nr_shutdowns <= 2 + n / 200, "guests shut down") & ok && is_enough(&counts);
}

/* All at once, in one VM, and then in another one. */
#define NR_THREADS	4
#define NR_ROUNDS	2

struct fuzzer {
	int n;
	struct counts counts;
};

static u64 end_ms;

/* The first one runs vCPUs: a guest can be told one thing at a time. */
static void *fuzz(void *arg)
{
	struct fuzzer *fuzzer = arg;
	struct counts *counts = &fuzzer->counts;
	bool runs = fuzzer->n % NR_THREADS == 0;
	int i;

	state64 = fuzzer->n * 0x9e3779b97f4a7c15ULL + seed;
	while (kvmclock_now_ms() < end_ms) {
		i = some_call();
		if ((calls[i].call == call_guest_msr || calls[i].call == call_run) != runs)
			continue;
		counts->failed[i] += !!calls[i].call();
		counts->done[i]++;
	}
	return NULL;
}

static void start_fuzzers(struct fuzzer *fuzzers, pthread_t *threads, int round)
{
	int i;

	create_vm(NR_VCPUS);
	for (i = 0; i < NR_THREADS; i++) {
		fuzzers[i].n = NR_THREADS * round + i;
		kvm_pthread_create(&threads[i], NULL, fuzz, &fuzzers[i]);
	}
}

/* What was done without order: at the end, all agree, whatever it is. */
static bool attack_round(int round, struct counts *sum)
{
	struct fuzzer fuzzers[NR_THREADS] = {};
	pthread_t threads[NR_THREADS];
	struct seen seen;
	bool ok;
	int i, j;

	end_ms = kvmclock_now_ms() + 1000 * seconds / NR_ROUNDS;
	start_fuzzers(fuzzers, threads, round);
	for (i = 0; i < NR_THREADS; i++) {
		kvm_pthread_join(threads[i], NULL);
		for (j = 0; j < NR_CALLS; j++) {
			sum->done[j] += fuzzers[i].counts.done[j];
			sum->failed[j] += fuzzers[i].counts.failed[j];
		}
	}
	look(&seen);
	ok = agrees(&seen);
	kvmclock_vm_destroy(&kc);
	return ok;
}

static bool attack_together(void)
{
	u64 start = kvmclock_now_ms();
	struct counts sum = {};
	bool ok = true;
	int round;

	for (round = 0; ok && goes_on_until(&sum, start); round++)
		ok = attack_round(round, &sum);
	print_counts("together", &sum);
	return ok && is_enough(&sum);
}

/* ---- Places where a page should not be ---- */

enum kind { SYSTEM_TIME, WALL_CLOCK, HYPERV, XEN_INFO, XEN_TIME, NR_KINDS };

static const struct {
	const char *name;
	u32 msr;
	u64 flag;
	u16 xen_type;
	int size;
} kinds[NR_KINDS] = {
	{ "kvmclock", MSR_KVM_SYSTEM_TIME_NEW, KVM_MSR_ENABLED, 0, 32 },
	{ "wall clock", MSR_KVM_WALL_CLOCK_NEW, 0, 0, 12 },
	{ "Hyper-V", HV_X64_MSR_REFERENCE_TSC, 1, 0, PAGE_SIZE },
	{ "Xen vcpu_info", 0, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, 64 },
	{ "Xen time", 0, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, 32 },
};

static const struct place {
	const char *name;
	u64 gpa;
	/* A clock fits in there. */
	bool fits;
} places[] = {
	{ "first bytes of a slot", NEXT_GPA, true },
	{ "last bytes of a slot", NEXT_GPA + PAGE_SIZE - 32, true },
	{ "into the hole behind a slot", NEXT_GPA + PAGE_SIZE - 16 },
	{ "across a page border", KVMCLOCK_PAGES_GPA + 5 * PAGE_SIZE - 16 },
	{ "across a border of slots", NEXT_GPA - 16 },
	{ "hole", HOLE_GPA },
	{ "APIC", APIC_GPA },
	{ "read-only slot", RO_GPA },
	{ "last bytes of a read-only slot", RO_GPA + PAGE_SIZE - 32 },
	{ "from a hole into a read-only slot", RO_GPA - 16 },
	{ "beyond all memory", 1ULL << 51 },
	{ "last bytes of all", ~0ULL & ~31ULL },
};

/* All memory that a page may be in, as user space sees it. */
static const struct { u64 gpa; int nr_pages; } areas[] = {
	{ KVMCLOCK_PAGES_GPA, NR_PAGES }, { NEXT_GPA, 1 }, { RO_GPA, 1 },
};

static u8 saved[ARRAY_SIZE(areas)][NR_PAGES * PAGE_SIZE];

static void create_places(void)
{
	create_vm(NR_VCPUS);
	vm_userspace_mem_region_add(kc.vm, VM_MEM_SRC_ANONYMOUS, NEXT_GPA, NEXT_SLOT, 1, 0);
	vm_userspace_mem_region_add(kc.vm, VM_MEM_SRC_ANONYMOUS, RO_GPA, RO_SLOT, 1,
				    KVM_MEM_READONLY);
}

static void save_areas(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(areas); i++)
		memcpy(saved[i], addr_gpa2hva(kc.vm, areas[i].gpa),
		       areas[i].nr_pages * PAGE_SIZE);
}

/* vCPUs' own clocks, at the beginning of the first pages, go on. */
static bool may_change(u64 gpa, u64 from, u64 size)
{
	u64 page = (gpa - KVMCLOCK_PAGES_GPA) / PAGE_SIZE;

	if (page < NR_VCPUS && gpa % PAGE_SIZE < 32)
		return true;
	return gpa - from < size && !(gpa >= RO_GPA && gpa < RO_GPA + PAGE_SIZE);
}

static bool areas_are_same(u64 gpa, u64 size)
{
	bool ok = true;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(areas); i++) {
		const u8 *now = addr_gpa2hva(kc.vm, areas[i].gpa);

		for (j = 0; ok && j < areas[i].nr_pages * PAGE_SIZE; j++)
			ok = now[j] == saved[i][j] || may_change(areas[i].gpa + j, gpa, size) ||
			     check(false, "KVM has written 0x%lx", areas[i].gpa + j);
	}
	return ok;
}

/* Refused or taken: both may be.  What is refused leaves the page where it was. */
static bool put_at(enum kind kind, u64 gpa, bool by_guest)
{
	struct kvm_xen_vcpu_attr attr = {
		.type = kinds[kind].xen_type,
		.u.gpa = gpa,
	};

	if (kind >= XEN_INFO)
		return !ioctl(kc.vcpu[0]->fd, KVM_XEN_VCPU_SET_ATTR, &attr);
	if (by_guest)
		return !guest_do(0, KVMCLOCK_WRMSR, kinds[kind].msr, gpa | kinds[kind].flag);
	return _vcpu_set_msr(kc.vcpu[0], kinds[kind].msr, gpa | kinds[kind].flag) == 1;
}

static void enable_for(enum kind kind)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};

	if (kind >= XEN_INFO)
		vm_ioctl(kc.vm, KVM_XEN_HVM_CONFIG, &config);
	if (kind == HYPERV)
		guest_do(0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
}

/* The clock moves, and all vCPUs run: they come back, and nobody has written elsewhere. */
static bool runs_with(u64 gpa, int size)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	bool ok = true;
	int i, pass, r;

	data.clock += 100 * NSEC_PER_SEC;
	data.flags = 0;
	ok &= check(!kvmclock_try_set(&kc, &data), "KVM_SET_CLOCK: errno %d", errno);
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < kc.nr_vcpus; i++) {
			r = guest_do(i, KVMCLOCK_NOP, 0, 0);
			ok &= check(!r, "vCPU %d: KVM_RUN %d, exit %d", i, r,
				    kc.vcpu[i]->run->exit_reason);
		}
	}
	return areas_are_same(gpa, size) && ok;
}

static bool is_shown(u64 gpa)
{
	s64 error = kvmclock_page_error(&kc, 0, addr_gpa2hva(kc.vm, gpa));

	return check(labs(error) <= 1, "the page is off by %ld ns", error);
}

static bool test_place(enum kind kind, const struct place *place, bool by_guest)
{
	u64 gpa = kind == HYPERV ? place->gpa & PAGE_MASK : place->gpa;
	static u64 last;
	bool ok;

	save_areas();
	if (put_at(kind, gpa, by_guest))
		last = gpa;
	ok = runs_with(last, kinds[kind].size);
	if (place->fits && gpa % PAGE_SIZE + kinds[kind].size <= PAGE_SIZE)
		ok &= check(last == gpa, "refused");
	if (kind == SYSTEM_TIME && place->fits)
		ok &= is_shown(gpa);
	return check(ok, "%s: %s, by %s", kinds[kind].name, place->name,
		     by_guest ? "guest" : "host");
}

/* One after the other in the same VM: what was in one place is in the next. */
static bool attack_places(void)
{
	bool ok = true;
	int kind, i, nr = 0;

	for (kind = 0; kind < NR_KINDS; kind++) {
		create_places();
		enable_for(kind);
		for (i = 0; i < ARRAY_SIZE(places); i++, nr += 2)
			ok &= test_place(kind, &places[i], false) &
			      test_place(kind, &places[i], true);
		kvmclock_vm_destroy(&kc);
	}
	kvmclock_measure("attack.places", nr, "places");
	return ok;
}

/* ---- A page behind userfaultfd ---- */

/* vCPU 0 has its clock there, and no fuzzer says that another one has. */
#define ABSENT_PAGE	4

static int uffd;
static char absent[PAGE_SIZE];

static void watch_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (unsigned long)kvmclock_page_hva(&kc, ABSENT_PAGE),
		.range.len = PAGE_SIZE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	TEST_ASSERT(uffd >= 0, "userfaultfd: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: errno %d", errno);
}

/* The clock has moved, and the page of vCPU 0 is not there to be written. */
static void take_page(void)
{
	kvmclock_set(&kc, kvmclock_get(&kc).clock + 100 * NSEC_PER_SEC, 0, 0);
	memcpy(absent, kvmclock_page_hva(&kc, ABSENT_PAGE), PAGE_SIZE);
	TEST_ASSERT(!madvise(kvmclock_page_hva(&kc, ABSENT_PAGE), PAGE_SIZE, MADV_DONTNEED),
		    "madvise: errno %d", errno);
}

static bool is_asked_for(void)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	return check(poll(&pfd, 1, PATIENCE_MS) == 1 &&
		     read(uffd, &msg, sizeof(msg)) == sizeof(msg), "nobody asks for the page");
}

static void give_page(void)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)kvmclock_page_hva(&kc, ABSENT_PAGE),
		.src = (unsigned long)absent,
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_COPY, &copy) || errno == EEXIST, "UFFDIO_COPY: errno %d",
		    errno);
}

static void do_run(void *arg)
{
	guest_do((long)arg, KVMCLOCK_NOP, 0, 0);
}

/* Any call but KVM_RUN, and none of vCPU 0, whose mutex its thread holds. */
static void do_calls(void *arg)
{
	int i;

	state64 = seed;
	first_vcpu = 1;
	for (i = 0; i < 200; i++) {
		int nr = some_call();

		if (calls[nr].call != call_guest_msr && calls[nr].call != call_run)
			calls[nr].call();
	}
}

/* What waits for the page, and what must not. */
static bool goes_on_beside(struct kvmclock_job *owner)
{
	struct kvmclock_job calls, other;
	bool ok;

	create_vm(NR_VCPUS);
	guest_do(0, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
		 kvmclock_page_gpa(ABSENT_PAGE) | KVM_MSR_ENABLED);
	guest_do(0, KVMCLOCK_NOP, 0, 0);
	watch_page();
	take_page();
	kvmclock_job_start(owner, do_run, (void *)0);
	ok = is_asked_for();
	kvmclock_job_start(&calls, do_calls, NULL);
	ok &= check(kvmclock_job_wait(&calls, PATIENCE_MS), "calls wait for the page");
	kvmclock_job_start(&other, do_run, (void *)2);
	ok &= check(kvmclock_job_wait(&other, PATIENCE_MS), "another vCPU waits for the page");
	return ok & check(!kvmclock_job_is_done(owner), "KVM_RUN does not wait for its page");
}

/* The handler of the fault calls into KVM before it provides the page. */
static bool attack_handler(void)
{
	struct kvmclock_job owner;
	bool ok = goes_on_beside(&owner);

	give_page();
	ok &= check(kvmclock_job_wait(&owner, PATIENCE_MS), "KVM_RUN does not come back");
	return ok;
}

/* ---- What never ends by itself ---- */

static void say_ready(void)
{
	int fd = atoi(getenv("KVMCLOCK_READY"));

	TEST_ASSERT(write(fd, "", 1) == 1, "write: errno %d", errno);
}

static bool wait_for_death(void)
{
	for (;;)
		pause();
	return false;
}

static void do_delete_slot(void *arg)
{
	vm_mem_region_delete(kc.vm, KVMCLOCK_PAGES_SLOT);
}

static void do_run_for_ever(void *arg)
{
	for (;;)
		guest_do((long)arg, KVMCLOCK_NOP, 0, 0);
}

static void do_set_for_ever(void *arg)
{
	for (;;)
		call_set_clock();
}

/* The page never comes; one thread waits in KVM_RUN, one for its slot to be free of users. */
static bool attack_never(void)
{
	struct kvmclock_job owner, slot, run, set;

	if (!goes_on_beside(&owner))
		return false;

	kvmclock_job_start(&run, do_run_for_ever, (void *)2);
	kvmclock_job_start(&set, do_set_for_ever, NULL);
	kvmclock_job_start(&slot, do_delete_slot, NULL);
	say_ready();
	return wait_for_death();
}

/* Killed in the middle of everything. */
static bool attack_killed(void)
{
	static struct fuzzer fuzzers[NR_THREADS];
	pthread_t threads[NR_THREADS];

	end_ms = ~0ULL;
	start_fuzzers(fuzzers, threads, 0);
	say_ready();
	return wait_for_death();
}

static const char *no_uffd(void)
{
	return access(UFFD_SYSCTL, W_OK) ? "no userfaultfd for who has no privileges" : NULL;
}

static const struct attack {
	const char *name;
	bool (*run)(void);
	const char *(*missing)(void);
	/* It does not end, but says when it is where it wants to be. */
	bool endless;
	/* Its calls are chosen by what they reach. */
	bool guided;
} attacks[] = {
	{ "alone", attack_alone, .guided = true },
	{ "together", attack_together },
	{ "places", attack_places },
	{ "handler", attack_handler, no_uffd },
	{ "never", attack_never, no_uffd, true },
	{ "killed", attack_killed, .endless = true },
};

/* ---- The attacker ---- */

static void give_up_privileges(void)
{
	if (!geteuid()) {
		TEST_ASSERT(!setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
			    !setresuid(NOBODY, NOBODY, NOBODY), "privileges: errno %d", errno);
	}
	TEST_ASSERT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	TEST_ASSERT(geteuid() && open("/dev/mem", O_RDWR) < 0, "still privileged");
}

static int attacker_main(const struct attack *attack)
{
	bool ok;

	if (attack->guided)
		open_cover();
	give_up_privileges();
	ok = attack->run() & check(!cover || nr_kept, "nothing of KVM was reached") &
	     check(!is_stuck, "a vCPU did not come back");
	fflush(stdout);
	_exit(ok ? KSFT_PASS : KSFT_FAIL);
}

/* ---- The bystander ---- */

static struct kvmclock_vm bystander;
static struct kvmclock_thread reader;
static pthread_t caller;
static bool stop;
static u64 worst_ms, nr_bystander_calls;

static void bystander_call(int i)
{
	int fd;

	switch (i % 4) {
	case 0:
		kvmclock_get(&bystander);
		break;
	case 1:
		kvmclock_set(&bystander, kvmclock_get(&bystander).clock,
			     kvmclock_knows(KVM_CLOCK_MONOTONIC) ? KVM_CLOCK_MONOTONIC : 0, 0);
		break;
	case 2:
		kvmclock_run(&bystander, 1, KVMCLOCK_NOP, 0, 0);
		break;
	case 3:
		fd = open_kvm_dev_path_or_exit();
		close(__kvm_ioctl(fd, KVM_CREATE_VM, NULL));
		close(fd);
		break;
	}
}

static void *bystander_main(void *arg)
{
	u64 start, ms;
	int i;

	for (i = 0; !READ_ONCE(stop); i++) {
		start = kvmclock_now_ms();
		bystander_call(i);
		ms = kvmclock_now_ms() - start;
		if (ms > READ_ONCE(worst_ms))
			WRITE_ONCE(worst_ms, ms);
		WRITE_ONCE(nr_bystander_calls, nr_bystander_calls + 1);
		usleep(5000);
	}
	return NULL;
}

static void start_bystander(void)
{
	kvmclock_vm_create(&bystander, 0, 2, 2);
	kvmclock_set_code(&bystander, 0, kvmclock_guest_reader);
	kvmclock_thread_start(&reader, bystander.vcpu[0]);
	kvm_pthread_create(&caller, NULL, bystander_main, NULL);
}

static void stop_bystander(void)
{
	WRITE_ONCE(stop, true);
	kvm_pthread_join(caller, NULL);
	kvmclock_thread_stop(&reader);
	kvmclock_vm_destroy(&bystander);
}

/* The bystander still reads and calls, and neither went wrong. */
static bool bystander_is_well(void)
{
	struct kvmclock_guest *guest = kvmclock_guest(&bystander, 0);
	u64 readings = READ_ONCE(guest->arg[0]), nr = READ_ONCE(nr_bystander_calls);
	u64 end = kvmclock_now_ms() + PATIENCE_MS;
	bool ok;

	while ((READ_ONCE(guest->arg[0]) == readings || READ_ONCE(nr_bystander_calls) < nr + 4) &&
	       kvmclock_now_ms() < end)
		usleep(1000);
	ok = check(READ_ONCE(guest->arg[0]) != readings, "its guest does not run") &
	     check(READ_ONCE(nr_bystander_calls) >= nr + 4, "its calls do not come back") &
	     check(READ_ONCE(worst_ms) < PATIENCE_MS, "a call took %lu ms", worst_ms) &
	     check(!READ_ONCE(guest->ret), "its clock went back by %lu ns", guest->ret);
	return check(ok, "the bystander");
}

/* ---- The cases ---- */

static pid_t start_attack(const struct attack *attack, int ready_fd)
{
	pid_t pid;
	char fd[16], n[16], s[16];

	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (pid)
		return pid;

	snprintf(fd, sizeof(fd), "%d", ready_fd);
	snprintf(n, sizeof(n), "%d", seconds);
	snprintf(s, sizeof(s), "%u", seed);
	setenv("KVMCLOCK_READY", fd, 1);
	execl("/proc/self/exe", program_invocation_name, "-t", n, "-s", s, attack->name, NULL);
	_exit(KSFT_FAIL);
}

static bool ends_within(pid_t pid, u64 ms, int *status)
{
	u64 end = kvmclock_now_ms() + ms;

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (kvmclock_now_ms() > end)
			return false;
		usleep(5000);
	}
	return true;
}

/* Where its threads are, for who has to find out why they do not go on. */
static void print_stacks(pid_t pid)
{
	char path[300], line[200];
	struct dirent *task;
	FILE *stack;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (task = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stack", pid, task->d_name);
		stack = fopen(path, "r");
		while (stack && fgets(line, sizeof(line), stack))
			ksft_print_msg("thread %s: %s", task->d_name, line);
		if (stack)
			fclose(stack);
	}
	if (dir)
		closedir(dir);
}

/* Whatever it is in, it ends. */
static bool dies(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	if (ends_within(pid, PATIENCE_MS, &status))
		return true;

	printf("Bail out! The attacker does not die of SIGKILL\n");
	fflush(stdout);
	_exit(KSFT_FAIL);
}

static bool is_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	return check(poll(&pfd, 1, 6 * PATIENCE_MS) == 1 && read(fd, &byte, 1) == 1,
		     "the attacker is not ready");
}

static bool run_attack(const struct attack *attack)
{
	int fds[2], status = 0;
	bool ok;
	pid_t pid;

	TEST_ASSERT(!pipe(fds), "pipe: errno %d", errno);
	WRITE_ONCE(worst_ms, 0);
	pid = start_attack(attack, fds[1]);
	close(fds[1]);
	if (attack->endless) {
		ok = is_ready(fds[0]);
		usleep(500000);
		ok &= bystander_is_well();
		ok &= dies(pid);
	} else if (ends_within(pid, 1000 * seconds + 12 * PATIENCE_MS, &status)) {
		ok = check(WIFEXITED(status) && !WEXITSTATUS(status), "status 0x%x", status);
	} else {
		print_stacks(pid);
		dies(pid);
		ok = check(false, "the attacker does not come to its end");
	}
	close(fds[0]);
	ok &= bystander_is_well();
	ksft_print_msg("measure attack.%s.bystander_worst %lu ms\n", attack->name, worst_ms);
	return ok;
}

/* ---- The host ---- */

static mode_t kvm_mode;

/* What an administrator does who lets users have virtual machines. */
static void open_host(bool open)
{
	struct stat st;

	if (geteuid())
		return;

	if (open) {
		TEST_ASSERT(!stat("/dev/kvm", &st), "stat: errno %d", errno);
		kvm_mode = st.st_mode & 07777;
	}
	TEST_ASSERT(!chmod("/dev/kvm", open ? PUBLIC_KVM : kvm_mode), "chmod: errno %d", errno);
	kvmclock_sysfs_write(UFFD_SYSCTL, open ? "1" : "0");
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-t seconds] [-s seed]\n", name);
	printf("-t: how long each fuzzer runs (default %d)\n", seconds);
	printf("-s: where its numbers begin (default %u)\n", seed);
	exit(KSFT_SKIP);
}

int main(int argc, char *argv[])
{
	int opt, i;

	while ((opt = getopt(argc, argv, "ht:s:")) != -1) {
		if (opt == 't')
			seconds = atoi_positive("Seconds", optarg);
		else if (opt == 's')
			seed = atoi_positive("Seed", optarg);
		else
			help(argv[0]);
	}
	for (i = 0; i < ARRAY_SIZE(attacks); i++)
		if (optind < argc && !strcmp(argv[optind], attacks[i].name))
			return attacker_main(&attacks[i]);

	kvmclock_start(ARRAY_SIZE(attacks), 0);
	open_host(true);
	start_bystander();
	for (i = 0; i < ARRAY_SIZE(attacks); i++) {
		const char *why = attacks[i].missing ? attacks[i].missing() : NULL;

		if (why)
			ksft_test_result_skip("%s: %s\n", attacks[i].name, why);
		else
			ksft_test_result(run_attack(&attacks[i]), "%s\n", attacks[i].name);
	}
	stop_bystander();
	open_host(false);
	kvmclock_finished();
}
