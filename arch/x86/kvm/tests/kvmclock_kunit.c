// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the KVM clock's arithmetic.
 *
 * Tables hold the edges, with results worked out by hand or with rational
 * numbers.  Random rows are compared with an oracle that works bit by bit, as on
 * paper, and knows nothing of the code under test.
 */
#include <kunit/test.h>

#include <linux/array_size.h>
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/time64.h>

#include <asm/pvclock.h>

#include "kvmclock_math.h"

#define ROWS		100000
#define SLOW_ROWS	2000000

/* In kHz, as KVM has them. */
#define MHZ		1000U
#define GHZ		1000000U

/* A Julian year. */
#define YEAR_SEC	31557600ULL

/* 2/3, as a guest with a TSC of 1.5 GHz has it. */
#define TWO_THIRDS	0xaaaaaaabU

/*
 * The oracle: 128-bit numbers, added, subtracted, doubled and halved.
 */
struct wide {
	u64 hi, lo;
};

static struct wide to_wide(u64 x)
{
	return (struct wide){ .lo = x };
}

static struct wide wide_double(struct wide x)
{
	return (struct wide){ x.hi << 1 | x.lo >> 63, x.lo << 1 };
}

static struct wide wide_halve(struct wide x)
{
	return (struct wide){ x.hi >> 1, x.lo >> 1 | x.hi << 63 };
}

static struct wide wide_shift(struct wide x, int left)
{
	for (; left > 0; left--)
		x = wide_double(x);
	for (; left < 0; left++)
		x = wide_halve(x);
	return x;
}

static struct wide wide_add(struct wide a, struct wide b)
{
	u64 lo = a.lo + b.lo;

	return (struct wide){ a.hi + b.hi + (lo < a.lo), lo };
}

static struct wide wide_sub(struct wide a, struct wide b)
{
	return (struct wide){ a.hi - b.hi - (a.lo < b.lo), a.lo - b.lo };
}

static bool wide_less(struct wide a, struct wide b)
{
	return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

static struct wide wide_mul(struct wide a, u64 b)
{
	struct wide sum = {};

	for (; b; b >>= 1) {
		if (b & 1)
			sum = wide_add(sum, a);
		a = wide_double(a);
	}
	return sum;
}

/* Rounded down. */
static struct wide wide_div(struct wide a, u64 b)
{
	struct wide quotient = {}, rest = {};
	int i;

	for (i = 0; i < 128; i++) {
		rest = wide_double(rest);
		rest.lo |= a.hi >> 63;
		a = wide_double(a);
		quotient = wide_double(quotient);
		if (!wide_less(rest, to_wide(b))) {
			rest = wide_sub(rest, to_wide(b));
			quotient.lo |= 1;
		}
	}
	return quotient;
}

static u64 wide_sat(struct wide x)
{
	return x.hi ? U64_MAX : x.lo;
}

static struct wide wide_scale_delta(u64 delta, u32 mul, int shift)
{
	struct wide x = wide_shift(to_wide(delta), shift);

	return wide_shift(wide_mul(x, mul), -32);
}

static u64 naive_scale_delta(u64 delta, u32 mul, int shift)
{
	return wide_scale_delta(delta, mul, shift).lo;
}

static u64 naive_scale_delta_sat(u64 delta, u32 mul, int shift)
{
	return wide_sat(wide_scale_delta(delta, mul, shift));
}

static u64 naive_line_ns(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	u64 before = line->tsc_timestamp - tsc;

	if (before >= 1 && before <= 1ULL << 60)
		return line->system_time;

	return line->system_time +
	       naive_scale_delta(tsc - line->tsc_timestamp, line->tsc_to_system_mul,
				 line->tsc_shift);
}

/* Bring the fraction into [1/2, 1), then divide bit by bit. */
static void naive_fraction(u64 num, u64 den, u32 *mul, s8 *shift)
{
	struct wide n = to_wide(num), d = to_wide(den);
	u64 quotient = 0;
	int i;

	for (*shift = 0; !wide_less(n, d); ++*shift)
		d = wide_double(d);
	for (; wide_less(wide_double(n), d); --*shift)
		n = wide_double(n);

	for (i = 0; i < 32; i++) {
		n = wide_double(n);
		quotient <<= 1;
		if (!wide_less(n, d)) {
			n = wide_sub(n, d);
			quotient++;
		}
	}
	if (!wide_less(wide_double(n), d))
		quotient++;
	if (quotient == 1ULL << 32) {
		quotient >>= 1;
		++*shift;
	}
	*mul = quotient;
}

static u64 naive_tsc_freq(u32 khz, u64 ratio, unsigned int frac_bits)
{
	struct wide freq = wide_mul(wide_mul(to_wide(khz), 1000), 1 << 20);

	return wide_shift(wide_mul(freq, ratio), -(int)frac_bits).lo;
}

/* Twice the quotient and 1, halved. */
static u64 naive_line_freq(u32 mul, int shift)
{
	struct wide twice = wide_shift(to_wide(1000000000), 20 + 32 - shift + 1);

	return wide_sat(wide_halve(wide_add(wide_div(twice, mul), to_wide(1))));
}

/* Both sides times 10^6. */
static bool naive_freq_within(u64 freq, u64 of, u32 ppm)
{
	struct wide diff = wide_mul(to_wide(max(freq, of) - min(freq, of)), 1000000);

	return !wide_less(wide_mul(to_wide(of), ppm), diff);
}

/*
 * Lines.
 */
static struct pvclock_vcpu_time_info make_line(u64 tsc, u64 ns, u32 mul, int shift)
{
	return (struct pvclock_vcpu_time_info){
		.tsc_timestamp = tsc,
		.system_time = ns,
		.tsc_to_system_mul = mul,
		.tsc_shift = shift,
	};
}

/* The line that goes on from @tsc. */
static struct pvclock_vcpu_time_info reanchor(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	struct pvclock_vcpu_time_info new = *line;

	new.tsc_timestamp = tsc;
	new.system_time = kvmclock_line_ns(line, tsc) + kvmclock_line_slack_ns(line);
	return new;
}

/* The line through 0 of an unscaled TSC. */
static struct pvclock_vcpu_time_info line_of_khz(u32 khz)
{
	struct pvclock_vcpu_time_info line = {};

	kvmclock_line_set_rate(&line, kvmclock_tsc_freq(khz, 1, 0));
	return line;
}

/*
 * Random arguments.  The seed is fixed, so that a failure comes again.
 */
static u64 random_bits(struct rnd_state *rnd)
{
	u64 high = prandom_u32_state(rnd);

	return high << 32 | prandom_u32_state(rnd);
}

/* Of any number of bits with the same probability, and often at an edge. */
static u64 random_u64(struct rnd_state *rnd)
{
	u32 how = prandom_u32_state(rnd);
	unsigned int bits = how & 63;

	switch (how >> 6 & 7) {
	case 0:
		return 1ULL << bits;
	case 1:
		return (1ULL << bits) - 1;
	case 2:
		return ~0ULL << bits;
	default:
		return random_bits(rnd) >> bits;
	}
}

static int random_int(struct rnd_state *rnd, int min, int max)
{
	return min + (int)(prandom_u32_state(rnd) % (max - min + 1));
}

static u32 random_mul(struct rnd_state *rnd)
{
	return random_u64(rnd) >> 32 ?: prandom_u32_state(rnd);
}

/* As guests get it. */
static struct pvclock_vcpu_time_info random_line(struct rnd_state *rnd)
{
	u64 tsc = random_u64(rnd), ns = random_u64(rnd);
	u32 mul = random_mul(rnd);

	return make_line(tsc, ns, mul, random_int(rnd, -31, 31));
}

static u64 random_freq(struct rnd_state *rnd)
{
	return max(random_u64(rnd), 1000ULL << KVMCLOCK_HZ_FRAC_BITS);
}

/* In the range of kvmclock_fraction(): [2^-30, 2^31). */
static void random_fraction(struct rnd_state *rnd, u64 *num, u64 *den)
{
	struct wide n, d;

	do {
		*num = random_u64(rnd) ?: 1;
		*den = random_u64(rnd) ?: 1;
		n = to_wide(*num);
		d = to_wide(*den);
	} while (wide_less(wide_shift(n, 30), d) || !wide_less(n, wide_shift(d, 31)));
}

typedef void (*check_row_fn)(struct kunit *test, struct rnd_state *rnd);

static void check_rows(struct kunit *test, check_row_fn check_row, u64 seed, unsigned int rows)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, seed);
	for (i = 0; i < rows; i++) {
		check_row(test, &rnd);
		if (i % 1024 == 0)
			cond_resched();
	}
}

