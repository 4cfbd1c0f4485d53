// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that KVM_CLOCK_GUEST_TSC restores the guest's clock and its TSC together.
 *
 * With this flag, KVM_GET_CLOCK returns the very line that the guest computes
 * with, and KVM_SET_CLOCK restores it.  The test has two hosts in one: source and
 * destination are VMs whose clocks and TSCs have nothing in common.  There is a
 * case for every way by which the destination's TSC gets its value, with vCPUs
 * that exist already, that are created after the restore, and both.
 *
 * Lines are compared, not readings: the destination's at a TSC of its guest with
 * what was asked for at the same TSC.  Where the two run at different rates, they
 * meet at the instant of the restore, which lies between two host TSCs.
 */
#include "kvmclock.h"

#define NR_VCPUS	2
#define MAX_VCPUS	(NR_VCPUS + 2 * NR_WAYS + 4)

#define SEC_CYCLES	(kvmclock_host_khz() * 1000UL)
#define YEAR_NS		(365UL * 24 * 3600 * NSEC_PER_SEC)

/* By how much vCPU 1's TSC is ahead of the others'. */
#define AHEAD		123456789UL

static const struct way {
	const char *name;
	u32 flags;
} ways[] = {
	{ "none", 0 },
	{ "realtime", KVM_CLOCK_REALTIME },
	{ "host_tsc", KVM_CLOCK_HOST_TSC },
	/* REALTIME wins. */
	{ "both", KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
};

#define NR_WAYS	((int)ARRAY_SIZE(ways))

static struct kvmclock_vm src, dst;
static int mode;

/* Host TSCs around the creation of the VM that had no vCPU yet. */
static u64 create_begin, create_end;

static bool judge(struct kvmclock_series *series, const char *what, const char *unit,
		  s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "restore.%s.%s", what, kvmclock_modes()[mode].name);
	return check(kvmclock_within(series, key, unit, low, high), "%ld to %ld %s, not %ld to %ld",
		     series->value[0], series->value[series->nr ? series->nr - 1 : 0], unit,
		     low, high);
}

static bool judge_one(s64 value, const char *what, const char *unit, s64 low, s64 high)
{
	struct kvmclock_series series = {};

	kvmclock_record(&series, value);
	return judge(&series, what, unit, low, high);
}

/* ---- What was restored ---- */

/* A KVM_SET_CLOCK, and what there is to know about the VM before and after. */
struct restore {
	struct kvmclock_vm *kc;
	struct kvm_clock_data data;	/* what was asked for */
	struct kvmclock_shot before, after;
	struct kvm_clock_data got;	/* GET, right after it */
	int nr_vcpus;			/* that there were then */
	u64 begin, end;			/* host TSCs around it */
	u64 seen;			/* the host TSC when all vCPUs had taken note of it */
	int err;
};

static void restore(struct restore *r, struct kvmclock_vm *kc, const struct kvm_clock_data *data)
{
	memset(r, 0, sizeof(*r));
	r->kc = kc;
	r->data = *data;
	r->nr_vcpus = kc->nr_vcpus;
	kvmclock_shoot(kc, &r->before);
	r->begin = rdtsc();
	r->err = kvmclock_try_set(kc, &r->data);
	r->end = rdtsc();
	r->got = kvmclock_get(kc);
}

/* Let the vCPUs, some of which may be new, take note of it. */
static void restore_done(struct restore *r)
{
	kvmclock_settle(r->kc);
	kvmclock_shoot(r->kc, &r->after);
	r->seen = rdtsc();
	r->got = kvmclock_get(r->kc);
}

static bool returned(const struct restore *r)
{
	return check(!r->err, "SET: errno %d", r->err) &&
	       check(r->got.flags == KVMCLOCK_RESTORE_FLAGS, "GET: flags 0x%x", r->got.flags);
}

/* What the line that was asked for reads when vCPU 0's TSC is what it is at @host_tsc. */
static u64 asked_at(const struct restore *r, u64 host_tsc)
{
	struct pvclock_vcpu_time_info line = kvmclock_line_of(&r->data);

	return kvmclock_line_at(&line, kvmclock_tsc_at(&r->after, 0, host_tsc));
}

/* By how much vCPU @i's line misses the one that was asked for, if they cross during the ioctl. */
static s64 line_error(const struct restore *r, int i)
{
	s64 first = kvmclock_at(&r->after, i, r->begin) - asked_at(r, r->begin);
	s64 last = kvmclock_at(&r->after, i, r->end) - asked_at(r, r->end);

	if ((first < 0 && last > 0) || (first > 0 && last < 0))
		return 0;
	return labs(first) < labs(last) ? first : last;
}

/*
 * At the same rate, they are the same for ever.  Not before a guest can read the line: if
 * it was drawn anew, its anchor is behind the ioctl, and going back it rounds the other way.
 */
static s64 line_error_in(const struct restore *r, int i, u64 seconds)
{
	u64 then = r->seen + seconds * SEC_CYCLES;

	return kvmclock_at(&r->after, i, then) - asked_at(r, then);
}

/*
 * A line that the clock runs on already goes on, and is above what GET has rounded
 * down by what rounding costs.  Any other is the one that was asked for; but it is
 * drawn anew if the TSC has passed 0 since, because its anchor then is ahead of it.
 */
static s64 line_may_be_above(const struct restore *r)
{
	bool moved = r->after.offset[0] != r->before.offset[0];
	s64 rounding = kvmclock_rounding_ns(&r->after.line[0]), above = moved ? 1 : rounding;

	return kvmclock_tsc_at(&r->after, 0, r->end) < r->data.guest_tsc ? above + rounding : above;
}

