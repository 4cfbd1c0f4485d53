// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that all kinds of guests go on when a TSC is set back.
 *
 * A page says what the clock was at a TSC, its anchor.  Once the TSC is below that,
 * because it was set back, Linux computes modulo 2^64 as before; but others compare
 * the two, or multiply them.  So the line is drawn anew by the time that the vCPU
 * enters the guest: in each page that it reads, the anchor is at or below its TSC, as
 * unsigned numbers.
 *
 * There is a case for each way to set back a TSC, of one vCPU and of all.  Then each
 * kind of guest has to read, in its own page and in the boot vCPU's, what KVM_GET_CLOCK
 * returns; the clock steps by the rounding that a new line costs, and there is one for
 * each time that a TSC is set back, not for each vCPU.
 */
#include "kvmclock.h"

#define NR_VCPUS	3

/* Of a vCPU that is never created: Hyper-V's page, and what Xen has beside it. */
#define SPARE_PAGE	(NR_VCPUS + 1)
#define XEN_TIME_INFO	2048

/* Where TSCs are before they are set back: far beyond the age of any line. */
#define FAR		BIT(50)

#define DAY_NS		(24UL * 3600 * NSEC_PER_SEC)

/* How far a reading may be from the host's clock where each vCPU has a line of its own. */
#define HOST_CLOCK_NS	1000

static struct kvmclock_vm kc;
static int mode;

static u64 tsc_of(int i)
{
	return kvmclock_scale(rdtsc(), kc.ratio) + kvmclock_get_offset(kc.vcpu[i]);
}

static bool judge(s64 value, const char *what, const char *unit, s64 low, s64 high)
{
	char key[96];

	snprintf(key, sizeof(key), "set_back.%s.%s", what, kvmclock_modes()[mode].name);
	kvmclock_measure(key, value, unit);
	return check(value >= low && value <= high, "%s: %ld %s, not %ld to %ld", what, value,
		     unit, low, high);
}

/* ---- A VM with all that guests read ---- */

static bool has_hyperv(void)
{
	return kvm_has_cap(KVM_CAP_HYPERV_TIME);
}

static bool has_xen(void)
{
	return kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_SHARED_INFO;
}

/* The secondary time info of vCPU 0, which Xen's vDSO reads. */
static void xen_enable(void)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000200,
	};
	struct kvm_xen_vcpu_attr attr = {
		.type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
		.u.gpa = addr_gva2gpa(kc.vm, kc.guest_gva[SPARE_PAGE]) + XEN_TIME_INFO,
	};
	int i;

	vm_ioctl(kc.vm, KVM_XEN_HVM_CONFIG, &config);
	vcpu_ioctl(kc.vcpu[0], KVM_XEN_VCPU_SET_ATTR, &attr);
	kc.xen_page = (void *)kvmclock_guest(&kc, SPARE_PAGE) + XEN_TIME_INFO;
	for (i = 0; i < kc.max_vcpus; i++)
		kvmclock_guest(&kc, i)->pages.xen = (void *)kc.guest_gva[SPARE_PAGE] +
						    XEN_TIME_INFO;
}

static void create(void)
{
	u32 khz = kvmclock_modes()[mode].khz;

	if (has_hyperv())
		kvmclock_hyperv_create(&kc, khz, NR_VCPUS, SPARE_PAGE);
	else
		kvmclock_vm_create(&kc, khz, NR_VCPUS, SPARE_PAGE + 1);
	if (has_xen())
		xen_enable();
	if (kvmclock_knows(KVM_CLOCK_GUEST_TSC))
		kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	kvmclock_settle(&kc);
}

/* ---- Before and after ---- */

static struct kvmclock_shot before, after;
static u64 reanchors;
/* By how many cycles a TSC is set back to what it began with. */
static u64 far_cycles;

/* TSCs are equal, and far ahead.  That is no cause for another line. */
static void start(void)
{
	int i;

	for (i = kc.nr_vcpus - 1; i >= 0; i--)
		kvmclock_set_offset(kc.vcpu[i], FAR);
	kvmclock_settle(&kc);
	for (i = 0; i < kc.nr_vcpus; i++)
		memset(kvmclock_guest(&kc, i)->reading, 0, sizeof(kvmclock_guest(&kc, i)->reading));
	kvmclock_shoot(&kc, &before);
	kvmclock_stat(&kc, "clock_reanchors", &reanchors);
	kvmclock_trace_start();
	far_cycles = tsc_of(0);
}