/*
 * kvmclock_scale_delta()
 */
struct scale_case {
	const char *name;
	u64 delta;
	u32 mul;
	int shift;
	u64 ns;
};

static const struct scale_case scale_cases[] = {
	{ "no cycle", 0, U32_MAX, 31, 0 },
	{ "no multiplier", U64_MAX, 0, 31, 0 },
	{ "1 cycle of 1 GHz", 1, 0x80000000, 1, 1 },
	{ "1 cycle, not quite 1 ns", 1, U32_MAX, 0, 0 },
	{ "1 cycle, highest shift of a guest", 1, U32_MAX, 31, 0x7fffffff },
	{ "1 cycle, shifted out", 1, U32_MAX, -1, 0 },
	{ "3 cycles of 1.5 GHz", 3, TWO_THIRDS, 0, 2 },
	{ "3 cycles, not quite 1.5 GHz", 3, TWO_THIRDS - 1, 0, 1 },
	{ "2^31 - 1 cycles, shifted out", BIT_ULL(31) - 1, U32_MAX, -31, 0 },
	{ "2^31 cycles, lowest shift of a guest", BIT_ULL(31), U32_MAX, -31, 0 },
	{ "2^32 cycles, lowest shift of a guest", BIT_ULL(32), U32_MAX, -31, 1 },
	{ "2^60 - 1 cycles", BIT_ULL(60) - 1, TWO_THIRDS, 0, 0xaaaaaaaafffffff },
	{ "2^60 cycles", BIT_ULL(60), TWO_THIRDS, 0, 0xaaaaaaab0000000 },
	{ "2^60 + 1 cycles", BIT_ULL(60) + 1, TWO_THIRDS, 0, 0xaaaaaaab0000000 },
	{ "2^60 + 2 cycles", BIT_ULL(60) + 2, TWO_THIRDS, 0, 0xaaaaaaab0000001 },
	{ "most cycles of a line", KVMCLOCK_MAX_DELTA, TWO_THIRDS, 0, 0xa00000004fffffff },
	{ "2^63 cycles, product of 64 bits", BIT_ULL(63), 0x80000000, 1, BIT_ULL(63) },
	{ "2^63 cycles, product of 65 bits", BIT_ULL(63), 0x80000000, 2, 0 },
	{ "all cycles", U64_MAX, U32_MAX, 0, 0xfffffffeffffffff },
	{ "all cycles of 2 GHz", U64_MAX, 0x80000000, 0, 0x7fffffffffffffff },
	{ "all cycles, multiplier 1", U64_MAX, 1, 0, U32_MAX },
	{ "all cycles, lowest shift of a guest", U64_MAX, U32_MAX, -31, 0x1fffffffd },
	{ "all cycles, highest shift of a guest", U64_MAX, U32_MAX, 31, 0x7fffffff80000000 },
	{ "all cycles, highest shift", U64_MAX, U32_MAX, 32, 0xffffffff00000001 },
	{ "all cycles, lowest shift", U64_MAX, U32_MAX, -63, 0 },
};

KUNIT_ARRAY_PARAM_DESC(scale, scale_cases, name);

static void scale_delta_edges(struct kunit *test)
{
	const struct scale_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_scale_delta(c->delta, c->mul, c->shift), c->ns);
	KUNIT_EXPECT_EQ(test, naive_scale_delta(c->delta, c->mul, c->shift), c->ns);
}

static void expect_scale_delta(struct kunit *test, u64 delta, u32 mul, int shift)
{
	KUNIT_ASSERT_EQ_MSG(test, kvmclock_scale_delta(delta, mul, shift),
			    naive_scale_delta(delta, mul, shift),
			    "delta 0x%llx mul 0x%x shift %d", delta, mul, shift);
}

static void scale_delta_every_shift(struct kunit *test)
{
	static const u64 deltas[] = {
		0, 1, BIT_ULL(31), BIT_ULL(32) - 1, BIT_ULL(32), BIT_ULL(60) - 1, BIT_ULL(60),
		BIT_ULL(60) + 1, BIT_ULL(63), KVMCLOCK_MAX_DELTA, KVMCLOCK_MAX_DELTA + 1, U64_MAX
	};
	static const u32 muls[] = { 0, 1, 0x7fffffff, 0x80000000, TWO_THIRDS, U32_MAX };
	unsigned int d, m;
	int shift;

	for (shift = -63; shift <= 32; shift++) {
		for (d = 0; d < ARRAY_SIZE(deltas); d++) {
			for (m = 0; m < ARRAY_SIZE(muls); m++)
				expect_scale_delta(test, deltas[d], muls[m], shift);
		}
	}
}

static void check_scale_delta(struct kunit *test, struct rnd_state *rnd)
{
	u64 delta = random_u64(rnd);
	u32 mul = random_mul(rnd);

	expect_scale_delta(test, delta, mul, random_int(rnd, -63, 32));
}

static void scale_delta_oracle(struct kunit *test)
{
	check_rows(test, check_scale_delta, 1, ROWS);
}

/* The guest shifts in 64 bits. */
static bool guest_overflows(u64 delta, int shift)
{
	return shift > 0 && delta >> (64 - shift);
}

static void check_guest(struct kunit *test, struct rnd_state *rnd)
{
	u64 delta = random_u64(rnd);
	u32 mul = random_mul(rnd);
	int shift = random_int(rnd, -31, 31);

	if (guest_overflows(delta, shift))
		return;

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_scale_delta(delta, mul, shift),
			    pvclock_scale_delta(delta, mul, shift),
			    "delta 0x%llx mul 0x%x shift %d", delta, mul, shift);
}

static void scale_delta_as_guests_do(struct kunit *test)
{
	check_rows(test, check_guest, 2, ROWS);
}

/*
 * kvmclock_scale_delta_sat()
 */
static const struct scale_case scale_sat_cases[] = {
	{ "no cycle", 0, U32_MAX, 32, 0 },
	{ "no multiplier", U64_MAX, 0, 32, 0 },
	{ "3 cycles of 1.5 GHz", 3, TWO_THIRDS, 0, 2 },
	{ "most cycles of a line", KVMCLOCK_MAX_DELTA, TWO_THIRDS, 0, 0xa00000004fffffff },
	{ "2^63 cycles, result of 64 bits", BIT_ULL(63), 0x80000000, 1, BIT_ULL(63) },
	{ "2^63 cycles, result of 65 bits", BIT_ULL(63), 0x80000000, 2, U64_MAX },
	{ "all cycles, shift 0", U64_MAX, U32_MAX, 0, 0xfffffffeffffffff },
	{ "all cycles of 1 GHz", U64_MAX, 0x80000000, 1, U64_MAX },
	{ "all cycles, too many by half", U64_MAX, 0x80000001, 1, U64_MAX },
	{ "3 * 2^62 cycles of 750 MHz, fits", 3 * BIT_ULL(62), TWO_THIRDS - 1, 1,
	  0xffffffff00000000 },
	{ "3 * 2^62 cycles of 750 MHz", 3 * BIT_ULL(62), TWO_THIRDS, 1, U64_MAX },
	{ "shift 31, fits", 0x200000001, U32_MAX, 31, 0xffffffff7fffffff },
	{ "shift 31, just fits", 0x200000002, U32_MAX, 31, U64_MAX },
	{ "shift 31, too many", 0x200000003, U32_MAX, 31, U64_MAX },
	{ "shift 32, fits", BIT_ULL(32), U32_MAX, 32, 0xffffffff00000000 },
	{ "shift 32, just fits", BIT_ULL(32) + 1, U32_MAX, 32, U64_MAX },
	{ "shift 32, too many", BIT_ULL(32) + 2, U32_MAX, 32, U64_MAX },
	{ "all cycles, multiplier 1, shift 31", U64_MAX, 1, 31, 0x7fffffffffffffff },
	{ "all cycles, highest shift", U64_MAX, U32_MAX, 32, U64_MAX },
	{ "all cycles, lowest shift of a guest", U64_MAX, U32_MAX, -31, 0x1fffffffd },
	{ "all cycles, lowest shift", U64_MAX, U32_MAX, -63, 0 },
};

