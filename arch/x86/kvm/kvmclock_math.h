/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Arithmetic of the KVM clock: pure functions, no struct kvm.  A line maps a TSC to
 * nanoseconds as guests do, by four fields of struct pvclock_vcpu_time_info:
 *
 *   ns(tsc) = system_time +
 *	       (((tsc - tsc_timestamp) * 2^tsc_shift) * tsc_to_system_mul) / 2^32
 *
 * where both the shift (if negative) and the division round down.  TSCs are modulo 2^64.
 */
#ifndef __KVM_X86_KVMCLOCK_MATH_H
#define __KVM_X86_KVMCLOCK_MATH_H

#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/types.h>

#include <asm/pvclock-abi.h>
#endif

#define KVMCLOCK_NSEC_PER_SEC	1000000000ULL
#define KVMCLOCK_PPM		1000000ULL

/*
 * Frequencies are in units of 2^-20 Hz: at 100 MHz, kHz would lose up to 10 ppm of a scaled
 * TSC's.  64 bits hold the highest that KVM accepts, 2^31 kHz.
 */
#define KVMCLOCK_HZ_FRAC_BITS	20

/*
 * TSC differences below 2^64 - 2^60 are taken as positive, the rest as negative: 100 years
 * are positive up to 5.4 GHz, and 54 of the 58 years in which a TSC of 10 GHz wraps.
 */
#define KVMCLOCK_MAX_DELTA	(~0ULL - (1ULL << 60))

/* No sum of nanoseconds passes 2^63, 292 years. */
#define KVMCLOCK_MAX_NS		0x8000000000000000ULL

/*
 * Scale @delta cycles to nanoseconds, bit for bit as guests do, but modulo 2^64: a guest
 * loses the bits that it shifts beyond that.  @shift is in [-63, 32].
 */
static inline u64 kvmclock_scale_delta(u64 delta, u32 mul, int shift)
{
	if (shift < 0)
		return mul_u64_u64_shr(delta >> -shift, mul, 32);

	return mul_u64_u64_shr(delta, mul, 32 - shift);
}

/* The same, but U64_MAX where the result does not fit in 64 bits: only a shift to the left can. */
static inline u64 kvmclock_scale_delta_sat(u64 delta, u32 mul, int shift)
{
	if (shift > 0 && mul_u64_u64_shr(delta, mul, 96 - shift))
		return U64_MAX;

	return kvmclock_scale_delta(delta, mul, shift);
}

/*
 * @num * 2^@bits / @den, rounded up where the remainder is @up or more.  U64_MAX where that
 * does not fit in 64 bits.  @den and @up are not 0, @bits is in [1, 63].
 *
 * The upper half of the product tells whether the quotient fits.  The remainder is below
 * @den, so that the lower halves are enough to compute it.  Rounding up does not carry: with
 * @den up to 2^@bits a quotient of 2^64 - 1 is exact, with a greater one it is below @num.
 */
static inline u64 kvmclock_shift_div(u64 num, unsigned int bits, u32 den, u32 up)
{
	u64 quotient, remainder;

	if (num >> (64 - bits) >= den)
		return U64_MAX;

	quotient = mul_u64_u64_div_u64(num, 1ULL << bits, den);
	remainder = (num << bits) - quotient * den;
	return quotient + (remainder >= up);
}

/*
 * The least number of cycles that kvmclock_scale_delta_sat() scales to @ns or more; U64_MAX
 * where there is none below that.  @mul is not 0, @shift is in [-31, 31].  As ns is a whole
 * number, it does not matter that scaling rounds down:
 *
 *   k = ceil((ns * 2^(32 - max(shift, 0))) / mul)
 *
 * is the number of cycles, or with a negative shift, of the first one that is shifted to it.
 */
static inline u64 kvmclock_cycles(u64 ns, u32 mul, int shift)
{
	u64 k = kvmclock_shift_div(ns, shift < 0 ? 32 : 32 - shift, mul, 1);

	if (shift >= 0)
		return k;

	return k > U64_MAX >> -shift ? U64_MAX : k << -shift;
}

/* Add nanoseconds.  False, and @sum untouched, where that passes KVMCLOCK_MAX_NS. */
static inline bool kvmclock_add_ns(u64 a, u64 b, u64 *sum)
{
	if (a > KVMCLOCK_MAX_NS || b > KVMCLOCK_MAX_NS - a)
		return false;

	*sum = a + b;
	return true;
}

/*
 * The time from @from to @to by a clock that was stepped back by @leap_s seconds in between,
 * as CLOCK_REALTIME is against CLOCK_TAI, or 0 if that is negative.  @from may be anything,
 * @to is below 2^63, and @leap_s is in (-2^32, 2^32).
 */
