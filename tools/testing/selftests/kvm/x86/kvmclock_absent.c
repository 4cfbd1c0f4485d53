// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that nobody waits for memory of a guest but a vCPU for its own pages, and
 * that no page is forgotten because it could not be written.
 *
 * A page of kvmclock's, Xen's or Hyper-V's clock is absent: user space is asked for
 * it by userfaultfd, and does not provide it before this test wants it to.  While
 * the vCPU that owns the page waits for it, or does not run at all, ioctls of the
 * VM, other vCPUs and other processes have to go on.  Once the page is there, it
 * has to show the clock as it is before its owner enters the guest.
 *
 * No vCPU may read the clock as it was, either, through vCPU 0's page when that is
 * there, but shared, so that it can be read and not written.
 *
 * What should not wait runs in a thread or in a process.  If it is not done after a
 * time that is long enough for anything that computes, the page is provided, so that
 * also a kernel that waits comes to the end of this test.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/userfaultfd.h>

#include "hyperv.h"
#include "kvmclock.h"

#define MAX_VCPUS	64

/* The vCPU that has the absent page, which others read as well, and another one. */
#define OWNER	0
#define OTHER	1

/* Page i has kvmclock of vCPU i. */
#define XEN_PAGE	MAX_VCPUS
#define HYPERV_PAGE	(MAX_VCPUS + 1)
#define WALL_PAGE	(MAX_VCPUS + 2)
#define NR_PAGES	(MAX_VCPUS + 3)

/* struct vcpu_info's member time. */
#define XEN_INFO_TIME	32

#define STEP_NS		(100 * NSEC_PER_SEC)

/* Whether something waits is decided sooner once the kernel is known to do that. */
#define LONG_MS		10000
#define SHORT_MS	1000

/* After this, with all pages there, it is stuck for good. */
#define STUCK_MS	60000

enum kind { KVMCLOCK, XEN_INFO, XEN_TIME, HYPERV, NR_KINDS };

static const char * const kind_names[NR_KINDS] = {
	"kvmclock", "xen_vcpu_info", "xen_time_info", "hyperv",
};

struct tsc_page {
	u32 sequence;
	u32 reserved;
	u64 scale;
	s64 offset;
};

static struct kvmclock_vm kc;
static char *pages;
static int uffd;
static u8 saved[NR_PAGES][PAGE_SIZE];
static int next_vcpu_id;
static int nr_waits;

/* ---- Pages that are absent ---- */

static int kind_page(enum kind kind)
{
	switch (kind) {
	case KVMCLOCK:
		return OWNER;
	case HYPERV:
		return HYPERV_PAGE;
	default:
		return XEN_PAGE;
	}
}

static int open_uffd(void)
{
	return syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static const char *no_uffd(void)
{
	int fd = open_uffd();

	if (fd < 0)
		return "no userfaultfd for faults of the kernel";
	close(fd);
	return NULL;
}

/* From now on, what is taken out of the slot is asked for. */
static void watch_pages(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (unsigned long)pages,
		.range.len = NR_PAGES * PAGE_SIZE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	uffd = open_uffd();
	TEST_ASSERT(uffd >= 0, "userfaultfd: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: errno %d", errno);
}

static void take(int page)
{
	memcpy(saved[page], pages + page * PAGE_SIZE, PAGE_SIZE);
	TEST_ASSERT(!madvise(pages + page * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED),
		    "MADV_DONTNEED: errno %d", errno);
}

/*
 * Provide the page as it was taken, as a live migration does, and wake who waits; but
 * not one that is there, or gone with its VM.
 */
static void give(int page)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)pages + page * PAGE_SIZE,
		.src = (unsigned long)saved[page],
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_COPY, &copy) || errno == EEXIST || errno == ENOENT,
		    "UFFDIO_COPY: errno %d", errno);
}

/* The page that somebody asks for within @ms, or -1. */
static int asked_for(int ms)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pfd, 1, ms) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return -1;
	TEST_ASSERT(msg.event == UFFD_EVENT_PAGEFAULT, "event %d", msg.event);
	return (msg.arg.pagefault.address - (unsigned long)pages) / PAGE_SIZE;
}

static void forget_asked(void)
{
	while (asked_for(0) >= 0)
		;
}

/* ---- VMs ---- */

static void enable_xen(enum kind kind)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};
	struct kvm_xen_vcpu_attr attr = {
		.type = kind == XEN_INFO ? KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO :
					   KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
		.u.gpa = kvmclock_page_gpa(XEN_PAGE),
	};

	vm_ioctl(kc.vm, KVM_XEN_HVM_CONFIG, &config);
	vcpu_ioctl(kc.vcpu[OWNER], KVM_XEN_VCPU_SET_ATTR, &attr);
}

/* Whoever writes the MSR, the page is vCPU 0's. */
static void enable_hyperv(int vcpu)
{
	kvmclock_run(&kc, vcpu, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(&kc, vcpu, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC,
		     kvmclock_page_gpa(HYPERV_PAGE) | 1);
	kvmclock_settle(&kc);
}

/*
 * As user space does that restores a guest: the TSCs of all vCPUs are written.  Later
 * writes match these, while the first one never matches what vCPUs are created with.
 */
static void write_tscs(void)
{
	u64 tsc = vcpu_get_msr(kc.vcpu[0], MSR_IA32_TSC);
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, tsc);
}

static void create_vcpus(int nr, bool hyperv)
{
	int i;

	kvmclock_vm_init(&kc, 0, nr);
	kvmclock_add_pages(&kc, NR_PAGES);
	pages = kvmclock_page_hva(&kc, 0);
	if (kvmclock_knows(KVM_CLOCK_GUEST_TSC))
		kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	for (i = 0; i < nr; i++) {
		kvmclock_vcpu_add(&kc);
		if (hyperv)
			vcpu_set_hv_cpuid(kc.vcpu[i]);
	}
	write_tscs();
	for (i = 0; i < nr; i++)
		kvmclock_enable_page(&kc, i, i);
	next_vcpu_id = nr;
	kvmclock_settle(&kc);
	watch_pages();
}

