// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify KVM_CLOCK_TAI: time that passes across a leap second is counted right.
 *
 * CLOCK_REALTIME repeats a second when a leap second is inserted, and CLOCK_TAI
 * does not.  A record has the offset between the two beside its realtime, and if
 * both hosts were told theirs, a restore counts CLOCK_TAI.  The test tells this
 * host its offset by adjtimex(), and has it insert a leap second.
 *
 * After a SET, GET has clock and realtime of one instant: what the clock has gained
 * over the record is compared with what realtime has.
 */
#include "kvmclock.h"

#define TAI_OFFSET	37
/* A realtime that never comes. */
#define NEVER		(~0ULL)

#define RECORD_NS	(5000 * NSEC_PER_SEC)

static struct kvmclock_vm kc;

/* ---- The host's offset ---- */

static int get_tai(void)
{
	struct timex tx = {};

	adjtimex(&tx);
	return tx.tai;
}

static void set_tai(int offset)
{
	struct timex tx = { .modes = ADJ_TAI, .constant = offset };

	TEST_ASSERT(adjtimex(&tx) >= 0, "ADJ_TAI %d, errno %d", offset, errno);
	TEST_ASSERT(get_tai() == offset, "ADJ_TAI has no effect");
}

static void set_realtime(u64 ns)
{
	struct timespec ts = { ns / NSEC_PER_SEC, ns % NSEC_PER_SEC };

	TEST_ASSERT(!clock_settime(CLOCK_REALTIME, &ts), "clock_settime(), errno %d", errno);
}

/* ---- KVM_GET_CLOCK ---- */

static bool get_is(u32 opt_in, u32 flags, int offset)
{
	struct kvm_clock_data data;

	kvmclock_opt_in(&kc, opt_in);
	data = kvmclock_get(&kc);
	return check(data.flags == flags, "0x%x, not 0x%x", data.flags, flags) &&
	       check(data.tai_offset == offset, "%d, not %d", data.tai_offset, offset);
}

static bool test_get(void)
{
	static const int offsets[] = { TAI_OFFSET, 0, 1, 1000 };
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		set_tai(offsets[i]);
		ok &= get_is(KVM_CLOCK_TAI, KVMCLOCK_MASTER_FLAGS | KVM_CLOCK_TAI, offsets[i]);
		ok &= get_is(KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC,
			     KVMCLOCK_RESTORE_FLAGS | KVM_CLOCK_TAI, offsets[i]);
	}
	return ok;
}

/* A VMM that asked for other flags gets no offset. */
static bool test_get_without_opt_in(void)
{
	set_tai(TAI_OFFSET);
	return get_is(0, KVMCLOCK_MASTER_FLAGS, 0) &&
	       get_is(KVM_CLOCK_MONOTONIC, KVMCLOCK_MASTER_FLAGS, 0) &&
	       get_is(KVM_CLOCK_GUEST_TSC, KVMCLOCK_RESTORE_FLAGS, 0);
}

/* It comes beside REALTIME only. */
static bool test_get_without_master(void)
{
	bool ok;

	set_tai(TAI_OFFSET);
	kvmclock_set_master(&kc, false);
	ok = get_is(KVM_CLOCK_TAI, 0, 0) &&
	     get_is(KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC, KVM_CLOCK_REALTIME | KVM_CLOCK_TAI,
		    TAI_OFFSET);
	kvmclock_set_master(&kc, true);
	return ok;
}

/* ---- KVM_SET_CLOCK ---- */

struct record {
	int then, now;		/* CLOCK_TAI - CLOCK_REALTIME of the two hosts */
	int leap;		/* what the time that has passed is more by, with TAI */
};

static const struct record records[] = {
	{ TAI_OFFSET, TAI_OFFSET, 0 },
	{ TAI_OFFSET, TAI_OFFSET + 1, 1 },
	{ TAI_OFFSET + 1, TAI_OFFSET, -1 },
	{ 10, 1000, 990 },
	{ -7, 3, 10 },
	/* A host that was not told says 0. */
	{ 0, TAI_OFFSET, 0 },
	{ TAI_OFFSET, 0, 0 },
	{ 0, 0, 0 },
};

