// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Unit test of probing, saving and restoring, on simulated kernels: what they
 * offer, what goes wrong in them, and what must be as before if it does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_kvm.h"
#include "tap.h"
#include "tsc_math.h"

#define STOCK	14	/* what KVM_CAP_ADJUST_CLOCK returns: mainline, */
#define OURS	254	/* with all that this tree adds, */
#define FIRST	62	/* with GUEST_TSC and MONOTONIC only, */
#define COMING	(STOCK | 1 << 16)	/* with KVM_CAP_CLOCK_GUEST in place of that, */
#define ANCIENT	1	/* before there were flags */

#define SECOND	1000000000LL

static const int fds[FAKE_VCPUS] = { FAKE_VCPU_FD, FAKE_VCPU_FD + 1, FAKE_VCPU_FD + 2,
				     FAKE_VCPU_FD + 3 };

/* ---- Hosts and moves ---- */

static struct fake_kvm host(int adjust_clock, uint32_t khz, uint64_t tsc)
{
	return (struct fake_kvm){
		.adjust_clock = adjust_clock & 0xffff,
		.clock_guest = adjust_clock == OURS || adjust_clock == COMING,
		.khz = khz,
		.vm_khz = khz,
		.frac_bits = 48,
		.step = 100,
		.tsc = tsc,
		.wall_ns = 1800000000 * SECOND - (__uint128_t)tsc * 1000000 / khz,
		.no_tsc_offset = adjust_clock == ANCIENT,
	};
}

static struct fake_kvm source(int adjust_clock)
{
	return host(adjust_clock, 3000000, 5000000 * SECOND);
}

static struct fake_kvm destination(int adjust_clock)
{
	return host(adjust_clock, 2200000, 77 * SECOND);
}

struct side {
	struct fake_kvm *host;
	struct kvmclock_caps caps;
	struct kvmclock_vm vm;
};

static void use(struct side *side, struct fake_kvm *h, uint32_t nr_vcpus)
{
	struct fake_kvm scratch = *h;

	/* Probing creates a VM of its own. */
	scratch.nr_vcpus = 0;
	fake_use(&scratch);
	kvmclock_probe(-1, &side->caps);
	fake_use(h);
	side->host = h;
	side->vm = (struct kvmclock_vm) {
		.vm_fd = FAKE_VM_FD, .vcpu_fds = fds, .nr_vcpus = nr_vcpus, .caps = &side->caps,
	};
}

/* As a VMM does: prepare, then create vCPUs. */
static int prepare(struct side *side, uint32_t khz)
{
	uint32_t nr_vcpus = side->vm.nr_vcpus, i;
	int r;

	side->vm.nr_vcpus = 0;
	r = kvmclock_prepare(&side->vm, khz, 0);
	side->vm.nr_vcpus = nr_vcpus;
	side->host->nr_vcpus = nr_vcpus;
	for (i = 0; i < nr_vcpus; i++)
		side->host->offset[i] = side->host->ref_offset;

	return r;
}

/* A guest that runs at 1.5 GHz since an hour, its vCPUs' TSCs @skew apart. */
static struct kvmclock_record *saved(struct fake_kvm *from, uint32_t nr_vcpus, int64_t skew)
{
	struct kvmclock_record *rec = NULL;
	struct side side;
	uint32_t i;

	use(&side, from, nr_vcpus);
	prepare(&side, 1500000);
	for (i = 0; i < nr_vcpus; i++)
		from->offset[i] = from->ref_offset + 12345 + i * skew;
	fake_set_clock(from, 3600 * SECOND);
	fake_run(from, 2 * SECOND);
	if (kvmclock_save(&side.vm, 0, &rec))
		return NULL;

	return rec;
}

/* Another second passes on the way. */
static int restored(struct fake_kvm *to, const struct kvmclock_record *rec, uint32_t way,
		    uint32_t nr_vcpus, struct kvmclock_report *rep)
{
	struct kvmclock_restore_options opt = { .way = way };
	struct kvmclock_info info;
	struct side side;

	kvmclock_record_info(rec, &info);
	use(&side, to, nr_vcpus);
	prepare(&side, info.tsc_khz);
	if (fake_wall(to) < info.realtime_ns + SECOND)
		fake_run(to, info.realtime_ns + SECOND - fake_wall(to));

	return kvmclock_restore(&side.vm, rec, &opt, rep);
}

static int64_t magnitude(int64_t x)
{
	return x < 0 ? -x : x;
}

static bool near(int64_t a, int64_t b, int64_t limit)
{
	return magnitude(a - b) <= limit;
}

/* ---- Truth: what the destination's guest reads, against the record ---- */

static int64_t clock_error(const struct fake_kvm *h, const struct kvmclock_record *rec)
{
	return (fake_clock(h) - rec->clock) - (fake_wall(h) - rec->realtime);
}

static int64_t relation_error(const struct fake_kvm *h, const struct kvmclock_record *rec,
			      uint32_t vcpu)
{
	return fake_clock(h) - rec->clock -
	       kvmclock_cycles_to_ns_signed(fake_tsc(h, vcpu) - rec->vcpus[vcpu].tsc, rec->mul,
					    rec->shift);
}

static bool skew_of(const int64_t written[3])
{
	return written[0] != written[1] || written[0] != written[2];
}

static bool skews_kept(const struct fake_kvm *h, const struct kvmclock_record *rec)
{
	uint32_t i;

	for (i = 0; i < rec->nr_vcpus; i++) {
		if ((int64_t)(h->offset[i] - h->offset[0]) != kvmclock_record_skew(rec, i))
			return false;
	}

	return true;
}

/* ---- Cases ---- */

static void test_probe(void)
{
	struct fake_kvm stock = source(STOCK), ours = source(OURS), old = source(ANCIENT),
			none = source(0);
	struct kvmclock_caps caps;

	fake_use(&stock);
	tap_ok(!kvmclock_probe(-1, &caps) && caps.adjust_clock == STOCK && caps.tsc_offset &&
	       caps.host_khz == 3000000 && caps.frac_bits == 48 && caps.tolerance_ppm == 250 &&
	       caps.clock_flags == STOCK && !caps.clock_guest, "probe stock");
	fake_use(&ours);
	tap_ok(!kvmclock_probe(-1, &caps) && caps.adjust_clock == OURS && caps.clock_guest,
	       "probe ours");
	fake_use(&old);
	tap_ok(!kvmclock_probe(FAKE_KVM_FD, &caps) && caps.adjust_clock == 1 && !caps.tsc_offset,
	       "probe ancient");
	fake_use(&none);
	none.no_kvm = true;
	tap_ok(kvmclock_probe(-1, &caps) == KVMCLOCK_E_NO_KVM && errno == ENOENT,
	       "probe without /dev/kvm");
	tap_ok(kvmclock_probe(-1, NULL) == KVMCLOCK_E_ARGUMENT, "probe into nothing");
	fake_use(&old);
	old.get_khz_errno = EIO;
	tap_ok(kvmclock_probe(-1, &caps) == KVMCLOCK_E_KERNEL && errno == EIO,
	       "probe, no frequency: errno is the reason");
}

