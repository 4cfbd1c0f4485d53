// SPDX-License-Identifier: GPL-2.0-only
/*
 * The code of the built-in guest: 64-bit, no interrupts, no calls, no data of its
 * own.  It is compiled with flags of its own (GUEST_CFLAGS) into a section of its
 * own, which the tool copies into the guest's memory.
 */
#include <sys/cdefs.h>

#include "guest.h"

static __always_inline void barrier(void)
{
	asm volatile("" ::: "memory");
}

static __always_inline uint64_t rdtsc_ordered(void)
{
	uint32_t lo, hi;

	asm volatile("lfence; rdtsc; lfence" : "=a" (lo), "=d" (hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static __always_inline void write_tsc(uint64_t tsc)
{
	asm volatile("wrmsr" : : "c" (0x10), "a" ((uint32_t)tsc), "d" ((uint32_t)(tsc >> 32)));
}

static __always_inline uint32_t version(const struct kvmclock_pvclock *line)
{
	return __atomic_load_n(&line->version, __ATOMIC_RELAXED);
}

static __always_inline void copy_line(struct kvmclock_pvclock *to,
				      const struct kvmclock_pvclock *from)
{
	to->version = version(from);
	barrier();
	to->tsc_timestamp = from->tsc_timestamp;
	to->system_time = from->system_time;
	to->mul = from->mul;
	to->shift = from->shift;
	to->flags = from->flags;
}

/* The protocol: an odd version, or another one afterwards, means that the host was writing. */
static __always_inline void read_clock(struct guest_vcpu *vcpu, struct guest_reading *r)
{
	do {
		copy_line(&r->line, &vcpu->pvclock);
		r->tsc = rdtsc_ordered();
	} while (r->line.version & 1 || r->line.version != version(&vcpu->pvclock));

	r->clock = guest_clock(&r->line, r->tsc);
}

static __always_inline void check_clock(struct guest_vcpu *vcpu, uint64_t clock, uint64_t floor)
{
	if (clock >= floor)
		return;

	vcpu->clock_back++;
	if (floor - clock > vcpu->clock_back_max)
		vcpu->clock_back_max = floor - clock;
}

static __always_inline void check_tsc(struct guest_vcpu *vcpu, uint64_t tsc, uint64_t last)
{
	if (tsc >= last)
		return;

	vcpu->tsc_back++;
	if (last - tsc > vcpu->tsc_back_max)
		vcpu->tsc_back_max = last - tsc;
}

/* As unsigned numbers, which some guests' own formulas take them for. */
static __always_inline void check_anchor(struct guest_vcpu *vcpu, const struct guest_reading *r)
{
	if (r->line.tsc_timestamp > r->tsc)
		vcpu->anchor_ahead++;
}

static __always_inline void raise(uint64_t *max, uint64_t value)
{
	uint64_t seen = __atomic_load_n(max, __ATOMIC_SEQ_CST);

	while (seen < value &&
	       !__atomic_compare_exchange_n(max, &seen, value, 0, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST))
		;
}

static __always_inline void publish_first(struct guest_vcpu *vcpu, const struct guest_reading *r)
{
	if (vcpu->first.tsc)
		return;
	if (vcpu->skip) {
		vcpu->skip--;
		return;
	}

	vcpu->first.clock = r->clock;
	copy_line(&vcpu->first.line, &r->line);
	barrier();
	vcpu->first.tsc = r->tsc;
	barrier();
}

/*
 * The maximum is taken before the clock is read: whatever stands there was read
 * earlier.
 */
__attribute__((section("guest_code")))
void guest_main(struct guest_vcpu *vcpu, struct guest_shared *shared)
{
	struct guest_reading *r;
	uint64_t floor, n;

	if (vcpu->write_tsc)
		write_tsc(vcpu->write_tsc);

	for (;;) {
		n = vcpu->readings + 1;
		r = &vcpu->last[n % 2];
		floor = __atomic_load_n(&shared->max_clock, __ATOMIC_SEQ_CST);
		read_clock(vcpu, r);
		check_clock(vcpu, r->clock, floor);
		check_tsc(vcpu, r->tsc, vcpu->last[(n - 1) % 2].tsc);
		check_anchor(vcpu, r);
		raise(&shared->max_clock, r->clock);
		publish_first(vcpu, r);
		barrier();
		vcpu->readings = n;
		barrier();
	}
}
