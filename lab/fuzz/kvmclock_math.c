// SPDX-License-Identifier: GPL-2.0
/*
 * The functions of kvmclock_math.h with any arguments, against oracles in 128 bits.
 *
 * The input is the arguments: an edge that matters is a few bits away from
 * others, and where two arguments must fit each other for it, one is derived.
 *
 * fuzz: -runs=1000000 -max_len=46 -len_control=0 -use_value_profile=1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/pvclock.h"

/* What all functions take their arguments from; zeros where the input ends. */
struct input {
	u64 a, b, c, d;
	u32 mul, ppm;
	s8 shift;
	/* Bits to drop from a to d, so that small values are as likely as large ones. */
	u8 drop[4];
	/* How far beside what it is derived from. */
	s8 beside;
};

static struct input in;

#define check(cond, ...)							\
do {										\
	if (!(cond)) {								\
		fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);	\
		fprintf(stderr, __VA_ARGS__);					\
		fputc('\n', stderr);						\
		abort();							\
	}									\
} while (0)

static u64 sat(__uint128_t x)
{
	return x >> 64 ? ~0ULL : x;
}

/* -31 to 31, as guests have it. */
static int guest_shift(void)
{
	return in.shift % 32;
}

/* At most 2^96 * 2^32. */
static __uint128_t exact_scale(u64 delta, u32 mul, int shift)
{
	__uint128_t cycles = delta;

	for (; shift > 0; shift--)
		cycles *= 2;
	for (; shift < 0; shift++)
		cycles /= 2;
	return cycles * mul / 0x100000000;
}

static void fuzz_scale_delta(void)
{
	/* -63 to 32 */
	int shift = (u8)in.shift % 96 - 63;
	__uint128_t ns = exact_scale(in.a, in.mul, shift);
	u64 got = kvmclock_scale_delta(in.a, in.mul, shift);
	u64 got_sat = kvmclock_scale_delta_sat(in.a, in.mul, shift);

	check(got == (u64)ns, "0x%llx: delta 0x%llx mul 0x%x shift %d", got, in.a, in.mul, shift);
	check(got_sat == sat(ns), "0x%llx: delta 0x%llx mul 0x%x shift %d", got_sat, in.a, in.mul,
	      shift);
}