static void test_prepare(void)
{
	struct fake_kvm ours = destination(OURS), stock = destination(STOCK),
			old = destination(ANCIENT);
	struct side side;

	use(&side, &ours, 0);
	tap_ok(!kvmclock_prepare(&side.vm, 1500000, 0) &&
	       ours.opt_in == (KVMCLOCK_GUEST_TSC | KVMCLOCK_TAI) && ours.vm_khz == 1500000,
	       "prepare ours");
	tap_ok(!kvmclock_prepare(&side.vm, 0, KVMCLOCK_MONOTONIC) &&
	       ours.opt_in == (KVMCLOCK_GUEST_TSC | KVMCLOCK_TAI | KVMCLOCK_MONOTONIC),
	       "prepare ours, monotonic");
	ours.adjust_clock = FIRST;
	use(&side, &ours, 0);
	tap_ok(!kvmclock_prepare(&side.vm, 0, 0) && ours.opt_in == KVMCLOCK_GUEST_TSC,
	       "prepare the first kernel of ours");
	ours.adjust_clock = OURS;
	use(&side, &ours, 0);
	tap_ok(kvmclock_prepare(&side.vm, 1u << 31, 0) == KVMCLOCK_E_ARGUMENT,
	       "prepare for 2^31 kHz");
	tap_ok(kvmclock_prepare(&side.vm, 0, 1) == KVMCLOCK_E_ARGUMENT,
	       "prepare with an unknown flag");

	use(&side, &stock, 0);
	tap_ok(!kvmclock_prepare(&side.vm, 1500000, 0) && !stock.opt_in, "prepare stock");
	tap_ok(kvmclock_prepare(&side.vm, 0, KVMCLOCK_MONOTONIC) == KVMCLOCK_E_UNSUPPORTED,
	       "stock is not monotonic");

	old.no_tsc_control = true;
	use(&side, &old, 0);
	tap_ok(kvmclock_prepare(&side.vm, 1500000, 0) == KVMCLOCK_E_FREQUENCY &&
	       old.vm_khz == 2200000,
	       "prepare for a frequency that cannot be");
	tap_ok(!kvmclock_prepare(&side.vm, 2200100, 0), "prepare for one that is near enough");

	old.adjust_clock = 0;
	use(&side, &old, 0);
	tap_ok(kvmclock_prepare(&side.vm, 0, 0) == KVMCLOCK_E_UNSUPPORTED,
	       "prepare without the capability");
}

static void test_save(int kernel, const char *name)
{
	struct fake_kvm from = source(kernel);
	struct kvmclock_record *rec = saved(&from, 3, 1000);
	struct kvmclock_info info;
	int64_t late;

	if (!tap_ok(rec, "%s: save", name))
		return;
	kvmclock_record_info(rec, &info);
	tap_ok(info.nr_vcpus == 3 && info.tsc_khz == 1500000 && info.host_khz == 3000000,
	       "%s: save, numbers", name);
	tap_ok(!!(info.flags & KVMCLOCK_GUEST_TSC) == (kernel == OURS), "%s: save, flags", name);
	tap_ok(kernel == ANCIENT ? info.sample_ns && info.sample_ns < 1000 : !info.sample_ns,
	       "%s: save, width of the instant %u ns", name, info.sample_ns);
	late = kvmclock_cycles_to_ns_signed(fake_tsc(&from, 0) - info.guest_tsc, info.mul,
					    info.shift);
	tap_ok(near(late, fake_clock(&from) - info.clock_ns, info.sample_ns + 2),
	       "%s: save, TSC is the clock's", name);
	tap_ok(near(kvmclock_record_skew(rec, 2), 2000, kernel == ANCIENT ? 500 : 0),
	       "%s: save, skew", name);
	tap_ok(!from.offset_writes && !from.msr_writes && !from.clock_writes,
	       "%s: save writes nothing", name);
	kvmclock_record_free(rec);
}

static void test_save_error(const char *name, struct fake_kvm *from, uint32_t flags,
			    uint32_t nr_vcpus, int expect)
{
	struct kvmclock_record *rec = (void *)from;
	struct side side;
	int r;

	use(&side, from, nr_vcpus);
	from->nr_vcpus = nr_vcpus;
	r = kvmclock_save(&side.vm, flags, &rec);
	tap_ok(r == expect && !rec, "save, %s: %s, no record", name, kvmclock_strerror(r));
}

static void test_save_errors(void)
{
	struct fake_kvm ours = source(OURS), stock = source(STOCK), none = source(0);

	test_save_error("no vCPU", &ours, 0, 0, KVMCLOCK_E_ARGUMENT);
	test_save_error("unknown flag", &ours, 1, 1, KVMCLOCK_E_ARGUMENT);
	test_save_error("no capability", &none, 0, 1, KVMCLOCK_E_UNSUPPORTED);
	test_save_error("stock is not monotonic", &stock, KVMCLOCK_MONOTONIC, 1,
			KVMCLOCK_E_UNSUPPORTED);
	stock.wrong_ratio = true;
	stock.vm_khz = 1500000;
	stock.tsc = 1ULL << 62;
	test_save_error("wrong ratio", &stock, 0, 1, KVMCLOCK_E_SCALE);
	ours.vcpu_runs = true;
	test_save_error("a vCPU runs", &ours, 0, 1, KVMCLOCK_E_BUSY);
	tap_ok(!ours.waits && !ours.clock_writes, "save, a vCPU runs: nothing waits or writes");
	ours.vcpu_runs = false;
	ours.enable_cap_errno = EPERM;
	test_save_error("monotonic is refused", &ours, KVMCLOCK_MONOTONIC, 1, KVMCLOCK_E_KERNEL);
	fake_set_clock(&ours, 1ULL << 63);
	test_save_error("clock out of range", &ours, 0, 1, KVMCLOCK_E_RANGE);
}