KUNIT_ARRAY_PARAM_DESC(scale_sat, scale_sat_cases, name);

static void scale_delta_sat_edges(struct kunit *test)
{
	const struct scale_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_scale_delta_sat(c->delta, c->mul, c->shift), c->ns);
	KUNIT_EXPECT_EQ(test, naive_scale_delta_sat(c->delta, c->mul, c->shift), c->ns);
}

static void check_scale_delta_sat(struct kunit *test, struct rnd_state *rnd)
{
	u64 delta = random_u64(rnd);
	u32 mul = random_mul(rnd);
	int shift = random_int(rnd, -63, 32);

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_scale_delta_sat(delta, mul, shift),
			    naive_scale_delta_sat(delta, mul, shift),
			    "delta 0x%llx mul 0x%x shift %d", delta, mul, shift);
}

static void scale_delta_sat_oracle(struct kunit *test)
{
	check_rows(test, check_scale_delta_sat, 10, ROWS);
}

/*
 * kvmclock_cycles()
 */
struct cycles_case {
	const char *name;
	u64 ns;
	u32 mul;
	int shift;
	u64 cycles;
};

static const struct cycles_case cycles_cases[] = {
	{ "0 ns", 0, TWO_THIRDS, 0, 0 },
	{ "0 ns, lowest shift", 0, 1, -31, 0 },
	{ "0 ns, highest shift", 0, U32_MAX, 31, 0 },
	{ "1 ns of 1 GHz", 1, 0x80000000, 1, 1 },
	{ "1 ns of 1.5 GHz", 1, TWO_THIRDS, 0, 2 },
	{ "2 ns of 1.5 GHz", 2, TWO_THIRDS, 0, 3 },
	{ "2 ns, not quite 1.5 GHz", 2, TWO_THIRDS - 1, 0, 4 },
	{ "3 ns of 1.5 GHz", 3, TWO_THIRDS, 0, 5 },
	{ "1 ns, a cycle is not quite one", 1, U32_MAX, 0, 2 },
	{ "1 ns, shift -1", 1, U32_MAX, -1, 4 },
	{ "2 ns of 2.3 GHz", 2, 0xde9bd37a, -1, 6 },
	{ "1 ns, lowest shift", 1, U32_MAX, -31, BIT_ULL(32) },
	{ "2 ns, lowest shift", 2, U32_MAX, -31, 3 * BIT_ULL(31) },
	{ "one cycle, highest shift", 0x7fffffff, U32_MAX, 31, 1 },
	{ "more than one cycle, highest shift", 0x80000000, U32_MAX, 31, 2 },
	{ "1 s of 1 kHz", NSEC_PER_SEC, 0xf4240000, 20, 1000 },
	{ "1 s of 1.5 GHz", NSEC_PER_SEC, TWO_THIRDS, 0, 1500000000 },
	{ "1 s of 2.3 GHz", NSEC_PER_SEC, 0xde9bd37a, -1, 2300000002 },
	{ "1 s of 5.4 GHz", NSEC_PER_SEC, 0xbda12f68, -2, 5400000004 },
	{ "1 s of 2^31 kHz", NSEC_PER_SEC, 0xf4240000, -11, 2147483648000 },
	{ "2^60 cycles", 0xaaaaaaab0000000, TWO_THIRDS, 0, BIT_ULL(60) },
	{ "2^60 + 2 cycles", 0xaaaaaaab0000001, TWO_THIRDS, 0, BIT_ULL(60) + 2 },
	{ "2^63 ns", BIT_ULL(63), TWO_THIRDS, 0, 0xbfffffffa0000001 },
	{ "all ns of 250 MHz", U64_MAX, 0x80000000, 3, BIT_ULL(62) },
	{ "all ns of 500 MHz", U64_MAX, 0x80000000, 2, BIT_ULL(63) },
	{ "all ns of 1 GHz", U64_MAX, 0x80000000, 1, U64_MAX },
	{ "all ns of 2 GHz", U64_MAX, 0x80000000, 0, U64_MAX },
	{ "all ns, highest shift", U64_MAX, U32_MAX, 31, 0x200000002 },
	{ "all ns, multiplier 1, highest shift", U64_MAX, 1, 31, U64_MAX },
	{ "2^63 - 1 ns, multiplier 1, highest shift", BIT_ULL(63) - 1, 1, 31, U64_MAX - 1 },
	{ "2^63 - 1 ns of 2 GHz", BIT_ULL(63) - 1, 0x80000000, 0, U64_MAX - 1 },
	{ "2^63 ns of 2 GHz", BIT_ULL(63), 0x80000000, 0, U64_MAX },
	{ "2^62 - 1 ns of 4 GHz", BIT_ULL(62) - 1, 0x80000000, -1, U64_MAX - 3 },
	{ "2^62 ns of 4 GHz", BIT_ULL(62), 0x80000000, -1, U64_MAX },
	{ "2^64 - 2 cycles", 0xfffffffefffffffe, U32_MAX, 0, U64_MAX - 1 },
	{ "2^64 - 1 cycles", 0xfffffffeffffffff, U32_MAX, 0, U64_MAX },
	{ "one ns more", 0xffffffff00000000, U32_MAX, 0, U64_MAX },
	{ "most ns, multiplier 1", U32_MAX, 1, 0, 0xffffffff00000000 },
	{ "one ns more, multiplier 1", BIT_ULL(32), 1, 0, U64_MAX },
	{ "most ns, lowest shift", 0x1fffffffd, U32_MAX, -31, 0xffffffff80000000 },
	{ "one ns more, lowest shift", 0x1fffffffe, U32_MAX, -31, U64_MAX },
	{ "1 ns, multiplier 1, lowest shift", 1, 1, -31, BIT_ULL(63) },
	{ "2 ns, multiplier 1, lowest shift", 2, 1, -31, U64_MAX },
};

KUNIT_ARRAY_PARAM_DESC(cycles, cycles_cases, name);

/*
 * As scaling is monotone, a number of cycles that takes long enough, while one
 * cycle less does not, is the least.  The last one need not take long enough.
 */
static void expect_least_cycles(struct kunit *test, u64 ns, u32 mul, int shift)
{
	u64 cycles = kvmclock_cycles(ns, mul, shift);

	if (cycles < U64_MAX)
		KUNIT_ASSERT_GE_MSG(test, naive_scale_delta_sat(cycles, mul, shift), ns,
				    "%llu cycles mul 0x%x shift %d", cycles, mul, shift);
	if (cycles > 0)
		KUNIT_ASSERT_LT_MSG(test, naive_scale_delta_sat(cycles - 1, mul, shift), ns,
				    "%llu cycles mul 0x%x shift %d", cycles, mul, shift);
}

static void cycles_edges(struct kunit *test)
{
	const struct cycles_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_cycles(c->ns, c->mul, c->shift), c->cycles);
	expect_least_cycles(test, c->ns, c->mul, c->shift);
}

static void cycles_every_shift(struct kunit *test)
{
	static const u32 muls[] = { 1, 2, 3, 0x7fffffff, 0x80000000, TWO_THIRDS, U32_MAX };
	unsigned int bit, m;
	int shift;

	for (shift = -31; shift <= 31; shift++) {
		for (m = 0; m < ARRAY_SIZE(muls); m++) {
			for (bit = 0; bit < 64; bit++) {
				expect_least_cycles(test, BIT_ULL(bit) - 1, muls[m], shift);
				expect_least_cycles(test, BIT_ULL(bit), muls[m], shift);
				expect_least_cycles(test, BIT_ULL(bit) + 1, muls[m], shift);
			}
			expect_least_cycles(test, U64_MAX, muls[m], shift);
		}
		cond_resched();
	}
}

static void check_cycles(struct kunit *test, struct rnd_state *rnd)
{
	u64 ns = random_u64(rnd);
	u32 mul = random_mul(rnd) ?: 1;

	expect_least_cycles(test, ns, mul, random_int(rnd, -31, 31));
}