static inline u64 kvmclock_elapsed_ns(u64 from, u64 to, long long leap_s)
{
	u64 leap_ns = (leap_s < 0 ? -leap_s : leap_s) * KVMCLOCK_NSEC_PER_SEC;

	if (leap_s >= 0)
		to += leap_ns;
	else if (to >= leap_ns)
		to -= leap_ns;
	else
		return 0;

	return to > from ? to - from : 0;
}

/*
 * Evaluate @line at @tsc.  The clock stands still before the anchor: a CPU's TSC may be some
 * cycles behind that of the CPU which drew the line.
 */
static inline u64 kvmclock_line_ns(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	u64 delta = tsc - line->tsc_timestamp;

	if (delta > KVMCLOCK_MAX_DELTA)
		return line->system_time;

	return line->system_time + kvmclock_scale_delta(delta, line->tsc_to_system_mul,
							line->tsc_shift);
}

/*
 * Whether a TSC that reads @tsc was set back, or has wrapped, since it read @anchor:
 * it is below that as an unsigned number, although it is behind it modulo 2^64.  It is
 * not if it is some cycles before it only, on a CPU whose TSC is behind.
 */
static inline bool kvmclock_anchor_is_ahead(u64 anchor, u64 tsc)
{
	return tsc < anchor && tsc - anchor <= KVMCLOCK_MAX_DELTA;
}

/*
 * Find @mul and @shift with @num / @den = @mul * 2^(@shift - 32), rounded to the nearest, and
 * @mul in [2^31, 2^32).  @num and @den are not 0, and @num / @den is in [2^-30, 2^31).  With
 * a and b their bits, @shift is a - b or a - b + 1, or one more where rounding carries.
 */
static inline void kvmclock_fraction(u64 num, u64 den, u32 *mul, s8 *shift)
{
	int s = fls64(num) - fls64(den) + 1;
	u64 twice;

	/* One bit more than needed, for rounding. */
	twice = mul_u64_u64_div_u64(num, 1ULL << (33 - s), den);
	if (twice < 1ULL << 32)
		twice = mul_u64_u64_div_u64(num, 1ULL << (33 - --s), den);

	twice = (twice + 1) >> 1;
	if (twice >> 32) {
		twice >>= 1;
		s++;
	}

	*mul = twice;
	*shift = s;
}

/*
 * Frequency of a TSC that runs at @ratio / 2^@frac_bits times @khz, in units of 2^-20 Hz,
 * below 2^44 Hz.  @frac_bits is in [0, 63].
 */
static inline u64 kvmclock_tsc_freq(u32 khz, u64 ratio, unsigned int frac_bits)
{
	return mul_u64_u64_shr((khz * 1000ULL) << KVMCLOCK_HZ_FRAC_BITS, ratio, frac_bits);
}

/* Set the rate of @line for a TSC of @freq, in units of 2^-20 Hz, in [1 kHz, 2^44 Hz). */
static inline void kvmclock_line_set_rate(struct pvclock_vcpu_time_info *line, u64 freq)
{
	u32 mul;
	s8 shift;

	kvmclock_fraction(KVMCLOCK_NSEC_PER_SEC << KVMCLOCK_HZ_FRAC_BITS, freq, &mul, &shift);
	line->tsc_to_system_mul = mul;
	line->tsc_shift = shift;
}

/*
 * The frequency, in units of 2^-20 Hz, of a TSC with this line, to the nearest; U64_MAX where
 * it does not fit in 64 bits.  @mul is not 0, @shift is in [-31, 31].  From 2 kHz up, it is
 * within 2^-31 of what kvmclock_line_set_rate() was given.
 */
static inline u64 kvmclock_line_freq(u32 mul, int shift)
{
	return kvmclock_shift_div(KVMCLOCK_NSEC_PER_SEC << KVMCLOCK_HZ_FRAC_BITS, 32 - shift,
				  mul, mul - mul / 2);
}

/*
 * Whether @freq is within @ppm of @of.  This is exact: the difference is a whole number, so
 * that rounding the limit down changes nothing.  If that does not fit in 64 bits, all are.
 */
static inline bool kvmclock_freq_within(u64 freq, u64 of, u32 ppm)
{
	u64 diff = freq < of ? of - freq : freq - of;

	if (mul_u64_u64_shr(of, ppm, 64) >= KVMCLOCK_PPM)
		return true;

	return diff <= mul_u64_u64_div_u64(of, ppm, KVMCLOCK_PPM);
}

/*
 * Nanoseconds to add to the value of @line at a new anchor, so that the line through it is
 * nowhere below @line.  With the scaling f(), the old one reads f(a + b) where the new one
 * reads f(a) + f(b).  f() rounds down, which makes up to 1; a negative shift rounds down
 * twice, but what it drops is scaled by less than 1, and adds only one.
 */
static inline unsigned int kvmclock_line_slack_ns(const struct pvclock_vcpu_time_info *line)
{
	return line->tsc_shift < 0 ? 2 : 1;
}
#endif
