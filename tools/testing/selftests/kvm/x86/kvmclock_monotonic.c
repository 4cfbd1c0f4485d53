// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that no vCPU ever reads less than any vCPU has read before.
 *
 * Four vCPUs read the clock without pause, each through its own page and, if the
 * page says that the TSCs are stable, through vCPU 0's, as Linux's vDSO does.  They
 * share the highest value read so far: a reading that began after that value was
 * stored must not be below it.  Meanwhile the host makes trouble, first of one kind
 * at a time and then of all kinds at random, always in the same order.
 *
 * Without master clock, each vCPU has a line of its own and only the value where
 * the master clock starts again is promised.  The readers are told (RELAXED) and
 * only store what they read.
 */
#include <pthread.h>

#include "kvmclock.h"

#define NR_READERS	4
#define NR_SPARE	16
#define NR_VCPUS	(NR_READERS + NR_SPARE)

/* This reader moves its page, so nobody else reads through it. */
#define MOVER		(NR_READERS - 1)

/* Readings until a vCPU lets user space have a look. */
#define NR_BATCH	256

#define SLEEP_MAX_US	500
#define WAIT_MAX_US	(60 * 1000 * 1000)

static int nr_iterations = 10;

/* ---- Guest ---- */

enum rule {
	COMPARE,	/* Compare, and store if higher. */
	RELAXED,	/* Store only. */
	IDLE,		/* Do nothing. */
};

/* MSRs to write at once, without a reading in between. */
struct order {
	u64 nr;
	struct {
		u64 msr;
		u64 value;
		u64 add;
	} write[2];
	u64 slot;
};

struct reader {
	u64 rule;
	u64 slot;
	u64 readings;
	struct kvmclock_backwards back;
	struct order order;
};

struct shared {
	u64 rule;
	u64 highest;
	struct reader reader[NR_READERS];
};

struct guest_args {
	struct shared *shared;
	struct kvmclock_guest *guest[NR_READERS];
};

static void guest_obey(struct reader *me)
{
	struct order *order = &me->order;
	u64 i, nr = READ_ONCE(order->nr);

	for (i = 0; i < nr; i++)
		wrmsr(order->write[i].msr, order->write[i].value +
		      (order->write[i].add ? rdmsr(order->write[i].msr) : 0));
	if (nr) {
		me->slot = order->slot;
		__atomic_store_n(&order->nr, 0, __ATOMIC_RELEASE);
	}
}

/* False if @line may not be used by another vCPU than its own. */
static bool guest_read(const struct guest_args *args, int reader, int page, u64 *now)
{
	u64 slot = page == reader ? args->shared->reader[reader].slot : 0;
	struct pvclock_vcpu_time_info line;
	u64 tsc;

	tsc = kvmclock_snapshot(&args->guest[page]->time[slot], &line);
	if (page != reader && !(line.flags & PVCLOCK_TSC_STABLE_BIT))
		return false;

	*now = kvmclock_guest_eval(&line, tsc);
	return true;
}

/* The highest value is loaded before the clock is read: rdtsc() is fenced. */
static void guest_step(const struct guest_args *args, int reader, int page)
{
	struct shared *shared = args->shared;
	struct reader *me = &shared->reader[reader];
	u64 rule, highest, now;

	rule = READ_ONCE(shared->rule);
	me->rule = rule;
	highest = READ_ONCE(shared->highest);
	if (rule == IDLE || !guest_read(args, reader, page, &now))
		return;

	if (rule == COMPARE && READ_ONCE(shared->rule) == COMPARE)
		kvmclock_note_reading(&me->back, highest, now);
	kvmclock_raise(&shared->highest, now);
	me->readings++;
}

/* Own page and vCPU 0's in turn. */
static int guest_page(int reader, u64 n)
{
	return n & 1 ? 0 : reader;
}

static void guest_main(const struct guest_args *args, int reader)
{
	u64 n;

	for (n = 1;; n++) {
		guest_step(args, reader, guest_page(reader, n));
		guest_obey(&args->shared->reader[reader]);
		if (!(n % NR_BATCH))
			GUEST_UCALL_NONE();
	}
}

/* ---- Host ---- */

static struct kvmclock_vm kc;
static struct shared *shared;
static pthread_t threads[NR_READERS];
static bool stop;

static u64 random64(void)
{
	return ((u64)random() << 32) ^ random();
}

static int random_reader(void)
{
	return random() % NR_READERS;
}

static void *run_reader(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	while (!READ_ONCE(stop)) {
		vcpu_run(vcpu);
		kvmclock_check_exit(vcpu);
	}
	return NULL;
}