static bool lines_are_right(const struct restore *r, const char *what, bool same_rate)
{
	struct kvmclock_series error = {};
	int i;

	for (i = 0; i < r->kc->nr_vcpus; i++) {
		if (!same_rate) {
			kvmclock_record(&error, line_error(r, i));
			continue;
		}
		kvmclock_record(&error, line_error_in(r, i, 0));
		kvmclock_record(&error, line_error_in(r, i, 3600));
	}
	return judge(&error, what, "ns", -1, line_may_be_above(r));
}

/* By how many cycles vCPU @i's TSC has moved, apart from what vCPU 0's has. */
static s64 moved_apart(const struct restore *r, int i)
{
	return (r->after.offset[i] - r->before.offset[i]) -
	       (r->after.offset[0] - r->before.offset[0]);
}

/* Those that existed have kept their differences, those that were created have joined. */
static bool vcpus_are_right(const struct restore *r, const char *what)
{
	u64 reference = r->got.guest_tsc - kvmclock_scale(r->got.host_tsc, r->kc->ratio);
	struct kvmclock_series error = {};
	int i;

	kvmclock_record(&error, r->after.offset[0] - reference);
	for (i = 0; i < r->kc->nr_vcpus; i++)
		kvmclock_record(&error, i < r->nr_vcpus ? moved_apart(r, i) :
				r->after.offset[i] - reference);
	return judge(&error, what, "cycles", 0, 0);
}

/* The time that has passed on the line that was asked for, and the wall time. */
static s64 realtime_error(const struct restore *r)
{
	struct pvclock_vcpu_time_info line = kvmclock_line_of(&r->data);
	s64 line_ns = kvmclock_line_at(&line, r->got.guest_tsc) - r->data.clock;

	return kvmclock_without_drift(line_ns - (s64)(r->got.realtime - r->data.realtime),
				      r->begin, r->got.host_tsc);
}

/*
 * Realtime is rounded down to 1 ns, twice.  Elapsed time is rounded up to a cycle,
 * which begins when the cycle of the scaled TSC has ended that is under way at the
 * instant: up to two cycles above.  At GET, that is up to one cycle below.  Lines of
 * different rates drift apart in the time until GET.
 */
static bool realtime_is_right(const struct restore *r, const char *what, u64 ppb)
{
	u64 elapsed_ns = kvmclock_cycles_to_ns(r->got.host_tsc - r->begin);
	s64 error = kvmclock_without(realtime_error(r), elapsed_ns, ppb);
	s64 cycle = 1000000 / kvmclock_mul_shr(kvmclock_host_khz(), r->kc->ratio,
					       kvmclock_frac_bits()) + 1;

	return judge_one(error, what, "ns", -2 - cycle, 2 + 2 * cycle);
}

/* The TSC is what it was at @host_tsc, there and then: exactly. */
static bool host_tsc_is_right(const struct restore *r, const char *what)
{
	return judge_one(kvmclock_tsc_at(&r->after, 0, r->data.host_tsc) - r->data.guest_tsc,
			 what, "cycles", 0, 0);
}

/* At some instant between host TSCs @begin and @end, vCPU 0's TSC was @tsc. */
static bool tsc_was(const struct restore *r, const char *what, u64 tsc, u64 begin, u64 end)
{
	s64 early = kvmclock_tsc_at(&r->after, 0, begin) - tsc;
	s64 late = kvmclock_tsc_at(&r->after, 0, end) - tsc;

	return judge_one(early > 0 ? early : late < 0 ? late : 0, what, "cycles", 0, 0);
}

static bool tsc_is_right(const struct restore *r, const char *name, u32 flags)
{
	char what[64];

	snprintf(what, sizeof(what), "%s.tsc", name);
	if (flags & KVM_CLOCK_REALTIME)
		return realtime_is_right(r, what, 0);
	if (flags & KVM_CLOCK_HOST_TSC)
		return host_tsc_is_right(r, what);
	/* Of a VM without vCPUs, it is 0 as the VM is created. */
	if (!r->nr_vcpus)
		return tsc_was(r, what, 0, create_begin, create_end);
	return judge_one(r->after.offset[0] - r->before.offset[0], what, "cycles", 0, 0);
}

static bool is_right(const struct restore *r, const char *name, u32 flags)
{
	char lines[64], vcpus[64];
	bool ok;

	snprintf(lines, sizeof(lines), "%s.line", name);
	snprintf(vcpus, sizeof(vcpus), "%s.vcpus", name);
	ok = returned(r) && lines_are_right(r, lines, true);
	ok = ok && vcpus_are_right(r, vcpus);
	return ok && tsc_is_right(r, name, flags);
}

/* ---- Every way, with vCPUs that exist and that do not ---- */

/* The source's line, as if saved 10 s ago. */
static struct kvm_clock_data saved(u32 flags)
{
	struct kvm_clock_data data = kvmclock_get(&src);

	check(data.flags == KVMCLOCK_RESTORE_FLAGS, "GET: flags 0x%x", data.flags);
	data.flags = flags | KVM_CLOCK_GUEST_TSC;
	data.realtime -= 10 * NSEC_PER_SEC;
	return data;
}

/* The last one written is what vCPUs that are created join. */
static void set_offsets(struct kvmclock_vm *kc, u64 offset)
{
	int i;

	for (i = kc->nr_vcpus - 1; i >= 0; i--)
		kvmclock_set_offset(kc->vcpu[i], offset + (i == 1 ? AHEAD : 0));
	kvmclock_settle(kc);
}

static void name_case(char *name, size_t size, const char *what, int way)
{
	snprintf(name, size, "%s_%s", what, ways[way].name);
}

/* A VMM that does not have KVM move the TSC has written it before. */
static void prepare_tsc(int way)
{
	set_offsets(&dst, ways[way].flags ? random() : kvmclock_get_offset(src.vcpu[0]));
	kvmclock_set(&dst, 1000 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&dst);
}

