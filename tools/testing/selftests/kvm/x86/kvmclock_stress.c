// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that the clock only goes forward under load.
 *
 * One VM with many vCPUs, and then many VMs, read the clock on few CPUs: each vCPU
 * through its own page and, where that says that the TSCs are stable, through vCPU
 * 0's.  The vCPUs of a VM share the highest value read so far: a reading that began
 * after that value was stored must not be below it.  Guests write their TSCs and MSRs
 * now and then, and threads of the host do all that moves a clock, on any VM, at once.
 *
 * Without master clock, only the value where it starts again is promised.  Who leaves
 * it says so before and after (epoch), and nothing is compared in between.
 *
 * A KVM_SET_CLOCK may take the clock back, of course.  Here, each of them either has
 * KVM_CLOCK_MONOTONIC, or asks for a later value or for the present line and is the
 * only one that sets the clock meanwhile.
 *
 * Whatever does not come back is a hang.  At the end, the kernel has the memory that it
 * had before.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvmclock.h"

#define MAX_VMS		64
#define MAX_READERS	64
#define NR_SPARE	64
#define NR_THREADS	6

/* How often a phase is begun until a VM got through it whose vCPU 0 did not shut down. */
#define NR_TRIES	5

/* Readings until a vCPU lets user space have a look, and until its guest makes trouble. */
#define NR_BATCH	64
#define NR_QUIET	256

/* Who has not come back after this has not because it cannot. */
#define HANG_MS		120000
/* Who has not for this long is made to, and may find that the guest is lost. */
#define KICK_MS		5000

/* Where clocks start: nothing that is set is below 0. */
#define START_NS	(1000 * NSEC_PER_SEC)

/* So far that the time since GET does not matter, however slow this host is. */
#define FORWARD_NS	(100 * NSEC_PER_SEC)

/* Slabs that were begun, stacks of threads that are kept: no more, however long it runs. */
#define MEMORY_KB	2048

static int seconds = 10;
static int nr_vcpus = 16;
static int nr_vms = 8;

/* ---- Guest ---- */

/* A TSC from before its line's, of which guests make hundreds of years. */
struct early {
	u64 nr;
	u64 tsc;
	u64 epoch;
	u64 page;
	struct pvclock_vcpu_time_info line;
};

struct reader {
	u64 rng;
	u64 readings;
	u64 compared;
	u64 troubles;
	struct kvmclock_backwards back;
	struct early early;
};

struct shared {
	/* Odd while the master clock may be away. */
	u64 epoch;
	u64 highest;
	struct reader reader[MAX_READERS];
};

struct guest_args {
	struct shared *shared;
	struct pvclock_vcpu_time_info *page[MAX_READERS];
	u64 gpa[MAX_READERS];
};

/*
 * The memory of a page may go away while it is read; what is read then is all ones,
 * which no line has in any of its words, and which is an odd version.
 */
static u64 guest_snapshot(const struct pvclock_vcpu_time_info *page,
			  struct pvclock_vcpu_time_info *line)
{
	const void *memory = page;
	const u64 *from = memory;
	u64 to[sizeof(*line) / sizeof(u64)];
	u64 tsc;
	u32 version;
	int i;

	do {
		version = READ_ONCE(page->version);
		asm volatile("lfence" ::: "memory");
		for (i = 0; i < ARRAY_SIZE(to); i++)
			to[i] = READ_ONCE(from[i]);
		tsc = rdtsc();
		asm volatile("lfence" ::: "memory");
	} while ((version & 1) || version != READ_ONCE(page->version) ||
		 to[0] == ~0UL || to[1] == ~0UL || to[2] == ~0UL || to[3] == ~0UL);

	memcpy(line, to, sizeof(*line));
	return tsc;
}

static void guest_note_early(struct early *early, const struct pvclock_vcpu_time_info *line,
			     u64 tsc, int page, u64 epoch)
{
	if ((s64)(tsc - line->tsc_timestamp) >= 0)
		return;

	if (!early->nr++) {
		early->line = *line;
		early->tsc = tsc;
		early->epoch = epoch;
		early->page = page;
	}
}

/* The highest value is loaded before the clock is read: rdtsc() is fenced. */
static void guest_read(const struct guest_args *args, int reader, int page)
{
	struct shared *shared = args->shared;
	struct reader *me = &shared->reader[reader];
	struct pvclock_vcpu_time_info line;
	u64 epoch, highest, now, tsc;

	epoch = READ_ONCE(shared->epoch);
	asm volatile("lfence" ::: "memory");
	highest = READ_ONCE(shared->highest);
	tsc = guest_snapshot(args->page[page], &line);
	if (page != reader && !(line.flags & PVCLOCK_TSC_STABLE_BIT))
		return;

	now = kvmclock_guest_eval(&line, tsc);
	guest_note_early(&me->early, &line, tsc, page, epoch);

	if (!(epoch & 1) && READ_ONCE(shared->epoch) == epoch) {
		kvmclock_note_reading(&me->back, highest, now);
		me->compared++;
	}
	kvmclock_raise(&shared->highest, now);
	me->readings++;
}