/* Wait until @done(reader) for all readers. */
static void wait_for(bool (*done)(int reader), const char *what)
{
	int i, us;

	for (i = 0, us = 0; i < NR_READERS; us += 200) {
		if (done(i)) {
			i++;
			continue;
		}
		TEST_ASSERT(us < WAIT_MAX_US, "vCPU %d: %s", i, what);
		usleep(200);
	}
}

static bool has_seen_rule(int i)
{
	return READ_ONCE(shared->reader[i].rule) == READ_ONCE(shared->rule);
}

static void set_rule(enum rule rule)
{
	__atomic_store_n(&shared->rule, rule, __ATOMIC_SEQ_CST);
	wait_for(has_seen_rule, "does not run");
}

static u64 goal[NR_READERS];

static bool has_read(int i)
{
	return READ_ONCE(shared->reader[i].readings) >= goal[i];
}

/* Let all vCPUs read, so that whatever was done can show. */
static void let_all_read(void)
{
	int i;

	for (i = 0; i < NR_READERS; i++)
		goal[i] = READ_ONCE(shared->reader[i].readings) + 16;
	wait_for(has_read, "does not read");
}

static bool has_obeyed(int i)
{
	return !__atomic_load_n(&shared->reader[i].order.nr, __ATOMIC_ACQUIRE);
}

static void order(int i, int nr)
{
	__atomic_store_n(&shared->reader[i].order.nr, nr, __ATOMIC_RELEASE);
	wait_for(has_obeyed, "does not obey");
}

static void order_add(int i, u32 msr, u64 value)
{
	struct order *o = &shared->reader[i].order;

	o->write[0].msr = msr;
	o->write[0].value = value;
	o->write[0].add = true;
	o->slot = shared->reader[i].slot;
	order(i, 1);
}

/* Write @value[0] to @msr[0], @value[1] to @msr[1]; the page is at @slot then. */
static void order_write2(int i, u32 msr0, u64 value0, u32 msr1, u64 value1, int slot)
{
	struct order *o = &shared->reader[i].order;

	o->write[0].msr = msr0;
	o->write[0].value = value0;
	o->write[0].add = false;
	o->write[1].msr = msr1;
	o->write[1].value = value1;
	o->write[1].add = false;
	o->slot = slot;
	order(i, 2);
}

/* ---- Trouble ---- */

/*
 * GET may differ from the guest's reading by 1 ns; but for that, it may not be
 * below what has been read before, nor may what is read later be below it.
 */
static struct reader getter;

static void get(void)
{
	u64 highest = READ_ONCE(shared->highest);
	u64 now = kvmclock_get(&kc).clock;

	if (READ_ONCE(shared->rule) == COMPARE)
		kvmclock_note_reading(&getter.back, highest, now + 1);
	kvmclock_raise(&shared->highest, now - 1);
	getter.readings++;
}

/* So far that the time since GET does not matter, however slow this host is. */
#define FORWARD_NS	(100 * NSEC_PER_SEC)

static void set_forward(void)
{
	kvmclock_set(&kc, kvmclock_get(&kc).clock + FORWARD_NS, 0, 0);
}

static void set_forward_realtime(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.clock += FORWARD_NS;
	vm_ioctl(kc.vm, KVM_SET_CLOCK, &data);
}

/* Anything from 1 ns to 9 minutes ago. */
static void set_stale(void)
{
	u64 ago = 1UL << (random() % 40);

	kvmclock_set(&kc, kvmclock_get(&kc).clock - ago, KVM_CLOCK_MONOTONIC, 0);
}

static void *set_stale_thread(void *arg)
{
	int i;

	for (i = 0; i < 20; i++)
		set_stale();
	return NULL;
}

static void set_stale_race(void)
{
	pthread_t threads[3];
	int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_create(&threads[i], NULL, set_stale_thread, NULL);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kvm_pthread_join(threads[i], NULL);
}

/* No vCPU has to leave the guest for it, as the TSC stays where it is. */
static void round_trip(void)
{
	static const u32 flags[] = { 0, KVM_CLOCK_HOST_TSC };
	struct kvm_clock_data data;
	int i, err;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		data = kvmclock_get(&kc);
		data.flags = KVM_CLOCK_GUEST_TSC | flags[i];
		err = kvmclock_try_set(&kc, &data);
		TEST_ASSERT(!err, "SET(GET()): errno %d", err);
	}
	kvmclock_opt_in(&kc, 0);
}