static void create_with(enum kind kind, int nr_vcpus)
{
	create_vcpus(nr_vcpus, kind == HYPERV);
	if (kind == HYPERV)
		enable_hyperv(OWNER);
	else if (kind != KVMCLOCK)
		enable_xen(kind);
	kvmclock_settle(&kc);
}

static void create(enum kind kind)
{
	create_with(kind, 2);
}

static void destroy(void)
{
	close(uffd);
	kvmclock_vm_destroy(&kc);
}

static int try_set(u32 flags)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.clock += STEP_NS;
	data.flags = flags;
	/* Let the TSC move, where that has a meaning. */
	if (flags & (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC))
		data.guest_tsc += 1UL << 30;
	return kvmclock_try_set(&kc, &data);
}

static void step(void)
{
	TEST_ASSERT(!try_set(0), "KVM_SET_CLOCK: errno %d", errno);
}

/* ---- Whether pages show the clock as it is ---- */

static bool hyperv_is_newest(void)
{
	const struct tsc_page *page = (void *)(pages + HYPERV_PAGE * PAGE_SIZE);
	struct kvm_clock_data data = kvmclock_get(&kc);
	u64 tsc, ref;

	tsc = kvmclock_scale(data.host_tsc, kc.ratio) + kvmclock_get_offset(kc.vcpu[OTHER]);
	ref = kvmclock_mul_shr(tsc, page->scale, 64) + page->offset;
	return check(page->sequence, "Hyper-V's page is not valid") &&
	       check(labs((s64)(ref - data.clock / 100)) <= 1, "Hyper-V's page is off by %ld",
		     (s64)(ref - data.clock / 100));
}

static bool page_is_newest(int vcpu, int page, int offset)
{
	s64 error = kvmclock_page_error(&kc, vcpu, (void *)(pages + page * PAGE_SIZE + offset));

	return check(labs(error) <= 1, "vCPU %d: page %d is off by %ld ns", vcpu, page, error);
}

static bool is_newest(enum kind kind)
{
	switch (kind) {
	case HYPERV:
		return hyperv_is_newest();
	case XEN_INFO:
		return page_is_newest(OWNER, XEN_PAGE, XEN_INFO_TIME);
	case XEN_TIME:
		return page_is_newest(OWNER, XEN_PAGE, 0);
	default:
		return page_is_newest(OWNER, OWNER, 0);
	}
}

static bool all_are_newest(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		ok &= page_is_newest(i, i, 0);
	return ok;
}

/* ---- Jobs, which may wait ---- */

struct op {
	const char *name;
	/* Returns 0 or errno. */
	int (*run)(const struct op *op, int vcpu);
	u32 flags;
	/* Fails with EBUSY while a vCPU is in KVM_RUN. */
	bool busy;
	/* Whoever has the absent page, another vCPU does this. */
	bool other;
	/* It is about Hyper-V. */
	bool hyperv;
	/* It takes its time in any case. */
	bool slow;
	const char *(*missing)(void);
	/* What sets right again what it did to the host. */
	void (*after)(void);
};

struct job {
	const struct op *op;
	int vcpu;
	int ret;
	bool done;
	pthread_t thread;
};

/* The process that a job waits for. */
static pid_t child;

static void *job_main(void *arg)
{
	struct job *job = arg;

	job->ret = job->op->run(job->op, job->vcpu);
	__atomic_store_n(&job->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void job_start(struct job *job, const struct op *op, int vcpu)
{
	job->op = op;
	job->vcpu = vcpu;
	job->done = false;
	kvm_pthread_create(&job->thread, NULL, job_main, job);
}

static bool job_is_done(struct job *job)
{
	return __atomic_load_n(&job->done, __ATOMIC_ACQUIRE);
}

static bool job_wait(struct job *job, int ms)
{
	return kvmclock_wait_done(&job->done, ms);
}

static int patience_ms(const struct op *op)
{
	return nr_waits && !op->slow ? SHORT_MS : LONG_MS;
}

/* Tell whether @job does not wait for what is absent. */
static bool job_goes_on(struct job *job)
{
	int ms = patience_ms(job->op);

	if (job_wait(job, ms))
		return true;

	nr_waits++;
	if (READ_ONCE(child)) {
		kill(child, SIGKILL);
		if (!job_wait(job, SHORT_MS))
			ksft_print_msg("%s: does not even die of SIGKILL\n", job->op->name);
	}
	return check(false, "%s waits for more than %d ms", job->op->name, ms);
}

/* All pages are there: nothing has a reason to wait. */
static void job_end(struct job *job)
{
	if (!job_wait(job, STUCK_MS)) {
		printf("Bail out! %s does not come back\n", job->op->name);
		fflush(stdout);
		_exit(KSFT_FAIL);
	}
	if (job->thread)
		kvm_pthread_join(job->thread, NULL);
	job->thread = 0;
}

/* ---- What has to go on ---- */

static int op_get(const struct op *op, int vcpu)
{
	kvmclock_get(&kc);
	return 0;
}

static int op_set(const struct op *op, int vcpu)
{
	return try_set(op->flags);
}

static int op_create_vcpu(const struct op *op, int vcpu)
{
	int fd = __vm_ioctl(kc.vm, KVM_CREATE_VCPU, (void *)(long)next_vcpu_id++);

	return fd < 0 ? errno : close(fd);
}

static int op_get_msrs(const struct op *op, int vcpu)
{
	vcpu_get_msr(kc.vcpu[vcpu], MSR_IA32_TSC);
	vcpu_get_msr(kc.vcpu[vcpu], MSR_KVM_SYSTEM_TIME_NEW);
	return 0;
}

static int op_set_tsc(const struct op *op, int vcpu)
{
	vcpu_set_msr(kc.vcpu[vcpu], MSR_IA32_TSC, vcpu_get_msr(kc.vcpu[vcpu], MSR_IA32_TSC));
	return 0;
}

static int op_set_tsc_adjust(const struct op *op, int vcpu)
{
	vcpu_set_msr(kc.vcpu[vcpu], MSR_IA32_TSC_ADJUST,
		     vcpu_get_msr(kc.vcpu[vcpu], MSR_IA32_TSC_ADJUST));
	return 0;
}

static int op_set_system_time(const struct op *op, int vcpu)
{
	vcpu_set_msr(kc.vcpu[vcpu], MSR_KVM_SYSTEM_TIME,
		     kvmclock_page_gpa(vcpu) | KVM_MSR_ENABLED);
	vcpu_set_msr(kc.vcpu[vcpu], MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_page_gpa(vcpu) | KVM_MSR_ENABLED);
	return 0;
}

static int op_set_wall_clock(const struct op *op, int vcpu)
{
	vcpu_set_msr(kc.vcpu[vcpu], MSR_KVM_WALL_CLOCK_NEW, kvmclock_page_gpa(WALL_PAGE));
	return 0;
}

static const char *no_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME) ? NULL : "no KVM_CAP_HYPERV_TIME";
}