/* A VM that may not opt in has what a kernel has that knows nothing to opt in to. */
static void test_refused(void)
{
	struct fake_kvm ours = source(OURS), other = destination(OURS);
	struct kvmclock_record *rec;
	struct kvmclock_report rep;
	struct kvmclock_info info;
	struct side side;
	int r;

	ours.enable_cap_errno = EPERM;
	use(&side, &ours, 0);
	tap_ok(!kvmclock_prepare(&side.vm, 1500000, 0) && ours.vm_khz == 1500000 && !ours.opt_in,
	       "opt-in refused: prepare");
	tap_ok(kvmclock_prepare(&side.vm, 0, KVMCLOCK_MONOTONIC) == KVMCLOCK_E_KERNEL &&
	       errno == EPERM, "opt-in refused: not monotonic");

	ours = source(OURS);
	ours.enable_cap_errno = EPERM;
	rec = saved(&ours, 2, 300);
	if (!tap_ok(rec, "opt-in refused: save"))
		return;
	kvmclock_record_info(rec, &info);
	tap_ok(!(info.flags & KVMCLOCK_GUEST_TSC) && !info.sample_ns,
	       "opt-in refused: as stock saves");

	other.enable_cap_errno = EPERM;
	r = restored(&other, rec, KVMCLOCK_WAY_EXACT, 2, &rep);
	tap_ok(r == KVMCLOCK_E_UNSUPPORTED && !other.clock_writes, "opt-in refused: not exact");
	r = restored(&other, rec, KVMCLOCK_WAY_SAME_HOST, 2, &rep);
	tap_ok(r == KVMCLOCK_E_UNSUPPORTED && !other.clock_writes,
	       "opt-in refused: not same host");

	other = destination(OURS);
	other.enable_cap_errno = EPERM;
	r = restored(&other, rec, KVMCLOCK_WAY_OFFSET, 2, &rep);
	tap_ok(!r && near(clock_error(&other, rec), 0, 10) &&
	       near(relation_error(&other, rec, 1), 0, 3) && skews_kept(&other, rec),
	       "opt-in refused: by offsets");
	kvmclock_record_free(rec);
}

static void test_version(void)
{
	char header[16];

	snprintf(header, sizeof(header), "%d.%d", KVMCLOCK_VERSION_MAJOR, KVMCLOCK_VERSION_MINOR);
	tap_ok(!strcmp(kvmclock_version(), header), "version %s", kvmclock_version());
}

/* What holds for @way: errors of clock, of relation, in ns. */
static void test_move(int from_kernel, int to_kernel, uint32_t ask, uint32_t expect, int64_t clock,
		      int64_t relation)
{
	struct fake_kvm from = source(from_kernel), to = destination(to_kernel);
	struct kvmclock_record *rec = saved(&from, 3, -70000);
	struct kvmclock_report rep;
	char name[80];
	int r;

	snprintf(name, sizeof(name), "%d to %d, %s", from_kernel, to_kernel,
		 kvmclock_way_name(ask));
	r = restored(&to, rec, ask, 3, &rep);
	if (!tap_ok(!r && rep.way == expect, "%s: way %s (%s)", name, kvmclock_way_name(rep.way),
		    kvmclock_strerror(r)))
		goto out;

	tap_ok(near(clock_error(&to, rec), 0, clock), "%s: clock %lld ns off", name,
	       (long long)clock_error(&to, rec));
	tap_ok(near(relation_error(&to, rec, 2), 0, relation), "%s: relation %lld ns off", name,
	       (long long)relation_error(&to, rec, 2));
	tap_ok(near(rep.clock_error_ns, clock_error(&to, rec), rep.clock_bound_ns + 2) &&
	       near(rep.relation_error_ns, relation_error(&to, rec, 0), rep.relation_bound_ns + 2),
	       "%s: the report says so", name);
	tap_ok(near(rep.tsc_error_ns, rep.clock_error_ns - rep.relation_error_ns, 1),
	       "%s: TSC, too", name);
	if (to_kernel != ANCIENT && from_kernel != ANCIENT && expect != KVMCLOCK_WAY_PLAIN)
		tap_ok(skews_kept(&to, rec), "%s: differences between vCPUs stay", name);
	if (expect == KVMCLOCK_WAY_EXACT)
		tap_ok(!to.last_offset_vcpu, "%s: vCPU 0's TSC is written last", name);
	tap_ok(!!(rep.notes & KVMCLOCK_NOTE_SAVED_INEXACT) == !(from_kernel & KVMCLOCK_GUEST_TSC),
	       "%s: note of the source", name);
	tap_ok(!!(rep.notes & KVMCLOCK_NOTE_DOWNTIME_LOST) == (expect == KVMCLOCK_WAY_PLAIN),
	       "%s: note of the downtime", name);
out:
	kvmclock_record_free(rec);
}

static void test_moves(void)
{
	const uint32_t automatic = KVMCLOCK_WAY_AUTO, exact = KVMCLOCK_WAY_EXACT;
	const uint32_t offset = KVMCLOCK_WAY_OFFSET, plain = KVMCLOCK_WAY_PLAIN;
	const uint32_t guest = KVMCLOCK_WAY_GUEST;

	test_move(OURS, OURS, automatic, exact, 10, 3);
	test_move(OURS, FIRST, automatic, exact, 10, 3);
	test_move(FIRST, OURS, automatic, exact, 10, 3);
	test_move(OURS, OURS, guest, guest, 1000, 3);
	test_move(OURS, COMING, automatic, guest, 1000, 3);
	test_move(COMING, COMING, automatic, guest, 1000, 3);
	test_move(COMING, STOCK, automatic, offset, 10, 3);
	test_move(OURS, OURS, offset, offset, 10, 3);
	test_move(OURS, STOCK, automatic, offset, 10, 3);
	test_move(STOCK, OURS, automatic, exact, 10, 3);
	test_move(STOCK, STOCK, automatic, offset, 10, 3);
	test_move(STOCK, STOCK, plain, plain, 2 * SECOND, 2000);
	test_move(STOCK, ANCIENT, automatic, plain, 2 * SECOND, 2000);
	test_move(ANCIENT, ANCIENT, automatic, plain, 2 * SECOND, 2000);
	test_move(ANCIENT, STOCK, automatic, offset, 2000, 2000);
	test_move(ANCIENT, OURS, automatic, exact, 2000, 2000);
}

