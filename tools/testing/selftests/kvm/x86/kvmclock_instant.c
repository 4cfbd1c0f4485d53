// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify where the time of the KVM clock comes from: whatever KVM reports of the
 * host's clocks is between two readings of user space, and so is the host's TSC.
 *
 * The host's clock is made to run 10 % fast for a moment, so that it cannot be taken
 * for CLOCK_MONOTONIC_RAW, which the KVM clock follows.  Set KVMCLOCK_KEEP_HOST in
 * the environment to skip that.
 */
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define NR_READINGS	1000

/* By how much the host's clock is to be ahead of CLOCK_MONOTONIC_RAW, at least. */
#define AHEAD_NS	(100 * 1000 * 1000)

/* What rounding, and two clocks of different rates, may cost within a case. */
#define SLACK_NS	2000

/* Where the wall clock is in the guest's page; what it asks for is at the beginning. */
#define WALL_CLOCK	2048

static struct kvm_vcpu *vcpu;
static struct kvm_vm *vm;
static gpa_t page_gpa;
static void *page;

static void guest_main(u64 gpa)
{
	GUEST_SYNC(0);
	for (;;)
		GUEST_SYNC(kvm_hypercall(KVM_HC_CLOCK_PAIRING, gpa, KVM_CLOCK_PAIRING_WALLCLOCK,
					 0, 0));
}

/* What the guest tells. */
static u64 run(void)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC, "exit reason %u", vcpu->run->exit_reason);
	return uc.args[1];
}

static void create(void)
{
	gva_t gva;

	vm = vm_create_with_one_vcpu(&vcpu, guest_main);
	gva = vm_alloc(vm, getpagesize(), 0x10000);
	page_gpa = addr_gva2gpa(vm, gva);
	page = addr_gva2hva(vm, gva);
	vcpu_args_set(vcpu, 1, page_gpa);
	run();
}

static s64 now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static struct kvm_clock_data get(void)
{
	struct kvm_clock_data data = {};

	vm_ioctl(vm, KVM_GET_CLOCK, &data);
	return data;
}

static u64 tsc_offset(void)
{
	u64 offset;

	vcpu_device_attr_get(vcpu, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, &offset);
	return offset;
}

static bool between(s64 value, s64 first, s64 last, const char *what)
{
	if (value >= first && value <= last)
		return true;

	ksft_print_msg("%s: %ld before, %ld behind\n", what, first - value, value - last);
	return false;
}

static bool test_get(void)
{
	struct kvm_clock_data data;
	u64 first_tsc;
	s64 first;
	int i;

	for (i = 0; i < NR_READINGS; i++) {
		first_tsc = rdtsc();
		first = now(CLOCK_REALTIME);
		data = get();
		if (!between(data.realtime, first, now(CLOCK_REALTIME), "realtime") ||
		    !between(data.host_tsc, first_tsc, rdtsc(), "host TSC"))
			return false;
	}
	return true;
}

/* The least and the most that CLOCK_REALTIME may have been when the KVM clock was 0. */
static void bracket_epoch(s64 *least, s64 *most)
{
	s64 first = now(CLOCK_REALTIME), clock = get().clock;

	*least = first - clock;
	*most = now(CLOCK_REALTIME) - clock;
}

/* That is what the wall clock's page tells.  The two clocks differ in rate, a little. */
static bool test_wall_clock(void)
{
	struct pvclock_wall_clock *wall = page + WALL_CLOCK;
	s64 least, most, least_after, most_after;

	bracket_epoch(&least, &most);
	vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, page_gpa + WALL_CLOCK);
	run();
	bracket_epoch(&least_after, &most_after);
	return between(wall->sec * NSEC_PER_SEC + wall->nsec, min(least, least_after) - SLACK_NS,
		       max(most, most_after) + SLACK_NS, "epoch");
}

static bool test_pairing(void)
{
	struct kvm_clock_pairing *pairing = page;
	u64 first_tsc, ret;
	s64 first, time;
	int i;

	for (i = 0; i < NR_READINGS; i++) {
		first_tsc = rdtsc();
		first = now(CLOCK_REALTIME);
		ret = run();
		if (ret) {
			ksft_print_msg("KVM_HC_CLOCK_PAIRING returned %ld\n", (long)ret);
			return false;
		}
		time = pairing->sec * NSEC_PER_SEC + pairing->nsec;
		if (!between(time, first, now(CLOCK_REALTIME), "time") ||
		    !between(pairing->tsc - tsc_offset(), first_tsc, rdtsc(), "TSC"))
			return false;
	}
	return true;
}

/*
 * A clock that begins at 0 with the VM, and is CLOCK_MONOTONIC_RAW from there.  Were
 * it taken from another clock at one end, it would be off by what that is ahead.
 */
static bool test_raw(void)
{
	s64 before = now(CLOCK_MONOTONIC_RAW), begun, first, last;
	struct kvm_clock_data data;

	create();
	begun = now(CLOCK_MONOTONIC_RAW);
	first = now(CLOCK_MONOTONIC_RAW);
	data = get();
	last = now(CLOCK_MONOTONIC_RAW);
	return between(data.clock, first - begun - SLACK_NS, last - before + SLACK_NS, "clock");
}

static s64 ahead(void)
{
	return now(CLOCK_MONOTONIC) - now(CLOCK_MONOTONIC_RAW);
}

/* Let the host's clock run away from CLOCK_MONOTONIC_RAW.  Returns whether it does. */
static bool run_away(void)
{
	struct timex tx = { .modes = ADJ_TICK, .tick = 11000 };
	s64 begin = ahead();
	int i;

	if (geteuid() || getenv("KVMCLOCK_KEEP_HOST") || adjtimex(&tx) < 0)
		return false;

	for (i = 0; i < 500 && ahead() - begin < AHEAD_NS; i++)
		usleep(10000);
	tx.tick = 10000;
	adjtimex(&tx);
	return ahead() - begin >= AHEAD_NS;
}

int main(void)
{
	ksft_print_header();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_HOST_TSC);
	TEST_REQUIRE(sys_clocksource_is_based_on_tsc());
	ksft_set_plan(4);

	create();
	ksft_test_result(test_get(), "get\n");
	ksft_test_result(test_pairing(), "pairing\n");
	ksft_test_result(test_wall_clock(), "wall_clock\n");
	kvm_vm_free(vm);

	if (!run_away()) {
		ksft_test_result_skip("raw: the host's clock is to be left alone\n");
	} else {
		ksft_test_result(test_raw(), "raw\n");
		kvm_vm_free(vm);
	}
	ksft_finished();
}
