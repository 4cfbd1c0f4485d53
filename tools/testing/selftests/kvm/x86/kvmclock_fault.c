// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a call that fails has changed nothing, wherever it fails.
 *
 * With /proc/thread-self/fail-nth, the first allocation of memory or copy to or from
 * user space in a call fails, then the second in another call of the same, and so on
 * until a call has fewer of them.  After each call that has failed, the guest's pages,
 * the TSC offsets, KVM_GET_CLOCK and the statistics are what they were; after each that
 * has succeeded in spite of it, they all agree.
 *
 * A VMM that saves or restores a VM is killed before and after each of its system
 * calls, and at many an instant between: it ends, with its VM, and others go on.
 *
 * Needs CONFIG_FAULT_INJECTION, CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC and
 * CONFIG_FAULT_INJECTION_USERCOPY, and root.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "kvmclock.h"

#define NR_VCPUS	3
#define MAX_VCPUS	5

/* Of those that are for the clock alone; vCPU 1 has the first. */
#define HYPERV_PAGE	1

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define FAIL_DEBUGFS	"/sys/kernel/debug/"

/* No call has more places to fail in. */
#define MAX_NTH		3000

#define STEP_NS		(100 * NSEC_PER_SEC)
#define DIES_MS		20000

/* Slabs that were begun; what a vCPU leaks shows some 15 times in each sweep. */
#define MEMORY_KB	256
#define NR_SWEEPS	15

static struct kvmclock_vm kc;
static int fail_nth = -1;
static int nr_kills = 10;
/* Of the points at which to kill a VMM, every how many-th. */
static int stride = 5;
static u64 nr_failed, nr_survived;

/* ---- Faults ---- */

static const struct { const char *path, *value; } settings[] = {
	{ FAIL_DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ FAIL_DEBUGFS "failslab/verbose", "0" },
	{ FAIL_DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ FAIL_DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ FAIL_DEBUGFS "fail_page_alloc/min-order", "0" },
	{ FAIL_DEBUGFS "fail_page_alloc/verbose", "0" },
	{ FAIL_DEBUGFS "fail_usercopy/verbose", "0" },
};

static char old_settings[ARRAY_SIZE(settings)][16];

static const char *no_faults(void)
{
	int i;

	if (fail_nth < 0)
		return "no " FAIL_NTH;
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		if (access(settings[i].path, W_OK))
			return "no failslab, fail_page_alloc and fail_usercopy";
	return NULL;
}

static void set_up_faults(void)
{
	FILE *file;
	int i;

	fail_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (no_faults())
		return;
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		file = fopen(settings[i].path, "r");
		TEST_ASSERT(file && fgets(old_settings[i], sizeof(old_settings[i]), file), "%s",
			    settings[i].path);
		fclose(file);
		TEST_ASSERT(kvmclock_sysfs_write(settings[i].path, settings[i].value), "%s",
			    settings[i].path);
	}
}

static void restore_settings(void)
{
	int i;

	if (no_faults())
		return;
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		kvmclock_sysfs_write(settings[i].path, old_settings[i]);
}

/* What is armed still may fail here: once. */
static void arm(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n), i;

	for (i = 0; i < 2; i++)
		if (pwrite(fail_nth, text, len, 0) == len)
			return;
	TEST_FAIL(FAIL_NTH ": errno %d", errno);
}

/* Whether anything has failed since.  If not, that may be this very call. */
static bool disarm(void)
{
	char text[16] = "";
	bool injected = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	arm(0);
	return injected;
}

/* ---- Calls, each of which returns 0 or errno ---- */

/* What they are called with is prepared where nothing fails. */
static struct kvm_clock_data data;
static struct pvclock_vcpu_time_info line;
static u64 offset;
static int new_fd = -1;
static int next_vcpu_id = MAX_VCPUS;

struct op {
	const char *name;
	int (*run)(const struct op *op);
	void (*prepare)(const struct op *op);
	/* Of KVM_SET_CLOCK. */
	u32 flags;
	u32 msr;
	/* What it says where nothing fails. */
	int want;
	/* Takes what it has made back. */
	void (*undo)(void);
};