/* Unscaled, the formula of vcpu.rst is right; scaled, it is far off. */
static void test_documented(void)
{
	struct fake_kvm from = source(STOCK), to = host(STOCK, 3000000, 77 * SECOND);
	struct kvmclock_record *rec = NULL;
	struct kvmclock_report rep;
	struct side side;
	int r;

	use(&side, &from, 2);
	prepare(&side, 0);
	fake_set_clock(&from, SECOND);
	kvmclock_save(&side.vm, 0, &rec);
	r = restored(&to, rec, KVMCLOCK_WAY_DOCUMENTED, 2, &rep);
	tap_ok(!r && near(relation_error(&to, rec, 1), 0, 5), "documented, not scaled: %lld ns off",
	       (long long)rep.relation_error_ns);
	kvmclock_record_free(rec);

	rec = saved(&from, 2, 0);
	to = destination(STOCK);
	r = restored(&to, rec, KVMCLOCK_WAY_DOCUMENTED, 2, &rep);
	tap_ok(!r && !near(relation_error(&to, rec, 1), 0, SECOND) &&
	       near(rep.relation_error_ns, relation_error(&to, rec, 0), 5),
	       "documented, scaled: %lld ns off, and says so", (long long)rep.relation_error_ns);
	kvmclock_record_free(rec);
}

static void test_same_host(void)
{
	struct fake_kvm from = source(OURS), to;
	struct kvmclock_record *rec = saved(&from, 3, 4321);
	struct kvmclock_report rep;
	int r;

	to = from;
	to.ref_offset = 0;
	to.wall_ns += 86400 * SECOND;	/* somebody sets the wall clock meanwhile */
	r = restored(&to, rec, KVMCLOCK_WAY_SAME_HOST, 3, &rep);
	tap_ok(!r && rep.way == KVMCLOCK_WAY_SAME_HOST, "same host");
	tap_ok(!memcmp(to.offset, from.offset, sizeof(to.offset)),
	       "same host: offsets to the cycle");
	tap_ok(near(relation_error(&to, rec, 0), 0, 1), "same host: relation");
	kvmclock_record_free(rec);

	rec = saved(&from, 1, 0);
	to = source(STOCK);
	r = restored(&to, rec, KVMCLOCK_WAY_SAME_HOST, 1, &rep);
	tap_ok(r == KVMCLOCK_E_UNSUPPORTED && !to.clock_writes && !to.offset_writes,
	       "same host, stock: not offered");
	r = restored(&to, rec, KVMCLOCK_WAY_EXACT, 1, &rep);
	tap_ok(r == KVMCLOCK_E_UNSUPPORTED && !to.clock_writes && !to.offset_writes,
	       "exact, stock: not offered");
	kvmclock_record_free(rec);
}

/*
 * What the guest has written to its TSCs, by which they differ from what a vCPU that is
 * created now would read.  The destination has vCPUs that are equal, or not, before.
 */
static void test_written(const char *name, const int64_t written[3], bool spoilt)
{
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_restore_options opt = { };
	struct kvmclock_report rep;
	struct kvmclock_record *rec;
	struct side side;
	uint32_t i;
	int r;

	use(&side, &from, 3);
	prepare(&side, 1500000);
	for (i = 0; i < 3; i++)
		from.offset[i] = from.ref_offset + written[i];
	fake_set_clock(&from, 3600 * SECOND);
	fake_run(&from, 2 * SECOND);
	if (!tap_ok(!kvmclock_save(&side.vm, 0, &rec), "written, %s: save", name))
		return;

	use(&side, &to, 3);
	prepare(&side, 1500000);
	for (i = 0; spoilt && i < 3; i++)
		to.offset[i] += 1000 * i + 77;
	fake_run(&to, rec->realtime + SECOND - fake_wall(&to));
	r = kvmclock_restore(&side.vm, rec, &opt, &rep);
	tap_ok(!r && rep.way == KVMCLOCK_WAY_EXACT && skews_kept(&to, rec) &&
	       near(clock_error(&to, rec), 0, 10) && near(relation_error(&to, rec, 0), 0, 3) &&
	       near(relation_error(&to, rec, 1), 0, 3) && near(relation_error(&to, rec, 2), 0, 3),
	       "written, %s: each vCPU has its own", name);
	tap_ok(!!to.offset_writes == (skew_of(written) || spoilt),
	       "written, %s: %d offsets are written", name, to.offset_writes);
	kvmclock_record_free(rec);
}

static void test_all_written(void)
{
	const int64_t far = 1LL << 44;

	test_written("none", (const int64_t[]) { 0, 0, 0 }, false);
	test_written("all", (const int64_t[]) { far, far, far }, false);
	test_written("all, back", (const int64_t[]) { -far, -far, -far }, false);
	test_written("all, each another", (const int64_t[]) { far, -far, 5 }, false);
	test_written("vCPU 0 only", (const int64_t[]) { far, 0, 0 }, false);
	test_written("vCPU 1 only", (const int64_t[]) { 0, far, 0 }, false);
	test_written("none, TSCs differ before", (const int64_t[]) { 0, 0, 0 }, true);
	test_written("vCPU 2 only, TSCs differ before", (const int64_t[]) { 0, 0, -far }, true);
}

/*
 * Our first kernels reported, and restored, the reference TSC in place of vCPU 0's, which
 * was made the reference for that.  The record is the same.
 */
static void test_reference(bool source_is_old, const char *name)
{
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_report rep;
	struct kvmclock_record *rec;
	struct side side;
	int r;

	from.reference_tsc = source_is_old;
	to.reference_tsc = !source_is_old;
	kvmclock_record_free(saved(&from, 3, 900));
	use(&side, &from, 3);
	if (source_is_old)
		from.ref_offset = from.offset[0];
	kvmclock_save(&side.vm, 0, &rec);
	r = restored(&to, rec, KVMCLOCK_WAY_EXACT, 3, &rep);
	tap_ok(!r && skews_kept(&to, rec) && near(relation_error(&to, rec, 0), 0, 3) &&
	       near(relation_error(&to, rec, 2), 0, 3), "reference TSC, %s: %lld ns", name,
	       (long long)relation_error(&to, rec, 0));
	kvmclock_record_free(rec);
}

