/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Arithmetic of the KVM clock: pure functions, no struct kvm.
 *
 * A line maps a TSC to nanoseconds with the arithmetic that guests use.  It is
 * kept in a struct pvclock_vcpu_time_info, of which only the four fields that
 * make up the line are looked at:
 *
 *   ns(tsc) = system_time +
 *	       (((tsc - tsc_timestamp) * 2^tsc_shift) * tsc_to_system_mul) / 2^32
 *
 * where both the shift (if negative) and the division round down.  TSCs are
 * taken modulo 2^64.
 */
#ifndef __KVM_X86_KVMCLOCK_MATH_H
#define __KVM_X86_KVMCLOCK_MATH_H

#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/math64.h>
#include <linux/types.h>

#include <asm/pvclock-abi.h>
#else
/* User space, of 64 bits, brings its own u8 to u64, s8 and struct pvclock_vcpu_time_info. */
static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline u64 mul_u64_u64_shr(u64 a, u64 b, unsigned int shift)
{
	return (unsigned __int128)a * b >> shift;
}

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (unsigned __int128)a * b / c;
}
#endif

#define KVMCLOCK_NSEC_PER_SEC	1000000000ULL

/*
 * Frequencies are in units of 2^-20 Hz.  From 100 MHz up, kHz would lose up to
 * 10 ppm of a scaled TSC's true frequency, this loses less than 10^-14 of it, and
 * still holds the highest frequency that KVM accepts, 2^31 kHz.
 */
#define KVMCLOCK_HZ_FRAC_BITS	20

/*
 * TSC differences below 2^64 - 2^60 are taken as positive, the rest, up to
 * 2^60 cycles before the anchor, as negative: 100 years are positive up to
 * 5.4 GHz, and 54 of the 58 years in which a TSC of 10 GHz wraps.
 */
#define KVMCLOCK_MAX_DELTA	(~0ULL - (1ULL << 60))

/*
 * Scale @delta cycles to nanoseconds, bit for bit as guests do, but without
 * their overflow: a guest loses the bits that it shifts beyond 2^64.
 * @shift is in [-63, 32].  The result is exact modulo 2^64, i.e. good for 584
 * years.
 */
static inline u64 kvmclock_scale_delta(u64 delta, u32 mul, int shift)
{
	if (shift < 0)
		return mul_u64_u64_shr(delta >> -shift, mul, 32);

	return mul_u64_u64_shr(delta, mul, 32 - shift);
}

/*
 * Evaluate @line at @tsc.  The clock stands still before the anchor, instead of
 * wrapping to the end of time: a CPU's TSC may be some cycles behind that of
 * the CPU which drew the line.
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
 * Find @mul and @shift with @num / @den = @mul * 2^(@shift - 32), rounded to
 * the nearest, and @mul in [2^31, 2^32).  @num and @den are not 0, and @num /
 * @den is in [2^-30, 2^31).
 *
 * With a and b the bits of @num and @den, @num / @den is in
 * (2^(a - b - 1), 2^(a - b + 1)), so that @shift is a - b or a - b + 1, or one more
 * where rounding carries.
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
 * Frequency of a TSC that runs at @ratio / 2^@frac_bits times @khz, in units of
 * 2^-KVMCLOCK_HZ_FRAC_BITS Hz.  It is to be below 2^44 Hz; the highest that KVM
 * accepts is 2^41 Hz.  @frac_bits is in [0, 63].
 */
static inline u64 kvmclock_tsc_freq(u32 khz, u64 ratio, unsigned int frac_bits)
{
	return mul_u64_u64_shr((khz * 1000ULL) << KVMCLOCK_HZ_FRAC_BITS, ratio, frac_bits);
}

/*
 * Set the rate of @line for a TSC of @freq, in units of 2^-20 Hz.  @freq is in
 * [1 kHz, 2^44 Hz).
 */
static inline void kvmclock_line_set_rate(struct pvclock_vcpu_time_info *line, u64 freq)
{
	u32 mul;
	s8 shift;

	kvmclock_fraction(KVMCLOCK_NSEC_PER_SEC << KVMCLOCK_HZ_FRAC_BITS, freq, &mul, &shift);
	line->tsc_to_system_mul = mul;
	line->tsc_shift = shift;
}

/*
 * Nanoseconds to add to the value of @line at a new anchor, so that the line
 * through it is nowhere below @line.
 *
 * Let f() be the scaling and a, b the cycles before and after the new anchor:
 * the old line reads f(a + b), the new one f(a) + f(b).  f() rounds down, and
 * floor(x + y) is at most floor(x) + floor(y) + 1.  A negative shift rounds down
 * twice, but what it drops is scaled by less than 1, so that it adds only one.
 */
static inline unsigned int kvmclock_line_slack_ns(const struct pvclock_vcpu_time_info *line)
{
	return line->tsc_shift < 0 ? 2 : 1;
}
#endif
