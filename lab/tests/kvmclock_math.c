// SPDX-License-Identifier: GPL-2.0
/*
 * kvmclock_math.h compiles and works in user space.  The
 * KUnit tests tell whether it is right; here a few values of each function and
 * the guest's own arithmetic are enough to see that it is the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pvclock.h"

#define ROWS	1000000

static int failed;

#define expect(is, should) expect_u64(__LINE__, #is, is, should)

static void expect_u64(int line, const char *what, u64 is, u64 should)
{
	if (is == should)
		return;
	printf("%s:%d: %s is 0x%llx, not 0x%llx\n", __FILE__, line, what, is, should);
	failed++;
}

static void test_values(void)
{
	struct pvclock_vcpu_time_info line = { .tsc_timestamp = 1000, .system_time = 77 };

	kvmclock_line_set_rate(&line, kvmclock_tsc_freq(1500000, 1ULL << 48, 48));
	expect(line.tsc_to_system_mul, 0xaaaaaaab);
	expect(line.tsc_shift, 0);
	expect(kvmclock_line_ns(&line, 1003), 79);
	expect(kvmclock_line_ns(&line, 0), 77);
	expect(kvmclock_line_ns(&line, 1000 + KVMCLOCK_MAX_DELTA), 0xa00000004fffffff + 77);
	expect(kvmclock_line_ns(&line, 1000 + KVMCLOCK_MAX_DELTA + 1), 77);
	expect(kvmclock_line_slack_ns(&line), 1);
	expect(kvmclock_scale_delta(~0ULL, ~0U, -31), 0x1fffffffd);
	expect(kvmclock_tsc_freq(2300000, 0xa6f4de9b, 32), 0x59682eff8ec04);

	kvmclock_line_set_rate(&line, kvmclock_tsc_freq(2300000, 1, 0));
	expect(line.tsc_to_system_mul, 0xde9bd37a);
	expect((u8)line.tsc_shift, (u8)-1);
	expect(kvmclock_line_slack_ns(&line), 2);
}

static void test_values_of_set(void)
{
	u64 sum = 77;

	expect(kvmclock_scale_delta_sat(1ULL << 63, 0x80000000, 1), 1ULL << 63);
	expect(kvmclock_scale_delta_sat(1ULL << 63, 0x80000000, 2), U64_MAX);
	expect(kvmclock_scale_delta_sat(0x200000001, ~0U, 31), 0xffffffff7fffffff);

	expect(kvmclock_cycles(0, 1, -31), 0);
	expect(kvmclock_cycles(2, 0xaaaaaaab, 0), 3);
	expect(kvmclock_cycles(1000000000, 0xde9bd37a, -1), 2300000002);
	expect(kvmclock_cycles(2, 1, -31), U64_MAX);
	expect(kvmclock_cycles(1ULL << 63, 0x80000000, 0), U64_MAX);

	expect(kvmclock_line_freq(0x80000000, 1), 1000000000ULL << 20);
	expect(kvmclock_line_freq(0x80000000, 31), 976563);
	expect(kvmclock_line_freq(1, -31), U64_MAX);

	expect(kvmclock_freq_within(3999000, 4000000, 250), true);
	expect(kvmclock_freq_within(4001001, 4000000, 250), false);
	expect(kvmclock_freq_within(U64_MAX, 1ULL << 63, 2000000), true);

	expect(kvmclock_elapsed_ns(5, 7, 0), 2);
	expect(kvmclock_elapsed_ns(7, 5, 1), 999999998);
	expect(kvmclock_elapsed_ns(~0ULL, 1ULL << 62, 0xffffffff), 0);

	expect(kvmclock_add_ns((1ULL << 63) - 1, 2, &sum), false);
	expect(sum, 77);
	expect(kvmclock_add_ns((1ULL << 63) - 1, 1, &sum), true);
	expect(sum, 1ULL << 63);
}

/* xorshift64* */
static u64 random_u64(void)
{
	static u64 x = 42;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545f4914f6cdd1d;
}

/* As a guest evaluates its page. */
static u64 guest_ns(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	u64 delta = tsc - line->tsc_timestamp;

	if (line->tsc_shift < 0)
		delta >>= -line->tsc_shift;
	else
		delta <<= line->tsc_shift;
	return line->system_time + (u64)((__uint128_t)delta * line->tsc_to_system_mul >> 32);
}

/* For 2^62 ns, or 146 years, at any frequency from 1 kHz to 2^31 kHz. */
static void test_guest(void)
{
	int i;

	for (i = 0; i < ROWS && !failed; i++) {
		u64 khz = (random_u64() >> (33 + random_u64() % 31)) + 1;
		u64 delta = (__uint128_t)khz * (random_u64() >> 2) / 1000000;
		struct pvclock_vcpu_time_info line = {
			.tsc_timestamp = random_u64(),
			.system_time = random_u64() >> 2,
		};
		u64 tsc = line.tsc_timestamp + delta;

		if (delta > KVMCLOCK_MAX_DELTA)
			continue;
		kvmclock_line_set_rate(&line, kvmclock_tsc_freq(khz, 1, 0));
		expect(kvmclock_line_ns(&line, tsc), guest_ns(&line, tsc));
	}
}

int main(void)
{
	test_values();
	test_values_of_set();
	test_guest();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