static void test_no_master_clock(void)
{
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_record *rec = saved(&from, 2, 500);
	struct kvmclock_report rep;
	int r;

	to.no_master_clock = true;
	r = restored(&to, rec, KVMCLOCK_WAY_AUTO, 2, &rep);
	tap_ok(!r && rep.way == KVMCLOCK_WAY_OFFSET && rep.notes & KVMCLOCK_NOTE_NO_MASTER_CLOCK &&
	       rep.relation_bound_ns > 50, "no master clock: known to within %llu ns",
	       (unsigned long long)rep.relation_bound_ns);
	tap_ok(near(relation_error(&to, rec, 1), 0, 1000) && skews_kept(&to, rec),
	       "no master clock: relation %lld ns off", (long long)relation_error(&to, rec, 1));
	kvmclock_record_free(rec);
}

/* What must be as before. The clock may be where wall time has taken it. */
static bool unchanged(const struct fake_kvm *a, const struct fake_kvm *b, int64_t clock_before)
{
	return !memcmp(a->offset, b->offset, sizeof(a->offset)) &&
	       near(fake_clock(a) - fake_wall(a), clock_before, 5000);
}

/* Restore on a host that @spoil has told what to refuse; the guest there has a time already. */
static void test_failure(const char *name, uint32_t way, void (*spoil)(struct fake_kvm *h),
			 int expect)
{
	struct fake_kvm from = source(OURS), to = destination(OURS), before;
	struct kvmclock_record *rec = saved(&from, 3, 900);
	struct kvmclock_restore_options opt = { .way = way };
	struct kvmclock_report rep;
	struct side side;
	int64_t clock;
	int r, error;

	use(&side, &to, 3);
	prepare(&side, 1500000);
	to.offset[0] = 11;
	to.offset[1] = 22;
	to.offset[2] = 33;
	fake_set_clock(&to, 42 * SECOND);
	before = to;
	clock = fake_clock(&to) - fake_wall(&to);
	spoil(&to);
	r = kvmclock_restore(&side.vm, rec, &opt, &rep);
	error = errno;
	tap_ok(r == expect, "%s: %s", name, kvmclock_strerror(r));
	tap_ok(!kvmclock_error_has_errno(r) || error == (to.set_msr_errno ?: EFAULT),
	       "%s: errno is the reason, or means nothing", name);
	tap_ok(unchanged(&to, &before, clock) && !(rep.notes & KVMCLOCK_NOTE_NOT_UNDONE) &&
	       !to.waits, "%s: nothing has changed, nothing waits", name);
	kvmclock_record_free(rec);
}

static void spoil_busy(struct fake_kvm *h) { h->vcpu_runs = true; }
static void spoil_range(struct fake_kvm *h) { h->set_clock_errno = ERANGE; }
static void spoil_fault(struct fake_kvm *h) { h->set_clock_errno = EFAULT; }
static void spoil_first_offset(struct fake_kvm *h) { h->set_offset_fails_at = 1; }
static void spoil_last_offset(struct fake_kvm *h) { h->set_offset_fails_at = 3; }
static void spoil_line(struct fake_kvm *h) { h->set_line_errno = EFAULT; }
static void spoil_msr(struct fake_kvm *h) { h->set_msr_errno = EPERM; }
static void spoil_ratio(struct fake_kvm *h) { h->wrong_ratio = true; }
static void spoil_nothing(struct fake_kvm *h) { h->step = 101; }

static void test_failures(void)
{
	const uint32_t exact = KVMCLOCK_WAY_EXACT, offset = KVMCLOCK_WAY_OFFSET;

	test_failure("exact, a vCPU runs", exact, spoil_busy, KVMCLOCK_E_BUSY);
	test_failure("auto, a vCPU runs", KVMCLOCK_WAY_AUTO, spoil_busy, KVMCLOCK_E_BUSY);
	test_failure("exact, ERANGE", exact, spoil_range, KVMCLOCK_E_RANGE);
	test_failure("exact, EFAULT", exact, spoil_fault, KVMCLOCK_E_KERNEL);
	test_failure("exact, first offset fails", exact, spoil_first_offset, KVMCLOCK_E_KERNEL);
	test_failure("exact, last offset fails", exact, spoil_last_offset, KVMCLOCK_E_KERNEL);
	test_failure("offset, SET_CLOCK fails", offset, spoil_fault, KVMCLOCK_E_KERNEL);
	test_failure("offset, first offset fails", offset, spoil_first_offset, KVMCLOCK_E_KERNEL);
	test_failure("offset, last offset fails", offset, spoil_last_offset, KVMCLOCK_E_KERNEL);
	test_failure("guest, last offset fails", KVMCLOCK_WAY_GUEST, spoil_last_offset,
		     KVMCLOCK_E_KERNEL);
	test_failure("guest, SET_CLOCK_GUEST fails", KVMCLOCK_WAY_GUEST, spoil_line,
		     KVMCLOCK_E_KERNEL);
	test_failure("documented, last offset fails", KVMCLOCK_WAY_DOCUMENTED, spoil_last_offset,
		     KVMCLOCK_E_KERNEL);
	test_failure("plain, MSR fails", KVMCLOCK_WAY_PLAIN, spoil_msr, KVMCLOCK_E_KERNEL);
	test_failure("unknown way", 99, spoil_nothing, KVMCLOCK_E_ARGUMENT);
}

/* The TSC does not run as its frequency says: no way that computes with it. */
static void test_ratio(void)
{
	struct fake_kvm from = source(OURS), to = destination(STOCK);
	struct kvmclock_record *rec = saved(&from, 1, 0);
	struct kvmclock_report rep;

	spoil_ratio(&to);
	to.tsc = 1ULL << 62;
	tap_ok(restored(&to, rec, KVMCLOCK_WAY_OFFSET, 1, &rep) == KVMCLOCK_E_SCALE &&
	       !to.clock_writes && !to.offset_writes,
	       "wrong ratio, offset: refused");
	tap_ok(!restored(&to, rec, KVMCLOCK_WAY_AUTO, 1, &rep) && rep.way == KVMCLOCK_WAY_PLAIN,
	       "wrong ratio, auto: plain");
	kvmclock_record_free(rec);
}