/*
 * Restore a record whose realtime was @ago_ns ago; the clock is to gain @gain_ns
 * more than CLOCK_REALTIME does from there, or @gain_ns in all without @since.  A
 * realtime of NEVER stays what it is.
 */
static bool set_gains(struct kvm_clock_data *data, u64 ago_ns, s64 gain_ns, bool since)
{
	u64 begin = rdtsc(), end;
	struct kvm_clock_data got;
	s64 error;
	int err;

	data->realtime = ago_ns == NEVER ? NEVER : kvmclock_realtime() - ago_ns;
	err = kvmclock_try_set(&kc, data);
	end = rdtsc();
	kvmclock_settle(&kc);
	got = kvmclock_get(&kc);

	error = got.clock - data->clock - gain_ns;
	if (since) {
		error = kvmclock_without_drift(error - (s64)(got.realtime - data->realtime),
					       begin, got.host_tsc);
		return check(!err, "errno %d", err) &
		       check(labs(error) <= 2 + kvmclock_cycle_ns(&kc), "off by %ld ns", error);
	}

	/* It has run from the SET to the GET. */
	error = kvmclock_outside(error, kvmclock_cycles_to_ns(got.host_tsc - end) * 0.99,
				 kvmclock_cycles_to_ns(got.host_tsc - begin) * 1.01 + 1000);
	return check(!err, "errno %d", err) & check(!error, "off by %ld ns", error);
}

static struct kvm_clock_data make_record(u32 flags, int offset)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.clock = RECORD_NS;
	data.flags = flags;
	data.tai_offset = offset;
	return data;
}

static bool set_record(const struct record *record, u32 flags)
{
	struct kvm_clock_data data = make_record(flags, record->then);
	bool tai = flags & KVM_CLOCK_TAI, realtime = flags & KVM_CLOCK_REALTIME;

	set_tai(record->now);
	return check(set_gains(&data, 2000 * NSEC_PER_SEC,
			       tai && realtime ? record->leap * (s64)NSEC_PER_SEC : 0, realtime),
		     "%d, %d", record->then, record->now);
}

static bool set_records(u32 flags)
{
	bool ok = true;
	int i;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);
	for (i = 0; i < ARRAY_SIZE(records); i++)
		ok &= set_record(&records[i], flags);
	return ok;
}

static bool test_set(void)
{
	return set_records(KVM_CLOCK_REALTIME | KVM_CLOCK_TAI);
}

static bool test_set_guest_tsc(void)
{
	return set_records(KVM_CLOCK_REALTIME | KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC);
}

/* The offset is ignored without its flag, and the flag without REALTIME. */
static bool test_set_without_tai(void)
{
	return set_records(KVM_CLOCK_REALTIME) &&
	       set_records(KVM_CLOCK_REALTIME | KVM_CLOCK_GUEST_TSC);
}

static bool test_set_without_realtime(void)
{
	return set_records(KVM_CLOCK_TAI);
}

/* SET takes it from a VM that has not opted in. */
static bool test_set_without_opt_in(void)
{
	kvmclock_opt_in(&kc, 0);
	return set_record(&records[1], KVM_CLOCK_REALTIME | KVM_CLOCK_TAI);
}

/* The TSC gains the same time as the clock. */
static bool test_set_moves_tsc(void)
{
	struct pvclock_vcpu_time_info line;
	struct kvm_clock_data data, got;
	s64 error;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);
	data = make_record(KVM_CLOCK_REALTIME | KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC, TAI_OFFSET);
	line = kvmclock_line_of(&data);
	set_tai(TAI_OFFSET + 1);
	if (!set_gains(&data, 2000 * NSEC_PER_SEC, NSEC_PER_SEC, true))
		return false;

	got = kvmclock_get(&kc);
	error = got.clock - kvmclock_eval(&line, got.guest_tsc);
	return check(labs(error) <= kvmclock_rounding_ns(&line), "off by %ld ns", error);
}