/* Others read vCPU 0's page all the time: it stays on, and runs no old MSR. */
static void guest_trouble(const struct guest_args *args, int reader, struct reader *me)
{
	u64 random = kvmclock_random(&me->rng), value = args->gpa[reader] | KVM_MSR_ENABLED;

	switch (reader ? random % 4 : 3) {
	case 0:
		wrmsr(MSR_IA32_TSC, rdmsr(MSR_IA32_TSC) + (random >> 24));
		break;
	case 1:
		wrmsr(MSR_IA32_TSC_ADJUST, rdmsr(MSR_IA32_TSC_ADJUST) + (random >> 24));
		break;
	case 2:
		wrmsr(MSR_KVM_SYSTEM_TIME, value);
		wrmsr(MSR_KVM_SYSTEM_TIME_NEW, value);
		break;
	case 3:
		if (reader)
			wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
		wrmsr(MSR_KVM_SYSTEM_TIME_NEW, value);
		break;
	}
	me->troubles++;
}

static void guest_main(const struct guest_args *args, int reader)
{
	struct reader *me = &args->shared->reader[reader];
	u64 n;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, args->gpa[reader] | KVM_MSR_ENABLED);
	for (n = 1;; n++) {
		guest_read(args, reader, n & 1 ? 0 : reader);
		if (!(kvmclock_random(&me->rng) % NR_QUIET))
			guest_trouble(args, reader, me);
		if (!(n % NR_BATCH))
			GUEST_UCALL_NONE();
	}
}

/* ---- VMs ---- */

struct machine {
	struct kvmclock_vm kc;
	struct shared *shared;
	int nr_readers;
	int next_vcpu_id;
	/* Who sets the clock without KVM_CLOCK_MONOTONIC is alone. */
	pthread_rwlock_t setting;
	pthread_mutex_t lock;
	int nr_relaxed;
	bool pause;
	/* What was seen in GET. */
	struct reader getter;
	struct run {
		struct machine *machine;
		int i;
		pthread_t thread;
		bool is_paused;
		bool is_done;
		u64 exits;
		u64 mmio;
		u64 restarts;
		struct kvm_regs regs;
		struct kvm_sregs sregs;
	} run[MAX_READERS];
};

static struct machine *machines[MAX_VMS];
static int nr_machines;
static bool stop;
static bool failed;

/* The last vCPU's page is in memory that comes and goes. */
static int mover(const struct machine *m)
{
	return m->nr_readers - 1;
}

/*
 * TCG's SVM makes a guest shut down now and then, on any KVM (lab/tests.list).  That
 * is an INIT, and the guest begins anew.  An INIT also turns the vCPU's kvmclock off:
 * who reads vCPU 0's page meanwhile reads an old line, so nothing that this VM read is
 * judged then.
 */
static void restart(struct machine *m, struct run *run)
{
	struct kvm_vcpu *vcpu = m->kc.vcpu[run->i];
	struct kvm_vcpu_events none = {};

	run->restarts++;
	vcpu_events_set(vcpu, &none);
	vcpu_sregs_set(vcpu, &run->sregs);
	vcpu_regs_set(vcpu, &run->regs);
}

static bool is_void(const struct machine *m)
{
	return READ_ONCE(m->run[0].restarts);
}

/* Where the guest is that does not come back: for ever, it seems. */
static void print_where(struct machine *m, struct run *run)
{
	struct kvm_vcpu *vcpu = m->kc.vcpu[run->i];
	struct kvm_mp_state mp;
	struct kvm_regs regs;

	vcpu_mp_state_get(vcpu, &mp);
	vcpu_regs_get(vcpu, &regs);
	ksft_print_msg("vCPU %d was at rip %llx, rsp %llx, rflags %llx, mp_state %u\n", run->i,
		       regs.rip, regs.rsp, regs.rflags, mp.mp_state);
	ksft_print_msg("rax %llx, rcx %llx, rdx %llx; exits %lu, restarts %lu\n", regs.rax,
		       regs.rcx, regs.rdx, run->exits, run->restarts);
}

/* Whether a guest that makes no sense is TCG's fault.  If so, it begins anew. */
static bool restart_if_lost(struct machine *m, struct run *run)
{
	if (kvmclock_is_at_host(m->kc.vcpu[run->i])) {
		restart(m, run);
		return true;
	}
	print_where(m, run);
	return false;
}

static void handle_exit(struct machine *m, struct run *run)
{
	struct kvm_vcpu *vcpu = m->kc.vcpu[run->i];

	run->exits++;
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_MMIO:
		run->mmio++;
		memset(vcpu->run->mmio.data, 0xff, sizeof(vcpu->run->mmio.data));
		break;
	case KVM_EXIT_SHUTDOWN:
		restart(m, run);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		TEST_ASSERT(restart_if_lost(m, run), "internal error %u: %llx %llx %llx",
			    vcpu->run->internal.suberror, vcpu->run->internal.data[0],
			    vcpu->run->internal.data[1], vcpu->run->internal.data[2]);
		break;
	default:
		kvmclock_check_exit(vcpu);
	}
}