static bool test_existing(int way)
{
	struct kvm_clock_data data = saved(ways[way].flags);
	struct restore r;
	char name[64];

	name_case(name, sizeof(name), "existing", way);
	prepare_tsc(way);
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, name, ways[way].flags);
}

static void add_vcpu(struct kvmclock_vm *kc)
{
	kvmclock_enable(kc, kvmclock_vcpu_add(kc), 0);
}

static bool test_created_after(int way)
{
	struct kvm_clock_data data = saved(ways[way].flags);
	struct restore r;
	char name[64];

	name_case(name, sizeof(name), "created_after", way);
	prepare_tsc(way);
	restore(&r, &dst, &data);
	add_vcpu(&dst);
	restore_done(&r);
	return is_right(&r, name, ways[way].flags);
}

static void create_without_vcpu(struct kvmclock_vm *kc, int max_vcpus)
{
	create_begin = rdtsc();
	kvmclock_vm_init(kc, kvmclock_modes()[mode].khz, max_vcpus);
	create_end = rdtsc();
	kvmclock_opt_in(kc, KVM_CLOCK_GUEST_TSC);
}

/* Without a vCPU, the reference TSC counts since the VM was created. */
static bool test_first(int way)
{
	struct kvm_clock_data data = saved(ways[way].flags);
	struct kvmclock_vm fresh;
	struct restore r;
	char name[64];
	bool ok;

	name_case(name, sizeof(name), "first", way);
	if (!ways[way].flags)
		data.guest_tsc = 0;
	create_without_vcpu(&fresh, NR_VCPUS);
	restore(&r, &fresh, &data);
	add_vcpu(&fresh);
	add_vcpu(&fresh);
	restore_done(&r);
	ok = is_right(&r, name, ways[way].flags);
	kvmclock_vm_destroy(&fresh);
	return ok;
}

/* ---- Wall time ---- */

/* Never subtract: the clock goes on from where it was, as does the TSC. */
static bool test_realtime_future(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	struct restore r;

	data.realtime += 20 * NSEC_PER_SEC;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	return returned(&r) && lines_are_right(&r, "realtime_future.line", true) &&
	       vcpus_are_right(&r, "realtime_future.vcpus") &&
	       tsc_was(&r, "realtime_future.tsc", data.guest_tsc, r.begin, r.end);
}

static bool test_realtime_20_years(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	struct restore r;

	data.realtime -= 20 * YEAR_NS;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, "realtime_20_years", KVM_CLOCK_REALTIME);
}

/* A guest that has run for long, with a TSC that was set very far ahead. */
static bool test_large(u32 flags, const char *name)
{
	struct kvm_clock_data data = saved(flags);
	struct restore r;

	data.clock = 100 * YEAR_NS;
	data.guest_tsc = (1UL << 63) + 12345;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, name, flags);
}

static bool test_large_realtime(void)
{
	return test_large(KVM_CLOCK_REALTIME, "large_realtime");
}

static bool test_large_host_tsc(void)
{
	return test_large(KVM_CLOCK_HOST_TSC, "large_host_tsc");
}

/* A TSC about to wrap: there is no past and future but by differences. */
static bool test_tsc_wraps(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	struct restore r;

	data.guest_tsc = -SEC_CYCLES;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, "tsc_wraps", KVM_CLOCK_REALTIME);
}

/* ---- Another frequency ---- */

static s32 judged_ppm;

/* On the same host, a TSC that is not scaled is the one that the line is for. */
static bool keeps_rate(u32 flags)
{
	return (flags & (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)) == KVM_CLOCK_HOST_TSC &&
	       dst.ratio == 1ULL << kvmclock_frac_bits();
}

/* Without master clock in between, the line is one of this kernel's again. */
static void forget_rate(void)
{
	kvmclock_set_master(&dst, false);
	kvmclock_set_master(&dst, true);
}

/*
 * The source's TSC was slower or faster than the destination's: its rate tells how
 * much time has passed and what the clock is now, the destination's how fast it
 * runs from now on; but not if it is the same host, see keeps_rate().
 */
static bool restore_rate(const struct kvm_clock_data *data, int way, const char *name)
{
	bool keeps = keeps_rate(data->flags);
	const struct kvm_clock_data before = kvmclock_get(&dst), *rate = keeps ? data : &before;
	char lines[64], tsc[64];
	struct restore r;

	snprintf(lines, sizeof(lines), "%s.line", name);
	snprintf(tsc, sizeof(tsc), "%s.tsc", name);
	prepare_tsc(way);
	restore(&r, &dst, data);
	restore_done(&r);
	if (keeps)
		forget_rate();
	return returned(&r) && lines_are_right(&r, lines, keeps) &&
	       vcpus_are_right(&r, lines) &&
	       check(r.got.tsc_to_system_mul == rate->tsc_to_system_mul &&
		     r.got.tsc_shift == rate->tsc_shift, "runs at %u, %d, not %u, %d",
		     r.got.tsc_to_system_mul, r.got.tsc_shift, rate->tsc_to_system_mul,
		     rate->tsc_shift) &&
	       (!(data->flags & KVM_CLOCK_REALTIME) ||
		realtime_is_right(&r, tsc, 1000UL * labs(judged_ppm))) &&
	       (data->flags != (KVM_CLOCK_HOST_TSC | KVM_CLOCK_GUEST_TSC) ||
		host_tsc_is_right(&r, tsc));
}

/* A source whose TSC ticks slower makes more nanoseconds of a cycle. */
static bool test_rate(int way, s32 ppm, const char *what)
{
	struct kvm_clock_data data = saved(ways[way].flags);
	char name[64];

	name_case(name, sizeof(name), what, way);
	judged_ppm = ppm;
	data.tsc_to_system_mul += (s64)data.tsc_to_system_mul * ppm / 1000000;
	return restore_rate(&data, way, name);
}