/* Of what so many cycles take: near a step, and mostly within 64 bits. */
static void check_cycles_of_cycles(struct kunit *test, struct rnd_state *rnd)
{
	u64 cycles = random_u64(rnd);
	u32 mul = random_mul(rnd) ?: 1;
	int shift = random_int(rnd, -31, 31);
	u64 ns = naive_scale_delta_sat(cycles, mul, shift);

	expect_least_cycles(test, ns, mul, shift);
	KUNIT_ASSERT_LE_MSG(test, kvmclock_cycles(ns, mul, shift), cycles,
			    "mul 0x%x shift %d", mul, shift);
}

static void cycles_least(struct kunit *test)
{
	check_rows(test, check_cycles, 11, ROWS);
	check_rows(test, check_cycles_of_cycles, 12, ROWS);
}

/*
 * kvmclock_add_ns()
 */
struct add_case {
	const char *name;
	u64 a, b;
	bool fits;
	u64 sum;
};

static const struct add_case add_cases[] = {
	{ "nothing", 0, 0, true, 0 },
	{ "1 + 2", 1, 2, true, 3 },
	{ "2^32 - 1 + 1", U32_MAX, 1, true, BIT_ULL(32) },
	{ "2^63 - 1 + 0", BIT_ULL(63) - 1, 0, true, BIT_ULL(63) - 1 },
	{ "2^63 - 1 + 1", BIT_ULL(63) - 1, 1, true, BIT_ULL(63) },
	{ "2^63 - 1 + 2", BIT_ULL(63) - 1, 2, false },
	{ "2^63 + 0", BIT_ULL(63), 0, true, BIT_ULL(63) },
	{ "2^63 + 1", BIT_ULL(63), 1, false },
	{ "2^63 + 1 + 0", BIT_ULL(63) + 1, 0, false },
	{ "2^62 + 2^62", BIT_ULL(62), BIT_ULL(62), true, BIT_ULL(63) },
	{ "2^62 + 1 + 2^62", BIT_ULL(62) + 1, BIT_ULL(62), false },
	{ "2^63 + 2^63, wraps to 0", BIT_ULL(63), BIT_ULL(63), false },
	{ "all + 0", U64_MAX, 0, false },
	{ "all + 1, wraps to 0", U64_MAX, 1, false },
	{ "all + all, wraps to -2", U64_MAX, U64_MAX, false },
	{ "all + 2^63, wraps to 2^63 - 1", U64_MAX, BIT_ULL(63), false },
};

KUNIT_ARRAY_PARAM_DESC(add, add_cases, name);

static void expect_sum(struct kunit *test, u64 a, u64 b, bool fits, u64 sum)
{
	u64 got = 77;

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_add_ns(a, b, &got), fits, "0x%llx + 0x%llx", a, b);
	KUNIT_ASSERT_EQ_MSG(test, got, fits ? sum : 77, "0x%llx + 0x%llx", a, b);
}

static void add_ns_edges(struct kunit *test)
{
	const struct add_case *c = test->param_value;

	expect_sum(test, c->a, c->b, c->fits, c->sum);
	expect_sum(test, c->b, c->a, c->fits, c->sum);
}

static void check_add_ns(struct kunit *test, struct rnd_state *rnd)
{
	u64 a = random_u64(rnd);
	u64 rest = BIT_ULL(63) - a + random_int(rnd, -2, 2);
	u64 b = random_int(rnd, 0, 1) ? random_u64(rnd) : rest;
	struct wide sum = wide_add(to_wide(a), to_wide(b));

	expect_sum(test, a, b, !wide_less(to_wide(BIT_ULL(63)), sum), sum.lo);
}

static void add_ns_oracle(struct kunit *test)
{
	check_rows(test, check_add_ns, 13, ROWS);
}

/*
 * kvmclock_elapsed_ns()
 */
struct elapsed_case {
	const char *name;
	u64 from, to;
	s64 leap_s;
	u64 ns;
};

#define MAX_LEAP_S	((s64)U32_MAX)

static const struct elapsed_case elapsed_cases[] = {
	{ "nothing", 5, 5, 0, 0 },
	{ "1 ns", 5, 6, 0, 1 },
	{ "1 ns back", 6, 5, 0, 0 },
	{ "a second inserted", 5, 6, 1, NSEC_PER_SEC + 1 },
	{ "a second removed", 5, 5 + 2 * NSEC_PER_SEC, -1, NSEC_PER_SEC },
	{ "just the second removed", 5, 5 + NSEC_PER_SEC, -1, 0 },
	{ "less than the second removed", 5, 4 + NSEC_PER_SEC, -1, 0 },
	{ "back, but for the second inserted", 7, 5, 1, NSEC_PER_SEC - 2 },
	{ "a second back, and one inserted", NSEC_PER_SEC, 0, 1, 0 },
	{ "below 0", 0, NSEC_PER_SEC - 1, -1, 0 },
	{ "never", U64_MAX, BIT_ULL(63) - 1, 0, 0 },
	{ "never, most inserted", U64_MAX, BIT_ULL(63) - 1, MAX_LEAP_S, 0 },
	{ "never, most removed", U64_MAX, BIT_ULL(63) - 1, -MAX_LEAP_S, 0 },
	{ "always", 0, BIT_ULL(63) - 1, 0, BIT_ULL(63) - 1 },
	{ "always, most inserted", 0, BIT_ULL(63) - 1, MAX_LEAP_S,
	  BIT_ULL(63) - 1 + U32_MAX * 1000000000ULL },
	{ "always, most removed", 0, BIT_ULL(63) - 1, -MAX_LEAP_S,
	  BIT_ULL(63) - 1 - U32_MAX * 1000000000ULL },
	{ "most removed from nothing", 0, 0, -MAX_LEAP_S, 0 },
	{ "most inserted to nothing", 0, 0, MAX_LEAP_S, U32_MAX * 1000000000ULL },
};

KUNIT_ARRAY_PARAM_DESC(elapsed, elapsed_cases, name);

static void elapsed_ns_edges(struct kunit *test)
{
	const struct elapsed_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_elapsed_ns(c->from, c->to, c->leap_s), c->ns);
}

/* Seconds are added to the side where they do not make a negative number. */
static void check_elapsed_ns(struct kunit *test, struct rnd_state *rnd)
{
	u64 to = random_u64(rnd) >> 1, leap_s = random_u64(rnd) >> 32;
	bool removed = random_int(rnd, 0, 1);
	u64 near = to + (removed ? -leap_s : leap_s) * NSEC_PER_SEC + random_int(rnd, -2, 2);
	u64 from = random_int(rnd, 0, 1) ? random_u64(rnd) : near;
	struct wide leap = wide_mul(to_wide(NSEC_PER_SEC), leap_s);
	struct wide early = to_wide(from), late = to_wide(to);
	u64 ns;

	if (removed)
		early = wide_add(early, leap);
	else
		late = wide_add(late, leap);
	ns = wide_less(late, early) ? 0 : wide_sub(late, early).lo;
	KUNIT_ASSERT_EQ_MSG(test, kvmclock_elapsed_ns(from, to, removed ? -leap_s : leap_s), ns,
			    "from 0x%llx to 0x%llx leap %s%llu", from, to, removed ? "-" : "",
			    leap_s);
}

static void elapsed_ns_oracle(struct kunit *test)
{
	check_rows(test, check_elapsed_ns, 17, ROWS);
}

/*
 * kvmclock_anchor_is_ahead()
 */
struct ahead_case {
	const char *name;
	u64 anchor, tsc;
	bool ahead;
};

static const struct ahead_case ahead_cases[] = {
	{ "at the anchor", 1000, 1000, false },
	{ "1 cycle after", 1000, 1001, false },
	{ "1 cycle before", 1000, 999, false },
	{ "1000 cycles before", 1000, 0, false },
	{ "anchor 0", 0, U64_MAX, false },
	{ "anchor -1, 1 cycle after", U64_MAX, 0, true },
	{ "anchor -1, 1 cycle before", U64_MAX, U64_MAX - 1, false },
	{ "set to 1, an hour after an anchor at 2.6 GHz", 1 - 2600000ULL * 3600000, 1, true },
	{ "set to 1, just as old as the anchor", 1 - 1ULL, 1, false },
	{ "set to 1, a cycle older than the anchor", 1 - 2ULL, 1, true },
	{ "2^63 - 1 behind", BIT_ULL(63) + 2, 1, true },
	{ "2^63 behind", BIT_ULL(63) + 1, 1, true },
	{ "2^63 + 1 behind", BIT_ULL(63), 1, true },
	{ "2^64 - 2^60 - 1 behind", BIT_ULL(60) + 2, 1, true },
	{ "2^60 before", BIT_ULL(60) + 1, 1, false },
};

