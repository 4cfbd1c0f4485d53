// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that the guest's clock goes on when the host is suspended.
 *
 * The host goes through the motions only, with /sys/power/pm_test: up to
 * "processors", CPUs go offline and come back, and with "core", timekeeping and
 * virtualization are suspended and resumed, too.  The TSC runs on, so that the
 * line is to be extended: 0 ns of difference at the same TSC.  The guest is told
 * that it was stopped.
 */
#include "kvmclock.h"

#define NR_VCPUS	2

static const char * const levels[] = { "freezer", "processors", "core" };

static bool all_stopped(const struct kvmclock_shot *shot)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		if (!(shot->line[i].flags & PVCLOCK_GUEST_STOPPED))
			return false;
	return true;
}

static void clear_stopped(struct kvmclock_vm *kc)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kc->page[i]->flags &= ~PVCLOCK_GUEST_STOPPED;
}

static void test_level(const char *level)
{
	struct kvmclock_series steps = {};
	struct kvmclock_shot before, after;
	struct kvm_clock_data first, last;
	struct kvmclock_vm kc;
	char key[64];
	int i;

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	clear_stopped(&kc);
	kvmclock_shoot(&kc, &before);
	first = kvmclock_get(&kc);

	ksft_test_result(kvmclock_suspend_host(level), "suspend %s\n", level);

	last = kvmclock_get(&kc);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_record(&steps, kvmclock_step(&before, &after, i, last.host_tsc));

	snprintf(key, sizeof(key), "suspend.%s.step", level);
	ksft_test_result(kvmclock_within(&steps, key, "ns", 0, 0), "line %s\n", level);
	ksft_test_result(last.flags == KVMCLOCK_MASTER_FLAGS && last.clock > first.clock,
			 "get_clock %s\n", level);
	ksft_test_result(all_stopped(&after), "guest_stopped %s\n", level);

	kvmclock_vm_destroy(&kc);
}

int main(void)
{
	int i;

	if (!kvmclock_can_suspend_host())
		ksft_exit_skip("The host cannot be suspended\n");

	kvmclock_start(4 * ARRAY_SIZE(levels), 0);
	for (i = 0; i < ARRAY_SIZE(levels); i++)
		test_level(levels[i]);

	kvmclock_finished();
}