static bool test_slower(int way)
{
	return test_rate(way, 200, "slower");
}

static bool test_faster(int way)
{
	return test_rate(way, -200, "faster");
}

/*
 * A source that really runs at another frequency.  Without scaling, and at 1:1, KVM
 * lets it run at the host's.
 */
static bool test_other_source(int way)
{
	u32 khz = kvmclock_modes()[mode].khz;
	struct kvm_clock_data data;
	struct kvmclock_vm other;
	char name[64];

	khz = khz ? khz : kvmclock_host_khz();
	khz += (u64)khz * 200 / 1000000;
	kvmclock_vm_create(&other, khz, 1, 1);
	kvmclock_opt_in(&other, KVM_CLOCK_GUEST_TSC);
	kvmclock_set(&other, 77777 * NSEC_PER_SEC, 0, 0);
	data = kvmclock_get(&other);
	kvmclock_vm_destroy(&other);

	name_case(name, sizeof(name), "other_source", way);
	judged_ppm = 200;
	data.flags = ways[way].flags | KVM_CLOCK_GUEST_TSC;
	/* Its TSC stays there. */
	if (!ways[way].flags)
		data.guest_tsc = kvmclock_get_offset(src.vcpu[0]) +
				 kvmclock_scale(data.host_tsc, src.ratio);
	return restore_rate(&data, way, name);
}

/* The same rate with half the multiplier is no other frequency. */
static bool test_mul_shift(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_HOST_TSC);
	struct restore r;

	data.tsc_to_system_mul /= 2;
	data.tsc_shift++;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	forget_rate();
	return returned(&r) && lines_are_right(&r, "mul_shift.line", keeps_rate(data.flags)) &&
	       host_tsc_is_right(&r, "mul_shift.tsc");
}

/*
 * Once it runs at the rate of another kernel, the clock stays there: for a line that
 * is the guest's page, a value, and vCPUs that are created.
 */
static bool test_rate_stays(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_HOST_TSC), got;
	struct kvmclock_shot shot;
	struct restore r;
	bool ok;

	data.tsc_to_system_mul -= data.tsc_to_system_mul / 10000;
	prepare_tsc(1);
	restore(&r, &dst, &data);
	restore_done(&r);
	ok = returned(&r) && lines_are_right(&r, "rate_stays.line", true);

	/* The line as the page has it, which is no other. */
	got = kvmclock_get(&dst);
	got.flags = KVM_CLOCK_GUEST_TSC;
	restore(&r, &dst, &got);
	restore_done(&r);
	ok = ok && returned(&r) && lines_are_right(&r, "rate_stays.again", true);

	kvmclock_set(&dst, 1000 * NSEC_PER_SEC, 0, 0);
	add_vcpu(&dst);
	kvmclock_settle(&dst);
	kvmclock_shoot(&dst, &shot);
	forget_rate();
	return ok && check(shot.line[0].tsc_to_system_mul == data.tsc_to_system_mul &&
			   shot.line[0].tsc_shift == data.tsc_shift, "another rate");
}

static const char *no_kept_rate(void)
{
	return dst.ratio == 1ULL << kvmclock_frac_bits() ? NULL : "the TSC is scaled";
}

/* ---- SET(GET()) ---- */

#define NR_ROUND_TRIPS	150

struct readers {
	struct kvmclock_vm kc;
	struct kvmclock_thread thread[NR_VCPUS];
};

static void readers_create(struct readers *readers)
{
	struct kvmclock_vm *kc = &readers->kc;
	int i;

	kvmclock_vm_create(kc, kvmclock_modes()[mode].khz, NR_VCPUS, NR_VCPUS);
	kvmclock_opt_in(kc, KVM_CLOCK_GUEST_TSC);
	set_offsets(kc, kvmclock_get_offset(kc->vcpu[0]) + (1UL << 36));
	kvmclock_set(kc, 5000 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(kc);

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_set_code(kc, i, kvmclock_guest_reader);
}

static u64 readings(struct readers *readers, int i)
{
	return READ_ONCE(kvmclock_guest(&readers->kc, i)->arg[0]);
}

static void readers_start(struct readers *readers)
{
	int i, tries;

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_thread_start(&readers->thread[i], readers->kc.vcpu[i]);
	for (i = 0; i < NR_VCPUS; i++) {
		for (tries = 0; !readings(readers, i); tries++) {
			TEST_ASSERT(tries < 10000, "vCPU %d does not read", i);
			usleep(1000);
		}
	}
}

static void readers_stop(struct readers *readers)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_thread_stop(&readers->thread[i]);
}

static bool lines_are_same(const struct kvmclock_shot *a, const struct kvmclock_shot *b, int i)
{
	return check(a->offset[i] == b->offset[i], "vCPU %d: TSC moved by %ld", i,
		     (s64)(b->offset[i] - a->offset[i])) &&
	       check(a->line[i].tsc_timestamp == b->line[i].tsc_timestamp &&
		     a->line[i].system_time == b->line[i].system_time &&
		     a->line[i].tsc_to_system_mul == b->line[i].tsc_to_system_mul &&
		     a->line[i].tsc_shift == b->line[i].tsc_shift &&
		     a->line[i].flags == b->line[i].flags, "vCPU %d: the line is another", i);
}

/* Round trips while the vCPUs read, which do not have to leave the guest for it. */
static bool have_read_since(struct readers *readers, const u64 *first)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		if (readings(readers, i) <= first[i])
			return false;
	return true;
}