static void test_mismatches(void)
{
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_record *rec = saved(&from, 3, 900);
	struct kvmclock_restore_options opt = { .reserved[4] = 1 };
	struct kvmclock_report rep;
	struct side side;

	tap_ok(restored(&to, rec, 0, 2, &rep) == KVMCLOCK_E_VCPUS && !to.clock_writes,
	       "fewer vCPUs");
	tap_ok(restored(&to, rec, 0, 4, &rep) == KVMCLOCK_E_VCPUS && !to.clock_writes,
	       "more vCPUs");

	use(&side, &to, 3);
	prepare(&side, 1600000);
	tap_ok(kvmclock_restore(&side.vm, rec, NULL, &rep) == KVMCLOCK_E_FREQUENCY &&
	       !to.offset_writes,
	       "another frequency");
	tap_ok(kvmclock_restore(&side.vm, rec, &opt, &rep) == KVMCLOCK_E_ARGUMENT,
	       "reserved option");
	opt = (struct kvmclock_restore_options) { .way = KVMCLOCK_WAY_PLAIN };
	tap_ok(!kvmclock_restore(&side.vm, rec, &opt, &rep) &&
	       rep.notes & KVMCLOCK_NOTE_FREQUENCY && rep.notes & KVMCLOCK_NOTE_SKEW_LOST,
	       "another frequency, plain");
	tap_ok(kvmclock_restore(&side.vm, NULL, NULL, &rep) == KVMCLOCK_E_ARGUMENT &&
	       kvmclock_restore(NULL, rec, NULL, &rep) == KVMCLOCK_E_ARGUMENT,
	       "nothing to restore");
	kvmclock_record_free(rec);
}

/* A host whose wall clock is behind: time stands still, it does not go back. */
static void test_wall_back(void)
{
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_record *rec = saved(&from, 2, 0);
	struct kvmclock_report rep;
	struct side side;

	to.wall_ns -= 3600 * SECOND;
	use(&side, &to, 2);
	prepare(&side, 1500000);
	tap_ok(!kvmclock_restore(&side.vm, rec, NULL, &rep) &&
	       rep.notes & KVMCLOCK_NOTE_WALL_BACK &&
	       near(fake_clock(&to), rec->clock, 5000) &&
	       near(relation_error(&to, rec, 1), 0, 3),
	       "wall clock behind");
	kvmclock_record_free(rec);
}

/* ---- Policies, leap seconds, and what the guest is told ---- */

/* Restore with @opt a day later. */
static int restored_with(struct fake_kvm *to, const struct kvmclock_record *rec,
			 const struct kvmclock_restore_options *opt, struct kvmclock_report *rep)
{
	struct kvmclock_info info;
	struct side side;

	kvmclock_record_info(rec, &info);
	use(&side, to, info.nr_vcpus);
	prepare(&side, info.tsc_khz);
	fake_run(to, info.realtime_ns + 86400 * SECOND - fake_wall(to));

	return kvmclock_restore(&side.vm, rec, opt, rep);
}

/* No more passes than the calls of a restore take. */
static void test_freeze(int kernel, uint32_t way, const char *name)
{
	struct kvmclock_restore_options opt = { .way = way, .policy = KVMCLOCK_POLICY_FREEZE };
	struct fake_kvm from = source(OURS), to = destination(kernel);
	struct kvmclock_record *rec = saved(&from, 3, -70000);
	struct kvmclock_report rep;
	int r = restored_with(&to, rec, &opt, &rep);

	tap_ok(!r && rep.way == way, "freeze, %s: %s", name, kvmclock_strerror(r));
	tap_ok(near(fake_clock(&to), rec->clock, 5000) &&
	       near(relation_error(&to, rec, 2), 0, way == KVMCLOCK_WAY_PLAIN ? 2000 : 3),
	       "freeze, %s: clock %lld ns, relation %lld ns", name,
	       (long long)(fake_clock(&to) - rec->clock),
	       (long long)relation_error(&to, rec, 2));
	tap_ok(!rep.elapsed_ns && rep.clock_error_ns >= 0 &&
	       (uint64_t)rep.clock_error_ns <= rep.clock_bound_ns &&
	       !(rep.notes & (KVMCLOCK_NOTE_DOWNTIME_LOST | KVMCLOCK_NOTE_WALL_BACK)),
	       "freeze, %s: the report says so", name);
	kvmclock_record_free(rec);
}

static void test_start_over(int kernel, uint32_t way, const char *name)
{
	struct kvmclock_restore_options opt = { .way = way, .policy = KVMCLOCK_POLICY_START_OVER };
	struct fake_kvm from = source(OURS), to = destination(kernel);
	struct kvmclock_record *rec = saved(&from, 2, 4000);
	struct kvmclock_report rep;
	int r = restored_with(&to, rec, &opt, &rep);

	tap_ok(!r && fake_clock(&to) < 5000 && fake_tsc(&to, 0) < 20000 &&
	       fake_tsc(&to, 1) < 20000, "start over, %s: clock %llu ns, TSC %llu", name,
	       (unsigned long long)fake_clock(&to), (unsigned long long)fake_tsc(&to, 0));
	tap_ok(way == KVMCLOCK_WAY_PLAIN || to.offset[0] == to.offset[1],
	       "start over, %s: TSCs are equal", name);
	kvmclock_record_free(rec);
}

static void test_policies(void)
{
	struct kvmclock_restore_options opt = { .policy = KVMCLOCK_POLICY_FREEZE };
	struct fake_kvm from = source(OURS), to = destination(OURS);
	struct kvmclock_record *rec = saved(&from, 1, 0);
	struct kvmclock_report rep;

	test_freeze(OURS, KVMCLOCK_WAY_EXACT, "exact");
	test_freeze(COMING, KVMCLOCK_WAY_GUEST, "guest");
	test_freeze(STOCK, KVMCLOCK_WAY_OFFSET, "offset");
	test_freeze(ANCIENT, KVMCLOCK_WAY_PLAIN, "plain");
	test_start_over(OURS, KVMCLOCK_WAY_EXACT, "exact");
	test_start_over(COMING, KVMCLOCK_WAY_GUEST, "guest");
	test_start_over(STOCK, KVMCLOCK_WAY_OFFSET, "offset");
	test_start_over(ANCIENT, KVMCLOCK_WAY_PLAIN, "plain");

	opt.way = KVMCLOCK_WAY_SAME_HOST;
	tap_ok(restored_with(&to, rec, &opt, &rep) == KVMCLOCK_E_ARGUMENT && !to.clock_writes,
	       "same host cannot freeze");
	opt.way = KVMCLOCK_WAY_DOCUMENTED;
	tap_ok(restored_with(&to, rec, &opt, &rep) == KVMCLOCK_E_ARGUMENT && !to.clock_writes,
	       "nor can the documented way");
	opt = (struct kvmclock_restore_options) { .policy = KVMCLOCK_NR_POLICIES };
	tap_ok(restored_with(&to, rec, &opt, &rep) == KVMCLOCK_E_ARGUMENT && !to.clock_writes,
	       "unknown policy");
	kvmclock_record_free(rec);
}