static void prepare(const struct op *op)
{
	data = kvmclock_get(&kc);
	data.clock += STEP_NS;
	data.flags = op->flags;
	/* Where that has a meaning, let the TSC move. */
	if (op->flags & (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC))
		data.guest_tsc += 1UL << 30;
	TEST_ASSERT(!ioctl(kc.vcpu[1]->fd, KVM_GET_CLOCK_GUEST, &line), "KVM_GET_CLOCK_GUEST");
	line.system_time += STEP_NS;
	line.version = 0;
	offset = kvmclock_get_offset(kc.vcpu[1]) + 12345678;
}

static int op_get(const struct op *op)
{
	return ioctl(kc.vm->fd, KVM_GET_CLOCK, &data) ? errno : 0;
}

static int op_set(const struct op *op)
{
	return ioctl(kc.vm->fd, KVM_SET_CLOCK, &data) ? errno : 0;
}

static int op_get_guest(const struct op *op)
{
	return ioctl(kc.vcpu[1]->fd, KVM_GET_CLOCK_GUEST, &line) ? errno : 0;
}

static int op_set_guest(const struct op *op)
{
	return ioctl(kc.vcpu[1]->fd, KVM_SET_CLOCK_GUEST, &line) ? errno : 0;
}

static int op_enable_cap(const struct op *op)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_ADJUST_CLOCK,
		.args[0] = op->flags,
	};

	return ioctl(kc.vm->fd, KVM_ENABLE_CAP, &cap) ? errno : 0;
}

static void opt_in_again(void)
{
	TEST_ASSERT(!kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI), "KVM_ENABLE_CAP");
}

static int op_vm_khz(const struct op *op)
{
	return ioctl(kc.vm->fd, KVM_SET_TSC_KHZ, (unsigned long)kvmclock_host_khz()) ? errno : 0;
}

static int op_khz(const struct op *op)
{
	return ioctl(kc.vcpu[1]->fd, KVM_SET_TSC_KHZ, (unsigned long)kvmclock_host_khz()) ?
	       errno : 0;
}

/* The end of the master clock, until it is taken back. */
static int op_khz_other(const struct op *op)
{
	unsigned long khz = kvmclock_host_khz();

	return ioctl(kc.vcpu[1]->fd, KVM_SET_TSC_KHZ, khz + khz / 10) ? errno : 0;
}

static void khz_again(void)
{
	TEST_ASSERT(!ioctl(kc.vcpu[1]->fd, KVM_SET_TSC_KHZ, (unsigned long)kvmclock_host_khz()),
		    "KVM_SET_TSC_KHZ");
	TEST_ASSERT(kvmclock_wait_flags(&kc, KVMCLOCK_RESTORE_FLAGS | KVM_CLOCK_TAI),
		    "The master clock does not come back");
}

static int attr(unsigned long call, u64 which)
{
	struct kvm_device_attr a = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = which,
		.addr = (u64)&offset,
	};

	return ioctl(kc.vcpu[1]->fd, call, &a) ? errno : 0;
}

static int op_get_offset(const struct op *op)
{
	return attr(KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET);
}

static int op_set_offset(const struct op *op)
{
	return attr(KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET);
}

static int op_has_offset(const struct op *op)
{
	return attr(KVM_HAS_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET);
}

static int op_set_scale(const struct op *op)
{
	return attr(KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_SCALE) ? EINVAL : 0;
}

static struct {
	struct kvm_msrs header;
	struct kvm_msr_entry entry;
} msrs;

static void prepare_msr(const struct op *op)
{
	prepare(op);
	msrs.header.nmsrs = 1;
	msrs.entry.index = op->msr;
	msrs.entry.data = vcpu_get_msr(kc.vcpu[1], op->msr);
	if (op->msr == MSR_IA32_TSC || op->msr == MSR_IA32_TSC_ADJUST)
		msrs.entry.data += 1UL << 40;
}

/* The call takes the value and then says how many it took: EFAULT comes before. */
static int op_set_msr(const struct op *op)
{
	int r = ioctl(kc.vcpu[1]->fd, KVM_SET_MSRS, &msrs);

	return r == 1 ? 0 : r ? errno : EINVAL;
}

static int op_get_msr(const struct op *op)
{
	int r = ioctl(kc.vcpu[1]->fd, KVM_GET_MSRS, &msrs);

	return r == 1 ? 0 : r ? errno : EINVAL;
}

