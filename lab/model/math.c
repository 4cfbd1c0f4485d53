// SPDX-License-Identifier: GPL-2.0
/*
 * kvmclock_math.h, for all values of a reduced width: each multiplier, shift and
 * cycle count there is.  What is compared is plain division of 128 bits.
 *
 *   monotone		a greater delta scales to no less
 *   exact		scaling is floor(floor(delta * 2^shift) * mul / 2^32), shift < 0 too
 *   inverse		kvmclock_cycles() is the least delta that scales to ns or more
 *   no overflow	the saturated form says so exactly where 64 bits are passed
 *
 * The multipliers are BITS wide at either end of 32 bits, and so are the deltas in 64.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/pvclock.h"

#ifndef BITS
#define BITS	8
#endif
#define VALUES	(1u << BITS)

typedef unsigned __int128 u128;

static unsigned long long cases;

#define check(what)	do { cases++; if (!(what)) die(#what, mul, shift, x); } while (0)

static void die(const char *what, u32 mul, int shift, u64 x)
{
	printf("not ok - %s: mul 0x%x shift %d x 0x%llx\n", what, mul, shift, x);
	exit(EXIT_FAILURE);
}

static u128 naive(u64 delta, u32 mul, int shift)
{
	if (shift < 0)
		return (u128)(delta / (1ull << -shift)) * mul / (1ull << 32);
	return (u128)delta * mul / (1ull << (32 - shift));
}

static void check_scale(u32 mul, int shift, u64 x, u64 *last)
{
	u128 want = naive(x, mul, shift);
	u64 got = kvmclock_scale_delta_sat(x, mul, shift);

	check(got == (want >> 64 ? U64_MAX : (u64)want));
	check(kvmclock_scale_delta(x, mul, shift) == (u64)want);
	check(got >= *last);
	*last = got;
}

static void check_inverse(u32 mul, int shift, u64 x)
{
	u64 cycles = kvmclock_cycles(x, mul, shift);

	/* U64_MAX: there is none below. */
	if (cycles != U64_MAX)
		check(naive(cycles, mul, shift) >= x);
	if (cycles)
		check(naive(cycles - 1, mul, shift) < x);
}

static void check_rate(u32 mul, int shift)
{
	u64 last = 0, x;

	for (x = 0; x < VALUES; x++) {
		check_scale(mul, shift, x, &last);
		check_inverse(mul, shift, x);
	}
	last = 0;
	for (x = 0; x < VALUES; x++) {
		check_scale(mul, shift, x << (64 - BITS), &last);
		check_inverse(mul, shift, x << (64 - BITS));
	}
}

int main(void)
{
	int shift;
	u32 mul;

	for (shift = -31; shift <= 31; shift++) {
		for (mul = 1; mul < VALUES; mul++) {
			check_rate(mul, shift);
			check_rate(mul << (32 - BITS), shift);
			check_rate(-mul, shift);
		}
	}
	printf("%llu cases\n", cases);
	return EXIT_SUCCESS;
}