KUNIT_ARRAY_PARAM_DESC(ahead, ahead_cases, name);

static void anchor_is_ahead_edges(struct kunit *test)
{
	const struct ahead_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_anchor_is_ahead(c->anchor, c->tsc), c->ahead);
}

/* A TSC that counts on from the anchor is below it once the sum has passed 2^64. */
static void check_anchor_is_ahead(struct kunit *test, struct rnd_state *rnd)
{
	u64 anchor = random_u64(rnd), age = random_u64(rnd);
	bool positive = age <= U64_MAX - BIT_ULL(60);
	struct wide tsc = wide_add(to_wide(anchor), to_wide(age));

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_anchor_is_ahead(anchor, tsc.lo), positive && tsc.hi,
			    "anchor 0x%llx age 0x%llx", anchor, age);
}

static void anchor_is_ahead_oracle(struct kunit *test)
{
	check_rows(test, check_anchor_is_ahead, 18, ROWS);
}

/*
 * kvmclock_line_ns()
 */
struct line_case {
	const char *name;
	u64 anchor_tsc, anchor_ns;
	u64 tsc;
	u64 ns;
};

/* At 1.5 GHz. */
static const struct line_case line_cases[] = {
	{ "at the anchor", 1000, 77, 1000, 77 },
	{ "1 cycle after", 1000, 77, 1001, 77 },
	{ "2 cycles after", 1000, 77, 1002, 78 },
	{ "3 cycles after", 1000, 77, 1003, 79 },
	{ "1 cycle before", 1000, 77, 999, 77 },
	{ "1000 cycles before", 1000, 77, 0, 77 },
	{ "1 cycle before, TSC wraps", 0, 77, U64_MAX, 77 },
	{ "3 cycles after, TSC wraps", U64_MAX - 1, 77, 1, 79 },
	{ "2^60 cycles before", 0, 77, -BIT_ULL(60), 77 },
	{ "2^60 + 1 cycles before, so after", 0, 77, -BIT_ULL(60) - 1, 0xa00000004fffffff + 77 },
	{ "2^60 cycles before, TSC wraps", 5, 77, -BIT_ULL(60) + 5, 77 },
	{ "2^60 cycles after", BIT_ULL(63), 77, BIT_ULL(63) + BIT_ULL(60), 0xaaaaaaab0000000 + 77 },
	{ "half way round", 0, 77, BIT_ULL(63), 0x5555555580000000 + 77 },
	{ "clock wraps", 0, U64_MAX - 1, 3, 0 },
};

KUNIT_ARRAY_PARAM_DESC(line, line_cases, name);

static void line_ns_edges(struct kunit *test)
{
	const struct line_case *c = test->param_value;
	const struct pvclock_vcpu_time_info line = make_line(c->anchor_tsc, c->anchor_ns,
							     TWO_THIRDS, 0);

	KUNIT_EXPECT_EQ(test, kvmclock_line_ns(&line, c->tsc), c->ns);
	KUNIT_EXPECT_EQ(test, naive_line_ns(&line, c->tsc), c->ns);
}

static void check_line_ns(struct kunit *test, struct rnd_state *rnd)
{
	struct pvclock_vcpu_time_info line = random_line(rnd);
	u64 delta = random_u64(rnd), tsc = line.tsc_timestamp + delta;

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_line_ns(&line, tsc), naive_line_ns(&line, tsc),
			    "delta 0x%llx mul 0x%x shift %d", delta, line.tsc_to_system_mul,
			    line.tsc_shift);
}

static void line_ns_oracle(struct kunit *test)
{
	check_rows(test, check_line_ns, 3, ROWS);
}

struct age_case {
	const char *name;
	u32 khz;
	unsigned int years;
	u64 ns;
};

static const struct age_case age_cases[] = {
	{ "100 years of 1 kHz", 1, 100, 3155760000000000000 },
	{ "100 years of 100 MHz", 100 * MHZ, 100, 3155760000000000000 },
	{ "100 years of 1 GHz", GHZ, 100, 3155760000000000000 },
	{ "100 years of 2.3 GHz", 2300 * MHZ, 100, 3155759999632621183 },
	{ "100 years of 3.5 GHz", 3500 * MHZ, 100, 3155759999632621183 },
	{ "100 years of 5.4 GHz", 5400 * MHZ, 100, 3155759999706096947 },
	{ "54 years of 10 GHz", 10 * GHZ, 54, 1704110400099192280 },
};

KUNIT_ARRAY_PARAM_DESC(age, age_cases, name);

/*
 * A line that is years old is right, to the 2^-32 of its rate and the 2 ns of
 * rounding down twice, and the guest does not overflow on it.
 */
static void line_ns_after_years(struct kunit *test)
{
	const struct age_case *c = test->param_value;
	const u64 true_ns = c->years * YEAR_SEC * NSEC_PER_SEC;
	const u64 tsc = c->years * YEAR_SEC * c->khz * 1000;
	struct pvclock_vcpu_time_info line = line_of_khz(c->khz);

	KUNIT_EXPECT_EQ(test, kvmclock_line_ns(&line, tsc), c->ns);
	KUNIT_EXPECT_LE(test, abs_diff(c->ns, true_ns), (true_ns >> 32) + 2);
	KUNIT_EXPECT_EQ(test, __pvclock_read_cycles(&line, tsc), c->ns);
}

/* A TSC of 10 GHz wraps after 58 years.  In the last 2^60 cycles the clock stands. */
static void line_ns_too_old(struct kunit *test)
{
	struct pvclock_vcpu_time_info line = line_of_khz(10 * GHZ);

	line.system_time = 77;
	KUNIT_EXPECT_EQ(test, kvmclock_line_ns(&line, 55 * YEAR_SEC * 10 * NSEC_PER_SEC), 77);
	KUNIT_EXPECT_EQ(test, kvmclock_line_ns(&line, 58 * YEAR_SEC * 10 * NSEC_PER_SEC), 77);
}

/*
 * kvmclock_fraction()
 */
struct fraction_case {
	const char *name;
	u64 num, den;
	u32 mul;
	s8 shift;
};

static const struct fraction_case fraction_cases[] = {
	{ "1", 1, 1, 0x80000000, 1 },
	{ "1 of the largest", U64_MAX, U64_MAX, 0x80000000, 1 },
	{ "rounded down to 1", U64_MAX, U64_MAX - 1, 0x80000000, 1 },
	{ "rounded up to 1", U64_MAX - 1, U64_MAX, 0x80000000, 1 },
	{ "3/2", 3, 2, 0xc0000000, 1 },
	{ "2/3", 2, 3, 0xaaaaaaab, 0 },
	{ "1/3", 1, 3, 0xaaaaaaab, -1 },
	{ "1000/1001", 1000, 1001, 0xffbe878b, 0 },
	{ "half a unit rounds up", BIT_ULL(32) + 1, BIT_ULL(32), 0x80000001, 1 },
	{ "one unit and a half rounds up", BIT_ULL(32) + 3, BIT_ULL(32), 0x80000002, 1 },
	{ "a quarter of a unit rounds down", BIT_ULL(33) + 1, BIT_ULL(33), 0x80000000, 1 },
	{ "1 less half a unit carries", BIT_ULL(33) - 1, BIT_ULL(33), 0x80000000, 1 },
	{ "1 less one unit", BIT_ULL(32) - 1, BIT_ULL(32), U32_MAX, 0 },
	{ "lowest, 2^-30", 1, BIT_ULL(30), 0x80000000, -29 },
	{ "lowest of the largest", BIT_ULL(34), U64_MAX, 0x80000000, -29 },
	{ "2^30 less a little carries", BIT_ULL(62) - 1, BIT_ULL(32), 0x80000000, 31 },
	{ "2^31 - 1", BIT_ULL(31) - 1, 1, 0xfffffffe, 31 },
	{ "highest that does not carry", U64_MAX, BIT_ULL(33) + 1, U32_MAX, 31 },
	{ "highest, carries to shift 32", U64_MAX, BIT_ULL(33), 0x80000000, 32 },
};