/* MSRs of the VM's, which the vCPU that waits for its page uses as well. */
static int op_get_hyperv_msrs(const struct op *op, int vcpu)
{
	vcpu_get_msr(kc.vcpu[vcpu], HV_X64_MSR_REFERENCE_TSC);
	vcpu_get_msr(kc.vcpu[vcpu], HV_X64_MSR_TIME_REF_COUNT);
	return 0;
}

static int op_set_hyperv_msr(const struct op *op, int vcpu)
{
	u64 id = vcpu_get_msr(kc.vcpu[vcpu], HV_X64_MSR_GUEST_OS_ID);

	vcpu_set_msr(kc.vcpu[vcpu], HV_X64_MSR_GUEST_OS_ID, id);
	return 0;
}

static int op_set_tsc_khz(const struct op *op, int vcpu)
{
	long khz = __vcpu_ioctl(kc.vcpu[vcpu], KVM_GET_TSC_KHZ, NULL);

	vcpu_ioctl(kc.vcpu[vcpu], KVM_SET_TSC_KHZ, (void *)khz);
	return 0;
}

static int op_tsc_offset(const struct op *op, int vcpu)
{
	kvmclock_set_offset(kc.vcpu[vcpu], kvmclock_get_offset(kc.vcpu[vcpu]));
	return 0;
}

static int op_ctrl(const struct op *op, int vcpu)
{
	vcpu_ioctl(kc.vcpu[vcpu], KVM_KVMCLOCK_CTRL, NULL);
	return 0;
}

static int op_run(const struct op *op, int vcpu)
{
	if (__vcpu_run(kc.vcpu[vcpu]))
		return errno;
	kvmclock_check_exit(kc.vcpu[vcpu]);
	return 0;
}

/* The same on each of two CPUs, which makes KVM load the vCPU anew. */
static int op_run_migrated(const struct op *op, int vcpu)
{
	int cpu, ret = 0;

	for (cpu = 0; cpu < 2 && !ret; cpu++) {
		pin_self_to_cpu(cpu);
		ret = op_run(op, vcpu);
	}
	return ret;
}

/* ---- Other processes: this program with other arguments ---- */