/* The lines that were drawn, and those among them because a TSC was set back. */
static bool redrawn(u64 all, u64 set_back)
{
	u64 now = 0, traced;
	bool ok = true;

	kvmclock_trace_stop();
	if (kvmclock_stat(&kc, "clock_reanchors", &now))
		ok = check(now - reanchors == all, "%lu new lines, not %lu", now - reanchors, all);
	if (kvmclock_no_tracepoint())
		return ok;

	traced = kvmclock_count_traced("kvm_clock_line: ", "cause tsc set back ");
	return ok & check(traced == set_back, "%lu traced, not %lu", traced, set_back);
}

/* What vCPU @i's guest itself reads, between two readings of the host. */
static bool looks_right(int i, s64 slack)
{
	struct kvmclock_guest *guest = kvmclock_guest(&kc, i);
	u64 low = kvmclock_get(&kc).clock - slack, high, linux_ns, unit;
	bool ok = true;
	s64 error;
	int kind;

	kvmclock_run(&kc, i, KVMCLOCK_LOOK, 0, 0);
	high = kvmclock_get(&kc).clock + slack;
	linux_ns = guest->reading[KVMCLOCK_LINUX];
	error = kvmclock_outside(linux_ns, low, high);
	ok &= check(guest->kinds & BIT(KVMCLOCK_LINUX) && !error, "vCPU %d: off by %ld ns", i,
		    error);
	error = kvmclock_outside(guest->counter, low / 100, high / 100);
	ok &= check(!kc.tsc_page || !error, "vCPU %d: Hyper-V's counter is off by %ld", i, error);
	for (kind = 0; kind < KVMCLOCK_NR_FORMULAS; kind++) {
		if (!(guest->kinds & BIT(kind)))
			continue;
		unit = kvmclock_formulas[kind].unit_ns;
		error = guest->reading[kind] - linux_ns / unit;
		ok &= check(labs(error) <= (unit > 1), "vCPU %d as %s: off by %ld", i,
			    kvmclock_formulas[kind].name, error);
	}
	return ok;
}

/* The boot vCPU comes last: others may read its page before. */
static bool all_look_right(s64 slack)
{
	bool ok = true;
	int i;

	for (i = kc.nr_vcpus - 1; i >= 0; i--)
		ok &= looks_right(i, slack);
	return ok;
}

/* As unsigned numbers. */
static bool anchors_are_behind(void)
{
	const struct pvclock_vcpu_time_info *boot = &after.line[0];
	u64 now = rdtsc(), tsc, anchor;
	bool ok = true;
	int i;

	for (i = 0; i < kc.nr_vcpus; i++) {
		tsc = kvmclock_tsc_at(&after, i, now);
		anchor = after.line[i].tsc_timestamp;
		ok &= check(anchor <= tsc, "vCPU %d: anchor 0x%lx, TSC 0x%lx", i, anchor, tsc) &
		      check(!kvmclock_is_stable(boot) || boot->tsc_timestamp <= tsc,
			    "vCPU %d: the boot vCPU's anchor 0x%lx, TSC 0x%lx", i,
			    (u64)boot->tsc_timestamp, tsc);
	}
	return ok;
}

/* To 1 ns, or besides the rounding of Hyper-V's page one of its units. */
static bool agrees_with_get(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);
	struct kvmclock_view view;
	bool ok = true;
	int i, kind;
	s64 error;
	u64 tsc;

	if (!check((data.flags & KVMCLOCK_MASTER_FLAGS) == KVMCLOCK_MASTER_FLAGS, "flags 0x%x",
		   data.flags))
		return false;

	for (i = 0; i < kc.nr_vcpus; i++) {
		tsc = kvmclock_tsc_at(&after, i, data.host_tsc);
		kvmclock_view_shot(&after, i, &view);
		for (kind = 0; kind < KVMCLOCK_NR_FORMULAS; kind++) {
			error = kvmclock_formula_error(kind, &view, tsc, data.clock);
			ok &= check(labs(error) <= (kind == KVMCLOCK_HYPERV ? 2 : 1),
				    "vCPU %d as %s: off by %ld", i, kvmclock_formulas[kind].name,
				    error);
		}
	}
	return ok;
}

/* Nothing is lost, and each new line may add what rounding costs. */
static bool steps_are_small(const char *what, u64 nr)
{
	s64 step, worst = 0;
	u64 now = rdtsc();
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		step = kvmclock_step(&before, &after, i, now);
		if (labs(step) > labs(worst))
			worst = step;
	}
	return judge(worst, what, "ns", 0, nr * kvmclock_rounding_ns(&before.line[0]));
}