KUNIT_ARRAY_PARAM_DESC(fraction, fraction_cases, name);

static void fraction_edges(struct kunit *test)
{
	const struct fraction_case *c = test->param_value;
	u32 mul;
	s8 shift;

	kvmclock_fraction(c->num, c->den, &mul, &shift);
	KUNIT_EXPECT_EQ(test, mul, c->mul);
	KUNIT_EXPECT_EQ(test, shift, c->shift);

	naive_fraction(c->num, c->den, &mul, &shift);
	KUNIT_EXPECT_EQ(test, mul, c->mul);
	KUNIT_EXPECT_EQ(test, shift, c->shift);
}

static void check_fraction(struct kunit *test, struct rnd_state *rnd)
{
	u32 mul, naive_mul;
	s8 shift, naive_shift;
	u64 num, den;

	random_fraction(rnd, &num, &den);
	kvmclock_fraction(num, den, &mul, &shift);
	naive_fraction(num, den, &naive_mul, &naive_shift);
	KUNIT_ASSERT_EQ_MSG(test, mul, naive_mul, "0x%llx / 0x%llx", num, den);
	KUNIT_ASSERT_EQ_MSG(test, shift, naive_shift, "0x%llx / 0x%llx", num, den);
}

static void fraction_oracle(struct kunit *test)
{
	check_rows(test, check_fraction, 4, ROWS);
}

/*
 * The relative error is at most 2^-32.  With everything times den * 2^(33 - shift):
 *
 *   |2 * mul * den - num * 2^(33 - shift)| <= num * 2^(33 - shift) / 2^32
 */
static void check_fraction_error(struct kunit *test, struct rnd_state *rnd)
{
	struct wide got, want, error;
	u64 num, den;
	u32 mul;
	s8 shift;

	random_fraction(rnd, &num, &den);
	kvmclock_fraction(num, den, &mul, &shift);
	got = wide_double(wide_mul(to_wide(den), mul));
	want = wide_shift(to_wide(num), 33 - shift);
	error = wide_less(got, want) ? wide_sub(want, got) : wide_sub(got, want);

	KUNIT_ASSERT_GE_MSG(test, mul, 0x80000000, "0x%llx / 0x%llx", num, den);
	KUNIT_ASSERT_FALSE_MSG(test, wide_less(wide_shift(want, -32), error),
			       "0x%llx / 0x%llx is not 0x%x * 2^(%d - 32)", num, den, mul, shift);
}

static void fraction_error(struct kunit *test)
{
	check_rows(test, check_fraction_error, 5, ROWS);
}

/*
 * kvmclock_tsc_freq().  The ratios are those that KVM computes, rounded down.
 */
struct freq_case {
	const char *name;
	u32 khz;
	u64 ratio;
	unsigned int frac_bits;
	u64 freq;
};

static const struct freq_case freq_cases[] = {
	{ "1 kHz, no scaling", 1, 1, 0, 1000ULL << 20 },
	{ "2.3 GHz, no scaling", 2300 * MHZ, 1, 0, 2300000000ULL << 20 },
	{ "2^31 kHz, no scaling", BIT(31), 1, 0, 2147483648000ULL << 20 },
	{ "2^32 - 1 kHz, no scaling", U32_MAX, 1, 0, 4294967295000ULL << 20 },
	{ "2.3 GHz, AMD, 1:1", 2300 * MHZ, BIT_ULL(32), 32, 2300000000ULL << 20 },
	{ "2.3 GHz, Intel, 1:1", 2300 * MHZ, BIT_ULL(48), 48, 2300000000ULL << 20 },
	{ "2.3 GHz, AMD, to 1.5 GHz", 2300 * MHZ, 0xa6f4de9b, 32, 0x59682eff8ec04 },
	{ "2.3 GHz, Intel, to 1.5 GHz", 2300 * MHZ, 0xa6f4de9bd37a, 48, 0x59682effffffc },
	{ "2.3 GHz, Intel, to 5.4 GHz", 2300 * MHZ, 0x2590b21642c85, 48, 0x141dd75ffffffb },
	{ "1 GHz, AMD, highest ratio", GHZ, 0xffffffffff, 32, 0x3b9ac9ffffc4653 },
	{ "1 GHz, AMD, to 2^31 kHz", GHZ, 0x8637bd05af6, 32, 0x1f3ffffffffd1c21 },
	{ "1 GHz, Intel, to 2^31 kHz", GHZ, 0x8637bd05af6c69b, 48, 0x1f3ffffffffffffe },
	{ "half, 1 bit", BIT(31), 1, 1, 1073741824000ULL << 20 },
	{ "1:1, 63 bits", U32_MAX, BIT_ULL(63), 63, 4294967295000ULL << 20 },
	{ "all ones, 32 bits", 1, U64_MAX, 32, 0x3e7fffffffffffff },
	{ "less than a unit", 1, BIT_ULL(33), 63, 0 },
	{ "one unit", 1, BIT_ULL(34), 63, 1 },
};

KUNIT_ARRAY_PARAM_DESC(freq, freq_cases, name);

static void tsc_freq_edges(struct kunit *test)
{
	const struct freq_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_tsc_freq(c->khz, c->ratio, c->frac_bits), c->freq);
	KUNIT_EXPECT_EQ(test, naive_tsc_freq(c->khz, c->ratio, c->frac_bits), c->freq);
}

/* What is beyond 2^44 Hz is truncated by both alike. */
static void check_tsc_freq(struct kunit *test, struct rnd_state *rnd)
{
	static const unsigned int scaling[] = { 0, 32, 48 };
	u32 khz = random_mul(rnd);
	u64 ratio = random_u64(rnd);
	unsigned int frac_bits = scaling[random_int(rnd, 0, 2)];

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_tsc_freq(khz, ratio, frac_bits),
			    naive_tsc_freq(khz, ratio, frac_bits),
			    "%u kHz ratio 0x%llx / 2^%u", khz, ratio, frac_bits);
}

static void tsc_freq_oracle(struct kunit *test)
{
	check_rows(test, check_tsc_freq, 6, ROWS);
}

/*
 * kvmclock_line_set_rate()
 */
struct rate_case {
	const char *name;
	u64 freq;
	u32 mul;
	s8 shift;
};

static const struct rate_case rate_cases[] = {
	{ "1 kHz", 1000ULL << 20, 0xf4240000, 20 },
	{ "1 MHz", 1000000ULL << 20, 0xfa000000, 10 },
	{ "100 MHz", 100000000ULL << 20, 0xa0000000, 4 },
	{ "1 GHz less 1 kHz", 999999000ULL << 20, 0x80000863, 1 },
	{ "1 GHz", 1000000000ULL << 20, 0x80000000, 1 },
	{ "1.5 GHz", 1500000000ULL << 20, 0xaaaaaaab, 0 },
	{ "1.5 GHz by AMD's scaling", 0x59682eff8ec04, 0xaaaaaaac, 0 },
	{ "1.5 GHz by Intel's scaling", 0x59682effffffc, 0xaaaaaaab, 0 },
	{ "2.3 GHz", 2300000000ULL << 20, 0xde9bd37a, -1 },
	{ "3 GHz less 1 kHz", 2999999000ULL << 20, 0xaaaaae65, -1 },
	{ "3.5 GHz", 3500000000ULL << 20, 0x92492492, -1 },
	{ "5.4 GHz", 5400000000ULL << 20, 0xbda12f68, -2 },
	{ "10 GHz", 10000000000ULL << 20, 0xcccccccd, -3 },
	{ "2^31 kHz less 1 kHz", 2147483647000ULL << 20, 0xf4240002, -11 },
	{ "2^31 kHz", 2147483648000ULL << 20, 0xf4240000, -11 },
	{ "2^43 Hz", BIT_ULL(63), 0xee6b2800, -13 },
	{ "highest", U64_MAX, 0xee6b2800, -14 },
};

KUNIT_ARRAY_PARAM_DESC(rate, rate_cases, name);

static void line_set_rate_edges(struct kunit *test)
{
	const struct rate_case *c = test->param_value;
	struct pvclock_vcpu_time_info line, want;

	memset(&line, 0xa5, sizeof(line));
	want = line;
	want.tsc_to_system_mul = c->mul;
	want.tsc_shift = c->shift;

	kvmclock_line_set_rate(&line, c->freq);
	KUNIT_EXPECT_EQ(test, line.tsc_to_system_mul, c->mul);
	KUNIT_EXPECT_EQ(test, line.tsc_shift, c->shift);
	/* All else stays. */
	KUNIT_EXPECT_MEMEQ(test, &line, &want, sizeof(line));
}