static pid_t spawn(char *what, char *arg)
{
	char * const argv[] = { program_invocation_name, what, arg, NULL };
	pid_t pid;
	posix_spawn_file_actions_t quiet;
	int r;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawn(&pid, "/proc/self/exe", &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	TEST_ASSERT(!r, "posix_spawn: errno %d", r);
	return pid;
}

static int create_vm_main(void)
{
	int kvm = open("/dev/kvm", O_RDWR);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	return vm < 0 || close(vm) ? KSFT_FAIL : KSFT_PASS;
}

static const char *tsc_clocksource;

/* The host tells all VMs that its clock is another; meanwhile a VM comes and goes. */
static int op_create_vm(const struct op *op, int vcpu)
{
	int status;

	kvmclock_set_clocksource(kvmclock_other_clocksource());
	usleep(100000);
	WRITE_ONCE(child, spawn("create-vm", NULL));
	waitpid(child, &status, 0);
	WRITE_ONCE(child, 0);
	return status ? ECHILD : 0;
}

/* Mainline does not come back to the master clock unless it is asked for something. */
static void restore_clocksource(void)
{
	int i;

	TEST_ASSERT(kvmclock_set_clocksource(tsc_clocksource), "Cannot switch back");
	for (i = 0; i < 200 && !(kvmclock_get(&kc).flags & KVM_CLOCK_HOST_TSC); i++) {
		usleep(10000);
		step();
	}
}

/* ---- Each of them against each kind of page ---- */

static const struct op ops[] = {
	{ "get_clock", op_get },
	{ "set_clock", op_set },
	{ "set_clock_realtime", op_set, KVM_CLOCK_REALTIME },
	{ "set_clock_host_tsc", op_set, KVM_CLOCK_HOST_TSC },
	{ "set_clock_as_got", op_set, KVMCLOCK_MASTER_FLAGS },
	{ "set_clock_monotonic", op_set, KVM_CLOCK_MONOTONIC },
	{ "restore", op_set, KVM_CLOCK_GUEST_TSC },
	{ "restore_realtime", op_set, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME, .busy = true },
	{ "restore_host_tsc", op_set, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC, .busy = true },
	{ "get_msrs", op_get_msrs },
	{ "set_tsc", op_set_tsc },
	{ "set_tsc_adjust", op_set_tsc_adjust },
	{ "set_system_time", op_set_system_time },
	{ "set_wall_clock", op_set_wall_clock },
	{ "set_tsc_khz", op_set_tsc_khz },
	{ "tsc_offset", op_tsc_offset },
	{ "kvmclock_ctrl", op_ctrl },
	{ "run", op_run, .other = true },
	{ "get_hyperv_msrs", op_get_hyperv_msrs, .hyperv = true },
	{ "set_hyperv_msr", op_set_hyperv_msr, .hyperv = true },
	/* On mainline, TSCs that are written later do not match any more. */
	{ "create_vcpu", op_create_vcpu },
	{ "create_vm", op_create_vm, .missing = kvmclock_no_clocksource,
	  .after = restore_clocksource, .slow = true },
};

static const struct op set_clock = { "KVM_SET_CLOCK", op_set };
static const struct op run = { "KVM_RUN", op_run };
static const struct op run_migrated = { "KVM_RUN", op_run_migrated };

/* Let @vcpu run where it is to wait for @page. */
static bool start_waiting(struct job *job, int vcpu, int page)
{
	int asked;

	job_start(job, &run, vcpu);
	asked = asked_for(LONG_MS);
	return check(asked == page, "page %d asked for, not %d", asked, page);
}

/*
 * Where all went on that had to (@ok), the page is right as soon as its owner has run;
 * else what has waited may come after it.
 */
static bool end_run(struct job *owner, enum kind kind, bool ok)
{
	job_end(owner);
	forget_asked();
	return check(!owner->ret, "KVM_RUN: errno %d", owner->ret) && ok && is_newest(kind);
}

/* Let @vcpu do what must not wait.  If it did, it goes on when the page is there. */
static bool goes_on(struct job *job, const struct op *op, int vcpu, int want)
{
	job_start(job, op, vcpu);
	return job_goes_on(job) && check(job->ret == want, "%s: errno %d", op->name, job->ret);
}

/*
 * The page is absent, its owner waits for it, and somebody sets the clock, who might
 * wait for the owner: then, others would wait for that one.
 */
static bool goes_on_beside_owner(enum kind kind, const struct op *op)
{
	struct job owner, setter, job;
	bool ok, late;

	step();
	take(kind_page(kind));
	ok = start_waiting(&owner, OWNER, kind_page(kind));
	job_start(&setter, &set_clock, OTHER);
	job_wait(&setter, 100);
	ok &= goes_on(&job, op, OTHER, op->busy ? EBUSY : 0);
	ok &= check(!job_is_done(&owner), "the owner went on without its page");
	late = !job_is_done(&setter) || op->after;
	give(kind_page(kind));
	job_end(&job);
	job_end(&setter);
	job_end(&owner);
	if (op->after)
		op->after();
	/* After what came behind the owner, it has to run once more to know of it. */
	if (late)
		job_start(&owner, &run, OWNER);
	return end_run(&owner, kind, ok);
}

/* The page is absent, and its owner does not run. */
static bool goes_on_without_owner(enum kind kind, const struct op *op)
{
	struct job owner, job;
	bool ok;

	step();
	take(kind_page(kind));
	ok = goes_on(&job, op, op->other ? OTHER : OWNER, 0);
	give(kind_page(kind));
	job_end(&job);
	if (op->after)
		op->after();
	job_start(&owner, &run, OWNER);
	return end_run(&owner, kind, ok);
}

static void run_op(enum kind kind, const struct op *op)
{
	const char *why = kvmclock_lacks(op->flags), *name = kind_names[kind];

	if (!why && op->missing)
		why = op->missing();
	if (why) {
		ksft_test_result_skip("%s %s waiting: %s\n", op->name, name, why);
		ksft_test_result_skip("%s %s idle: %s\n", op->name, name, why);
		return;
	}
	ksft_test_result(goes_on_beside_owner(kind, op), "%s %s waiting\n", op->name, name);
	ksft_test_result(goes_on_without_owner(kind, op), "%s %s idle\n", op->name, name);
}

/* ---- More about each kind of page, each with a VM of its own ---- */

static void run_now(int vcpu)
{
	struct job job;

	job_start(&job, &run, vcpu);
	job_end(&job);
}

/* Whoever enters the guest first has written the page, which it may read. */
static bool test_by_other(enum kind kind)
{
	bool ok;

	step();
	run_now(OTHER);
	ok = is_newest(kind);
	/* What others may have written for its owner is right behind that, too. */
	run_now(OWNER);
	return ok & is_newest(kind);
}

/* The next one that enters the guest writes the page, once it is there. */
static bool test_taken_up(enum kind kind)
{
	struct job job;
	bool ok;

	step();
	take(kind_page(kind));
	ok = goes_on(&job, &run, OTHER, 0);
	give(kind_page(kind));
	job_end(&job);
	job_start(&job, &run, OTHER);
	job_end(&job);
	return is_newest(kind) & ok;
}

static void handle_signal(int sig)
{
}

/* A signal to the vCPU that waits: whatever becomes of the page, it is not done with. */
static bool test_signal(enum kind kind)
{
	struct sigaction action = { .sa_handler = handle_signal };
	struct job owner;
	bool ok;

	sigaction(SIGUSR1, &action, NULL);
	step();
	take(kind_page(kind));
	ok = start_waiting(&owner, OWNER, kind_page(kind));
	pthread_kill(owner.thread, SIGUSR1);
	usleep(100000);
	give(kind_page(kind));
	job_end(&owner);
	job_start(&owner, &run, OWNER);
	return end_run(&owner, kind, ok);
}

/* ---- Pages that cannot be written ---- */

static void set_slot(u32 flags, bool there)
{
	vm_set_user_memory_region(kc.vm, KVMCLOCK_PAGES_SLOT, flags, KVMCLOCK_PAGES_GPA,
				  there ? NR_PAGES * PAGE_SIZE : 0, pages);
}

static void slot(int page, bool there)
{
	set_slot(0, there);
}

static void protection(int page, bool there)
{
	TEST_ASSERT(!mprotect(pages + page * PAGE_SIZE, PAGE_SIZE,
			      there ? PROT_READ | PROT_WRITE : PROT_NONE), "mprotect");
}

/*
 * The clock is set while the page cannot be written, and @first runs; then it can be
 * written again, and @second runs.
 */
static bool is_written_later(enum kind kind, void (*allow)(int page, bool there), int first,
			     int second)
{
	allow(kind_page(kind), false);
	step();
	run_now(first);
	allow(kind_page(kind), true);
	run_now(second);
	return is_newest(kind);
}

static bool test_slot(enum kind kind)
{
	return is_written_later(kind, slot, OTHER, OWNER);
}

static bool test_slot_taken_up(enum kind kind)
{
	return is_written_later(kind, slot, OTHER, OTHER);
}

static bool test_slot_entered(enum kind kind)
{
	return is_written_later(kind, slot, OWNER, OWNER);
}

/* A slot that is there keeps its flags. */
static void replace_slot(u32 flags)
{
	set_slot(0, false);
	set_slot(flags, true);
}

/*
 * The guest has no right to write the slot, as that of a firmware, although user space
 * has: neither may it have KVM write there, by whichever vCPU.
 */
static bool test_read_only(enum kind kind)
{
	int page = kind_page(kind);
	bool same;

	memcpy(saved[page], pages + page * PAGE_SIZE, PAGE_SIZE);
	replace_slot(KVM_MEM_READONLY);
	step();
	run_now(OTHER);
	run_now(OWNER);
	run_now(OTHER);
	same = !memcmp(saved[page], pages + page * PAGE_SIZE, PAGE_SIZE);
	replace_slot(0);
	run_now(OWNER);
	return check(same, "KVM has written a read-only slot") && is_newest(kind);
}

static bool test_mprotect(enum kind kind)
{
	return is_written_later(kind, protection, OTHER, OWNER);
}

static bool test_mprotect_taken_up(enum kind kind)
{
	return is_written_later(kind, protection, OTHER, OTHER);
}

static bool test_mprotect_entered(enum kind kind)
{
	return is_written_later(kind, protection, OWNER, OWNER);
}

/* ---- The end of a VM ---- */

static int op_destroy(const struct op *op, int vcpu)
{
	kvmclock_vm_destroy(&kc);
	return 0;
}

static bool test_destroy(enum kind kind)
{
	static const struct op op = { "destruction", op_destroy };
	struct job job;
	bool ok;

	step();
	take(kind_page(kind));
	ok = goes_on(&job, &op, OTHER, 0);
	if (!ok)
		give(kind_page(kind));
	job_end(&job);
	close(uffd);
	return ok;
}

/* What "vmm KIND:FD" does: be stuck at an absent page in all ways, and tell FD. */
static int vmm_main(const char *arg)
{
	static const struct op create_vcpu = { "create_vcpu", op_create_vcpu };
	struct job jobs[4];
	int kind, fd;

	TEST_ASSERT(sscanf(arg, "%d:%d", &kind, &fd) == 2, "vmm %s", arg);
	create(kind);
	step();
	take(kind_page(kind));
	if (!start_waiting(&jobs[0], OWNER, kind_page(kind)))
		return KSFT_FAIL;
	job_start(&jobs[1], &set_clock, OTHER);
	job_start(&jobs[2], &run, OTHER);
	job_start(&jobs[3], &create_vcpu, OTHER);
	usleep(100000);
	TEST_ASSERT(write(fd, &uffd, sizeof(uffd)) == sizeof(uffd), "write");
	for (;;)
		pause();
}

static bool process_ends(pid_t pid, int ms)
{
	u64 start = kvmclock_now_ms();
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (kvmclock_now_ms() - start > ms)
			return false;
		usleep(1000);
	}
	return true;
}