/* What is behind by CLOCK_REALTIME may be ahead by CLOCK_TAI, and the reverse. */
static bool test_set_future(void)
{
	struct kvm_clock_data data = make_record(KVM_CLOCK_REALTIME | KVM_CLOCK_TAI, TAI_OFFSET);
	bool ok;

	kvmclock_opt_in(&kc, 0);
	set_tai(TAI_OFFSET + 100);
	ok = set_gains(&data, -60 * NSEC_PER_SEC, 100 * NSEC_PER_SEC, true);
	set_tai(TAI_OFFSET - 30);
	return set_gains(&data, 10 * NSEC_PER_SEC, 0, false) && ok;
}

/* No offset makes time pass for who asks that none does. */
static bool test_set_never(void)
{
	static const u32 ways[] = { 0, KVM_CLOCK_GUEST_TSC };
	static const int offsets[] = { INT_MIN, INT_MAX };
	bool ok = true;
	int i, k;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			u32 flags = KVM_CLOCK_REALTIME | KVM_CLOCK_TAI | ways[i];
			struct kvm_clock_data data = make_record(flags, offsets[k]);

			set_tai(TAI_OFFSET);
			ok &= set_gains(&data, NEVER, 0, false);
		}
	}
	return ok;
}

/* Without master clock, the clock's value is restored. */
static bool test_set_fallback(void)
{
	struct kvm_clock_data data;
	u64 before, after, passed;
	s64 error;

	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);
	data = make_record(KVM_CLOCK_REALTIME | KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC, TAI_OFFSET);
	set_tai(TAI_OFFSET + 1);
	kvmclock_set_master(&kc, false);
	before = kvmclock_realtime();
	error = kvmclock_try_set(&kc, &data);
	passed = kvmclock_get(&kc).clock - data.clock - NSEC_PER_SEC;
	after = kvmclock_realtime();
	kvmclock_set_master(&kc, true);
	return check(!error, "errno %ld", error) &&
	       check(!kvmclock_outside(passed, before - data.realtime,
				       after - data.realtime + 1000), "%lu ns", passed);
}

/* ---- A leap second ---- */

#define DAY_NS	(24 * 3600 * NSEC_PER_SEC)

static void insert_leap_second(bool insert)
{
	struct timex tx = { .modes = ADJ_STATUS, .status = insert ? STA_INS : 0 };

	TEST_ASSERT(adjtimex(&tx) >= 0, "ADJ_STATUS, errno %d", errno);
}

/*
 * CLOCK_TAI and the clock both go on: the difference stays what it was, at each
 * instant.  An offset of another instant than realtime is off by a second.
 */
static s64 worst_difference(const struct kvm_clock_data *first, u64 until_ns, int *nr)
{
	struct kvm_clock_data data;
	s64 diff, worst = 0;

	do {
		data = kvmclock_get(&kc);
		diff = (s64)(data.realtime - first->realtime) +
		       (data.tai_offset - first->tai_offset) * (s64)NSEC_PER_SEC -
		       (s64)(data.clock - first->clock);
		if (labs(diff) > labs(worst))
			worst = diff;
		++*nr;
	} while (data.realtime + (data.tai_offset - first->tai_offset) * NSEC_PER_SEC < until_ns);
	return worst;
}

/*
 * Put the clock where it was at @before, and would be by now.  It is behind by what
 * passes until it is set: add that to @behind_ns.
 */
static void put_back(const struct kvm_clock_data *before, u64 *behind_ns)
{
	u64 tsc = rdtsc();

	kvmclock_set(&kc, before->clock + kvmclock_cycles_to_ns(tsc - before->host_tsc), 0, 0);
	*behind_ns += kvmclock_cycles_to_ns(rdtsc() - tsc);
}