/* All that a guest may do has been right since; Hyper-V's page has to be valid again. */
static bool guests_are_right(void)
{
	bool ok = all_look_right(1);

	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &after);
	ok &= anchors_are_behind() & agrees_with_get();
	if (kc.tsc_page)
		ok &= check(kvmclock_hyperv_is_valid(&after.tsc_page) ==
			    kvmclock_is_stable(&after.line[0]), "sequence 0x%x",
			    after.tsc_page.sequence);
	return ok;
}

/* The premise: TSCs of these vCPUs are what a CPU has that was just reset. */
static bool was_set_back(u64 vcpus)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		if (vcpus & BIT(i))
			ok &= check(tsc_of(i) < FAR / 2, "vCPU %d: TSC 0x%lx", i, tsc_of(i));
	return ok;
}

/* ---- Each way, on some vCPUs ---- */

static const struct {
	const char *name;
	u64 vcpus;
} scopes[] = {
	{ "all", BIT(NR_VCPUS) - 1 },
	{ "boot", BIT(0) },
	{ "other", BIT(1) },
};

#define NR_SCOPES	((int)ARRAY_SIZE(scopes))

/* What a reset by QEMU writes. */
static void host_msr(int i)
{
	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, 1);
}

static void guest_msr(int i)
{
	kvmclock_run(&kc, i, KVMCLOCK_WRMSR, MSR_IA32_TSC, 1);
}

static void guest_adjust(int i)
{
	kvmclock_run(&kc, i, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, -far_cycles);
}

static void host_offset(int i)
{
	kvmclock_set_offset(kc.vcpu[i], FAR - far_cycles);
}

static const struct way {
	const char *name;
	void (*set_back)(int i);
	/* Each vCPU, which enters the guest in between, becomes later than those before. */
	bool each;
} ways[] = {
	{ "host_msr", host_msr },
	{ "guest_msr", guest_msr, .each = true },
	{ "guest_adjust", guest_adjust },
	{ "host_offset", host_offset },
};

#define NR_WAYS		((int)ARRAY_SIZE(ways))

static void set_back(const struct way *way, u64 vcpus)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		if (vcpus & BIT(i))
			way->set_back(i);
}

static u64 expected(const struct way *way, u64 vcpus)
{
	return way->each ? __builtin_popcountl(vcpus) : 1;
}

static bool test_way(const struct way *way, u64 vcpus)
{
	u64 nr = expected(way, vcpus);
	bool ok;

	start();
	set_back(way, vcpus);
	ok = was_set_back(vcpus) & guests_are_right();
	return ok & steps_are_small(way->name, nr) & redrawn(nr, nr);
}

/* ---- Without master clock ---- */

/* Each vCPU has a line of its own, which it draws anew by itself. */
static bool test_host_clock(const struct way *way, u64 vcpus)
{
	bool ok;

	kvmclock_set_master(&kc, false);
	start();
	ok = check(!(kvmclock_get(&kc).flags & KVM_CLOCK_TSC_STABLE), "a master clock");
	set_back(way, vcpus);
	ok &= was_set_back(vcpus) & all_look_right(HOST_CLOCK_NS);
	kvmclock_shoot(&kc, &after);
	ok &= anchors_are_behind();
	kvmclock_trace_stop();
	kvmclock_set_master(&kc, true);
	return ok & guests_are_right();
}

/* ---- A machine that is reset ---- */

static const char *no_hyperv(void)
{
	return has_hyperv() ? NULL : "no KVM_CAP_HYPERV_TIME";
}

/* As QEMU does, and then a guest that has its page at the same place. */
static bool test_hyperv_reset(void)
{
	bool ok;
	int i;

	start();
	for (i = 0; i < NR_VCPUS; i++)
		host_msr(i);
	vcpu_set_msr(kc.vcpu[0], HV_X64_MSR_REFERENCE_TSC, 0);
	vcpu_set_msr(kc.vcpu[0], HV_X64_MSR_GUEST_OS_ID, 0);
	kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	kvmclock_run(&kc, 0, KVMCLOCK_WRMSR, HV_X64_MSR_REFERENCE_TSC,
		     addr_gva2gpa(kc.vm, kc.guest_gva[SPARE_PAGE]) | 1);
	ok = guests_are_right() &
	     check(kvmclock_guest(&kc, 0)->kinds & BIT(KVMCLOCK_HYPERV), "an invalid page");
	return ok & steps_are_small("hyperv_reset", 1) & redrawn(1, 1);
}