/* Who provides the memory is another process, and lives on. */
static bool test_kill(enum kind kind)
{
	int fds[2], fd = -1, copy = -1, pidfd;
	char arg[32];
	pid_t pid;
	bool ok;

	TEST_ASSERT(!pipe(fds), "pipe");
	snprintf(arg, sizeof(arg), "%d:%d", kind, fds[1]);
	pid = spawn("vmm", arg);
	close(fds[1]);
	ok = check(read(fds[0], &fd, sizeof(fd)) == sizeof(fd), "the VMM does not wait");
	close(fds[0]);

	pidfd = syscall(__NR_pidfd_open, pid, 0);
	if (ok)
		copy = syscall(__NR_pidfd_getfd, pidfd, fd, 0);
	ok &= check(copy >= 0, "pidfd_getfd: errno %d", errno);
	close(pidfd);

	kill(pid, SIGKILL);
	if (!check(process_ends(pid, LONG_MS), "the VMM does not die of SIGKILL")) {
		nr_waits++;
		ok = false;
		close(copy);
		waitpid(pid, NULL, 0);
	} else {
		close(copy);
	}
	return ok;
}

/* ---- What a guest reads there, through the page of another vCPU ---- */

/* The third one, which reads, and one that waits. */
#define READER		2
#define HOLDER		3

#define NR_READS	20

/* What the guest is to read and has found, in its page for orders. */
struct reading {
	u64 page;	/* in: the address */
	u64 done;
	u8 line[sizeof(struct pvclock_vcpu_time_info)];
};

static struct reading *reading(int vcpu)
{
	return (void *)(kvmclock_guest(&kc, vcpu) + 1);
}

/*
 * Copy the line, as a guest does: kvmclock's version, or Hyper-V's sequence, which is
 * not 0 then, is the same before and after.  It does not leave the guest for it.
 */
static void guest_copy(const u8 *page, u8 *line)
{
	u32 version;
	int i;

	do {
		version = READ_ONCE(*(u32 *)page);
		asm volatile("lfence" ::: "memory");
		for (i = 0; i < sizeof(struct pvclock_vcpu_time_info); i++)
			line[i] = READ_ONCE(page[i]);
		asm volatile("lfence" ::: "memory");
	} while (version != READ_ONCE(*(u32 *)page));
}

/* Read the page once each time that the vCPU runs. */
static void guest_reader(struct kvmclock_guest *guest)
{
	struct reading *reading = (void *)(guest + 1);

	for (;;) {
		guest_copy((void *)reading->page, reading->line);
		WRITE_ONCE(reading->done, reading->done + 1);
		GUEST_UCALL_NONE();
	}
}

static gpa_t kind_gpa(enum kind kind)
{
	return kvmclock_page_gpa(kind_page(kind)) + (kind == XEN_INFO ? XEN_INFO_TIME : 0);
}