static int op_ctrl(const struct op *op)
{
	return ioctl(kc.vcpu[1]->fd, KVM_KVMCLOCK_CTRL, 0) ? errno : 0;
}

static void close_new(void)
{
	close(new_fd);
	new_fd = -1;
}

/* One that was not created can be, under the same number. */
/* Where vCPUs are created: they stay as long as their VM does. */
static struct kvm_vm *vcpu_vm;

static int op_create_vcpu(const struct op *op)
{
	new_fd = ioctl(vcpu_vm->fd, KVM_CREATE_VCPU, (unsigned long)next_vcpu_id);
	return new_fd < 0 ? errno : 0;
}

static void close_vcpu(void)
{
	close_new();
	next_vcpu_id++;
}

static int kvm_fd = -1;

static int op_create_vm(const struct op *op)
{
	new_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0UL);
	return new_fd < 0 ? errno : 0;
}

static gpa_t wall_clock_gpa(void)
{
	return kvmclock_time_gpa(&kc, 0, 0) + offsetof(struct kvmclock_guest, wall) -
	       offsetof(struct kvmclock_guest, time);
}

/* Into the guest, while the clock has moved and all pages have to be written. */
static void prepare_run(const struct op *op)
{
	prepare(op);
	TEST_ASSERT(!op_set(op), "KVM_SET_CLOCK: errno %d", errno);
}

static int op_run(const struct op *op)
{
	kvmclock_guest(&kc, 1)->op = KVMCLOCK_NOP;
	return __vcpu_run(kc.vcpu[1]) ? errno : 0;
}

/* The wall clock is copied to the guest, too. */
static void prepare_copies(const struct op *op)
{
	prepare_run(op);
	vcpu_set_msr(kc.vcpu[1], MSR_KVM_WALL_CLOCK_NEW, wall_clock_gpa());
}

/* Memory of the guest's is not there, and has to be allocated by who writes the page. */
static void prepare_absent(const struct op *op)
{
	void *page = kvmclock_page_hva(&kc, 0);
	static u8 saved[PAGE_SIZE];

	prepare_run(op);
	memcpy(saved, page, PAGE_SIZE);
	TEST_ASSERT(!madvise(page, PAGE_SIZE, MADV_DONTNEED), "madvise: errno %d", errno);
}

#define SET(_name, _flags) { "set_" _name, op_set, prepare, .flags = _flags }
#define SET_MSR(_name, _msr) { "set_" _name, op_set_msr, prepare_msr, .msr = _msr }
#define GET_MSR(_name, _msr) { "get_" _name, op_get_msr, prepare_msr, .msr = _msr }

static const struct op ops[] = {
	{ "get_clock", op_get, prepare },
	SET("clock", 0),
	SET("clock_realtime", KVM_CLOCK_REALTIME),
	SET("clock_host_tsc", KVM_CLOCK_HOST_TSC),
	SET("clock_monotonic", KVM_CLOCK_MONOTONIC),
	SET("clock_stopped", KVM_CLOCK_GUEST_STOPPED),
	SET("clock_tai", KVM_CLOCK_REALTIME | KVM_CLOCK_TAI),
	SET("line", KVM_CLOCK_GUEST_TSC),
	SET("line_realtime", KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME),
	SET("line_tai_stopped", KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME | KVM_CLOCK_TAI |
	    KVM_CLOCK_GUEST_STOPPED),
	SET("line_host_tsc", KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC),
	SET("line_monotonic", KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME | KVM_CLOCK_MONOTONIC),
	{ "set_unknown_flag", op_set, prepare, .flags = 1 << 20, .want = EINVAL },
	{ "get_clock_guest", op_get_guest, prepare },
	{ "set_clock_guest", op_set_guest, prepare },
	{ "enable_cap_none", op_enable_cap, prepare, .undo = opt_in_again },
	{ "enable_cap_monotonic", op_enable_cap, prepare, .flags = KVM_CLOCK_MONOTONIC,
	  .undo = opt_in_again },
	{ "enable_cap_unknown", op_enable_cap, prepare, .flags = 1 << 20, .want = EINVAL },
	{ "set_tsc_khz_vm", op_vm_khz, prepare, .want = EINVAL },
	{ "set_tsc_khz", op_khz, prepare },
	{ "set_tsc_khz_other", op_khz_other, prepare, .undo = khz_again },
	{ "get_tsc_offset", op_get_offset, prepare },
	{ "set_tsc_offset", op_set_offset, prepare },
	{ "has_tsc_offset", op_has_offset, prepare },
	{ "set_tsc_scale", op_set_scale, prepare, .want = EINVAL },
	SET_MSR("tsc", MSR_IA32_TSC),
	GET_MSR("tsc", MSR_IA32_TSC),
	SET_MSR("tsc_adjust", MSR_IA32_TSC_ADJUST),
	GET_MSR("tsc_adjust", MSR_IA32_TSC_ADJUST),
	SET_MSR("tsc_deadline", MSR_IA32_TSC_DEADLINE),
	GET_MSR("tsc_deadline", MSR_IA32_TSC_DEADLINE),
	SET_MSR("system_time", MSR_KVM_SYSTEM_TIME),
	GET_MSR("system_time", MSR_KVM_SYSTEM_TIME),
	SET_MSR("system_time_new", MSR_KVM_SYSTEM_TIME_NEW),
	GET_MSR("system_time_new", MSR_KVM_SYSTEM_TIME_NEW),
	{ "kvmclock_ctrl", op_ctrl, prepare },
	{ "run", op_run, prepare_run },
	{ "run_copies", op_run, prepare_copies },
	{ "run_absent", op_run, prepare_absent },
	{ "create_vcpu", op_create_vcpu, prepare, .undo = close_vcpu },
	{ "create_vm", op_create_vm, prepare, .undo = close_new },
};