static void check_set_rate(struct kunit *test, struct rnd_state *rnd)
{
	struct pvclock_vcpu_time_info line = {};
	u64 freq = random_freq(rnd);
	u32 mul;
	s8 shift;

	kvmclock_line_set_rate(&line, freq);
	naive_fraction(1000000000ULL << 20, freq, &mul, &shift);
	KUNIT_ASSERT_EQ_MSG(test, line.tsc_to_system_mul, mul, "freq 0x%llx", freq);
	KUNIT_ASSERT_EQ_MSG(test, line.tsc_shift, shift, "freq 0x%llx", freq);
}

static void line_set_rate_oracle(struct kunit *test)
{
	check_rows(test, check_set_rate, 7, ROWS);
}

/*
 * kvmclock_line_freq()
 */
struct line_freq_case {
	const char *name;
	u32 mul;
	int shift;
	u64 freq;
};

static const struct line_freq_case line_freq_cases[] = {
	{ "1 kHz", 0xf4240000, 20, 1000ULL << 20 },
	{ "100 MHz", 0xa0000000, 4, 100000000ULL << 20 },
	{ "1 GHz", 0x80000000, 1, 1000000000ULL << 20 },
	{ "1.5 GHz, rounded up", TWO_THIRDS, 0, 0x59682effd34bf },
	{ "1.5 GHz by AMD's scaling, rounded down", TWO_THIRDS + 1, 0, 0x59682eff4d2fa },
	{ "2.3 GHz", 0xde9bd37a, -1, 0x89173700448ba },
	{ "5.4 GHz", 0xbda12f68, -2, 0x141dd760080bf0 },
	{ "10 GHz", 0xcccccccd, -3, 0x2540be3ff6afd0 },
	{ "2^31 kHz", 0xf4240000, -11, 2147483648000ULL << 20 },
	{ "2^43 Hz", 0xee6b2800, -13, BIT_ULL(63) },
	{ "2^44 Hz is too high", 0xee6b2800, -14, U64_MAX },
	{ "less than 2^44 Hz", 0xee6b2801, -14, 0xfffffffeed1f417f },
	{ "lowest", U32_MAX, 31, 488281 },
	{ "10^9 / 2^10 and a half rounds up", 0x80000000, 31, 976563 },
	{ "less than a half rounds down", 0x80000001, 31, 976562 },
	{ "a third rounds down", 3, 30, 0x4f790d5555555 },
	{ "two thirds round up", 3, 31, 0x27bc86aaaaaab },
	{ "exact, highest shift", 1, 31, BIT_ULL(21) * 1000000000 },
	{ "multiplier 1, just fits", 1, 18, 17179869184000000000ULL },
	{ "multiplier 1, too high", 1, 17, U64_MAX },
	{ "lowest shift, too high", U32_MAX, -31, U64_MAX },
	{ "highest", 1, -31, U64_MAX },
};

KUNIT_ARRAY_PARAM_DESC(line_freq, line_freq_cases, name);

static void line_freq_edges(struct kunit *test)
{
	const struct line_freq_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_line_freq(c->mul, c->shift), c->freq);
	KUNIT_EXPECT_EQ(test, naive_line_freq(c->mul, c->shift), c->freq);
}

static void check_line_freq(struct kunit *test, struct rnd_state *rnd)
{
	u32 mul = random_mul(rnd) ?: 1;
	int shift = random_int(rnd, -31, 31);

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_line_freq(mul, shift), naive_line_freq(mul, shift),
			    "mul 0x%x shift %d", mul, shift);
}

static void line_freq_oracle(struct kunit *test)
{
	check_rows(test, check_line_freq, 14, ROWS);
}

/* To a line and back: 2^-32 for each rounding, but not less than a unit. */
static void check_line_freq_back(struct kunit *test, struct rnd_state *rnd)
{
	struct pvclock_vcpu_time_info line = {};
	u64 freq = random_freq(rnd), back;

	kvmclock_line_set_rate(&line, freq);
	back = kvmclock_line_freq(line.tsc_to_system_mul, line.tsc_shift);
	KUNIT_ASSERT_LE_MSG(test, abs_diff(back, freq), max(freq >> 31, 1), "freq 0x%llx", freq);
}

static void line_freq_back(struct kunit *test)
{
	check_rows(test, check_line_freq_back, 15, ROWS);
}

/*
 * kvmclock_freq_within()
 */
struct within_case {
	const char *name;
	u64 freq, of;
	u32 ppm;
	bool within;
};

static const struct within_case within_cases[] = {
	{ "equal, 0 ppm", 1000, 1000, 0, true },
	{ "one less, 0 ppm", 999, 1000, 0, false },
	{ "one more, 0 ppm", 1001, 1000, 0, false },
	{ "0 of 0, 0 ppm", 0, 0, 0, true },
	{ "0 of 0, highest ppm", 0, 0, U32_MAX, true },
	{ "1 of 0, highest ppm", 1, 0, U32_MAX, false },
	{ "exactly 250 ppm less", 3999000, 4000000, 250, true },
	{ "exactly 250 ppm more", 4001000, 4000000, 250, true },
	{ "a little more than 250 ppm less", 3998999, 4000000, 250, false },
	{ "a little more than 250 ppm more", 4001001, 4000000, 250, false },
	{ "250 ppm of 3999, 0.99975, less", 3998, 3999, 250, false },
	{ "250 ppm of 4000, 1, less", 3999, 4000, 250, true },
	{ "250 ppm of 4000, 1, more", 4001, 4000, 250, true },
	{ "250 ppm of 4001, 1.00025, more", 4002, 4001, 250, true },
	{ "1000 of 3999000, 250 ppm is 999.75", 4000000, 3999000, 250, false },
	{ "1.5 GHz of 1.5 GHz by AMD's scaling", 1500000000ULL << 20, 0x59682eff8ec04, 1, true },
	{ "2.3 GHz of 2.3 GHz + 250 ppm", 2300000000ULL << 20, 2300575000ULL << 20, 250, true },
	{ "2.3 GHz of 2.3 GHz + 251 ppm", 2300000000ULL << 20, 2300577300ULL << 20, 250, false },
	{ "0, 999999 ppm", 0, 1000000, 999999, false },
	{ "0, 10^6 ppm", 0, 1000000, 1000000, true },
	{ "twice, 10^6 ppm", 2000000, 1000000, 1000000, true },
	{ "more than twice, 10^6 ppm", 2000001, 1000000, 1000000, false },
	{ "0 of all, 10^6 ppm", 0, U64_MAX, 1000000, true },
	{ "0 of all, 999999 ppm", 0, U64_MAX, 999999, false },
	{ "0 of all, highest ppm", 0, U64_MAX, U32_MAX, true },
	{ "all of 0", U64_MAX, 0, U32_MAX, false },
	{ "all of 1, highest ppm", U64_MAX, 1, U32_MAX, false },
	{ "4295 of 1, highest ppm", 4295, 1, U32_MAX, true },
	{ "4296 of 1, highest ppm", 4296, 1, U32_MAX, false },
	{ "all of 2^52, highest ppm", U64_MAX, BIT_ULL(52), U32_MAX, true },
	{ "all of the least that it is of", U64_MAX, 4293967529775981, U32_MAX, true },
	{ "all of one less", U64_MAX, 4293967529775980, U32_MAX, false },
	{ "all of 2^63, 999999 ppm", U64_MAX, BIT_ULL(63), 999999, false },
	{ "all of 2^63, 10^6 ppm", U64_MAX, BIT_ULL(63), 1000000, true },
	{ "all of 2^63, 2 * 10^6 ppm is 2^64", U64_MAX, BIT_ULL(63), 2000000, true },
};

KUNIT_ARRAY_PARAM_DESC(within, within_cases, name);

static void freq_within_edges(struct kunit *test)
{
	const struct within_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, kvmclock_freq_within(c->freq, c->of, c->ppm), c->within);
	KUNIT_EXPECT_EQ(test, naive_freq_within(c->freq, c->of, c->ppm), c->within);
}