/* Nobody has changed anything since: the page has what the guest was to find. */
static bool has_read(enum kind kind, gpa_t gpa, int vcpu)
{
	const u8 *page = addr_gpa2hva(kc.vm, gpa);

	/* Neither version nor sequence, nor what is behind Hyper-V's line. */
	return check(!memcmp(reading(vcpu)->line + 8, page + 8, kind == HYPERV ? 16 : 24),
		     "vCPU %d has read an old line", vcpu);
}

static bool has_read_newest(enum kind kind, int vcpu)
{
	return has_read(kind, kind_gpa(kind), vcpu);
}

static void make_reader(int vcpu, gpa_t gpa)
{
	vcpu_arch_set_entry_point(kc.vcpu[vcpu], guest_reader);
	vcpu_args_set(kc.vcpu[vcpu], 1, kc.guest_gva[vcpu]);
	memset(reading(vcpu), 0, sizeof(struct reading));
	reading(vcpu)->page = gpa;
}

static void create_readers(enum kind kind)
{
	create_with(kind, 3);
	kvmclock_map_pages(&kc, NR_PAGES);
	make_reader(READER, kind_gpa(kind));
}

static const char *no_cpu1(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? NULL : "this host has one CPU";
}

/* A child of the VMM's has a copy of its memory, which is none before it is written. */
static pid_t share_memory(void)
{
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (!pid)
		for (;;)
			pause();
	return pid;
}