/* A busy host may not let a vCPU run at once: go on until all have read meanwhile. */
static bool round_trips(struct readers *readers, u32 flags, const u64 *first)
{
	struct kvm_clock_data data;
	int i, err, failed = 0;

	for (i = 0; i < NR_ROUND_TRIPS || (i < 10000 && !have_read_since(readers, first)); i++) {
		data = kvmclock_get(&readers->kc);
		data.flags = flags | KVM_CLOCK_GUEST_TSC;
		err = kvmclock_try_set(&readers->kc, &data);
		if (err && !failed++)
			check(!err, "round trip %d: errno %d", i, err);
		if (i >= NR_ROUND_TRIPS)
			usleep(1000);
	}
	return !failed;
}

static bool round_trips_change_nothing(struct readers *readers, u32 flags)
{
	u64 before_nr = 0, after_nr = 0, first[NR_VCPUS];
	struct kvmclock_vm *kc = &readers->kc;
	struct kvmclock_shot before, after;
	bool ok;
	int i;

	kvmclock_shoot(kc, &before);
	kvmclock_stat(kc, "clock_reanchors", &before_nr);
	readers_start(readers);
	for (i = 0; i < NR_VCPUS; i++)
		first[i] = readings(readers, i);
	ok = round_trips(readers, flags, first);
	readers_stop(readers);
	kvmclock_stat(kc, "clock_reanchors", &after_nr);
	kvmclock_shoot(kc, &after);

	ok &= check(before_nr == after_nr, "redrawn %lu times", after_nr - before_nr);
	for (i = 0; i < NR_VCPUS; i++) {
		ok &= lines_are_same(&before, &after, i);
		ok &= check(!kvmclock_guest(kc, i)->ret, "vCPU %d went back by %lu ns", i,
			    kvmclock_guest(kc, i)->ret);
		ok &= check(readings(readers, i) > first[i], "vCPU %d has not read", i);
	}
	return ok;
}

static bool test_round_trip(u32 flags)
{
	struct readers readers;
	bool ok;

	readers_create(&readers);
	ok = round_trips_change_nothing(&readers, flags);
	kvmclock_vm_destroy(&readers.kc);
	return ok;
}

static bool test_round_trip_host_tsc(void)
{
	return test_round_trip(KVM_CLOCK_HOST_TSC);
}

static bool test_round_trip_none(void)
{
	return test_round_trip(0);
}

/*
 * The TSC, set back by the guest, passes 0 between GET and SET, which changes nothing.
 * The anchor is ahead of it from then on: the line is drawn anew when KVM next has to
 * show it.
 */
static bool test_round_trip_wraps(u32 flags)
{
	struct kvmclock_shot before, after;
	struct kvm_clock_data data;
	bool ok;
	int err;

	set_offsets(&dst, -kvmclock_scale(rdtsc() + SEC_CYCLES / 3, dst.ratio));
	kvmclock_shoot(&dst, &before);
	data = kvmclock_get(&dst);
	data.flags = KVM_CLOCK_GUEST_TSC | flags;
	usleep(400000);
	err = kvmclock_try_set(&dst, &data);
	kvmclock_settle(&dst);
	kvmclock_shoot_lines(&dst, &after);
	ok = check((s64)data.guest_tsc < 0, "too late: it is %lu", (u64)data.guest_tsc) &
	     check(!err, "errno %d", err) & lines_are_same(&before, &after, 0);

	kvmclock_enable(&dst, 0, 0);
	kvmclock_settle(&dst);
	kvmclock_shoot(&dst, &after);
	return ok &
	       judge_one(kvmclock_step(&before, &after, 0, rdtsc()), "round_trip_wraps.step",
			 "ns", 0, kvmclock_rounding_ns(&before.line[0]));
}

static bool test_round_trip_wraps_none(void)
{
	return test_round_trip_wraps(0);
}

static bool test_round_trip_wraps_host_tsc(void)
{
	return test_round_trip_wraps(KVM_CLOCK_HOST_TSC);
}

/* With wall time added the TSC moves by the rounding of wall time, at most. */
static bool test_round_trip_realtime(void)
{
	struct kvm_clock_data data = kvmclock_get(&dst);
	struct restore r;

	data.flags &= ~KVM_CLOCK_HOST_TSC;
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, "round_trip_realtime", KVM_CLOCK_REALTIME);
}

/* ---- A snapshot, restored into the VM that it was taken of ---- */

/* As if no time had passed: the VMM says that it is of now. */
static bool test_snapshot(void)
{
	struct kvm_clock_data data = kvmclock_get(&dst);
	struct restore r;

	usleep(20000);
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	data.realtime = -1UL;
	restore(&r, &dst, &data);
	restore_done(&r);
	return returned(&r) && lines_are_right(&r, "snapshot.line", true) &&
	       vcpus_are_right(&r, "snapshot.vcpus") &&
	       tsc_was(&r, "snapshot.tsc", data.guest_tsc, r.begin, r.end);
}

/*
 * The clock has been set since, and the TSCs have been written.  What GET returned
 * is a point of the line of before.
 */
static bool test_snapshot_host_tsc(void)
{
	struct kvm_clock_data data = kvmclock_get(&dst);
	struct kvmclock_shot before;
	struct restore r;

	kvmclock_shoot(&dst, &before);
	prepare_tsc(1);
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	restore(&r, &dst, &data);
	restore_done(&r);
	return is_right(&r, "snapshot_host_tsc", KVM_CLOCK_HOST_TSC) &&
	       judge_one(r.after.offset[0] - before.offset[0], "snapshot_host_tsc.offset",
			 "cycles", 0, 0) &&
	       judge_one(kvmclock_step(&before, &r.after, 0, r.end), "snapshot_host_tsc.step",
			 "ns", -kvmclock_rounding_ns(&before.line[0]), 0);
}

/* ---- KVM_GET_CLOCK ---- */