static void *run_vcpu(void *arg)
{
	struct run *run = arg;
	struct machine *m = run->machine;

	while (!READ_ONCE(stop)) {
		if (READ_ONCE(m->pause)) {
			WRITE_ONCE(run->is_paused, true);
			usleep(1000);
			continue;
		}
		WRITE_ONCE(run->is_paused, false);
		if (!__vcpu_run(m->kc.vcpu[run->i]))
			handle_exit(m, run);
		else if (errno == EINTR)
			restart_if_lost(m, run);
		else
			TEST_FAIL("KVM_RUN: errno %d", errno);
	}
	WRITE_ONCE(run->is_paused, true);
	__atomic_store_n(&run->is_done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void create_guest(struct machine *m, unsigned int n)
{
	struct kvm_vm *vm = m->kc.vm;
	struct guest_args *args;
	gva_t args_gva, shared_gva;
	int i;

	shared_gva = vm_alloc(vm, sizeof(*m->shared), KVM_UTIL_MIN_VADDR);
	m->shared = addr_gva2hva(vm, shared_gva);
	memset(m->shared, 0, sizeof(*m->shared));
	args_gva = vm_alloc(vm, sizeof(*args), KVM_UTIL_MIN_VADDR);
	args = addr_gva2hva(vm, args_gva);
	args->shared = (void *)shared_gva;

	kvmclock_add_pages(&m->kc, 1);
	virt_map(vm, KVMCLOCK_PAGES_GPA, KVMCLOCK_PAGES_GPA, 1);
	for (i = 0; i < m->nr_readers; i++) {
		args->page[i] = (void *)m->kc.guest_gva[i] + offsetof(struct kvmclock_guest, time);
		args->gpa[i] = kvmclock_time_gpa(&m->kc, i, 0);
		m->shared->reader[i].rng = (n + 1) * 0x9e3779b97f4a7c15ULL + i;
	}
	args->page[mover(m)] = (void *)KVMCLOCK_PAGES_GPA;
	args->gpa[mover(m)] = KVMCLOCK_PAGES_GPA;

	for (i = 0; i < m->nr_readers; i++) {
		vcpu_arch_set_entry_point(m->kc.vcpu[i], guest_main);
		vcpu_args_set(m->kc.vcpu[i], 2, args_gva, i);
		vcpu_regs_get(m->kc.vcpu[i], &m->run[i].regs);
		vcpu_sregs_get(m->kc.vcpu[i], &m->run[i].sregs);
	}
}

static struct machine *create_machine(int nr_readers, unsigned int n)
{
	struct machine *m = calloc(1, sizeof(*m));

	TEST_ASSERT(m, "calloc");
	m->nr_readers = nr_readers;
	m->next_vcpu_id = nr_readers;
	pthread_rwlock_init(&m->setting, NULL);
	pthread_mutex_init(&m->lock, NULL);
	kvmclock_vm_create(&m->kc, 0, nr_readers, nr_readers);
	kvmclock_set(&m->kc, START_NS, 0, 0);
	create_guest(m, n);
	return m;
}

static void start_machine(struct machine *m)
{
	int i;

	for (i = 0; i < m->nr_readers; i++) {
		m->run[i].machine = m;
		m->run[i].i = i;
		kvm_pthread_create(&m->run[i].thread, NULL, run_vcpu, &m->run[i]);
	}
}

/* ---- Where the master clock may be away ---- */

static void fail(const char *why)
{
	ksft_print_msg("%s\n", why);
	WRITE_ONCE(failed, true);
}

static void relax(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	if (!m->nr_relaxed++)
		__atomic_store_n(&m->shared->epoch, m->shared->epoch + 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&m->lock);
}

static bool has_master(struct machine *m)
{
	return (kvmclock_get(&m->kc).flags & KVMCLOCK_MASTER_FLAGS) == KVMCLOCK_MASTER_FLAGS;
}

/* The last one waits for the master clock, and all compare again. */
static void unrelax(struct machine *m)
{
	u64 end = kvmclock_now_ms() + HANG_MS / 4;

	pthread_mutex_lock(&m->lock);
	if (!--m->nr_relaxed) {
		while (!has_master(m) && kvmclock_now_ms() < end)
			usleep(1000);
		if (has_master(m))
			__atomic_store_n(&m->shared->epoch, m->shared->epoch + 1, __ATOMIC_SEQ_CST);
		else
			fail("the master clock does not come back");
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- What threads do, each of which returns 0 unless it was refused ---- */

struct worker {
	int nr;
	u64 rng;
	pthread_t thread;
	/* What it does, and since when; 0: nothing. */
	const char *doing;
	u64 since_ms;
	bool is_done;
};

static u32 below(struct worker *w, u32 limit)
{
	return (kvmclock_random(&w->rng) >> 33) % limit;
}

static struct kvm_vcpu *some_vcpu(struct worker *w, struct machine *m)
{
	return m->kc.vcpu[below(w, m->nr_readers)];
}

static int set(struct machine *m, const struct kvm_clock_data *data)
{
	return kvmclock_try_set(&m->kc, data);
}

/* GET may differ from a reading by 1 ns. */
static int do_get(struct worker *w, struct machine *m)
{
	u64 epoch = __atomic_load_n(&m->shared->epoch, __ATOMIC_SEQ_CST);
	u64 highest = READ_ONCE(m->shared->highest), now = kvmclock_get(&m->kc).clock;

	if (!(epoch & 1) && __atomic_load_n(&m->shared->epoch, __ATOMIC_SEQ_CST) == epoch) {
		pthread_mutex_lock(&m->lock);
		kvmclock_note_reading(&m->getter.back, highest, now + 1);
		m->getter.compared++;
		m->getter.readings++;
		pthread_mutex_unlock(&m->lock);
	}
	kvmclock_raise(&m->shared->highest, now - 1);
	return 0;
}

/* Any flags there are, as far as GET had what belongs to them: but never back. */
static int do_set_flags(struct worker *w, struct machine *m)
{
	struct kvm_clock_data data = kvmclock_get(&m->kc);
	u32 flags = below(w, 128) * 2 | KVM_CLOCK_MONOTONIC;
	int r;

	data.flags = flags & (data.flags | ~(KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC));
	data.clock += below(w, 2) ? FORWARD_NS >> below(w, 30) : 0;
	data.realtime -= below(w, 2) ? kvmclock_random(&w->rng) >> 36 : 0;
	pthread_rwlock_rdlock(&m->setting);
	r = set(m, &data);
	pthread_rwlock_unlock(&m->setting);
	return r;
}

static int do_set_stale(struct worker *w, struct machine *m)
{
	struct kvm_clock_data data = kvmclock_get(&m->kc);
	int r;

	data.flags = KVM_CLOCK_MONOTONIC;
	data.clock -= 1UL << below(w, 40);
	pthread_rwlock_rdlock(&m->setting);
	r = set(m, &data);
	pthread_rwlock_unlock(&m->setting);
	return r;
}

static int do_set_forward(struct worker *w, struct machine *m)
{
	struct kvm_clock_data data;
	int r;

	pthread_rwlock_wrlock(&m->setting);
	data = kvmclock_get(&m->kc);
	data.clock += FORWARD_NS;
	data.flags &= below(w, 2) ? KVM_CLOCK_REALTIME | KVM_CLOCK_TAI : 0;
	r = set(m, &data);
	pthread_rwlock_unlock(&m->setting);
	return r;
}

/* The present line: nothing has to change, though everything runs. */
static int do_round_trip(struct worker *w, struct machine *m)
{
	struct kvm_clock_data data;
	int r;

	pthread_rwlock_wrlock(&m->setting);
	data = kvmclock_get(&m->kc);
	data.flags = KVM_CLOCK_GUEST_TSC | (below(w, 2) ? KVM_CLOCK_HOST_TSC : 0);
	r = set(m, &data);
	pthread_rwlock_unlock(&m->setting);
	return r;
}

/* In terms of vCPU 0's TSC, which its guest does not write. */
static int do_round_trip_vcpu(struct worker *w, struct machine *m)
{
	struct pvclock_vcpu_time_info line;
	int r;

	pthread_rwlock_wrlock(&m->setting);
	r = ioctl(m->kc.vcpu[0]->fd, KVM_GET_CLOCK_GUEST, &line) ||
	    ioctl(m->kc.vcpu[0]->fd, KVM_SET_CLOCK_GUEST, &line) ? errno : 0;
	pthread_rwlock_unlock(&m->setting);
	return r;
}

static void pause_vcpus(struct machine *m)
{
	int i;

	WRITE_ONCE(m->pause, true);
	for (i = 0; i < m->nr_readers; i++)
		while (!READ_ONCE(m->run[i].is_paused) && !READ_ONCE(stop))
			usleep(500);
}

/* As after a migration: clock and TSCs move, because no vCPU runs. */
static int do_restore(struct worker *w, struct machine *m)
{
	struct kvm_clock_data data;
	int r;

	pthread_rwlock_wrlock(&m->setting);
	pause_vcpus(m);
	kvmclock_opt_in(&m->kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);
	data = kvmclock_get(&m->kc);
	data.flags &= KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME | KVM_CLOCK_TAI;
	data.flags |= KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED;
	data.realtime -= kvmclock_random(&w->rng) >> 34;
	r = set(m, &data);
	WRITE_ONCE(m->pause, false);
	pthread_rwlock_unlock(&m->setting);
	return r;
}

static int do_opt_in(struct worker *w, struct machine *m)
{
	static const u32 flags[] = {
		0, KVM_CLOCK_GUEST_TSC, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC,
		KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI, KVM_CLOCK_TAI,
	};

	return kvmclock_opt_in(&m->kc, flags[below(w, ARRAY_SIZE(flags))]);
}

static int set_msr(struct machine *m, struct kvm_vcpu *vcpu, u32 msr, u64 value)
{
	int r;

	pthread_rwlock_rdlock(&m->setting);
	r = _vcpu_set_msr(vcpu, msr, value);
	pthread_rwlock_unlock(&m->setting);
	return r == 1 ? 0 : EINVAL;
}

static int do_tsc(struct worker *w, struct machine *m)
{
	return set_msr(m, some_vcpu(w, m), MSR_IA32_TSC, kvmclock_random(&w->rng) >> 20);
}

static int do_tsc_all(struct worker *w, struct machine *m)
{
	u64 tsc = kvmclock_random(&w->rng) >> 20;
	int i, r = 0;

	for (i = 0; i < m->nr_readers && !r; i++)
		r = set_msr(m, m->kc.vcpu[i], MSR_IA32_TSC, tsc);
	return r;
}

static int do_tsc_adjust(struct worker *w, struct machine *m)
{
	return set_msr(m, some_vcpu(w, m), MSR_IA32_TSC_ADJUST, kvmclock_random(&w->rng) >> 24);
}

static int do_offset(struct worker *w, struct machine *m)
{
	u64 offset = kvmclock_random(&w->rng) >> 20;

	pthread_rwlock_rdlock(&m->setting);
	kvmclock_set_offset(some_vcpu(w, m), offset);
	pthread_rwlock_unlock(&m->setting);
	return 0;
}

/* All TSCs equal: from here on, vCPUs read vCPU 0's page. */
static int do_offset_all(struct worker *w, struct machine *m)
{
	u64 offset = kvmclock_random(&w->rng) >> 20;
	int i;

	pthread_rwlock_rdlock(&m->setting);
	for (i = 0; i < m->nr_readers; i++)
		kvmclock_set_offset(m->kc.vcpu[i], offset);
	pthread_rwlock_unlock(&m->setting);
	return 0;
}

static int do_kvmclock_msr(struct worker *w, struct machine *m)
{
	struct kvm_vcpu *vcpu = some_vcpu(w, m);
	u64 value = vcpu_get_msr(vcpu, MSR_KVM_SYSTEM_TIME_NEW);

	/* The guest may write it meanwhile, but only what it is anyway, or 0. */
	if (!value)
		return -EAGAIN;
	return set_msr(m, vcpu, below(w, 2) ? MSR_KVM_SYSTEM_TIME : MSR_KVM_SYSTEM_TIME_NEW, value);
}

static int do_ctrl(struct worker *w, struct machine *m)
{
	return ioctl(some_vcpu(w, m)->fd, KVM_KVMCLOCK_CTRL, 0) ? errno : 0;
}

static int do_khz_same(struct worker *w, struct machine *m)
{
	return ioctl(some_vcpu(w, m)->fd, KVM_SET_TSC_KHZ,
		     (unsigned long)kvmclock_host_khz()) ? errno : 0;
}

/* Another frequency is the end of the master clock, until it is the same again. */
static int do_khz_other(struct worker *w, struct machine *m)
{
	struct kvm_vcpu *vcpu = m->kc.vcpu[1];
	unsigned long khz = kvmclock_host_khz();
	int r;

	relax(m);
	r = ioctl(vcpu->fd, KVM_SET_TSC_KHZ, khz + khz / 10) ? errno : 0;
	usleep(below(w, 2000));
	TEST_ASSERT(!ioctl(vcpu->fd, KVM_SET_TSC_KHZ, khz), "KVM_SET_TSC_KHZ: errno %d", errno);
	unrelax(m);
	return r;
}

static int do_khz_vm(struct worker *w, struct machine *m)
{
	return ioctl(m->kc.vm->fd, KVM_SET_TSC_KHZ, (unsigned long)kvmclock_host_khz()) ?
	       errno : 0;
}

static int do_create_vcpu(struct worker *w, struct machine *m)
{
	int id = __atomic_fetch_add(&m->next_vcpu_id, 1, __ATOMIC_RELAXED), fd;

	if (id >= m->nr_readers + NR_SPARE)
		return -ENOSPC;
	fd = ioctl(m->kc.vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	return fd < 0 ? errno : close(fd);
}

static void set_slot(struct machine *m, u64 gpa, u64 size)
{
	vm_set_user_memory_region(m->kc.vm, KVMCLOCK_PAGES_SLOT, 0, gpa, size,
				  kvmclock_page_hva(&m->kc, 0));
}

static int do_delete_slot(struct worker *w, struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	set_slot(m, KVMCLOCK_PAGES_GPA, 0);
	usleep(below(w, 500));
	set_slot(m, KVMCLOCK_PAGES_GPA, PAGE_SIZE);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int do_move_slot(struct worker *w, struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	set_slot(m, KVMCLOCK_PAGES_GPA + 16 * PAGE_SIZE, PAGE_SIZE);
	usleep(below(w, 500));
	set_slot(m, KVMCLOCK_PAGES_GPA, PAGE_SIZE);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int do_look(struct worker *w, struct machine *m)
{
	struct kvm_vcpu *vcpu = some_vcpu(w, m);
	struct pvclock_vcpu_time_info line;
	u64 value;

	kvmclock_get_offset(vcpu);
	vcpu_get_msr(vcpu, MSR_IA32_TSC);
	kvmclock_stat(&m->kc, "clock_reanchors", &value);
	return ioctl(vcpu->fd, KVM_GET_CLOCK_GUEST, &line) ? errno : 0;
}

/* ---- VMs that come and go ---- */

/* Sets the clock of the VM until it is closed.  No other file has had its number. */
static void *set_until_closed(void *arg)
{
	int vm = (long)arg;
	struct kvm_clock_data data;
	u32 flags = 0;

	while (!ioctl(vm, KVM_GET_CLOCK, &data)) {
		flags = (flags + 2) & 0xfe;
		data.flags = flags;
		ioctl(vm, KVM_SET_CLOCK, &data);
	}
	return NULL;
}

#define FIRST_FD	900

static int do_close(struct worker *w, struct machine *m)
{
	int kvm = open_kvm_dev_path_or_exit(), vm, fd, i;
	pthread_t threads[2];

	fd = __kvm_ioctl(kvm, KVM_CREATE_VM, NULL);
	close(kvm);
	if (fd < 0)
		return errno;
	vm = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + 8 * w->nr);
	close(fd);
	TEST_ASSERT(vm == FIRST_FD + 8 * w->nr, "F_DUPFD: %d, errno %d", vm, errno);
	for (i = 0; i < 2; i++) {
		fd = ioctl(vm, KVM_CREATE_VCPU, (unsigned long)i);
		TEST_ASSERT(fd >= 0, "KVM_CREATE_VCPU: errno %d", errno);
		close(fd);
	}
	for (i = 0; i < 2; i++)
		kvm_pthread_create(&threads[i], NULL, set_until_closed, (void *)(long)vm);
	usleep(below(w, 3000));
	close(vm);
	for (i = 0; i < 2; i++)
		kvm_pthread_join(threads[i], NULL);
	return 0;
}

/* This program as another VMM, which is killed whatever it does. */
static int do_kill(struct worker *w, struct machine *m)
{
	char * const argv[] = { program_invocation_name, "-V", NULL };
	posix_spawn_file_actions_t quiet;
	int r, status;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawn(&pid, "/proc/self/exe", &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (r)
		return r;

	usleep(20000 + below(w, 300000));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	/* One that ended by itself has found something. */
	if (!WIFSIGNALED(status))
		fail("a VMM that was to be killed ended before");
	return 0;
}

static void *victim_sets(void *arg)
{
	struct machine *m = arg;
	struct worker w = { .rng = kvmclock_now_ms() };

	for (;;) {
		do_set_flags(&w, m);
		do_set_forward(&w, m);
		do_round_trip(&w, m);
		do_create_vcpu(&w, m);
	}
	return NULL;
}

static void victim_main(void)
{
	struct machine *m = create_machine(3, 0);
	pthread_t threads[2];
	int i;

	kvmclock_opt_in(&m->kc, KVM_CLOCK_GUEST_TSC);
	start_machine(m);
	for (i = 0; i < 2; i++)
		kvm_pthread_create(&threads[i], NULL, victim_sets, m);
	for (;;)
		pause();
}

/* ---- The host ---- */

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;

static int do_clocksource(struct worker *w, struct machine *m)
{
	const char *other = kvmclock_other_clocksource();
	int i;

	if (!other)
		return -ENODEV;

	pthread_mutex_lock(&host_lock);
	for (i = 0; i < nr_machines; i++)
		relax(machines[i]);
	TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
	usleep(below(w, 50000));
	TEST_ASSERT(kvmclock_set_clocksource("tsc"), "Cannot switch to tsc");
	for (i = 0; i < nr_machines; i++)
		unrelax(machines[i]);
	pthread_mutex_unlock(&host_lock);
	return 0;
}

static int do_hotplug(struct worker *w, struct machine *m)
{
	int cpu = 1 + below(w, sysconf(_SC_NPROCESSORS_CONF) - 1), r = 0;
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	if (!kvmclock_may_change_host() || access(path, W_OK))
		return -ENODEV;

	pthread_mutex_lock(&host_lock);
	if (!kvmclock_sysfs_write(path, "0"))
		r = errno;
	usleep(below(w, 20000));
	TEST_ASSERT(r || kvmclock_sysfs_write(path, "1"), "CPU %d does not come back", cpu);
	pthread_mutex_unlock(&host_lock);
	return r;
}

/* Modules that are in use stay. */
static int do_unload(struct worker *w, struct machine *m)
{
	static const char * const names[] = { "kvm_amd", "kvm_intel", "kvm" };
	int i;

	if (!kvmclock_may_change_host())
		return -ENODEV;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!syscall(__NR_delete_module, names[i], O_NONBLOCK))
			fail("a module that is in use was unloaded");
	return errno;
}

/* ---- Threads ---- */

static const struct op {
	const char *name;
	int (*run)(struct worker *w, struct machine *m);
	int weight;
	/* It is to be refused. */
	bool refused;
} ops[] = {
	{ "get", do_get, 40 },
	{ "set_flags", do_set_flags, 40 },
	{ "set_stale", do_set_stale, 20 },
	{ "set_forward", do_set_forward, 20 },
	{ "round_trip", do_round_trip, 20 },
	{ "round_trip_vcpu", do_round_trip_vcpu, 20 },
	{ "restore", do_restore, 6 },
	{ "opt_in", do_opt_in, 20 },
	{ "tsc", do_tsc, 20 },
	{ "tsc_all", do_tsc_all, 10 },
	{ "tsc_adjust", do_tsc_adjust, 20 },
	{ "offset", do_offset, 20 },
	{ "offset_all", do_offset_all, 20 },
	{ "kvmclock_msr", do_kvmclock_msr, 20 },
	{ "ctrl", do_ctrl, 10 },
	{ "khz_same", do_khz_same, 10 },
	{ "khz_other", do_khz_other, 4 },
	{ "khz_vm", do_khz_vm, 2, true },
	{ "create_vcpu", do_create_vcpu, 4 },
	{ "delete_slot", do_delete_slot, 4 },
	{ "move_slot", do_move_slot, 4 },
	{ "look", do_look, 20 },
	{ "close", do_close, 4 },
	{ "kill", do_kill, 4 },
	{ "clocksource", do_clocksource, 4 },
	{ "hotplug", do_hotplug, 4 },
	{ "unload", do_unload, 1, true },
};

#define NR_OPS	ARRAY_SIZE(ops)

static struct worker workers[NR_THREADS];
static u64 done[NR_OPS], refused[NR_OPS];
/* The same in all phases. */
static u64 all_done[NR_OPS], all_refused[NR_OPS];

/* If not all: the names of those that are to be done, each with a comma behind. */
static const char *only;

static int weight_of(int i)
{
	char name[32];

	snprintf(name, sizeof(name), "%s,", ops[i].name);
	return only && !strstr(only, name) ? 0 : ops[i].weight;
}

static int some_op(struct worker *w)
{
	int sum = 0, i, n;

	for (i = 0; i < NR_OPS; i++)
		sum += weight_of(i);
	n = below(w, sum);
	for (i = 0; n >= weight_of(i); i++)
		n -= weight_of(i);
	return i;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int i, r;

	/* Where many vCPUs share few processors, the host's threads come first. */
	setpriority(PRIO_PROCESS, 0, -20);
	while (!READ_ONCE(stop)) {
		i = some_op(w);
		WRITE_ONCE(w->since_ms, kvmclock_now_ms());
		__atomic_store_n(&w->doing, ops[i].name, __ATOMIC_RELEASE);
		r = ops[i].run(w, machines[below(w, nr_machines)]);
		__atomic_store_n(&w->doing, NULL, __ATOMIC_RELEASE);
		__atomic_fetch_add(&done[i], 1, __ATOMIC_RELAXED);
		if (r)
			__atomic_fetch_add(&refused[i], 1, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&w->is_done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- Hangs ---- */

static u64 last_exits[MAX_VMS][MAX_READERS], last_ms[MAX_VMS][MAX_READERS];
static u64 last_kick_ms[MAX_VMS][MAX_READERS];

static void handle_signal(int sig)
{
}

static void kick(struct run *run)
{
	if (!__atomic_load_n(&run->is_done, __ATOMIC_ACQUIRE))
		pthread_kill(run->thread, SIGUSR1);
}

static void hang(const char *who, int a, int b, const char *what)
{
	int i;

	kvmclock_sysfs_write("/proc/sysrq-trigger", "w");
	kvmclock_sysfs_write("/proc/sysrq-trigger", "l");
	for (i = 0; i < NR_THREADS; i++)
		ksft_print_msg("thread %d: %s since %lu ms\n", i, READ_ONCE(workers[i].doing),
			       kvmclock_now_ms() - READ_ONCE(workers[i].since_ms));
	printf("Bail out! %s %d/%d hangs: %s\n", who, a, b, what);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

/* Who is long in the guest has to leave it for a moment, and may begin anew. */
static void look_at_vcpu(int i, int j)
{
	struct run *run = &machines[i]->run[j];
	u64 exits = READ_ONCE(run->exits), now = kvmclock_now_ms();

	if (exits != last_exits[i][j] || READ_ONCE(run->is_paused) || !last_ms[i][j]) {
		last_exits[i][j] = exits;
		last_ms[i][j] = now;
		last_kick_ms[i][j] = now;
	} else if (now - last_ms[i][j] > HANG_MS) {
		hang("vCPU", i, j, "KVM_RUN");
	} else if (now - last_kick_ms[i][j] > KICK_MS) {
		last_kick_ms[i][j] = now;
		kick(run);
	}
}

static void look_for_hangs(void)
{
	const char *doing;
	int i, j;

	for (i = 0; i < NR_THREADS; i++) {
		doing = __atomic_load_n(&workers[i].doing, __ATOMIC_ACQUIRE);
		if (doing && kvmclock_now_ms() > READ_ONCE(workers[i].since_ms) + HANG_MS)
			hang("thread", i, 0, doing);
	}
	for (i = 0; i < nr_machines; i++)
		for (j = 0; j < machines[i]->nr_readers; j++)
			look_at_vcpu(i, j);
}

static bool all_are_done(void)
{
	bool all = true;
	int i, j;

	for (i = 0; i < NR_THREADS; i++)
		all &= __atomic_load_n(&workers[i].is_done, __ATOMIC_ACQUIRE);
	for (i = 0; i < nr_machines; i++)
		for (j = 0; j < machines[i]->nr_readers; j++)
			all &= __atomic_load_n(&machines[i]->run[j].is_done, __ATOMIC_ACQUIRE);
	return all;
}

/* ---- Phases ---- */

static void begin(int vms, int vcpus)
{
	int i;

	memset(done, 0, sizeof(done));
	memset(refused, 0, sizeof(refused));
	memset(last_ms, 0, sizeof(last_ms));
	stop = false;
	nr_machines = vms;
	for (i = 0; i < vms; i++)
		machines[i] = create_machine(vcpus, i);
	for (i = 0; i < vms; i++)
		start_machine(machines[i]);
	for (i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){ .nr = i, .rng = i + 1 };
		kvm_pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
}

/* The end, too, has to come. */
static void end(void)
{
	int i, j;

	WRITE_ONCE(stop, true);
	while (!all_are_done()) {
		usleep(10000);
		look_for_hangs();
	}

	for (i = 0; i < NR_THREADS; i++)
		kvm_pthread_join(workers[i].thread, NULL);
	for (i = 0; i < nr_machines; i++)
		for (j = 0; j < machines[i]->nr_readers; j++)
			kvm_pthread_join(machines[i]->run[j].thread, NULL);
}

static void add(struct reader *sum, const struct reader *r)
{
	sum->readings += r->readings;
	sum->compared += r->compared;
	sum->troubles += r->troubles;
	kvmclock_add_backwards(&sum->back, &r->back);
}

static void measure(const char *phase, const char *what, s64 value, const char *unit)
{
	char key[96];

	snprintf(key, sizeof(key), "stress.%s.%s", phase, what);
	kvmclock_measure(key, value, unit);
}

static void print_ops(const char *phase)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < NR_OPS; i++) {
		ksft_print_msg("%-16s %8lu, %8lu of them refused\n", ops[i].name, done[i],
			       refused[i]);
		sum += done[i];
		all_done[i] += done[i];
		all_refused[i] += refused[i];
	}
	measure(phase, "operations", sum, "operations");
}

/* In a minute there is time for all kinds, and for each to work, but those that must not. */
static bool all_were_done(void)
{
	bool ok = true;
	u64 sum = 0;
	int i;

	for (i = 0; i < NR_OPS; i++) {
		sum += all_done[i];
		if (seconds >= 60 && !only && kvmclock_may_change_host())
			ok &= check(all_done[i] > all_refused[i] || ops[i].refused,
				    "%s has never worked", ops[i].name);
	}
	return check(sum >= 100, "%lu operations only", sum) & ok;
}

static void print_early(int vm, int vcpu, const struct early *early)
{
	const struct pvclock_vcpu_time_info *line = &early->line;

	if (!early->nr)
		return;

	ksft_print_msg("VM %d, vCPU %d: %lu before their line, in epoch %lu, on page %lu\n", vm,
		       vcpu, early->nr, early->epoch, early->page);
	ksft_print_msg("TSC %lu, line %lu %lu %u %d, flags %d, version %u\n", early->tsc,
		       line->tsc_timestamp, line->system_time, line->tsc_to_system_mul,
		       line->tsc_shift, line->flags, line->version);
}

static bool judge(const char *phase)
{
	struct reader sum = {};
	u64 restarts = 0, mmio = 0, early = 0, voids = 0, least = ~0UL;
	int i, j;

	for (i = 0; i < nr_machines; i++) {
		struct machine *m = machines[i];

		for (j = 0; j < m->nr_readers; j++)
			restarts += m->run[j].restarts;
		if (is_void(m)) {
			voids++;
			continue;
		}

		add(&sum, &m->getter);
		for (j = 0; j < m->nr_readers; j++) {
			struct reader *r = &m->shared->reader[j];

			add(&sum, r);
			mmio += m->run[j].mmio;
			if (r->compared < least)
				least = r->compared;
			early += r->early.nr;
			print_early(i, j, &r->early);
			if (r->back.nr)
				ksft_print_msg("VM %d, vCPU %d: %lu back, %lu ns at most\n", i, j,
					       r->back.nr, r->back.worst_ns);
		}
	}
	measure(phase, "readings", sum.readings, "readings");
	measure(phase, "compared", sum.compared, "readings");
	measure(phase, "of_each_vcpu_at_least", least, "readings");
	measure(phase, "guest_writes", sum.troubles, "operations");
	measure(phase, "without_page", mmio, "exits");
	measure(phase, "restarts", restarts, "restarts");
	measure(phase, "not_judged", voids, "VMs");
	measure(phase, "backwards", sum.back.nr, "readings");
	measure(phase, "before_their_line", early, "readings");
	measure(phase, "worst", -sum.back.worst_ns, "ns");
	return check(!sum.back.nr, "%lu readings went back", sum.back.nr) &
	       check(!early, "%lu readings are from before their line", early) &
	       check(least, "a vCPU has compared nothing") & check(!failed, "see above");
}

/* True if there is a VM that @ok is about. */
static bool try_phase(const char *phase, int vms, int vcpus, int for_seconds, bool *ok)
{
	bool judged = false;
	u64 end_ms;
	int i;

	failed = false;
	begin(vms, vcpus);
	end_ms = kvmclock_now_ms() + for_seconds * 1000;
	while (kvmclock_now_ms() < end_ms) {
		usleep(100000);
		look_for_hangs();
	}
	end();
	print_ops(phase);
	*ok = judge(phase);
	for (i = 0; i < nr_machines; i++) {
		judged |= !is_void(machines[i]);
		kvmclock_vm_destroy(&machines[i]->kc);
		free(machines[i]);
	}
	return judged;
}

static bool run_phase(const char *phase, int vms, int vcpus, int for_seconds)
{
	bool ok;
	int i;

	for (i = 0; i < NR_TRIES; i++)
		if (try_phase(phase, vms, vcpus, for_seconds, &ok))
			return ok;
	return check(false, "vCPU 0 of each VM shuts down, again and again");
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-t seconds] [-c vcpus] [-m vms]\n", name);
	printf("-t: how long each phase takes (default %d)\n", seconds);
	printf("-c: vCPUs of the one VM (default %d, %d at most)\n", nr_vcpus, MAX_READERS);
	printf("-m: VMs of two vCPUs (default %d, %d at most)\n", nr_vms, MAX_VMS);
	printf("-o: only these operations, each with a comma behind\n");
	exit(KSFT_SKIP);
}

int main(int argc, char *argv[])
{
	const struct sigaction on_kick = { .sa_handler = handle_signal };
	long before;
	int opt;

	while ((opt = getopt(argc, argv, "ht:c:m:o:V")) != -1) {
		switch (opt) {
		case 't':
			seconds = atoi_positive("Seconds", optarg);
			break;
		case 'c':
			nr_vcpus = min(atoi_positive("vCPUs", optarg), (u32)MAX_READERS);
			break;
		case 'm':
			nr_vms = min(atoi_positive("VMs", optarg), (u32)MAX_VMS);
			break;
		case 'o':
			only = optarg;
			break;
		case 'V':
			victim_main();
			break;
		default:
			help(argv[0]);
		}
	}

	sigaction(SIGUSR1, &on_kick, NULL);
	kvmclock_start(4, 0);
	kvm_set_files_rlimit(1024);
	/* What is allocated once is, and slabs have room for all that there is at a time. */
	run_phase("warm_up", nr_vms, 2, 2);
	run_phase("warm_up", 1, nr_vcpus, 2);
	before = kvmclock_memory_kb();
	ksft_test_result(run_phase("one_vm", 1, nr_vcpus, seconds), "one_vm\n");
	ksft_test_result(run_phase("many_vms", nr_vms, 2, seconds), "many_vms\n");
	ksft_test_result(all_were_done(), "operations\n");
	ksft_test_result(kvmclock_memory_is("stress", before, MEMORY_KB), "memory\n");
	kvmclock_finished();
}