/* The reader has the page mapped, as it can be read; but KVM cannot write it. */
static bool test_shared(enum kind kind)
{
	bool ok = true;
	pid_t pid;
	int i;

	create_readers(kind);
	pid = share_memory();
	for (i = 0; i < 2; i++) {
		run_now(READER);
		ok &= has_read_newest(kind, READER);
		step();
		/* It writes the page, as it comes first, and reads at once. */
		run_now(READER);
		run_now(OWNER);
		ok &= is_newest(kind) && has_read_newest(kind, READER);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = share_memory();
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	destroy();
	return ok;
}

/* Nobody can write the page, and the guest goes on with it, as it does with any memory. */
static bool test_never_writable(enum kind kind)
{
	char *page = pages + kind_page(kind) * PAGE_SIZE;
	bool ok;

	create_readers(kind);
	TEST_ASSERT(!mprotect(page, PAGE_SIZE, PROT_READ), "mprotect");
	step();
	run_now(READER);
	ok = check(reading(READER)->done == 1, "the guest has not read");
	protection(kind_page(kind), true);
	run_now(OWNER);
	run_now(READER);
	ok &= is_newest(kind) && has_read_newest(kind, READER);
	destroy();
	return ok;
}

static int op_delete_slot(const struct op *op, int vcpu)
{
	set_slot(0, false);
	return 0;
}

/*
 * KVM marks a slot as being deleted, waits for all that may not have seen the mark, and
 * only then takes the memory from the guest.  HOLDER, which waits for its own page,
 * makes that take long enough for the reader to read the clock there.
 */
static bool test_being_deleted(enum kind kind)
{
	static const struct op delete_slot = { "KVM_SET_USER_MEMORY_REGION", op_delete_slot };
	struct job holder, deleter;
	bool ok;

	create_with(kind, HOLDER + 1);
	kvmclock_map_pages(&kc, NR_PAGES);
	make_reader(READER, kind_gpa(kind));
	run_now(READER);
	step();
	take(HOLDER);
	ok = start_waiting(&holder, HOLDER, HOLDER);
	job_start(&deleter, &delete_slot, OWNER);
	job_wait(&deleter, 200);

	step();
	run_now(READER);
	ok &= is_newest(kind) && has_read_newest(kind, READER);
	ok &= check(!job_is_done(&deleter), "the slot was not being deleted, but gone");
	give(HOLDER);
	job_end(&holder);
	job_end(&deleter);
	/* What is created here is deleted with the VM. */
	set_slot(0, true);
	destroy();
	return ok;
}

static const struct {
	const char *name;
	bool (*run)(enum kind kind);
	/* It needs no VM or creates its own, or destroys it. */
	bool no_vm, destroys;
	const char *(*missing)(void);
} kind_tests[] = {
	{ "by_other", test_by_other },
	{ "taken_up", test_taken_up },
	{ "signal", test_signal },
	{ "slot", test_slot },
	{ "slot_taken_up", test_slot_taken_up },
	{ "slot_entered", test_slot_entered },
	{ "read_only", test_read_only },
	{ "mprotect", test_mprotect },
	{ "mprotect_taken_up", test_mprotect_taken_up },
	{ "mprotect_entered", test_mprotect_entered },
	{ "shared", test_shared, .no_vm = true },
	{ "never_writable", test_never_writable, .no_vm = true },
	{ "being_deleted", test_being_deleted, .no_vm = true },
	{ "destroy", test_destroy, .destroys = true },
	{ "kill", test_kill, .no_vm = true },
};

static const char *no_xen(void)
{
	int caps = kvm_check_cap(KVM_CAP_XEN_HVM);

	return caps & KVM_XEN_HVM_CONFIG_SHARED_INFO ? NULL : "no KVM_CAP_XEN_HVM";
}

static void run_kind_test(enum kind kind, int t)
{
	const char *why = kind_tests[t].missing ? kind_tests[t].missing() : NULL;
	bool ok;

	if (why) {
		ksft_test_result_skip("%s %s: %s\n", kind_tests[t].name, kind_names[kind], why);
		return;
	}
	if (!kind_tests[t].no_vm)
		create(kind);
	ok = kind_tests[t].run(kind);
	if (!kind_tests[t].no_vm && !kind_tests[t].destroys)
		destroy();
	ksft_test_result(ok, "%s %s\n", kind_tests[t].name, kind_names[kind]);
}

static int nr_results(enum kind kind)
{
	int i, nr = ARRAY_SIZE(kind_tests);

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (kind == HYPERV || !ops[i].hyperv)
			nr += 2;
	return nr;
}

static void run_kind(enum kind kind)
{
	const char *why = kind == KVMCLOCK ? NULL : kind == HYPERV ? no_hyperv() : no_xen();
	int i;

	for (i = 0; why && i < nr_results(kind); i++)
		ksft_test_result_skip("%s: %s\n", kind_names[kind], why);
	if (why)
		return;

	create(kind);
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (kind == HYPERV || !ops[i].hyperv)
			run_op(kind, &ops[i]);
	destroy();
	for (i = 0; i < ARRAY_SIZE(kind_tests); i++)
		run_kind_test(kind, i);
}

/* ---- Hyper-V's page, which is one for all ---- */

/* Nobody but vCPU 0 waits for it, on whichever vCPU it was enabled. */
static bool hyperv_owner_waits(void)
{
	struct job owner, job;
	bool ok;

	step();
	take(HYPERV_PAGE);
	ok = goes_on(&job, &run, OTHER, 0);
	if (ok)
		ok = start_waiting(&owner, OWNER, HYPERV_PAGE) &&
		     check(!job_wait(&owner, 100), "the owner went on without its page");
	else
		job_start(&owner, &run, OWNER);
	give(HYPERV_PAGE);
	job_end(&job);
	ok = end_run(&owner, HYPERV, ok);
	destroy();
	return ok;
}

static bool test_hyperv_owner(void)
{
	create_vcpus(2, true);
	enable_hyperv(OTHER);
	return hyperv_owner_waits();
}

/* User space that restores a guest writes the MSR for it. */
static bool test_hyperv_owner_by_host(void)
{
	create(HYPERV);
	vcpu_set_msr(kc.vcpu[OTHER], HV_X64_MSR_REFERENCE_TSC, kvmclock_page_gpa(HYPERV_PAGE) | 1);
	kvmclock_settle(&kc);
	return hyperv_owner_waits();
}

/*
 * A vCPU has a line at hand when it waits for its kvmclock page, and when it gets
 * that, it may still have to write Hyper-V's.
 */
static bool keeps_hyperv_page(bool other_runs)
{
	struct job owner, job;
	bool ok;

	create(HYPERV);
	step();
	take(OWNER);
	ok = start_waiting(&owner, OWNER, OWNER);
	step();
	if (other_runs) {
		ok &= goes_on(&job, &run, OTHER, 0);
		ok = ok && hyperv_is_newest();
	}
	give(OWNER);
	if (other_runs)
		job_end(&job);
	ok = end_run(&owner, HYPERV, ok);
	ok = ok && page_is_newest(OWNER, OWNER, 0);
	destroy();
	return ok;
}

static bool test_hyperv_old_line(void)
{
	return keeps_hyperv_page(false);
}

static bool test_hyperv_old_line_other(void)
{
	return keeps_hyperv_page(true);
}

/* ---- PVCLOCK_GUEST_STOPPED ---- */

/* The guest is told that it was stopped, once, though at first that cannot be written. */
static bool is_told_later(void (*allow)(int page, bool there), int first)
{
	struct pvclock_vcpu_time_info *page;
	bool ok;

	create(KVMCLOCK);
	page = kc.page[OWNER];
	allow(OWNER, false);
	vcpu_ioctl(kc.vcpu[OWNER], KVM_KVMCLOCK_CTRL, NULL);
	step();
	run_now(first);
	allow(OWNER, true);
	run_now(OWNER);
	ok = check(page->flags & PVCLOCK_GUEST_STOPPED, "PVCLOCK_GUEST_STOPPED is lost");

	/* As the guest does. */
	page->flags &= ~PVCLOCK_GUEST_STOPPED;
	step();
	run_now(OTHER);
	run_now(OWNER);
	ok &= check(!(page->flags & PVCLOCK_GUEST_STOPPED), "PVCLOCK_GUEST_STOPPED comes twice");
	destroy();
	return ok;
}

static bool test_stopped_slot(void)
{
	return is_told_later(slot, OTHER);
}

static bool test_stopped_slot_entered(void)
{
	return is_told_later(slot, OWNER);
}

static bool test_stopped_mprotect(void)
{
	return is_told_later(protection, OTHER);
}

static bool test_stopped_mprotect_entered(void)
{
	return is_told_later(protection, OWNER);
}

/* ---- Pages that cannot be written cost nobody anything ---- */

static u64 nr_written(void)
{
	u64 nr = 0;

	TEST_ASSERT(kvmclock_stat(&kc, "clock_updates", &nr), "no statistic");
	return nr;
}

/*
 * One of vCPU 0's pages is where none can be written, and another one is good: it is
 * not written again each time that somebody enters the guest, nor the guest's own.
 */
static bool costs_nothing(void)
{
	u64 written;
	int i;

	step();
	for (i = 0; i < kc.nr_vcpus; i++)
		run_now(i);
	written = nr_written();
	for (i = 0; i < 20; i++)
		run_now(i % kc.nr_vcpus);
	written = nr_written() - written;
	return check(is_newest(XEN_TIME), "the good page") &
	       check(!written, "%lu pages were written for nothing", written);
}

/* The guest puts it where there is no memory slot. */
static bool test_no_slot(void)
{
	bool ok;

	create(XEN_TIME);
	kvmclock_run(&kc, OWNER, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_page_gpa(100000) | KVM_MSR_ENABLED);
	kvmclock_guest(&kc, OWNER)->op = KVMCLOCK_NOP;
	ok = costs_nothing();

	kvmclock_run(&kc, OWNER, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_page_gpa(OWNER) | KVM_MSR_ENABLED);
	ok &= page_is_newest(OWNER, OWNER, 0);
	destroy();
	return ok;
}

static bool test_unwritable(void)
{
	bool ok;

	create(XEN_TIME);
	TEST_ASSERT(!mprotect(pages + OWNER * PAGE_SIZE, PAGE_SIZE, PROT_READ), "mprotect");
	ok = costs_nothing();
	protection(OWNER, true);
	run_now(OTHER);
	ok &= page_is_newest(OWNER, OWNER, 0);
	destroy();
	return ok;
}

/* ---- Host clock mode ---- */

/* A guest with the old MSR gets no master clock. */
static bool create_in_host_clock(void)
{
	create(KVMCLOCK);
	kvmclock_run(&kc, OWNER, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME,
		     kvmclock_page_gpa(OWNER) | KVM_MSR_ENABLED);
	kvmclock_guest(&kc, OWNER)->op = KVMCLOCK_NOP;
	kvmclock_settle(&kc);
	return check(!(kvmclock_get(&kc).flags & KVM_CLOCK_HOST_TSC), "master clock");
}

/* Each vCPU has a line of its own there, and no reason to wait for others. */
static bool runs_in_host_clock(const struct op *op)
{
	struct job owner, job;
	bool ok;

	ok = create_in_host_clock();
	step();
	take(OWNER);
	ok &= start_waiting(&owner, OWNER, OWNER);
	ok &= goes_on(&job, op, OTHER, 0);
	give(OWNER);
	job_end(&job);
	job_end(&owner);
	destroy();
	return ok;
}

static bool test_host_clock(void)
{
	return runs_in_host_clock(&run);
}

static bool test_host_clock_migrated(void)
{
	return runs_in_host_clock(&run_migrated);
}

/*
 * After a change, another vCPU writes the boot vCPU's page, which still draws its own line on
 * the CPU that it runs on, when it enters the guest.
 */
static bool test_host_clock_own_line(void)
{
	struct pvclock_vcpu_time_info line;
	bool ok;
	u64 tsc;
	int i;

	pin_self_to_cpu(0);
	ok = create_in_host_clock();
	for (i = 0; i < 3; i++) {
		step();
		run_now(OTHER);
		tsc = rdtsc() + kvmclock_get_offset(kc.vcpu[OWNER]);
		run_now(OWNER);
		kvmclock_snapshot((void *)pages + OWNER * PAGE_SIZE, &line);
		ok &= check((s64)(line.tsc_timestamp - tsc) >= 0, "its line is %ld cycles old",
			    (s64)(tsc - line.tsc_timestamp));
	}
	destroy();
	return ok;
}

/* ---- Postcopy ---- */

static struct job jobs[MAX_VCPUS];

static void take_all_but_first(void)
{
	int i;

	step();
	for (i = 1; i < kc.nr_vcpus; i++)
		take(i);
}

static void give_all_but_first(void)
{
	int i;

	for (i = 1; i < kc.nr_vcpus; i++)
		give(i);
}

/* The first one, whose page is there, runs and asks for none of the others'. */
static bool first_goes_on(void)
{
	bool ok = goes_on(&jobs[0], &run, 0, 0);

	return check(asked_for(0) < 0, "a page is asked for that is another vCPU's") & ok;
}

/* Each of the others asks for one page, its own. */
static bool others_ask(void)
{
	bool asked[NR_PAGES] = {}, ok = true;
	int i, page;

	for (i = 1; i < kc.nr_vcpus; i++)
		job_start(&jobs[i], &run, i);
	for (i = 1; i < kc.nr_vcpus && ok; i++) {
		page = asked_for(LONG_MS);
		ok = check(page > 0 && page < kc.nr_vcpus && !asked[page],
			   "page %d is asked for, after %d others", page, i - 1);
		asked[ok ? page : 0] = true;
	}
	return ok;
}

/* They come one by one, the last one first. */
static bool others_go_on(void)
{
	bool ok = true;
	int i, j;

	for (i = kc.nr_vcpus - 1; i > 0; i--) {
		give(i);
		ok = ok && job_goes_on(&jobs[i]);
		for (j = 1; j < i; j++)
			ok = ok && check(!job_is_done(&jobs[j]), "vCPU %d has not waited", j);
	}
	return ok;
}

static bool test_postcopy(void)
{
	bool ok;
	int i;

	create_vcpus(MAX_VCPUS, false);
	take_all_but_first();
	ok = first_goes_on() && others_ask();
	if (ok)
		ok = others_go_on();
	else
		give_all_but_first();
	for (i = 0; i < kc.nr_vcpus; i++)
		if (jobs[i].op)
			job_end(&jobs[i]);
	ok &= all_are_newest();
	destroy();
	return ok;
}

static const struct kvmclock_test tests[] = {
	{ "hyperv_owner", test_hyperv_owner, no_hyperv, .always = true },
	{ "hyperv_owner_by_host", test_hyperv_owner_by_host, no_hyperv, .always = true },
	{ "hyperv_old_line", test_hyperv_old_line, no_hyperv, .always = true },
	{ "hyperv_old_line_other", test_hyperv_old_line_other, no_hyperv, .always = true },
	{ "stopped_slot", test_stopped_slot, .always = true },
	{ "stopped_slot_entered", test_stopped_slot_entered, .always = true },
	{ "stopped_mprotect", test_stopped_mprotect, .always = true },
	{ "stopped_mprotect_entered", test_stopped_mprotect_entered, .always = true },
	{ "no_slot", test_no_slot, no_xen },
	{ "unwritable", test_unwritable, no_xen },
	{ "host_clock", test_host_clock, .always = true },
	{ "host_clock_migrated", test_host_clock_migrated, no_cpu1, .always = true },
	{ "postcopy", test_postcopy, .always = true },
	/* From here on, on one CPU. */
	{ "host_clock_own_line", test_host_clock_own_line, .always = true },
};

int main(int argc, char *argv[])
{
	int i, nr = ARRAY_SIZE(tests);

	if (argc == 2 && !strcmp(argv[1], "create-vm"))
		return create_vm_main();
	if (argc == 3 && !strcmp(argv[1], "vmm"))
		return vmm_main(argv[2]);

	__TEST_REQUIRE(!no_uffd(), "%s", no_uffd());
	for (i = 0; i < NR_KINDS; i++)
		nr += nr_results(i);
	kvmclock_start(nr, 0);
	tsc_clocksource = sys_get_cur_clocksource();

	for (i = 0; i < NR_KINDS; i++)
		run_kind(i);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_MONOTONIC, NULL);
	kvmclock_finished();
}