/* ---- Each of them, failing everywhere ---- */

static bool is_run(const struct op *op)
{
	return op->run == op_run;
}

/* What a guest on Hyper-V reads, less what GET has, in 100 ns. */
static s64 hyperv_error(void)
{
	const struct kvmclock_tsc_page *page = kvmclock_page_hva(&kc, HYPERV_PAGE);
	struct kvm_clock_data now = kvmclock_get(&kc);
	u64 tsc = kvmclock_scale(now.host_tsc, kc.ratio) + kvmclock_get_offset(kc.vcpu[0]);

	return kvmclock_mul_shr(tsc, page->scale, 64) + page->offset - now.clock / 100;
}

static bool hyperv_agrees(void)
{
	const struct kvmclock_tsc_page *page = kvmclock_page_hva(&kc, HYPERV_PAGE);
	bool equal = kvmclock_get_offset(kc.vcpu[0]) == kvmclock_get_offset(kc.vcpu[1]);

	/* One page for all vCPUs is of no use if their TSCs differ. */
	if (!page->sequence)
		return check(!equal, "Hyper-V's page is not valid");
	return check(labs(hyperv_error()) <= 1, "Hyper-V's page is off by %ld", hyperv_error());
}

/* All pages show the clock as GET has it. */
static bool all_agree(void)
{
	bool ok = true;
	s64 error;
	int i;

	kvmclock_settle(&kc);
	for (i = 0; i < kc.nr_vcpus; i++) {
		error = kvmclock_page_error(&kc, i, kc.page[i]);
		ok &= check(labs(error) <= 1, "vCPU %d: the page is off by %ld ns", i, error);
	}
	return ok & hyperv_agrees();
}

/* The call with its @n-th fault.  Whether there was one to inject goes to @injected. */
static bool fail_at(const struct op *op, int n, bool *injected)
{
	struct kvmclock_state before;
	bool ok = true;
	int r;

	kvmclock_get_state(&kc, &before);
	op->prepare(op);
	if (is_run(op))
		kvmclock_guest(&kc, 1)->op = KVMCLOCK_NOP;

	arm(n);
	r = op->run(op);
	*injected = disarm();

	nr_failed += *injected && r;
	nr_survived += *injected && !r;
	if (!*injected)
		ok = check(r == op->want, "errno %d, not %d", r, op->want);
	/* What fails on its way into the guest has left nothing undone: it is done next time. */
	if (r && !is_run(op))
		ok &= kvmclock_is_state(&kc, &before);
	if (!r && op->undo)
		op->undo();
	return all_agree() & ok;
}