/* At most 10^6 ppm or any, and mostly near what is just within. */
static void check_freq_within(struct kunit *test, struct rnd_state *rnd)
{
	u64 of = random_u64(rnd);
	u32 any = random_mul(rnd), ppm = random_int(rnd, 0, 1) ? any : any % 1000001;
	u64 limit = wide_div(wide_mul(to_wide(of), ppm), 1000000).lo + random_int(rnd, -2, 2);
	u64 freq;

	switch (random_int(rnd, 0, 2)) {
	case 0:
		freq = random_u64(rnd);
		break;
	case 1:
		freq = of - limit;
		break;
	default:
		freq = of + limit;
	}

	KUNIT_ASSERT_EQ_MSG(test, kvmclock_freq_within(freq, of, ppm),
			    naive_freq_within(freq, of, ppm),
			    "0x%llx of 0x%llx, %u ppm", freq, of, ppm);
}

static void freq_within_oracle(struct kunit *test)
{
	check_rows(test, check_freq_within, 16, ROWS);
}

/*
 * kvmclock_line_slack_ns()
 */
struct slack_case {
	const char *name;
	u32 mul;
	s8 shift;
	/* Cycles before and after the new anchor, where all the slack is needed. */
	u64 before, after;
	unsigned int slack_ns;
};

static const struct slack_case slack_cases[] = {
	{ "shift 31", U32_MAX, 31, 1, 1, 1 },
	{ "shift 1", 0xc0000000, 1, 1, 1, 1 },
	{ "shift 0", U32_MAX, 0, 1, 1, 1 },
	{ "shift 0, 1.5 GHz", TWO_THIRDS, 0, 1, 2, 1 },
	{ "shift -1", U32_MAX, -1, 3, 3, 2 },
	{ "shift -1, 2.3 GHz", 0xde9bd37a, -1, 3, 3, 2 },
	{ "shift -1, odd cycles", 0xc0000000, -1, 3, 3, 2 },
	{ "shift -31", U32_MAX, -31, BIT_ULL(32) - 1, BIT_ULL(32) - 1, 2 },
};

KUNIT_ARRAY_PARAM_DESC(slack, slack_cases, name);

/* How far the line re-anchored after @before cycles is above the old one, @after later. */
static s64 gain_ns(const struct pvclock_vcpu_time_info *line, u64 before, u64 after)
{
	u64 anchor = line->tsc_timestamp + before;
	const struct pvclock_vcpu_time_info new = reanchor(line, anchor);

	return kvmclock_line_ns(&new, anchor + after) - kvmclock_line_ns(line, anchor + after);
}

/* The slack is added, needed and enough. */
static void line_slack_edges(struct kunit *test)
{
	const struct slack_case *c = test->param_value;
	const struct pvclock_vcpu_time_info line = make_line(1000, 77, c->mul, c->shift);

	KUNIT_EXPECT_EQ(test, kvmclock_line_slack_ns(&line), c->slack_ns);
	KUNIT_EXPECT_EQ(test, gain_ns(&line, c->before, 0), c->slack_ns);
	KUNIT_EXPECT_EQ(test, gain_ns(&line, c->before, c->after), 0);
}

/* Wherever a line is re-anchored, it is later at most the slack above the old one, never below. */
static void check_slack(struct kunit *test, struct rnd_state *rnd)
{
	const struct pvclock_vcpu_time_info line = random_line(rnd);
	u64 before = min(random_u64(rnd), KVMCLOCK_MAX_DELTA);
	u64 after = min(random_u64(rnd), KVMCLOCK_MAX_DELTA - before);
	s64 gain = gain_ns(&line, before, after);

	KUNIT_ASSERT_GE_MSG(test, gain, 0, "mul 0x%x shift %d before 0x%llx after 0x%llx",
			    line.tsc_to_system_mul, line.tsc_shift, before, after);
	KUNIT_ASSERT_LE_MSG(test, gain, line.tsc_shift < 0 ? 2 : 1,
			    "mul 0x%x shift %d before 0x%llx after 0x%llx",
			    line.tsc_to_system_mul, line.tsc_shift, before, after);
}

static void line_slack_random(struct kunit *test)
{
	check_rows(test, check_slack, 8, ROWS);
}

/* Nor is it below the old one at an earlier TSC, where it stands still. */
static void check_slack_earlier(struct kunit *test, struct rnd_state *rnd)
{
	const struct pvclock_vcpu_time_info line = random_line(rnd);
	/* Less than 2^60 cycles and nanoseconds. */
	u64 before = random_u64(rnd) >> (4 + max(line.tsc_shift, 0));
	u64 earlier = min(random_u64(rnd), before);

	KUNIT_ASSERT_GE_MSG(test, gain_ns(&line, before, -earlier), 0,
			    "mul 0x%x shift %d before 0x%llx earlier 0x%llx",
			    line.tsc_to_system_mul, line.tsc_shift, before, earlier);
}

static void line_slack_random_earlier(struct kunit *test)
{
	check_rows(test, check_slack_earlier, 9, ROWS);
}

/*
 * All random checks once more, with other and more rows.
 */
static void random_long(struct kunit *test)
{
	static const check_row_fn checks[] = {
		check_scale_delta, check_guest, check_line_ns, check_fraction,
		check_fraction_error, check_tsc_freq, check_set_rate, check_slack,
		check_slack_earlier, check_scale_delta_sat, check_cycles,
		check_cycles_of_cycles, check_add_ns, check_line_freq,
		check_line_freq_back, check_freq_within, check_elapsed_ns,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(checks); i++)
		check_rows(test, checks[i], 100 + i, SLOW_ROWS);
}

static struct kunit_case kvmclock_test_cases[] = {
	KUNIT_CASE_PARAM(scale_delta_edges, scale_gen_params),
	KUNIT_CASE(scale_delta_every_shift),
	KUNIT_CASE(scale_delta_oracle),
	KUNIT_CASE(scale_delta_as_guests_do),
	KUNIT_CASE_PARAM(scale_delta_sat_edges, scale_sat_gen_params),
	KUNIT_CASE(scale_delta_sat_oracle),
	KUNIT_CASE_PARAM(cycles_edges, cycles_gen_params),
	KUNIT_CASE(cycles_every_shift),
	KUNIT_CASE(cycles_least),
	KUNIT_CASE_PARAM(add_ns_edges, add_gen_params),
	KUNIT_CASE(add_ns_oracle),
	KUNIT_CASE_PARAM(elapsed_ns_edges, elapsed_gen_params),
	KUNIT_CASE(elapsed_ns_oracle),
	KUNIT_CASE_PARAM(anchor_is_ahead_edges, ahead_gen_params),
	KUNIT_CASE(anchor_is_ahead_oracle),
	KUNIT_CASE_PARAM(line_ns_edges, line_gen_params),
	KUNIT_CASE(line_ns_oracle),
	KUNIT_CASE_PARAM(line_ns_after_years, age_gen_params),
	KUNIT_CASE(line_ns_too_old),
	KUNIT_CASE_PARAM(fraction_edges, fraction_gen_params),
	KUNIT_CASE(fraction_oracle),
	KUNIT_CASE(fraction_error),
	KUNIT_CASE_PARAM(tsc_freq_edges, freq_gen_params),
	KUNIT_CASE(tsc_freq_oracle),
	KUNIT_CASE_PARAM(line_set_rate_edges, rate_gen_params),
	KUNIT_CASE(line_set_rate_oracle),
	KUNIT_CASE_PARAM(line_freq_edges, line_freq_gen_params),
	KUNIT_CASE(line_freq_oracle),
	KUNIT_CASE(line_freq_back),
	KUNIT_CASE_PARAM(freq_within_edges, within_gen_params),
	KUNIT_CASE(freq_within_oracle),
	KUNIT_CASE_PARAM(line_slack_edges, slack_gen_params),
	KUNIT_CASE(line_slack_random),
	KUNIT_CASE(line_slack_random_earlier),
	KUNIT_CASE_SLOW(random_long),
	{}
};

static struct kunit_suite kvmclock_test_suite = {
	.name = "kvmclock",
	.test_cases = kvmclock_test_cases,
};

kunit_test_suite(kvmclock_test_suite);

MODULE_DESCRIPTION("KUnit tests of the KVM clock's arithmetic");
MODULE_LICENSE("GPL");