/* A leap second between @then and @now, or none that both hosts know of. */
static void test_leap(int kernel, int then, int now, int64_t leap, const char *name)
{
	struct kvmclock_restore_options opt = { };
	struct fake_kvm from = source(OURS), to = destination(kernel);
	struct kvmclock_report rep;
	struct kvmclock_record *rec;
	int r;

	from.tai_offset = then;
	to.tai_offset = now;
	rec = saved(&from, 2, 0);
	r = restored_with(&to, rec, &opt, &rep);
	tap_ok(!r && near(clock_error(&to, rec), leap * SECOND, 1000) &&
	       near(relation_error(&to, rec, 1), 0, 3), "leap second, %s: %lld ns", name,
	       (long long)clock_error(&to, rec));
	tap_ok(near(rep.clock_error_ns, 0, rep.clock_bound_ns + 1000) ||
	       !(rep.get_flags & KVMCLOCK_TAI), "leap second, %s: the report knows", name);
	kvmclock_record_free(rec);
}

static void test_leaps(void)
{
	test_leap(OURS, 37, 38, 1, "inserted");
	test_leap(OURS, 37, 36, -1, "removed");
	test_leap(OURS, 37, 37, 0, "none");
	test_leap(OURS, 0, 37, 0, "not known there");
	test_leap(OURS, 37, 0, 0, "not known here");
	test_leap(FIRST, 37, 38, 0, "not known to the kernel");
	test_leap(STOCK, 37, 38, 0, "not known to stock");
}

/* How often the guest is told by one call for all, and by one for each vCPU. */
static void test_told(int kernel, uint32_t way, int at_once, int each, const char *name)
{
	struct kvmclock_restore_options opt = { .way = way, .flags = KVMCLOCK_GUEST_STOPPED };
	struct fake_kvm from = source(OURS), to = destination(kernel);
	struct kvmclock_record *rec = saved(&from, 3, 0);
	struct kvmclock_report rep;
	int r = restored_with(&to, rec, &opt, &rep);

	tap_ok(!r && to.told_at_once == at_once && to.told == each, "told, %s: %d at once, %d each",
	       name, to.told_at_once, to.told);

	to = destination(kernel);
	to.ctrl_errno = EINVAL;
	tap_ok(!restored_with(&to, rec, &opt, &rep), "told, %s: vCPUs without kvmclock", name);

	to = destination(kernel);
	to.set_clock_errno = EFAULT;
	to.set_line_errno = EFAULT;
	tap_ok(restored_with(&to, rec, &opt, &rep) && !to.told_at_once && !to.told,
	       "told, %s: not if it fails", name);
	kvmclock_record_free(rec);
}

static void test_tells(void)
{
	test_told(OURS, KVMCLOCK_WAY_EXACT, 1, 0, "exact");
	test_told(FIRST, KVMCLOCK_WAY_EXACT, 0, 3, "exact, first kernel");
	test_told(COMING, KVMCLOCK_WAY_GUEST, 0, 3, "guest");
	test_told(STOCK, KVMCLOCK_WAY_OFFSET, 0, 3, "offset");
	test_told(STOCK, KVMCLOCK_WAY_PLAIN, 0, 3, "plain");
}

/* ---- What a VMM has in snapshots of its own ---- */

/* GET_CLOCK and the offsets of @from, as a VMM saves them. */
static struct kvmclock_record *converted(struct fake_kvm *from, const struct kvmclock_caps *caps)
{
	struct kvm_clock_data data;
	struct kvmclock_record *rec;

	fake_use(from);
	if (kvmclock_ioctl(FAKE_VM_FD, KVM_GET_CLOCK, &data) ||
	    kvmclock_record_from_clock_data(&data, from->offset, 3, from->vm_khz, caps, &rec))
		return NULL;

	return rec;
}

static bool same_record(const struct kvmclock_record *a, const struct kvmclock_record *b)
{
	uint8_t x[256] = { }, y[256] = { };

	return !kvmclock_record_write(a, x, sizeof(x)) && !kvmclock_record_write(b, y, sizeof(y)) &&
	       !memcmp(x, y, sizeof(x));
}

static void test_from_clock_data(int kernel, int tai_offset, const char *name)
{
	struct fake_kvm from = source(kernel), to = destination(OURS);
	struct kvmclock_record *rec, *copy = NULL;
	uint64_t offsets[FAKE_VCPUS] = { };
	struct kvm_clock_data data;
	struct kvmclock_report rep;
	struct side side;
	int r;

	from.tai_offset = tai_offset;
	use(&side, &from, 3);
	kvmclock_record_free(saved(&from, 3, -70000));
	rec = converted(&from, &side.caps);
	if (!tap_ok(rec, "clock data, %s: a record", name))
		return;
	tap_ok(near(fake_tsc(&from, 2), rec->vcpus[2].tsc, 1000) &&
	       near(fake_clock(&from), rec->clock, 1000), "clock data, %s: what the guest reads",
	       name);

	r = restored(&to, rec, KVMCLOCK_WAY_AUTO, 3, &rep);
	tap_ok(!r && near(clock_error(&to, rec), 0, 10) &&
	       near(relation_error(&to, rec, 2), 0, 3) &&
	       to.offset[1] - to.offset[0] == from.offset[1] - from.offset[0],
	       "clock data, %s: restored, clock %lld ns off", name,
	       (long long)clock_error(&to, rec));

	kvmclock_record_to_clock_data(rec, &data, offsets);
	r = kvmclock_record_from_clock_data(&data, offsets, 3, 1500000, &side.caps, &copy);
	tap_ok(!r && same_record(rec, copy), "clock data, %s: there and back", name);
	tap_ok(!(data.flags & KVMCLOCK_TAI) == !rec->tai_offset &&
	       !rec->tai_offset == !(kernel == OURS && tai_offset), "clock data, %s: TAI", name);
	kvmclock_record_free(copy);
	kvmclock_record_free(rec);
}