static bool test_get(void)
{
	struct kvmclock_series clock = {}, cycles = {};
	struct kvmclock_shot shot;
	bool ok = true;
	int i;

	set_offsets(&dst, 12345678901);
	kvmclock_shoot(&dst, &shot);
	for (i = 0; i < 20; i++) {
		struct kvm_clock_data data = kvmclock_get(&dst);
		u64 tsc = kvmclock_tsc_at(&shot, 0, data.host_tsc);

		ok &= check(data.flags == KVMCLOCK_RESTORE_FLAGS, "flags 0x%x", data.flags);
		ok &= check(data.tsc_to_system_mul == shot.line[0].tsc_to_system_mul &&
			    data.tsc_shift == shot.line[0].tsc_shift, "%u, %d",
			    data.tsc_to_system_mul, data.tsc_shift);
		kvmclock_record(&cycles, data.guest_tsc - tsc);
		kvmclock_record(&clock, data.clock -
				kvmclock_eval(&shot.line[0], data.guest_tsc));
	}
	return judge(&cycles, "get.guest_tsc", "cycles", 0, 0) &&
	       judge(&clock, "get.clock", "ns", 0, 0) && ok;
}

/* Where the boot vCPU was written last, the TSC that GET returns is what a vCPU gets now. */
static bool test_get_reference(void)
{
	struct kvm_clock_data data;
	u64 offset;
	int i;

	set_offsets(&dst, 12345678901);
	data = kvmclock_get(&dst);
	i = kvmclock_vcpu_add(&dst);
	kvmclock_enable(&dst, i, 0);
	offset = kvmclock_get_offset(dst.vcpu[i]);
	return judge_one(data.guest_tsc - kvmclock_scale(data.host_tsc, dst.ratio) - offset,
			 "get_reference", "cycles", 0, 0);
}

/* It is the boot vCPU's, whatever was written to others later, and a guest to its own. */
static bool test_get_boot(void)
{
	struct kvm_clock_data data;
	u64 offset;

	set_offsets(&dst, 12345678901);
	kvmclock_run(&dst, 0, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, SEC_CYCLES);
	kvmclock_set_offset(dst.vcpu[1], 23456789012);
	offset = kvmclock_get_offset(dst.vcpu[0]);
	data = kvmclock_get(&dst);
	return judge_one(offset - 12345678901 - SEC_CYCLES, "get_boot.offset", "cycles", 0, 0) &&
	       judge_one(data.guest_tsc - kvmclock_scale(data.host_tsc, dst.ratio) - offset,
			 "get_boot", "cycles", 0, 0);
}

static bool only_flags(const struct kvm_clock_data *data, u32 flags)
{
	return check(data->flags == flags, "flags 0x%x, not 0x%x", data->flags, flags) &&
	       check(!data->tai_offset && kvmclock_has_no_line(data), "padding") &&
	       check(!data->host_tsc == !(flags & KVM_CLOCK_HOST_TSC), "host_tsc") &&
	       check(!data->realtime == !(flags & KVM_CLOCK_REALTIME), "realtime");
}

/* A VMM that asked for nothing gets what it always got. */
static bool test_get_without_opt_in(void)
{
	struct kvm_clock_data asked = kvmclock_get(&src), mono, none;

	kvmclock_opt_in(&dst, KVM_CLOCK_MONOTONIC);
	mono = kvmclock_get(&dst);
	kvmclock_opt_in(&dst, 0);
	none = kvmclock_get(&dst);
	kvmclock_opt_in(&dst, KVM_CLOCK_GUEST_TSC);
	return check(asked.flags == KVMCLOCK_RESTORE_FLAGS, "flags 0x%x", asked.flags) &&
	       only_flags(&mono, KVMCLOCK_MASTER_FLAGS) &&
	       only_flags(&none, KVMCLOCK_MASTER_FLAGS) &&
	       check(kvmclock_get(&dst).flags == KVMCLOCK_RESTORE_FLAGS, "not again");
}

static bool get_has_realtime_only(void)
{
	struct kvm_clock_data data;
	u64 before, after;

	before = kvmclock_realtime();
	data = kvmclock_get(&dst);
	after = kvmclock_realtime();
	return only_flags(&data, KVM_CLOCK_REALTIME) &&
	       check(data.realtime >= before && data.realtime <= after,
		     "%lu is not from %lu to %lu", (u64)data.realtime, before, after);
}

static bool test_get_without_master(void)
{
	bool ok;

	kvmclock_set_master(&dst, false);
	ok = get_has_realtime_only();
	kvmclock_set_master(&dst, true);
	return ok && check(kvmclock_get(&dst).flags == KVMCLOCK_RESTORE_FLAGS, "not again");
}

/* Clock and realtime are of one instant without master clock, too. */
static bool test_get_one_instant(void)
{
	struct kvmclock_series diff = {};
	struct kvm_clock_data last, data;
	u64 tsc, now;
	int i;

	kvmclock_set_master(&dst, false);
	tsc = rdtsc();
	last = kvmclock_get(&dst);
	for (i = 0; i < 20; i++) {
		data = kvmclock_get(&dst);
		now = rdtsc();
		kvmclock_record(&diff, kvmclock_without_drift((data.realtime - data.clock) -
				       (last.realtime - last.clock), tsc, now));
		last = data;
		tsc = now;
	}
	kvmclock_set_master(&dst, true);
	return judge(&diff, "get_one_instant_without_master", "ns", -1, 1);
}

/* ---- A destination that cannot run the master clock ---- */

/*
 * The clock advances with the wall time, and nothing else happens.  Both round down
 * in SET and in GET.
 */