static bool test_op(const struct op *op)
{
	bool injected = true;
	char key[64];
	int n;

	for (n = 1; injected; n++) {
		if (!check(n < MAX_NTH, "no end of faults"))
			return false;
		if (!check(fail_at(op, n, &injected), "%s: fault %d", op->name, n))
			return false;
	}
	snprintf(key, sizeof(key), "fault.%s.places", op->name);
	kvmclock_measure(key, n - 2, "places");
	return true;
}

static void create(void)
{
	int i;

	kvmclock_vm_init(&kc, 0, MAX_VCPUS);
	vcpu_vm = kc.vm;
	kvmclock_add_pages(&kc, 2);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_set_hv_cpuid(kc.vcpu[kvmclock_vcpu_add(&kc)]);
	opt_in_again();
	kvmclock_enable(&kc, 0, 0);
	kvmclock_enable_page(&kc, 1, 0);
	kvmclock_enable(&kc, 2, 0);
	kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC,
		     kvmclock_page_gpa(HYPERV_PAGE) | 1);
	kvmclock_settle(&kc);
}

/* ---- What failed calls leave behind ---- */

/* Let @op fail everywhere, without looking at what it does. */
static void sweep(int (*run)(const struct op *op), void (*undo)(void))
{
	bool injected = true;
	int n;

	for (n = 1; injected; n++) {
		arm(n);
		if (!run(NULL))
			undo();
		injected = disarm();
	}
}

static void sweep_all(void)
{
	int i;

	vcpu_vm = vm_create_barebones();
	vm_ioctl(vcpu_vm, KVM_CREATE_IRQCHIP, NULL);
	next_vcpu_id = 0;
	for (i = 0; i < NR_SWEEPS; i++)
		sweep(op_create_vcpu, close_vcpu);
	kvm_vm_free(vcpu_vm);
	sweep(op_create_vm, close_new);
}

/* kmemleak's records come and go with what they are of, and do not fill their slabs. */
static const char *cannot_compare_memory(void)
{
	return no_faults() ? : access("/sys/kernel/debug/kmemleak", F_OK) ? NULL :
	       "kmemleak looks for leaks";
}

static bool test_memory(void)
{
	long before;

	sweep_all();
	before = kvmclock_memory_kb();
	sweep_all();
	sweep_all();
	return kvmclock_memory_is("fault", before, MEMORY_KB);
}

/* ---- A VMM that is killed ---- */

static struct kvm_clock_data saved;

static void save_vm(struct kvmclock_vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		kvmclock_get_offset(vm->vcpu[i]);
		vcpu_get_msr(vm->vcpu[i], MSR_IA32_TSC);
		vcpu_get_msr(vm->vcpu[i], MSR_KVM_SYSTEM_TIME_NEW);
	}
	saved = kvmclock_get(vm);
}

static void restore_vm(struct kvmclock_vm *vm, u32 flags)
{
	int i, err;

	saved.flags = flags | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED;
	saved.guest_tsc += 1UL << 30;
	err = kvmclock_try_set(vm, &saved);
	TEST_ASSERT(!err, "KVM_SET_CLOCK: errno %d", err);
	for (i = 0; i < vm->nr_vcpus; i++)
		kvmclock_run(vm, i, KVMCLOCK_NOP, 0, 0);
}

static void save_and_restore(struct kvmclock_vm *vm)
{
	save_vm(vm);
	restore_vm(vm, KVM_CLOCK_REALTIME);
	save_vm(vm);
	restore_vm(vm, KVM_CLOCK_HOST_TSC);
}

/* The child; it stops where its VM is ready, and then saves and restores it. */
static void vmm_main(bool traced, bool for_ever)
{
	struct kvmclock_vm vm;

	if (traced)
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	kvmclock_vm_create(&vm, 0, 2, 2);
	TEST_ASSERT(!kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC), "KVM_ENABLE_CAP");
	raise(SIGSTOP);
	do {
		save_and_restore(&vm);
	} while (for_ever);
	_exit(0);
}

static pid_t start_vmm(bool traced, bool for_ever)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (!pid)
		vmm_main(traced, for_ever);

	TEST_ASSERT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) &&
		    WSTOPSIG(status) == SIGSTOP, "the VMM did not come so far: 0x%x", status);
	return pid;
}