/* The clock of such a guest runs from the first reading on. */
static bool test_openbsd_goes_on(void)
{
	u64 *reading = kvmclock_guest(&kc, 0)->reading, last, linux_ns;
	bool ok = true;
	int i;

	start();
	host_msr(0);
	for (i = 0; i < 10; i++) {
		last = reading[KVMCLOCK_OPENBSD];
		linux_ns = reading[KVMCLOCK_LINUX];
		kvmclock_run(&kc, 0, KVMCLOCK_LOOK, 0, 0);
		ok &= check(reading[KVMCLOCK_OPENBSD] - last == reading[KVMCLOCK_LINUX] - linux_ns,
			    "%lu ns, Linux %lu", reading[KVMCLOCK_OPENBSD] - last,
			    reading[KVMCLOCK_LINUX] - linux_ns) &
		      check(reading[KVMCLOCK_OPENBSD] > last, "it stands still");
	}
	return ok & redrawn(1, 1);
}

/* ---- A VMM that knows nothing of all this ---- */

/* It sets the clock when it has written the TSCs, or before. */
static bool restores_by_msr(bool first, u64 set_backs)
{
	u64 begin = rdtsc(), end, ns = 30 * DAY_NS;
	bool ok;
	int i;

	start();
	for (i = 0; first && i < NR_VCPUS; i++)
		host_msr(i);
	begin = rdtsc();
	kvmclock_set(&kc, ns, 0, 0);
	end = rdtsc();
	for (i = 0; !first && i < NR_VCPUS; i++)
		host_msr(i);
	ok = guests_are_right();
	return ok & check((s64)(kvmclock_at(&after, 0, begin) - ns) <= 2 &&
			  (s64)(kvmclock_at(&after, 0, end) - ns) >= 0, "another clock") &
	       redrawn(1 + set_backs, set_backs);
}

static bool test_restore_msr_first(void)
{
	return restores_by_msr(true, 0);
}

static bool test_restore_msr_last(void)
{
	return restores_by_msr(false, 1);
}

/* ---- What sets no TSC back to where it has not been on this line ---- */

static void far_half_msr(int i)
{
	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, FAR / 2);
}

static void far_half_guest_msr(int i)
{
	kvmclock_run(&kc, i, KVMCLOCK_WRMSR, MSR_IA32_TSC, FAR / 2);
}

static void far_half_adjust(int i)
{
	kvmclock_run(&kc, i, KVMCLOCK_ADD_MSR, MSR_IA32_TSC_ADJUST, -(FAR / 2));
}

static void far_half_offset(int i)
{
	kvmclock_set_offset(kc.vcpu[i], FAR / 2);
}

static void far_twice_offset(int i)
{
	kvmclock_set_offset(kc.vcpu[i], 2 * FAR);
}

static void written_back(int i)
{
	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, vcpu_get_msr(kc.vcpu[i], MSR_IA32_TSC));
}

/* Written by the host, it moves no TSC. */
static void host_adjust(int i)
{
	vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC_ADJUST, 0);
}

static const struct way harmless[] = {
	{ "half_host_msr", far_half_msr },
	{ "half_guest_msr", far_half_guest_msr },
	{ "half_guest_adjust", far_half_adjust },
	{ "half_host_offset", far_half_offset },
	{ "twice_host_offset", far_twice_offset },
	{ "written_back", written_back },
	{ "host_adjust", host_adjust },
};

#define NR_HARMLESS	((int)ARRAY_SIZE(harmless))

static bool test_harmless(const struct way *way, u64 vcpus)
{
	bool ok;

	start();
	set_back(way, vcpus);
	ok = guests_are_right();
	return ok & steps_are_small(way->name, 0) & redrawn(0, 0);
}

/* ---- A vCPU that is added ---- */

/* It joins a TSC that was set back, and is the first to enter the guest. */
static bool test_added(u64 vcpus)
{
	bool ok;
	int i;

	create();
	start();
	set_back(&ways[0], vcpus);
	i = kvmclock_vcpu_add(&kc);
	if (has_hyperv())
		vcpu_set_hv_cpuid(kc.vcpu[i]);
	kvmclock_enable(&kc, i, 0);
	ok = check(tsc_of(i) < FAR / 2, "TSC 0x%lx", tsc_of(i)) & looks_right(i, 1);
	ok &= guests_are_right();
	ok &= steps_are_small("added", 1) & redrawn(1, 1);
	kvmclock_vm_destroy(&kc);
	return ok;
}

