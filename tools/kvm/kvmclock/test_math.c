// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Unit test of the arithmetic, against an oracle that multiplies and divides bit by
 * bit in 192 bits.
 */
#include "internal.h"
#include "tap.h"
#include "tsc_math.h"

#define WORDS	6	/* of 32 bits, the lowest first */

struct big {
	uint32_t w[WORDS];
};

static struct big big(uint64_t value)
{
	return (struct big) { { value, value >> 32 } };
}

static void big_double(struct big *a)
{
	int i;

	for (i = WORDS - 1; i > 0; i--)
		a->w[i] = a->w[i] << 1 | a->w[i - 1] >> 31;
	a->w[0] <<= 1;
}

static void big_halve(struct big *a)
{
	int i;

	for (i = 0; i < WORDS - 1; i++)
		a->w[i] = a->w[i] >> 1 | a->w[i + 1] << 31;
	a->w[WORDS - 1] >>= 1;
}

static void big_add(struct big *a, struct big b)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < WORDS; i++) {
		sum += (uint64_t)a->w[i] + b.w[i];
		a->w[i] = sum;
		sum >>= 32;
	}
}

static uint64_t big_low(struct big a)
{
	return (uint64_t)a.w[1] << 32 | a.w[0];
}

static struct big big_mul(uint64_t x, uint64_t y)
{
	struct big sum = big(0), addend = big(x);

	for (; y; y >>= 1, big_double(&addend)) {
		if (y & 1)
			big_add(&sum, addend);
	}

	return sum;
}

static struct big big_shift(struct big a, int left)
{
	for (; left > 0; left--)
		big_double(&a);
	for (; left < 0; left++)
		big_halve(&a);

	return a;
}

/* Long division: the quotient's low 64 bits. */
static uint64_t big_div(struct big a, uint64_t divisor)
{
	unsigned __int128 rest = 0;
	uint64_t quotient = 0;
	int bit;

	for (bit = WORDS * 32 - 1; bit >= 0; bit--) {
		rest = rest << 1 | (a.w[bit / 32] >> bit % 32 & 1);
		quotient <<= 1;
		if (rest >= divisor) {
			rest -= divisor;
			quotient |= 1;
		}
	}

	return quotient;
}

/* xorshift: the same values in every run. */
static uint64_t next_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;

	return x >> (x & 63);
}

static int random_shift(void)
{
	return (int)(next_random() % 63) - 31;
}

static void test_scale(void)
{
	uint64_t tsc, ratio;
	int i, bad = 0;

	for (i = 0; i < 100000; i++) {
		uint32_t frac_bits = i & 1 ? 48 : 32;

		tsc = next_random();
		ratio = next_random();
		bad += kvmclock_scale_tsc(tsc, ratio, frac_bits) !=
		       big_low(big_shift(big_mul(tsc, ratio), -(int)frac_bits));
	}
	tap_ok(!bad, "scaled TSC, 100000 values");
	tap_ok(kvmclock_scale_tsc(~0ULL, 1ULL << 48, 48) == ~0ULL, "ratio 1");
}

static void test_ratio(void)
{
	uint32_t khz, host;
	int i, bad = 0;

	for (i = 0; i < 100000; i++) {
		khz = next_random() % KVMCLOCK_MAX_KHZ + 1;
		host = next_random() % KVMCLOCK_MAX_KHZ + 1;
		bad += kvmclock_ratio(khz, host, 48) != big_div(big_shift(big(khz), 48), host);
	}
	tap_ok(!bad, "ratio, 100000 values");
	tap_ok(kvmclock_ratio(1500000, 3000000, 48) == 1ULL << 47, "ratio 1/2");
	tap_ok(kvmclock_ratio(43000, 100000, 32) == 1846835937, "ratio 0.43");
}

static void test_within(void)
{
	tap_ok(kvmclock_within(999750, 1000000, 250) && !kvmclock_within(999749, 1000000, 250),
	       "250 ppm below");
	tap_ok(kvmclock_within(1000250, 1000000, 250) && !kvmclock_within(1000251, 1000000, 250),
	       "250 ppm above");
	tap_ok(kvmclock_within(5, 5, 0) && !kvmclock_within(6, 5, 0), "no tolerance");
	tap_ok(kvmclock_within(0, 1000, 4294967295u), "any tolerance");
}

static uint64_t oracle_ns(uint64_t cycles, uint32_t mul, int shift)
{
	if (shift < 0)
		return big_low(big_shift(big_mul(cycles >> -shift, mul), -32));

	return big_low(big_shift(big_mul(cycles, mul), shift - 32));
}

static void test_line(void)
{
	uint64_t cycles, ns;
	uint32_t mul;
	int shift, i, bad = 0, worse = 0;

	for (i = 0; i < 100000; i++) {
		cycles = next_random();
		mul = next_random() | 1;
		shift = random_shift();
		bad += kvmclock_cycles_to_ns(cycles, mul, shift) != oracle_ns(cycles, mul, shift);
		ns = next_random() >> 1;
		worse += kvmclock_ns_to_cycles(ns, mul, shift) !=
			 big_div(big_shift(big(ns), 32 - shift), mul);
	}
	tap_ok(!bad, "cycles to ns, 100000 values");
	tap_ok(!worse, "ns to cycles, 100000 values");
	tap_ok(kvmclock_cycles_to_ns_signed(-5, 1u << 31, 1) == -5, "negative cycles");
	tap_ok(kvmclock_ns_to_cycles_signed(-5, 1u << 31, 1) == -5, "negative ns");
}

/* mul is the nearest to 10^9 / hz * 2^(32 - shift). */
static void check_line(uint32_t khz, uint64_t ratio, uint32_t frac_bits, int *bad)
{
	struct big hz = big_shift(big_mul((uint64_t)khz * 1000, ratio), 20 - (int)frac_bits);
	uint64_t want;
	uint32_t mul;
	int8_t shift;

	if (!kvmclock_line(khz, ratio, frac_bits, &mul, &shift)) {
		++*bad;
		return;
	}
	want = big_div(big_shift(big(KVMCLOCK_NSEC_PER_SEC), 53 - shift), big_low(hz));
	*bad += mul >> 31 != 1 || mul != (want + 1) / 2;
}

static void test_frequencies(void)
{
	uint32_t mul, khz;
	int8_t shift;
	int bad = 0, i;

	for (i = 0; i < 100000; i++) {
		khz = next_random() % KVMCLOCK_MAX_KHZ + 1;
		check_line(khz, 1ULL << 48, 48, &bad);
		check_line(khz | 1u << 20, (next_random() >> 16) | 1ULL << 40, 48, &bad);
	}
	tap_ok(!bad, "line of a frequency, 200000 values");
	tap_ok(kvmclock_line(1000000, 1ULL << 32, 32, &mul, &shift) && mul == 1u << 31 &&
	       shift == 1,
	       "line of 1 GHz");
	tap_ok(kvmclock_line(1, 1ULL << 48, 48, &mul, &shift), "line of 1 kHz");
	tap_ok(!kvmclock_line(1, 1, 48, &mul, &shift), "no line of next to nothing");
	tap_ok(!kvmclock_line(KVMCLOCK_MAX_KHZ, ~0ULL, 20, &mul, &shift),
	       "no line of next to infinity");
}

int main(void)
{
	test_scale();
	test_ratio();
	test_within();
	test_line();
	test_frequencies();

	return tap_done();
}