static const char *no_monotonic(void)
{
	return kvmclock_lacks(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC);
}

static void vcpu_create(void)
{
	if (kc.nr_vcpus < kc.max_vcpus)
		kvmclock_vcpu_add(&kc);
}

static void host_tsc(void)
{
	vcpu_set_msr(kc.vcpu[random_reader()], MSR_IA32_TSC, random64() >> 20);
}

static void host_tsc_all(void)
{
	u64 tsc = random64() >> 20;
	int i;

	for (i = 0; i < NR_READERS; i++)
		vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, tsc);
}

static void host_offset(void)
{
	kvmclock_set_offset(kc.vcpu[random_reader()], random64() >> 20);
}

static void host_offset_all(void)
{
	u64 offset = random64() >> 20;
	int i;

	for (i = 0; i < kc.nr_vcpus; i++)
		kvmclock_set_offset(kc.vcpu[i], offset);
}

static void guest_tsc(void)
{
	order_add(random_reader(), MSR_IA32_TSC, random64() >> 24);
}

static void guest_tsc_adjust(void)
{
	order_add(random_reader(), MSR_IA32_TSC_ADJUST, random64() >> 24);
}

static void page_moved(void)
{
	int slot = !shared->reader[MOVER].slot;

	order_write2(MOVER, MSR_KVM_SYSTEM_TIME_NEW, 0, MSR_KVM_SYSTEM_TIME_NEW,
		     kvmclock_time_gpa(&kc, MOVER, slot) | KVM_MSR_ENABLED, slot);
}

static void old_new(int i)
{
	int slot = shared->reader[i].slot;
	u64 value = kvmclock_time_gpa(&kc, i, slot) | KVM_MSR_ENABLED;

	order_write2(i, MSR_KVM_SYSTEM_TIME, value, MSR_KVM_SYSTEM_TIME_NEW, value, slot);
}

static void old_new_msr(void)
{
	old_new(MOVER);
}

static void ctrl(void)
{
	vcpu_ioctl(kc.vcpu[random_reader()], KVM_KVMCLOCK_CTRL, NULL);
}

static void set_tsc_khz_same(void)
{
	struct kvm_vcpu *vcpu = kc.vcpu[random_reader()];
	unsigned long khz = __vcpu_ioctl(vcpu, KVM_GET_TSC_KHZ, NULL);

	vcpu_ioctl(vcpu, KVM_SET_TSC_KHZ, (void *)khz);
}

static void get_msrs(void)
{
	struct kvm_vcpu *vcpu = kc.vcpu[random_reader()];

	vcpu_get_msr(vcpu, MSR_IA32_TSC);
	vcpu_get_msr(vcpu, MSR_KVM_SYSTEM_TIME_NEW);
}

/* Do not wait again for what has failed to come once. */
static bool master_lost;

static void wait_for_master(void)
{
	if (!master_lost && !kvmclock_wait_flags(&kc, KVMCLOCK_MASTER_FLAGS)) {
		ksft_print_msg("the master clock does not come back\n");
		master_lost = true;
	}
}

/* On the boot vCPU, the old MSR stops the master clock. */
static void old_new_msr_boot(void)
{
	set_rule(RELAXED);
	old_new(0);
	wait_for_master();
	set_rule(COMPARE);
}

static void clocksource(void)
{
	const char *other = kvmclock_other_clocksource();

	set_rule(RELAXED);
	TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
	usleep(random() % 20000);
	TEST_ASSERT(kvmclock_set_clocksource("tsc"), "Cannot switch to tsc");
	wait_for_master();
	set_rule(COMPARE);
}

static void anything(void);

static const struct trouble {
	const char *name;
	void (*make)(void);
	/* How many of this in place of ten. */
	int nr;
	const char *(*missing)(void);
} troubles[] = {
	{ "get", get, 10 },
	{ "set_forward", set_forward, 10 },
	{ "set_forward_realtime", set_forward_realtime, 10 },
	{ "set_stale", set_stale, 10, no_monotonic },
	{ "set_stale_race", set_stale_race, 10, no_monotonic },
	{ "round_trip", round_trip, 10, no_monotonic },
	{ "vcpu_create", vcpu_create, 6 },
	{ "host_tsc", host_tsc, 10 },
	{ "host_tsc_all", host_tsc_all, 10 },
	{ "host_offset", host_offset, 10 },
	{ "host_offset_all", host_offset_all, 10 },
	{ "guest_tsc", guest_tsc, 10 },
	{ "guest_tsc_adjust", guest_tsc_adjust, 10 },
	{ "page_moved", page_moved, 10 },
	{ "old_new_msr", old_new_msr, 10 },
	{ "old_new_msr_boot", old_new_msr_boot, 5 },
	{ "ctrl", ctrl, 10 },
	{ "set_tsc_khz_same", set_tsc_khz_same, 10 },
	{ "get_msrs", get_msrs, 10 },
	{ "clocksource", clocksource, 3, kvmclock_no_clocksource },
	{ "anything", anything, 60 },
};