/* ---- KVM_CLOCK_GUEST_TSC ---- */

static const char *no_guest_tsc(void)
{
	return kvmclock_lacks(KVM_CLOCK_GUEST_TSC);
}

static u64 ms_cycles(u64 ms)
{
	u32 khz = kvmclock_modes()[mode].khz;

	return ms * (khz ? khz : kvmclock_host_khz());
}

/* By how much vCPU @i's line is not the one that was asked for, at any TSC. */
static bool line_is(const struct pvclock_vcpu_time_info *line, int i, const char *what)
{
	u64 tsc = kvmclock_tsc_at(&after, i, rdtsc());
	s64 error = kvmclock_line_at(&after.line[i], tsc) - kvmclock_line_at(line, tsc);

	return judge(error, what, "ns", -1, 1 + kvmclock_rounding_ns(line));
}

/*
 * A young guest, whose clock is old: its TSC is behind the age of this VM.  It goes on
 * from @guest_tsc, at which it passes 0 if that is negative.
 */
static bool restores(u32 flags, s64 guest_tsc, u64 set_backs, const char *what)
{
	struct kvm_clock_data data;
	struct pvclock_vcpu_time_info line;
	bool ok;
	int err;

	start();
	data = kvmclock_get(&kc);
	data.flags = KVM_CLOCK_GUEST_TSC | flags;
	data.clock = 30 * DAY_NS;
	data.guest_tsc = guest_tsc;
	data.realtime = ~0ULL;
	line = kvmclock_line_of(&data);
	err = kvmclock_try_set(&kc, &data);
	while (guest_tsc < 0 && (s64)tsc_of(0) < 0)
		usleep(1000);
	ok = check(!err, "errno %d", err) && guests_are_right();
	return ok & line_is(&line, 0, what) & redrawn(1 + set_backs, set_backs);
}

static bool test_restore_realtime(void)
{
	return restores(KVM_CLOCK_REALTIME, 1000, 0, "restore_realtime");
}

static bool test_restore_host_tsc(void)
{
	return restores(KVM_CLOCK_HOST_TSC, 1000, 0, "restore_host_tsc");
}

static bool test_restore_realtime_wraps(void)
{
	return restores(KVM_CLOCK_REALTIME, -ms_cycles(20), 1, "restore_realtime_wraps");
}

static bool test_restore_host_tsc_wraps(void)
{
	return restores(KVM_CLOCK_HOST_TSC, -ms_cycles(20), 1, "restore_host_tsc_wraps");
}

/* The VMM has set the TSC itself, before and after. */
static bool test_restore_none(void)
{
	struct pvclock_vcpu_time_info line;
	struct kvm_clock_data data;
	bool ok;
	int i, err;

	start();
	for (i = 0; i < NR_VCPUS; i++)
		host_msr(i);
	data = kvmclock_get(&kc);
	data.flags = KVM_CLOCK_GUEST_TSC;
	data.clock = 30 * DAY_NS;
	line = kvmclock_line_of(&data);
	err = kvmclock_try_set(&kc, &data);
	ok = check(!err, "errno %d", err) && guests_are_right();
	return ok & line_is(&line, 0, "restore_none") & redrawn(1, 0);
}

/* ---- The vCPU's own interface ---- */

static const char *no_vcpu_clock(void)
{
	return kvm_check_cap(KVM_CAP_CLOCK_GUEST) ? NULL :
	       "this KVM has no KVM_CAP_CLOCK_GUEST";
}

static int get_line(int i, struct pvclock_vcpu_time_info *line)
{
	return ioctl(kc.vcpu[i]->fd, KVM_GET_CLOCK_GUEST, line) ? errno : 0;
}

static int set_line(int i, const struct pvclock_vcpu_time_info *line)
{
	return ioctl(kc.vcpu[i]->fd, KVM_SET_CLOCK_GUEST, line) ? errno : 0;
}

static bool set_get(int i)
{
	struct pvclock_vcpu_time_info line;
	int err_get = get_line(i, &line), err_set = set_line(i, &line);

	return check(!err_get && !err_set, "vCPU %d: errno %d, %d", i, err_get, err_set) &&
	       check(line.tsc_timestamp <= tsc_of(i), "vCPU %d: anchor 0x%lx", i,
		     (u64)line.tsc_timestamp);
}