static bool falls_back(const char *name, const struct kvm_clock_data *data)
{
	struct restore r;
	char what[64];
	s64 error;

	restore(&r, &dst, data);
	restore_done(&r);
	error = (r.got.clock - r.data.clock) - (r.got.realtime - r.data.realtime);
	snprintf(what, sizeof(what), "%s.clock", name);
	return check(!r.err, "SET: errno %d", r.err) && only_flags(&r.got, KVM_CLOCK_REALTIME) &&
	       check(!memcmp(r.before.offset, r.after.offset, sizeof(r.after.offset)),
		     "TSC moved by %ld", (s64)(r.after.offset[0] - r.before.offset[0])) &&
	       judge_one(kvmclock_without_drift(error, r.begin, rdtsc()), what, "ns", -2, 2);
}

static bool test_fallback_old_msr(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	bool ok;

	kvmclock_set_master(&dst, false);
	ok = falls_back("fallback_old_msr", &data);
	kvmclock_set_master(&dst, true);
	return ok;
}

static bool test_fallback_clocksource(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	const char *other = kvmclock_other_clocksource();
	bool ok;

	TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
	ok = check(kvmclock_wait_flags(&dst, KVM_CLOCK_REALTIME), "GET is not realtime alone");
	kvmclock_settle(&dst);
	ok &= falls_back("fallback_clocksource", &data);
	TEST_ASSERT(kvmclock_set_clocksource("tsc"), "Cannot switch to tsc");
	return ok & check(kvmclock_wait_flags(&dst, KVMCLOCK_RESTORE_FLAGS), "not again") &
	       check(kvmclock_wait_flags(&src, KVMCLOCK_RESTORE_FLAGS), "not the source");
}

/* ---- Policies ---- */

/*
 * No time is to pass: at the instant of the restore, the clock and the TSC are what
 * the record says, the one at the other, to the nanosecond and the cycle.
 */
static bool nothing_passes(const char *name, struct kvm_clock_data *data)
{
	char lines[64], tsc[64];
	struct restore r;

	snprintf(lines, sizeof(lines), "%s.line", name);
	snprintf(tsc, sizeof(tsc), "%s.tsc", name);
	data->flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	data->realtime = ~0ULL;
	prepare_tsc(1);
	restore(&r, &dst, data);
	restore_done(&r);
	return returned(&r) && lines_are_right(&r, lines, true) &&
	       vcpus_are_right(&r, lines) &&
	       tsc_was(&r, tsc, data->guest_tsc, r.begin, r.end);
}

static bool test_freeze(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);

	return nothing_passes("freeze", &data);
}

static bool test_start_over(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);

	data.clock = 0;
	data.guest_tsc = 0;
	return nothing_passes("start_over", &data);
}

/* In a VM that is new, as after a restart of the VMM. */
static bool test_freeze_first(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	struct kvmclock_vm fresh;
	struct restore r;
	bool ok;

	data.realtime = ~0ULL;
	create_without_vcpu(&fresh, NR_VCPUS);
	restore(&r, &fresh, &data);
	add_vcpu(&fresh);
	restore_done(&r);
	ok = check(!r.err, "SET: errno %d", r.err) &&
	     lines_are_right(&r, "freeze_first.line", true) &&
	     tsc_was(&r, "freeze_first.tsc", data.guest_tsc, r.begin, r.end);
	kvmclock_vm_destroy(&fresh);
	return ok;
}

/* Without master clock, the clock is what the record says at that instant, and no TSC moves. */
static bool test_freeze_fallback(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	struct restore r;
	s64 outside;
	bool ok;

	data.realtime = ~0ULL;
	kvmclock_set_master(&dst, false);
	restore(&r, &dst, &data);
	restore_done(&r);
	/* GET without master clock has no host TSC. */
	outside = kvmclock_outside(r.got.clock, data.clock,
				   data.clock + kvmclock_cycles_to_ns(rdtsc() - r.begin));
	ok = check(!r.err, "SET: errno %d", r.err) &&
	     only_flags(&r.got, KVM_CLOCK_REALTIME) &&
	     check(!memcmp(r.before.offset, r.after.offset, sizeof(r.after.offset)),
		   "a TSC moved") &&
	     judge_one(kvmclock_without_drift(outside, r.begin, rdtsc()), "freeze_fallback.clock",
		       "ns", 0, 0);
	kvmclock_set_master(&dst, true);
	return ok;
}

/* ---- What the guest sees of a pause ---- */

/* What both of a guest's clocks read between two readings of the host's wall clock. */
struct pause {
	u64 real_before, tsc, clock, real_after;
};

static void look(struct kvmclock_vm *kc, struct pause *at)
{
	at->real_before = kvmclock_realtime();
	at->tsc = kvmclock_run(kc, 0, KVMCLOCK_RDTSC, 0, 0);
	at->clock = kvmclock_run(kc, 0, KVMCLOCK_READ, 0, 0);
	at->real_after = kvmclock_realtime();
}

/* By how much @elapsed_ns is not what the wall clock has advanced by. */
static s64 pause_error(const struct pause *from, const struct pause *to, s64 elapsed_ns)
{
	s64 least = to->real_before - from->real_after, most = to->real_after - from->real_before;
	s64 error = elapsed_ns < least ? elapsed_ns - least :
		    elapsed_ns > most ? elapsed_ns - most : 0;

	return kvmclock_without(error, most, kvmclock_drift_ppb());
}

static struct pause pause_from, pause_to;

/*
 * Save the source, wait, restore the destination, with what this KVM has for it:
 * without GUEST_TSC, a VMM can write the TSC that it has saved and have wall time
 * added to the clock.  The destination's TSC counts from another time anyway.
 */