#define NR_TROUBLES	((int)ARRAY_SIZE(troubles))

static void anything(void)
{
	const struct trouble *trouble = &troubles[random() % (NR_TROUBLES - 1)];

	if (!trouble->missing || !trouble->missing())
		trouble->make();
}

/* ---- Phases ---- */

/* All TSCs equal, and a clock that has nothing to do with what was before. */
static void begin_phase(void)
{
	int i;

	set_rule(IDLE);
	host_offset_all();
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	shared->highest = 0;
	memset(&getter, 0, sizeof(getter));
	for (i = 0; i < NR_READERS; i++) {
		shared->reader[i].readings = 0;
		shared->reader[i].back = (struct kvmclock_backwards){};
	}
	set_rule(COMPARE);
	let_all_read();
}

static void measure(const char *trouble, const char *what, u64 value, const char *unit)
{
	char key[96];

	snprintf(key, sizeof(key), "monotonic.%s.%s", trouble, what);
	kvmclock_measure(key, value, unit);
}

/* All readers have read since the last trouble: let_all_read() saw to that. */
static bool end_phase(const char *name)
{
	struct kvmclock_backwards back = {};
	u64 readings = 0;
	int i;

	for (i = 0; i <= NR_READERS; i++) {
		struct reader *reader = i < NR_READERS ? &shared->reader[i] : &getter;

		readings += reader->readings;
		kvmclock_add_backwards(&back, &reader->back);
	}
	measure(name, "readings", readings, "readings");
	measure(name, "backwards", back.nr, "readings");
	measure(name, "worst", -back.worst_ns, "ns");
	return !back.nr;
}

static void run_phase(const struct trouble *trouble)
{
	const char *why = trouble->missing ? trouble->missing() : NULL;
	int i;

	if (why) {
		ksft_test_result_skip("%s: %s\n", trouble->name, why);
		return;
	}

	begin_phase();
	for (i = 0; i < trouble->nr * nr_iterations / 10; i++) {
		trouble->make();
		usleep(random() % SLEEP_MAX_US);
	}
	let_all_read();
	ksft_test_result(end_phase(trouble->name), "%s\n", trouble->name);
}

static void create_vm(void)
{
	struct guest_args *args;
	gva_t args_gva, shared_gva;
	int i;

	kvmclock_vm_create(&kc, 0, NR_READERS, NR_VCPUS);
	shared_gva = vm_alloc(kc.vm, sizeof(*shared), KVM_UTIL_MIN_VADDR);
	shared = addr_gva2hva(kc.vm, shared_gva);
	memset(shared, 0, sizeof(*shared));
	shared->rule = IDLE;

	args_gva = vm_alloc_page(kc.vm);
	args = addr_gva2hva(kc.vm, args_gva);
	args->shared = (void *)shared_gva;
	for (i = 0; i < NR_READERS; i++)
		args->guest[i] = (void *)kc.guest_gva[i];

	for (i = 0; i < NR_READERS; i++) {
		vcpu_arch_set_entry_point(kc.vcpu[i], guest_main);
		vcpu_args_set(kc.vcpu[i], 2, args_gva, i);
	}
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-n iterations]\n", name);
	printf("-n: how often to make each kind of trouble (default %d)\n", nr_iterations);
	exit(KSFT_SKIP);
}

int main(int argc, char *argv[])
{
	int opt, i;

	while ((opt = getopt(argc, argv, "hn:")) != -1) {
		if (opt != 'n')
			help(argv[0]);
		nr_iterations = atoi_positive("Number of iterations", optarg);
	}

	kvmclock_start(NR_TROUBLES, 0);
	srandom(1);
	create_vm();
	for (i = 0; i < NR_READERS; i++)
		kvm_pthread_create(&threads[i], NULL, run_reader, kc.vcpu[i]);

	for (i = 0; i < NR_TROUBLES; i++)
		run_phase(&troubles[i]);

	WRITE_ONCE(stop, true);
	for (i = 0; i < NR_READERS; i++)
		kvm_pthread_join(threads[i], NULL);
	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