/*
 * What KVM_GET_CLOCK_GUEST returns, KVM_SET_CLOCK_GUEST takes, and changes nothing, also
 * before any vCPU has entered the guest.
 */
static bool test_set_get(const struct way *way, u64 vcpus)
{
	bool ok = true;
	int i;

	start();
	set_back(way, vcpus);
	for (i = 0; i < NR_VCPUS; i++)
		ok &= set_get(i);
	ok &= guests_are_right();
	return ok & steps_are_small("set_get", expected(way, vcpus)) &
	       redrawn(expected(way, vcpus), expected(way, vcpus));
}

/* What is behind vCPU 1's TSC, which is ahead, is before vCPU 0's has begun. */
static bool test_set_clock_guest(void)
{
	struct pvclock_vcpu_time_info line;
	int err;
	bool ok;

	start();
	kvmclock_set_offset(kc.vcpu[1], 2 * FAR);
	err = get_line(1, &line);
	line.tsc_timestamp = 12345;
	line.system_time = DAY_NS;
	err = err ? : set_line(1, &line);
	ok = check(!err, "errno %d", err) && guests_are_right();
	return ok & line_is(&line, 1, "set_clock_guest") & redrawn(2, 1);
}

/* ---- All cases ---- */

static const struct {
	const char *name;
	bool (*run)(const struct way *way, u64 vcpus);
	const struct way *ways;
	int nr_ways;
	const char *(*missing)(void);
} way_tests[] = {
	{ "", test_way, ways, NR_WAYS },
	{ "host_clock_", test_host_clock, ways, NR_WAYS },
	{ "no_cause_", test_harmless, harmless, NR_HARMLESS },
	{ "set_get_", test_set_get, ways, NR_WAYS, no_vcpu_clock },
};

#define NR_WAY_RESULTS	((3 * NR_WAYS + NR_HARMLESS) * NR_SCOPES)

static const struct kvmclock_test tests[] = {
	{ "hyperv_reset", test_hyperv_reset, no_hyperv },
	{ "openbsd_goes_on", test_openbsd_goes_on },
	{ "restore_msr_first", test_restore_msr_first },
	{ "restore_msr_last", test_restore_msr_last },
	{ "restore_realtime", test_restore_realtime, no_guest_tsc },
	{ "restore_host_tsc", test_restore_host_tsc, no_guest_tsc },
	{ "restore_realtime_wraps", test_restore_realtime_wraps, no_guest_tsc },
	{ "restore_host_tsc_wraps", test_restore_host_tsc_wraps, no_guest_tsc },
	{ "restore_none", test_restore_none, no_guest_tsc },
	{ "set_clock_guest", test_set_clock_guest, no_vcpu_clock },
};

#define NR_TESTS	((int)ARRAY_SIZE(tests))

static void run_way_test(int t, int way, int scope)
{
	const char *why = way_tests[t].missing ? way_tests[t].missing() : NULL;
	const struct way *what = &way_tests[t].ways[way];
	char name[96];

	snprintf(name, sizeof(name), "%s%s_%s %s", way_tests[t].name, what->name,
		 scopes[scope].name, kvmclock_modes()[mode].name);
	if (why)
		ksft_test_result_skip("%s: %s\n", name, why);
	else
		ksft_test_result(way_tests[t].run(what, scopes[scope].vcpus), "%s\n", name);
}

static void run_mode(void)
{
	const char *name = kvmclock_modes()[mode].name;
	int t, way, scope;

	create();
	for (t = 0; t < ARRAY_SIZE(way_tests); t++)
		for (way = 0; way < way_tests[t].nr_ways; way++)
			for (scope = 0; scope < NR_SCOPES; scope++)
				run_way_test(t, way, scope);
	for (t = 0; t < NR_TESTS; t++)
		kvmclock_run_test(&tests[t], 0, name);
	kvmclock_vm_destroy(&kc);

	ksft_test_result(test_added(scopes[0].vcpus), "added_all %s\n", name);
	ksft_test_result(test_added(scopes[2].vcpus), "added_other %s\n", name);
}

int main(void)
{
	kvmclock_start(0, NR_WAY_RESULTS + NR_TESTS + 2);
	/* In host clock mode, a vCPU that moves to another CPU gets another line. */
	pin_self_to_cpu(0);
	for (mode = -1; kvmclock_next_mode(&mode);)
		run_mode();
	kvmclock_finished();
}
