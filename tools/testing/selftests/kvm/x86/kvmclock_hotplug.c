// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that VMs keep the master clock when a CPU of their host goes offline and
 * comes back.
 *
 * KVM finds out then whether the host's TSC was reset, from the TSC at which vCPUs
 * ran last.  Those that run on the other CPUs meanwhile are no sign of a reset,
 * though they may have run later than the new CPU has read its TSC.  The mark that
 * a reset leaves is there for good, so once is enough to see it.
 */
#include "kvmclock.h"

#define CPU1_ONLINE	"/sys/devices/system/cpu/cpu1/online"

#define NR_ROUNDS	20
/* Not to be exceeded by much: a round takes a fraction of a second. */
#define LIMIT_MS	40000

#define NR_BUSY		4

/*
 * VMs are looked at from the newest to the oldest.  vCPUs that nobody uses, in a VM
 * that is newer than the busy one, give that one time to run after the TSC was read.
 */
#define NR_CROWD	512

static struct kvmclock_vm kc;

static void set_cpu1_online(bool online)
{
	TEST_ASSERT(kvmclock_sysfs_write(CPU1_ONLINE, online ? "1" : "0"),
		    "Cannot take CPU 1 %s", online ? "online" : "offline");
}

/* ---- Idle vCPUs ---- */

static bool test_idle(void)
{
	struct kvmclock_series steps = {};
	struct kvmclock_shot before, after;
	u64 now;
	int i, round;

	kvmclock_vm_create(&kc, 0, 2, 2);
	for (round = 0; round < 3; round++) {
		kvmclock_shoot(&kc, &before);
		set_cpu1_online(false);
		kvmclock_settle(&kc);
		set_cpu1_online(true);
		kvmclock_settle(&kc);
		kvmclock_shoot(&kc, &after);
		now = rdtsc();
		for (i = 0; i < kc.nr_vcpus; i++)
			kvmclock_record(&steps, kvmclock_step(&before, &after, i, now));
	}
	kvmclock_vm_destroy(&kc);
	return kvmclock_within(&steps, "hotplug.idle.step", "ns", 0, 0);
}

/* ---- Busy vCPUs ---- */

/*
 * What counts is that a vCPU is loaded and put on a CPU, which KVM_GET_REGS does
 * much more often than KVM_RUN.  Only the first of them enters the guest.
 */
static void *load_and_put(void *arg)
{
	struct kvmclock_thread *thread = arg;
	struct kvm_regs regs;

	while (!READ_ONCE(thread->stop))
		vcpu_regs_get(thread->vcpu, &regs);
	return NULL;
}

static void start_busy(struct kvmclock_thread *threads)
{
	int i;

	kvmclock_set_code(&kc, 0, kvmclock_guest_reader);
	kvmclock_thread_start(&threads[0], kc.vcpu[0]);
	for (i = 1; i < NR_BUSY; i++) {
		threads[i].vcpu = kc.vcpu[i];
		threads[i].stop = false;
		kvm_pthread_create(&threads[i].thread, NULL, load_and_put, &threads[i]);
	}
}

/* Stop them; the guest has read something, and nothing has gone back. */
static bool stop_busy(struct kvmclock_thread *threads)
{
	struct kvmclock_guest *guest = kvmclock_guest(&kc, 0);
	int i;

	for (i = 0; i < NR_BUSY; i++)
		kvmclock_thread_stop(&threads[i]);
	kvmclock_measure("hotplug.busy.readings", guest->arg[0], "");
	return check(guest->arg[0], "the guest has not run") &
	       check(!guest->ret, "back by %lu ns", guest->ret);
}

/* Still the line that it was. */
static bool undisturbed(struct kvmclock_vm *vm, u64 reanchors)
{
	u32 flags = kvmclock_get(vm).flags;
	u64 now = 0;

	kvmclock_stat(vm, "clock_reanchors", &now);
	return check(flags == KVMCLOCK_MASTER_FLAGS, "flags 0x%x", flags) &
	       check(now == reanchors, "redrawn %lu times", now - reanchors);
}

static bool replug(struct kvmclock_vm *other)
{
	u64 end_ms = kvmclock_now_ms() + LIMIT_MS, reanchors = 0, other_reanchors = 0;
	bool ok = true;
	int round;

	kvmclock_stat(&kc, "clock_reanchors", &reanchors);
	kvmclock_stat(other, "clock_reanchors", &other_reanchors);
	for (round = 0; round < NR_ROUNDS && ok && kvmclock_now_ms() < end_ms; round++) {
		set_cpu1_online(false);
		set_cpu1_online(true);
		ok = undisturbed(&kc, reanchors) & undisturbed(other, other_reanchors);
	}
	kvmclock_measure("hotplug.busy.rounds", round, "");
	return ok;
}

static struct kvm_vm *create_crowd(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	int i;

	for (i = 0; i < NR_CROWD; i++)
		__vm_vcpu_add(vm, i);
	return vm;
}

static bool test_busy(void)
{
	struct kvmclock_thread threads[NR_BUSY];
	struct kvmclock_vm other;
	struct kvm_vm *crowd;
	bool ok;

	kvmclock_vm_create(&kc, 0, NR_BUSY, NR_BUSY);
	kvmclock_vm_create(&other, 0, 1, 1);
	crowd = create_crowd();
	start_busy(threads);
	ok = replug(&other);
	ok &= stop_busy(threads);
	kvm_vm_free(crowd);
	kvmclock_vm_destroy(&kc);
	kvmclock_vm_destroy(&other);
	return ok;
}

static const char *no_cpu1(void)
{
	return kvmclock_may_change_host() && !access(CPU1_ONLINE, W_OK) ? NULL :
	       "no CPU that can be unplugged";
}

static const struct kvmclock_test tests[] = {
	{ "idle", test_idle, no_cpu1 },
	{ "busy", test_busy, no_cpu1 },
};

int main(void)
{
	int i;

	kvmclock_start(ARRAY_SIZE(tests), 0);
	kvm_set_files_rlimit(NR_CROWD);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], 0, NULL);
	kvmclock_finished();
}
