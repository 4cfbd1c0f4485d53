// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify KVM_CLOCK_GUEST_STOPPED: KVM_SET_CLOCK tells all vCPUs that have kvmclock
 * enabled that they were stopped, once, and none if it fails.
 */
#include "kvmclock.h"

#define NR_VCPUS	3

/* It runs a guest that does not know kvmclock. */
#define WITHOUT_CLOCK	2

static struct kvmclock_vm kc;

/* Which vCPUs' pages have PVCLOCK_GUEST_STOPPED, as a mask; the guests take note. */
static u32 take_stopped(void)
{
	u32 told = 0;
	int i;

	kvmclock_settle(&kc);
	for (i = 0; i < NR_VCPUS; i++) {
		struct pvclock_vcpu_time_info *page = &kvmclock_guest(&kc, i)->time[0];

		told |= page->flags & PVCLOCK_GUEST_STOPPED ? 1 << i : 0;
		page->flags &= ~PVCLOCK_GUEST_STOPPED;
	}
	return told;
}

static bool tells(struct kvm_clock_data *data, int want_err)
{
	u32 want = want_err ? 0 : (1 << NR_VCPUS) - 1 - (1 << WITHOUT_CLOCK);
	int err = kvmclock_try_set(&kc, data);
	u32 told = take_stopped(), again = take_stopped();

	return check(err == want_err, "flags 0x%x: errno %d, not %d", data->flags, err, want_err) &
	       check(told == want, "flags 0x%x: told 0x%x, not 0x%x", data->flags, told, want) &
	       check(!again, "flags 0x%x: told 0x%x again", data->flags, again);
}

static bool tells_with(u32 flags, int want_err)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.flags = flags | KVM_CLOCK_GUEST_STOPPED;
	return tells(&data, want_err);
}

static bool test_set(void)
{
	return tells_with(0, 0) & tells_with(KVM_CLOCK_REALTIME, 0) &
	       tells_with(KVM_CLOCK_MONOTONIC, 0) & tells_with(KVMCLOCK_MASTER_FLAGS, 0);
}

static bool test_set_without_flag(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	return check(!kvmclock_try_set(&kc, &data), "errno %d", errno) &&
	       check(!take_stopped(), "told");
}

/* The TSC moves, or stays. */
static bool test_guest_tsc(void)
{
	return tells_with(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME, 0) &
	       tells_with(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC, 0) &
	       tells_with(KVM_CLOCK_GUEST_TSC, 0);
}

/* Where the line is the present one, nothing else changes. */
static bool test_same_line(void)
{
	struct kvmclock_shot before, after;
	s64 step;
	bool ok;

	kvmclock_shoot(&kc, &before);
	ok = tells_with(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC, 0);
	kvmclock_shoot(&kc, &after);
	step = kvmclock_step(&before, &after, 0, rdtsc());
	return check(!step, "the clock stepped by %ld ns", step) &&
	       check(before.offset[0] == after.offset[0], "the TSC moved") && ok;
}

static bool test_without_master(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	bool ok;

	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME | KVM_CLOCK_GUEST_STOPPED;
	kvmclock_set_master(&kc, false);
	take_stopped();
	ok = tells_with(0, 0) & tells(&data, 0);
	kvmclock_set_master(&kc, true);
	take_stopped();
	return ok;
}

/* ---- Calls that fail ---- */

static bool test_efault(void)
{
	int err = ioctl(kc.vm->fd, KVM_SET_CLOCK, NULL) ? errno : 0;

	return check(err == EFAULT, "errno %d", err) && check(!take_stopped(), "told");
}

static bool test_einval(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	bool ok = tells_with(1, EINVAL) & tells_with(1U << 31, EINVAL);

	data.flags = KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	data.tsc_to_system_mul = 0;
	ok &= tells(&data, EINVAL);

	kvmclock_opt_in(&kc, 0);
	data = kvmclock_get(&kc);
	data.flags = KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC;
	data.tsc_to_system_mul = 1U << 31;
	ok &= tells(&data, EINVAL);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	return ok;
}