/* By halving the range in which it is. */
static u64 least_cycles(u64 ns, u32 mul, int shift)
{
	u64 low = 0, high = ~0ULL;

	while (low < high) {
		u64 middle = low + (high - low) / 2;

		if (exact_scale(middle, mul, shift) >= ns)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void check_cycles(u64 ns, u32 mul, int shift)
{
	u64 got = kvmclock_cycles(ns, mul, shift), least = least_cycles(ns, mul, shift);

	check(got == least, "0x%llx, least 0x%llx: ns 0x%llx mul 0x%x shift %d", got, least, ns,
	      mul, shift);
}

static void fuzz_cycles(void)
{
	u32 mul = in.mul ?: 1;
	int shift = guest_shift();

	check_cycles(in.a, mul, shift);
	/* Near what some cycles take. */
	check_cycles(sat(exact_scale(in.b, mul, shift)) + in.beside, mul, shift);
}

static void check_add(u64 a, u64 b)
{
	__uint128_t exact = (__uint128_t)a + b;
	u64 sum = 77;
	bool fits = kvmclock_add_ns(a, b, &sum);

	check(fits == (exact <= (__uint128_t)1 << 63), "0x%llx + 0x%llx", a, b);
	check(sum == (fits ? exact : 77), "0x%llx: 0x%llx + 0x%llx", sum, a, b);
}

static void fuzz_add(void)
{
	check_add(in.a, in.b);
	check_add(in.a, (1ULL << 63) - in.a + in.beside);
}

static void check_elapsed(u64 from, u64 to, long long leap_s)
{
	__int128_t exact = (__int128_t)to + (__int128_t)leap_s * 1000000000 - from;
	u64 got = kvmclock_elapsed_ns(from, to, leap_s);

	check(got == (exact > 0 ? (u64)exact : 0), "0x%llx: from 0x%llx to 0x%llx leap %lld", got,
	      from, to, leap_s);
}

static void fuzz_elapsed(void)
{
	long long leap_s = in.shift & 1 ? -(long long)in.mul : in.mul;
	u64 to = in.b >> 1;

	check_elapsed(in.a, to, leap_s);
	check_elapsed(to + leap_s * 1000000000 + in.beside, to, leap_s);
}

/*
 * num / den is mul * 2^(shift - 32) give or take half a unit of mul:
 *
 *   -den < 2 * mul * den - num * 2^(33 - shift) <= den
 *
 * In the range of kvmclock_fraction(), the largest product is 2^126.
 */
static void check_fraction(u64 num, u64 den, u32 mul, int shift)
{
	__uint128_t got = (__uint128_t)den * mul * 2, want = (__uint128_t)num << (33 - shift);

	check(mul >> 31, "mul 0x%x: 0x%llx / 0x%llx", mul, num, den);
	check(got > want ? got - want <= den : want - got < den,
	      "mul 0x%x shift %d: 0x%llx / 0x%llx", mul, shift, num, den);
}

static void fuzz_fraction(void)
{
	u64 num = in.a ?: 1, den = in.b ?: 1;
	u32 mul;
	s8 shift;

	/* [2^-30, 2^31) */
	if ((__uint128_t)num << 30 < den || num >= (__uint128_t)den << 31)
		return;

	kvmclock_fraction(num, den, &mul, &shift);
	check_fraction(num, den, mul, shift);
}

static void fuzz_tsc_freq(void)
{
	unsigned int frac_bits = in.drop[3] % 64;
	__uint128_t freq = (__uint128_t)in.mul * 1048576000 * in.a;
	u64 got = kvmclock_tsc_freq(in.mul, in.a, frac_bits);

	check(got == (u64)(freq >> frac_bits), "0x%llx: %u kHz ratio 0x%llx / 2^%u", got, in.mul,
	      in.a, frac_bits);
}

static u64 nearest_freq(u32 mul, int shift)
{
	__uint128_t twice = (__uint128_t)1000000000 << 20 << (32 - shift) << 1;

	return sat((twice + mul) / ((__uint128_t)mul * 2));
}

static void check_line_freq(u32 mul, int shift)
{
	u64 got = kvmclock_line_freq(mul, shift), nearest = nearest_freq(mul, shift);

	check(got == nearest, "0x%llx, nearest 0x%llx: mul 0x%x shift %d", got, nearest, mul,
	      shift);
}

static void fuzz_line_freq(void)
{
	check_line_freq(in.mul ?: 1, guest_shift());
	/* Only a power of two leaves exactly a half. */
	check_line_freq(1U << in.ppm % 32, guest_shift());
}

/* To a line and back: within 2^-31, and no less than a unit. */
static void fuzz_set_rate(void)
{
	struct pvclock_vcpu_time_info line, untouched;
	u64 freq = in.a, back, off;

	if (freq < 1000ULL << 20)
		return;

	memset(&line, 0xa5, sizeof(line));
	untouched = line;
	kvmclock_line_set_rate(&line, freq);
	check_fraction(1000000000ULL << 20, freq, line.tsc_to_system_mul, line.tsc_shift);

	back = kvmclock_line_freq(line.tsc_to_system_mul, line.tsc_shift);
	off = back > freq ? back - freq : freq - back;
	check(off <= 1 || off <= freq >> 31, "0x%llx back from 0x%llx", back, freq);

	line.tsc_to_system_mul = untouched.tsc_to_system_mul;
	line.tsc_shift = untouched.tsc_shift;
	check(!memcmp(&line, &untouched, sizeof(line)), "freq 0x%llx", freq);
}

static void check_within(u64 freq, u64 of, u32 ppm)
{
	__uint128_t diff = freq > of ? freq - of : of - freq;
	bool within = kvmclock_freq_within(freq, of, ppm);

	check(within == (diff * 1000000 <= (__uint128_t)of * ppm),
	      "0x%llx of 0x%llx, %u ppm", freq, of, ppm);
}

static void fuzz_within(void)
{
	u64 limit = (__uint128_t)in.a * in.ppm / 1000000 + in.beside;
	u64 small = (__uint128_t)in.a * (in.ppm % 1000) / 1000000 + in.beside;

	check_within(in.b, in.a, in.ppm);
	check_within(in.a + limit, in.a, in.ppm);
	check_within(in.a - limit, in.a, in.ppm);
	check_within(in.a + small, in.a, in.ppm % 1000);
	check_within(in.a - small, in.a, in.ppm % 1000);
	/* Of which it is about 2^64. */
	if (in.ppm > 1000000)
		check_within(in.b, ((__uint128_t)1000000 << 64) / in.ppm + in.beside, in.ppm);
}

static struct pvclock_vcpu_time_info input_line(void)
{
	return (struct pvclock_vcpu_time_info){
		.tsc_timestamp = in.c,
		.system_time = in.d,
		.tsc_to_system_mul = in.mul,
		.tsc_shift = guest_shift(),
	};
}

/* Any TSC, and two of which one is not after the other. */
static void fuzz_line(void)
{
	const struct pvclock_vcpu_time_info line = input_line();
	u64 first = in.a < in.b ? in.a : in.b, second = in.a < in.b ? in.b : in.a;
	u64 ns = kvmclock_line_ns(&line, in.c + second);
	bool before = second > ~(1ULL << 60);
	__uint128_t exact = in.d;

	if (!before)
		exact += exact_scale(second, in.mul, line.tsc_shift);
	check(ns == (u64)exact, "0x%llx: delta 0x%llx mul 0x%x shift %d ns 0x%llx", ns, second,
	      in.mul, line.tsc_shift, in.d);

	/* Monotone, unless it is beyond the end of time. */
	if (!before && !(exact >> 64))
		check(kvmclock_line_ns(&line, in.c + first) <= ns,
		      "delta 0x%llx and 0x%llx mul 0x%x shift %d ns 0x%llx", first, second,
		      in.mul, line.tsc_shift, in.d);
}

/* A line is as far above the one it was drawn from as the slack at most, and never below. */
static void fuzz_reanchor(void)
{
	const struct pvclock_vcpu_time_info line = input_line();
	struct pvclock_vcpu_time_info new = line;
	unsigned int slack_ns = kvmclock_line_slack_ns(&line);
	u64 gain;

	if ((__uint128_t)in.a + in.b > KVMCLOCK_MAX_DELTA)
		return;

	new.tsc_timestamp += in.a;
	new.system_time = kvmclock_line_ns(&line, new.tsc_timestamp) + slack_ns;
	gain = kvmclock_line_ns(&new, new.tsc_timestamp + in.b) -
	       kvmclock_line_ns(&line, new.tsc_timestamp + in.b);
	check(gain <= slack_ns, "gain %lld: mul 0x%x shift %d before 0x%llx after 0x%llx",
	      (long long)gain, line.tsc_to_system_mul, line.tsc_shift, in.a, in.b);
	check(slack_ns == (line.tsc_shift < 0 ? 2 : 1), "slack %u: shift %d", slack_ns,
	      line.tsc_shift);
}

/* A TSC that counts on from the anchor is below it once that has passed 2^64. */
static void fuzz_anchor(void)
{
	__uint128_t tsc = (__uint128_t)in.a + in.b;

	check(kvmclock_anchor_is_ahead(in.a, tsc) == (tsc >> 64 && in.b <= KVMCLOCK_MAX_DELTA),
	      "anchor 0x%llx age 0x%llx", in.a, in.b);
}

int fuzz_input(const u8 *data, size_t size);

int fuzz_input(const u8 *data, size_t size)
{
	memset(&in, 0, sizeof(in));
	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	in.a >>= in.drop[0] % 64;
	in.b >>= in.drop[1] % 64;
	in.c >>= in.drop[2] % 64;
	in.d >>= in.drop[3] % 64;

	fuzz_scale_delta();
	fuzz_cycles();
	fuzz_add();
	fuzz_elapsed();
	fuzz_fraction();
	fuzz_tsc_freq();
	fuzz_line_freq();
	fuzz_set_rate();
	fuzz_within();
	fuzz_anchor();
	fuzz_line();
	fuzz_reanchor();
	return 0;
}
