/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * Arithmetic of a guest's TSC: pure functions in 128 bits.
 *
 * A guest's TSC is scale(host TSC) + offset, modulo 2^64.  A line, @mul and
 * @shift as in pvclock_vcpu_time_info, takes a difference of TSCs to ns:
 *
 *	ns = cycles * mul * 2^(shift - 32)
 */
#ifndef KVMCLOCK_TSC_MATH_H
#define KVMCLOCK_TSC_MATH_H

#include <stdbool.h>
#include <stdint.h>

#define KVMCLOCK_NSEC_PER_SEC	1000000000ULL

/* Of a frequency: 1 kHz up to 2^31 - 1 kHz, what KVM_GET_TSC_KHZ can return. */
#define KVMCLOCK_MAX_KHZ	0x7fffffffU

static inline uint64_t kvmclock_scale_tsc(uint64_t tsc, uint64_t ratio, uint32_t frac_bits)
{
	return (__uint128_t)tsc * ratio >> frac_bits;
}

/* Whether KVM leaves a TSC of @khz unscaled on a host of @host_khz; see kvm_set_tsc_khz(). */
static inline bool kvmclock_within(uint32_t khz, uint32_t host_khz, uint32_t ppm)
{
	uint64_t lo, hi;

	if (ppm > 1000000)
		ppm = 1000000;

	lo = (uint64_t)host_khz * (1000000 - ppm) / 1000000;
	hi = (uint64_t)host_khz * (1000000 + ppm) / 1000000;

	return khz >= lo && khz <= hi;
}

/* The ratio that KVM computes for a TSC that it scales.  @frac_bits is 32 or 48. */
static inline uint64_t kvmclock_ratio(uint32_t khz, uint32_t host_khz, uint32_t frac_bits)
{
	return ((__uint128_t)khz << frac_bits) / host_khz;
}

/* Cycles to ns, rounded down, as guests do.  @shift is in [-31, 31]. */
static inline uint64_t kvmclock_cycles_to_ns(uint64_t cycles, uint32_t mul, int shift)
{
	if (shift < 0)
		return (__uint128_t)(cycles >> -shift) * mul >> 32;

	return (__uint128_t)cycles * mul >> (32 - shift);
}

/* Ns, below 2^63, to cycles, rounded down, modulo 2^64.  @mul is not 0, @shift is as above. */
static inline uint64_t kvmclock_ns_to_cycles(uint64_t ns, uint32_t mul, int shift)
{
	return ((__uint128_t)ns << (32 - shift)) / mul;
}

/* The same two for differences of either sign, rounded towards 0. */
static inline int64_t kvmclock_cycles_to_ns_signed(int64_t cycles, uint32_t mul, int shift)
{
	if (cycles < 0)
		return -kvmclock_cycles_to_ns(-(uint64_t)cycles, mul, shift);

	return kvmclock_cycles_to_ns(cycles, mul, shift);
}

static inline int64_t kvmclock_ns_to_cycles_signed(int64_t ns, uint32_t mul, int shift)
{
	if (ns < 0)
		return -kvmclock_ns_to_cycles(-(uint64_t)ns, mul, shift);

	return kvmclock_ns_to_cycles(ns, mul, shift);
}

/*
 * The line of a TSC that runs at @host_khz * @ratio / 2^@frac_bits: @mul in
 * [2^31, 2^32) and the @shift that belongs to it, rounded to the nearest.
 * @frac_bits is in [20, 63].  False if there is no such line with a shift in
 * [-31, 31]; from 1 kHz to 2^31 kHz there is.
 *
 * The frequency is taken in units of 2^-20 Hz, which loses less than 10^-9 of it
 * at 1 kHz and 10^-15 at 1 GHz.
 */
static inline bool kvmclock_line(uint32_t host_khz, uint64_t ratio, uint32_t frac_bits,
				 uint32_t *mul, int8_t *shift)
{
	__uint128_t hz = ((__uint128_t)host_khz * 1000 * ratio) >> (frac_bits - 20);
	__uint128_t m;
	int s;

	if (!hz || hz >> 64)
		return false;

	for (s = -31; s <= 31; s++) {
		m = (((__uint128_t)KVMCLOCK_NSEC_PER_SEC << (52 - s)) + hz / 2) / hz;
		if (m >> 32)
			continue;
		if (!(m >> 31))
			return false;
		*mul = m;
		*shift = s;
		return true;
	}

	return false;
}

#endif /* KVMCLOCK_TSC_MATH_H */