static void pause_and_restore(void)
{
	struct kvm_clock_data data;
	u64 tsc;
	int i;

	look(&src, &pause_from);
	tsc = vcpu_get_msr(src.vcpu[0], MSR_IA32_TSC);
	data = kvmclock_get(&src);
	usleep(1000000);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_set_msr(dst.vcpu[i], MSR_IA32_TSC, tsc);
	data.flags &= kvm_check_cap(KVM_CAP_ADJUST_CLOCK);
	kvmclock_try_set(&dst, &data);
	look(&dst, &pause_to);
}

static bool test_pause_kvmclock(void)
{
	pause_and_restore();
	return judge_one(pause_error(&pause_from, &pause_to, pause_to.clock - pause_from.clock),
			 "pause_kvmclock", "ns", -1, 1);
}

/* A guest that counts its TSC, at the frequency that it has found at boot. */
static bool test_pause_tsc(void)
{
	struct pvclock_vcpu_time_info line;

	kvmclock_snapshot(dst.page[0], &line);
	line.system_time = 0;
	line.tsc_timestamp = pause_from.tsc;
	return judge_one(pause_error(&pause_from, &pause_to,
				     kvmclock_line_at(&line, pause_to.tsc)),
			 "pause_tsc", "ns", -1, 1);
}

/* ---- Statistics ---- */

static bool test_stat(void)
{
	struct kvm_clock_data data = saved(KVM_CLOCK_REALTIME);
	u64 before = 0, after = 0;

	if (!kvmclock_stat(&dst, "clock_reanchors", &before))
		return check(false, "no statistic");
	kvmclock_try_set(&dst, &data);
	add_vcpu(&dst);
	kvmclock_settle(&dst);
	kvmclock_stat(&dst, "clock_reanchors", &after);
	return check(after == before + 1, "redrawn %lu times", after - before);
}

/* ---- All cases ---- */

static const struct {
	const char *name;
	bool (*run)(int way);
} way_tests[] = {
	{ "existing", test_existing },
	{ "created_after", test_created_after },
	{ "first", test_first },
	{ "slower", test_slower },
	{ "faster", test_faster },
	{ "other_source", test_other_source },
};

static const struct kvmclock_test tests[] = {
	{ "pause_kvmclock", test_pause_kvmclock, .always = true },
	{ "pause_tsc", test_pause_tsc, .always = true },
	{ "get", test_get },
	{ "get_reference", test_get_reference },
	{ "get_boot", test_get_boot },
	{ "get_without_opt_in", test_get_without_opt_in },
	{ "get_without_master", test_get_without_master },
	{ "get_one_instant_without_master", test_get_one_instant },
	{ "realtime_future", test_realtime_future },
	{ "realtime_20_years", test_realtime_20_years },
	{ "large_realtime", test_large_realtime },
	{ "large_host_tsc", test_large_host_tsc },
	{ "tsc_wraps", test_tsc_wraps },
	{ "mul_shift", test_mul_shift },
	{ "rate_stays", test_rate_stays, no_kept_rate },
	{ "round_trip_host_tsc", test_round_trip_host_tsc },
	{ "round_trip_none", test_round_trip_none },
	{ "round_trip_wraps_none", test_round_trip_wraps_none },
	{ "round_trip_wraps_host_tsc", test_round_trip_wraps_host_tsc },
	{ "round_trip_realtime", test_round_trip_realtime },
	{ "snapshot", test_snapshot },
	{ "snapshot_host_tsc", test_snapshot_host_tsc },
	{ "fallback_old_msr", test_fallback_old_msr },
	{ "fallback_clocksource", test_fallback_clocksource, kvmclock_no_clocksource },
	{ "freeze", test_freeze },
	{ "start_over", test_start_over },
	{ "freeze_first", test_freeze_first },
	{ "freeze_fallback", test_freeze_fallback },
	{ "stat", test_stat },
};

#define NR_WAY_TESTS	((int)ARRAY_SIZE(way_tests))
#define NR_TESTS	((int)ARRAY_SIZE(tests))

static void run_tests(bool always)
{
	int t;

	for (t = 0; t < NR_TESTS; t++)
		if (tests[t].always == always)
			kvmclock_run_test(&tests[t], KVM_CLOCK_GUEST_TSC,
					  kvmclock_modes()[mode].name);
}

static void run_way_test(int t, int way)
{
	const char *name = kvmclock_modes()[mode].name, *why = kvmclock_lacks(KVM_CLOCK_GUEST_TSC);

	if (why)
		ksft_test_result_skip("%s_%s %s: %s\n", way_tests[t].name, ways[way].name, name,
				      why);
	else
		ksft_test_result(way_tests[t].run(way), "%s_%s %s\n", way_tests[t].name,
				 ways[way].name, name);
}

static void run_mode(void)
{
	u32 khz = kvmclock_modes()[mode].khz;
	int t, way;

	kvmclock_vm_create(&src, khz, NR_VCPUS, NR_VCPUS);
	kvmclock_vm_create(&dst, khz, NR_VCPUS, MAX_VCPUS);
	kvmclock_opt_in(&src, KVM_CLOCK_GUEST_TSC);
	kvmclock_opt_in(&dst, KVM_CLOCK_GUEST_TSC);

	/* Without master clock where TSCs differ, a KVM would restore no time at all. */
	run_tests(true);
	set_offsets(&src, 1UL << 52);
	kvmclock_set(&src, 30 * 24 * 3600 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&src);
	run_tests(false);
	for (t = 0; t < NR_WAY_TESTS; t++)
		for (way = 0; way < NR_WAYS; way++)
			run_way_test(t, way);

	kvmclock_vm_destroy(&dst);
	kvmclock_vm_destroy(&src);
}

int main(void)
{
	kvmclock_start(0, NR_TESTS + NR_WAY_TESTS * NR_WAYS);
	srandom(1);
	for (mode = -1; kvmclock_next_mode(&mode);)
		run_mode();
	kvmclock_finished();
}