static bool test_eopnotsupp(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	bool ok;

	data.flags = KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC;
	kvmclock_set_master(&kc, false);
	take_stopped();
	ok = tells(&data, EOPNOTSUPP);
	kvmclock_set_master(&kc, true);
	take_stopped();
	return ok;
}

/* A vCPU that is in KVM_RUN keeps its TSC. */
static bool test_ebusy(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	struct kvmclock_thread thread;
	int err;

	data.flags = KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	data.guest_tsc += 1000000;
	kvmclock_set_code(&kc, 0, kvmclock_guest_reader);
	kvmclock_thread_start(&thread, kc.vcpu[0]);
	/* It leaves KVM_RUN for a moment now and then. */
	do {
		err = kvmclock_try_set(&kc, &data);
		data.guest_tsc += 1000000;
	} while (!err);
	kvmclock_thread_stop(&thread);
	kvmclock_set_code(&kc, 0, kvmclock_guest_main);
	take_stopped();

	return check(err == EBUSY, "errno %d", err);
}

static bool test_erange(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.flags = KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	data.clock = BIT(63) + 1;
	return tells(&data, ERANGE);
}

/* ---- A vCPU that runs ---- */

/* It is told without leaving KVM_RUN by itself: the guest does nothing but wait for it. */
static void wait_for_stopped(struct kvmclock_guest *guest)
{
	/* Bochs does not let the host interrupt a guest that has interrupts disabled. */
	asm volatile("sti");
	WRITE_ONCE(guest->arg[0], 1);
	while (!(READ_ONCE(guest->time[0].flags) & PVCLOCK_GUEST_STOPPED))
		;
	asm volatile("cli");
	GUEST_UCALL_NONE();
}

static void *run_once(void *vcpu)
{
	vcpu_run(vcpu);
	kvmclock_check_exit(vcpu);
	return NULL;
}

static bool tells_running(u32 flags)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	struct kvmclock_guest *guest;
	pthread_t thread;
	int err;

	data.flags = flags | KVM_CLOCK_GUEST_STOPPED;
	kvmclock_set_code(&kc, 0, wait_for_stopped);
	guest = kvmclock_guest(&kc, 0);
	kvm_pthread_create(&thread, NULL, run_once, kc.vcpu[0]);
	while (!READ_ONCE(guest->arg[0]))
		usleep(1000);
	err = kvmclock_try_set(&kc, &data);
	kvm_pthread_join(thread, NULL);
	kvmclock_set_code(&kc, 0, kvmclock_guest_main);
	take_stopped();
	return check(!err, "errno %d", err);
}

static bool test_running(void)
{
	return tells_running(0) & tells_running(KVM_CLOCK_REALTIME);
}

static bool test_running_same_line(void)
{
	return tells_running(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC);
}

static const struct kvmclock_test tests[] = {
	{ "set", test_set },
	{ "set_without_flag", test_set_without_flag },
	{ "guest_tsc", test_guest_tsc },
	{ "same_line", test_same_line },
	{ "without_master", test_without_master },
	{ "efault", test_efault },
	{ "einval", test_einval },
	{ "eopnotsupp", test_eopnotsupp },
	{ "ebusy", test_ebusy },
	{ "erange", test_erange },
	{ "running", test_running },
	{ "running_same_line", test_running_same_line },
};

int main(void)
{
	int i;

	TEST_REQUIRE(kvmclock_knows(KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_GUEST_TSC));
	kvmclock_start(ARRAY_SIZE(tests), 0);
	kvmclock_vm_init(&kc, 0, NR_VCPUS);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_vcpu_add(&kc);
	for (i = 0; i < NR_VCPUS; i++)
		if (i != WITHOUT_CLOCK)
			kvmclock_enable(&kc, i, 0);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	take_stopped();

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_GUEST_STOPPED, NULL);

	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