static bool goes_on(const struct kvm_clock_data *first, u32 flags, s64 lost_ns)
{
	static u64 behind_ns;
	struct kvm_clock_data data = *first, before, after;
	s64 limit_ns = 5000000 + behind_ns, error;
	int err;

	data.flags = flags;
	before = kvmclock_get(&kc);
	err = kvmclock_try_set(&kc, &data);
	kvmclock_settle(&kc);
	after = kvmclock_get(&kc);

	/* The clock's own time, by the host's TSC, is the truth. */
	error = after.clock - before.clock -
		kvmclock_cycles_to_ns(after.host_tsc - before.host_tsc) + lost_ns;
	put_back(&before, &behind_ns);
	return check(!err, "errno %d", err) &
	       check(labs(error) < limit_ns, "flags 0x%x: off by %ld ns", flags, error);
}

static bool goes_on_over_midnight(void)
{
	struct kvm_clock_data first;
	bool ok, counted, plain;
	int nr = 0, tai;
	u64 midnight;
	s64 worst;

	midnight = (kvmclock_realtime() / DAY_NS + 1) * DAY_NS;
	set_tai(TAI_OFFSET);
	set_realtime(midnight - 5 * NSEC_PER_SEC / 2);
	insert_leap_second(true);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI);

	first = kvmclock_get(&kc);
	worst = worst_difference(&first, midnight + 3 * NSEC_PER_SEC / 2, &nr);
	tai = get_tai();
	ok = check(tai == TAI_OFFSET + 1, "no leap second: %d", tai) &
	     check(labs(worst) < 5000000, "%ld ns in %d readings", worst, nr);
	kvmclock_measure("tai.leap_second.readings", nr, "GETs");
	kvmclock_measure("tai.leap_second.worst", worst, "ns");

	counted = goes_on(&first, KVM_CLOCK_REALTIME | KVM_CLOCK_TAI, 0) &
		  goes_on(&first, KVM_CLOCK_REALTIME | KVM_CLOCK_TAI | KVM_CLOCK_GUEST_TSC, 0);
	/* That it matters: without TAI, the restore loses the second. */
	plain = goes_on(&first, KVM_CLOCK_REALTIME, NSEC_PER_SEC);
	return ok & check(counted, "TAI") & check(plain, "no TAI");
}

/* The host's wall clock is put back to what it would be without this. */
static bool test_leap_second(void)
{
	u64 realtime = kvmclock_realtime(), start = kvmclock_host_ns(CLOCK_MONOTONIC_RAW);
	bool ok = goes_on_over_midnight();

	insert_leap_second(false);
	set_realtime(realtime + kvmclock_host_ns(CLOCK_MONOTONIC_RAW) - start);
	return ok;
}

static const char *keep_host(void)
{
	return kvmclock_may_change_host() ? NULL : "may not change the host's clock";
}

static const struct kvmclock_test tests[] = {
	{ "get", test_get, keep_host },
	{ "get_without_opt_in", test_get_without_opt_in, keep_host },
	{ "get_without_master", test_get_without_master, keep_host },
	{ "set", test_set, keep_host },
	{ "set_guest_tsc", test_set_guest_tsc, keep_host },
	{ "set_without_tai", test_set_without_tai, keep_host },
	{ "set_without_realtime", test_set_without_realtime, keep_host },
	{ "set_without_opt_in", test_set_without_opt_in, keep_host },
	{ "set_moves_tsc", test_set_moves_tsc, keep_host },
	{ "set_future", test_set_future, keep_host },
	{ "set_never", test_set_never, keep_host },
	{ "set_fallback", test_set_fallback, keep_host },
	{ "leap_second", test_leap_second, keep_host },
};

int main(void)
{
	int tai = get_tai(), i;

	TEST_REQUIRE(kvmclock_knows(KVM_CLOCK_TAI));
	kvmclock_start(ARRAY_SIZE(tests), 0);
	/* In host clock mode, a vCPU that moves to another CPU gets another line. */
	pin_self_to_cpu(0);
	kvmclock_vm_create(&kc, 0, 2, 2);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], KVM_CLOCK_TAI, NULL);

	kvmclock_vm_destroy(&kc);
	if (kvmclock_may_change_host())
		set_tai(tai);
	kvmclock_finished();
}