/* Whether the kernel still knows a VM of @pid: debugfs has a directory for each. */
static bool has_vm(pid_t pid)
{
	DIR *dir = opendir("/sys/kernel/debug/kvm");
	struct dirent *entry;
	bool found = false;

	while (dir && (entry = readdir(dir)))
		found |= atoi(entry->d_name) == pid;
	if (dir)
		closedir(dir);
	return found;
}

static bool is_gone(pid_t pid)
{
	u64 end = kvmclock_now_ms() + DIES_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (kvmclock_now_ms() > end) {
			printf("Bail out! The VMM does not die of SIGKILL\n");
			fflush(stdout);
			_exit(KSFT_FAIL);
		}
		usleep(200);
	}
	while (has_vm(pid) && kvmclock_now_ms() < end)
		usleep(1000);
	return check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status 0x%x", status) &
	       check(!has_vm(pid), "its VM is still there");
}

/* Let it go on for @stops entries to and exits from system calls; false if it ends before. */
static bool step(pid_t pid, int stops)
{
	int status, i;

	for (i = 0; i < stops; i++) {
		TEST_ASSERT(!ptrace(PTRACE_SYSCALL, pid, NULL, NULL), "ptrace: errno %d", errno);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: errno %d", errno);
		if (WIFEXITED(status)) {
			TEST_ASSERT(!WEXITSTATUS(status), "the VMM failed: 0x%x", status);
			return false;
		}
		TEST_ASSERT(WIFSTOPPED(status), "status 0x%x", status);
	}
	return true;
}

/* Before and after each system call of a save and a restore. */
static bool test_kill_at_calls(void)
{
	struct kvmclock_state before;
	bool ok = true;
	pid_t pid;
	int n;

	for (n = 0; ok; n += stride) {
		kvmclock_get_state(&kc, &before);
		pid = start_vmm(true, false);
		if (!step(pid, n))
			break;
		kill(pid, SIGKILL);
		ok = is_gone(pid) & kvmclock_is_state(&kc, &before);
	}
	kvmclock_measure("fault.kill_at_calls", n / stride, "points");
	return ok & check(n > 20, "%d points only", n);
}

/* At any instant, most of which are in the midst of a call. */
static bool test_kill_in_calls(void)
{
	struct kvmclock_state before;
	bool ok = true;
	pid_t pid;
	int n;

	for (n = 0; ok && n < nr_kills; n++) {
		kvmclock_get_state(&kc, &before);
		pid = start_vmm(false, true);
		kill(pid, SIGCONT);
		usleep(n * 397 % 5000);
		kill(pid, SIGKILL);
		ok = is_gone(pid) & kvmclock_is_state(&kc, &before);
	}
	kvmclock_measure("fault.kill_in_calls", n, "points");
	return ok;
}

static const struct kvmclock_test tests[] = {
	{ "memory", test_memory, cannot_compare_memory },
	{ "kill_at_calls", test_kill_at_calls },
	{ "kill_in_calls", test_kill_in_calls },
};

static void help(const char *name)
{
	printf("usage: %s [-h] [-a] [-n kills]\n", name);
	printf("-a: kill a VMM at each of its system calls, not only at some\n");
	printf("-n: how often to kill a VMM in the midst of a call (default %d)\n", nr_kills);
	exit(KSFT_SKIP);
}

int main(int argc, char *argv[])
{
	const char *why;
	int opt, i;

	while ((opt = getopt(argc, argv, "han:")) != -1) {
		if (opt == 'a')
			stride = 1;
		else if (opt == 'n')
			nr_kills = atoi_positive("Number of kills", optarg);
		else
			help(argv[0]);
	}

	kvmclock_start(ARRAY_SIZE(ops) + ARRAY_SIZE(tests), 0);
	set_up_faults();
	kvm_fd = open_kvm_dev_path_or_exit();
	create();
	why = kvmclock_lacks(KVM_CLOCK_GUEST_TSC);
	if (!why)
		why = no_faults();
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (why)
			ksft_test_result_skip("%s: %s\n", ops[i].name, why);
		else
			ksft_test_result(test_op(&ops[i]), "%s\n", ops[i].name);
	}
	kvmclock_measure("fault.calls_failed", nr_failed, "calls");
	kvmclock_measure("fault.calls_survived", nr_survived, "calls");
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_GUEST_TSC, NULL);
	kvmclock_vm_destroy(&kc);
	restore_settings();
	kvmclock_finished();
}