/* What the kernel has not reported is known to within some ns. */
static void test_sampled_clock_data(void)
{
	struct fake_kvm from = source(ANCIENT);
	struct kvmclock_record *rec, *copy = NULL;
	uint64_t offsets[FAKE_VCPUS] = { };
	struct kvm_clock_data data;
	struct kvmclock_info a, b;
	struct side side;
	int r;

	use(&side, &from, 3);
	rec = saved(&from, 3, 1000);
	kvmclock_record_to_clock_data(rec, &data, offsets);
	r = kvmclock_record_from_clock_data(&data, offsets, 3, 1500000, &side.caps, &copy);
	if (!tap_ok(!r, "clock data, sampled: a record"))
		return;
	kvmclock_record_info(rec, &a);
	kvmclock_record_info(copy, &b);
	tap_ok(a.clock_ns == b.clock_ns && a.realtime_ns == b.realtime_ns &&
	       a.guest_tsc == b.guest_tsc && a.mul == b.mul && a.sample_ns && !b.sample_ns &&
	       b.flags == (KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC),
	       "clock data, sampled: all but the width of the instant");
	kvmclock_record_free(rec);
	kvmclock_record_free(copy);
}

/* A snapshot without anything about its host, of a TSC that was not scaled. */
static void test_clock_data_of_old(void)
{
	const struct kvmclock_caps caps = { .host_khz = 3000000, .frac_bits = 48 };
	struct fake_kvm from = source(STOCK);
	struct kvmclock_record *rec, *old;
	struct side side;

	use(&side, &from, 3);
	prepare(&side, 0);
	rec = converted(&from, &side.caps);
	old = converted(&from, &caps);
	tap_ok(rec && old && near(old->vcpus[0].tsc, rec->vcpus[0].tsc, 1000) &&
	       rec->mul == old->mul && rec->shift == old->shift,
	       "clock data, nothing is known of the host");
	kvmclock_record_free(rec);
	kvmclock_record_free(old);
}

struct clock_data_case {
	struct kvm_clock_data data;
	struct kvmclock_caps caps;
	uint32_t nr_vcpus;
	uint32_t khz;
};

static void test_bad_clock_data(void)
{
	static struct clock_data_case c;
	static const struct {
		const char *name;
		void *field;
		size_t size;
		uint64_t value;
	} bad[] = {
		{ "no vCPU", &c.nr_vcpus, 4, 0 },
		{ "too many vCPUs", &c.nr_vcpus, 4, KVMCLOCK_MAX_VCPUS + 1 },
		{ "frequency 0", &c.khz, 4, 0 },
		{ "frequency of 2^31", &c.khz, 4, 1u << 31 },
		{ "host frequency 0", &c.caps.host_khz, 4, 0 },
		{ "19 fraction bits", &c.caps.frac_bits, 4, 19 },
		{ "64 fraction bits", &c.caps.frac_bits, 4, 64 },
		{ "no wall time", &c.data.flags, 4, KVMCLOCK_HOST_TSC },
		{ "no host TSC", &c.data.flags, 4, KVMCLOCK_REALTIME },
		{ "multiplier 0", &c.data.tsc_to_system_mul, 4, 0 },
		{ "shift 32", &c.data.tsc_shift, 1, 32 },
		{ "clock of 2^63", &c.data.clock, 8, 1ULL << 63 },
		{ "wall time of 2^63", &c.data.realtime, 8, 1ULL << 63 },
	};
	static const uint64_t offsets[KVMCLOCK_MAX_VCPUS + 1];
	const struct clock_data_case good = {
		.data = {
			.flags = KVMCLOCK_REALTIME | KVMCLOCK_HOST_TSC | KVMCLOCK_GUEST_TSC,
			.tsc_to_system_mul = 1u << 31,
		},
		.caps = { .host_khz = 1000000, .frac_bits = 48 },
		.nr_vcpus = 1,
		.khz = 1000000,
	};
	struct kvmclock_record *rec;
	unsigned int i;
	int r;

	r = kvmclock_record_from_clock_data(&good.data, offsets, good.nr_vcpus, good.khz,
					    &good.caps, &rec);
	tap_ok(!r, "clock data: good");
	kvmclock_record_free(rec);
	for (i = 0; i < KVMCLOCK_ARRAY_SIZE(bad); i++) {
		c = good;
		memcpy(bad[i].field, &bad[i].value, bad[i].size);
		rec = (void *)&c;
		r = kvmclock_record_from_clock_data(&c.data, offsets, c.nr_vcpus, c.khz, &c.caps,
						    &rec);
		tap_ok(r == KVMCLOCK_E_ARGUMENT && !rec, "clock data: %s", bad[i].name);
	}
	rec = (void *)&c;
	tap_ok(kvmclock_record_from_clock_data(NULL, offsets, 1, 1, &good.caps, &rec) ==
	       KVMCLOCK_E_ARGUMENT && !rec, "clock data: nothing");
}

static void test_clock_data(void)
{
	test_from_clock_data(OURS, 0, "ours");
	test_from_clock_data(OURS, 37, "ours with TAI");
	test_from_clock_data(STOCK, 37, "stock");
	test_sampled_clock_data();
	test_clock_data_of_old();
	test_bad_clock_data();
}

/* A kernel that has KVM_SET_CLOCK_GUEST, and cannot use it here. */
static void test_guest_refused(int error, const char *name)
{
	struct fake_kvm from = source(OURS), to = destination(COMING);
	struct kvmclock_record *rec = saved(&from, 2, 500);
	struct kvmclock_restore_options opt = { };
	struct kvmclock_report rep;
	int r;

	to.set_line_errno = error;
	r = restored_with(&to, rec, &opt, &rep);
	tap_ok(!r && rep.way == KVMCLOCK_WAY_OFFSET && near(clock_error(&to, rec), 0, 10) &&
	       skews_kept(&to, rec), "guest, %s: offset", name);
	kvmclock_record_free(rec);
}

int main(void)
{
	test_version();
	test_probe();
	test_prepare();
	test_save(OURS, "ours");
	test_save(STOCK, "stock");
	test_save(ANCIENT, "ancient");
	test_save_errors();
	test_refused();
	test_moves();
	test_documented();
	test_same_host();
	test_all_written();
	test_reference(true, "from there");
	test_reference(false, "to there");
	test_no_master_clock();
	test_failures();
	test_ratio();
	test_mismatches();
	test_wall_back();
	test_policies();
	test_leaps();
	test_tells();
	test_clock_data();
	test_guest_refused(ENODATA, "no master clock");
	test_guest_refused(ERANGE, "another frequency");

	return tap_done();
}
