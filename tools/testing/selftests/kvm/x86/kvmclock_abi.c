// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify the ABI of KVM_GET_CLOCK, KVM_SET_CLOCK and KVM_KVMCLOCK_CTRL.
 *
 * What is documented is accepted with every value of every field, what is not
 * is refused with its errno, and a call that fails changes nothing: neither what
 * KVM_GET_CLOCK returns nor a byte of the guest's pages.
 */
#include <stddef.h>
#include <sys/mman.h>

#include "kvmclock.h"

#define NR_VCPUS	2

/* What every KVM knows, and what can be asked for besides. */
#define OLD_FLAGS	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)
#define KNOWN_FLAGS	(OLD_FLAGS | KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC | KVM_CLOCK_TAI | \
			 KVM_CLOCK_GUEST_STOPPED)

#define YEAR_NS	(365UL * 24 * 3600 * NSEC_PER_SEC)

static struct kvmclock_vm kc;

static bool fails(unsigned long cmd, const char *name, void *arg, int want)
{
	struct kvmclock_state before;
	int ret, err;

	kvmclock_get_state(&kc, &before);
	errno = 0;
	ret = ioctl(kc.vm->fd, cmd, arg);
	err = errno;
	return check(ret == -1 && err == want, "%s returned %d, errno %d, not %d",
		     name, ret, err, want) && kvmclock_is_state(&kc, &before);
}

/*
 * SET @data, and see the clock go on from @want: it is that plus the time from
 * some instant after host TSC @tsc.  1 us more is for rounding, 1 ms where wall
 * time counts: how exact that is, kvmclock_agreement tells.  Any @want counts
 * modulo 2^64.
 */
static bool sets_since(u64 tsc, struct kvm_clock_data *data, u64 want)
{
	u64 slack_ns = data->flags & KVM_CLOCK_REALTIME ? 1000000 : 1000;
	u64 elapsed, most;
	struct kvm_clock_data now;
	struct kvmclock_shot shot;
	int ret, i;
	bool ok;

	ret = __vm_ioctl(kc.vm, KVM_SET_CLOCK, data);
	if (!check(!ret, "SET returned %d, errno %d", ret, errno))
		return false;

	now = kvmclock_get(&kc);
	most = (rdtsc() - tsc) * 1000000 / kvmclock_host_khz() + slack_ns;
	elapsed = now.clock - want;
	ok = check(elapsed <= most, "clock is %lu ns from %lu, at most %lu wanted",
		   elapsed, want, most);

	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &shot);
	for (i = 0; i < kc.nr_vcpus; i++) {
		s64 diff = now.clock - kvmclock_at(&shot, i, now.host_tsc);

		ok &= check(labs(diff) <= 1, "vCPU %d is off by %ld ns", i, diff);
	}
	return ok;
}

static bool sets(struct kvm_clock_data *data, u64 want)
{
	return sets_since(rdtsc(), data, want);
}

/* ---- Structure and capability ---- */

/* 32-bit user space has the same structure, and so no compat ioctl. */
static bool test_structure(void)
{
	return sizeof(struct kvm_clock_data) == 48 &&
	       offsetof(struct kvm_clock_data, clock) == 0 &&
	       offsetof(struct kvm_clock_data, flags) == 8 &&
	       offsetof(struct kvm_clock_data, tai_offset) == 12 &&
	       offsetof(struct kvm_clock_data, realtime) == 16 &&
	       offsetof(struct kvm_clock_data, host_tsc) == 24 &&
	       offsetof(struct kvm_clock_data, guest_tsc) == 32 &&
	       offsetof(struct kvm_clock_data, tsc_to_system_mul) == 40 &&
	       offsetof(struct kvm_clock_data, tsc_shift) == 44 &&
	       offsetof(struct kvm_clock_data, pad) == 45 &&
	       KVM_GET_CLOCK == 0x8030ae7c && KVM_SET_CLOCK == 0x4030ae7b;
}

static bool test_capability(void)
{
	int vm = vm_check_cap(kc.vm, KVM_CAP_ADJUST_CLOCK);
	int sys = kvm_check_cap(KVM_CAP_ADJUST_CLOCK);

	return check(vm == KNOWN_FLAGS, "0x%x", vm) && check(sys == KNOWN_FLAGS, "0x%x", sys);
}

/* ---- KVM_GET_CLOCK ---- */

static bool pads_are_zero(const struct kvm_clock_data *data)
{
	return check(!data->tai_offset, "%d", data->tai_offset) &&
	       check(kvmclock_has_no_line(data), "pad");
}

static bool test_get(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	return check(data.flags == KVMCLOCK_MASTER_FLAGS, "0x%x", data.flags) &&
	       pads_are_zero(&data);
}

static bool test_get_without_vcpu(void)
{
	struct kvmclock_vm other;
	struct kvm_clock_data data;

	kvmclock_vm_init(&other, 0, 1);
	data = kvmclock_get(&other);
	kvmclock_vm_destroy(&other);
	return check(!data.flags, "0x%x", data.flags) &&
	       check(!data.realtime && !data.host_tsc, "values without their flags") &&
	       pads_are_zero(&data);
}

/* The master clock does not wait for the vCPU to run. */
static bool test_get_with_first_vcpu(void)
{
	struct kvm_clock_data before, after;
	struct kvmclock_vm other;

	kvmclock_vm_init(&other, 0, 1);
	before = kvmclock_get(&other);
	kvmclock_vcpu_add(&other);
	after = kvmclock_get(&other);
	kvmclock_vm_destroy(&other);
	return check(after.flags == KVMCLOCK_MASTER_FLAGS, "0x%x", after.flags) &&
	       check(after.clock >= before.clock, "%lu after %lu", (u64)after.clock,
		     (u64)before.clock);
}

/* ---- Bad calls ---- */

static bool test_unknown_flags(void)
{
	struct kvm_clock_data data;
	bool ok = true;
	int bit, with;

	for (bit = 0; bit < 32; bit++) {
		if (KNOWN_FLAGS & (1U << bit))
			continue;
		for (with = 0; with < 2; with++) {
			data = (struct kvm_clock_data){
				.clock = 12345,
				.flags = (1U << bit) | (with ? OLD_FLAGS : 0),
			};
			ok &= check(fails(KVM_SET_CLOCK, "SET", &data, EINVAL), "bit %d", bit);
		}
	}
	return ok;
}

/* A VM that has not asked for the guest's TSC cannot restore it either. */
static bool test_guest_tsc_without_opt_in(void)
{
	bool ok = true;
	u32 flags;

	for (flags = 0; flags <= OLD_FLAGS; flags += 2) {
		struct kvm_clock_data data = kvmclock_get(&kc);

		data.flags = flags | KVM_CLOCK_GUEST_TSC;
		data.tsc_to_system_mul = kc.page[0]->tsc_to_system_mul;
		data.tsc_shift = kc.page[0]->tsc_shift;
		ok &= check(fails(KVM_SET_CLOCK, "SET", &data, EINVAL), "flags 0x%x", flags);
	}
	return ok;
}

static void *map(size_t pages, int prot)
{
	void *addr = mmap(NULL, pages * getpagesize(), prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(addr != MAP_FAILED, "mmap() failed");
	return addr;
}

static bool fails_at(void *addr)
{
	return fails(KVM_SET_CLOCK, "SET", addr, EFAULT) &&
	       fails(KVM_GET_CLOCK, "GET", addr, EFAULT);
}

static bool test_bad_pointers(void)
{
	size_t page = getpagesize();
	void *none = map(1, PROT_NONE);
	bool ok;

	ok = fails_at(NULL) && fails_at((void *)8) && fails_at(none) &&
	     fails_at((void *)-4096L) && fails_at((void *)0xffff888000000000) &&
	     fails_at((void *)0x8000000000000000);
	munmap(none, page);
	return ok && fails_at(none);
}

/* All but the last @missing bytes can be read and written. */
static bool test_half_mapped(void)
{
	static const int missing[] = { 1, 8, 16, 24, 32, 40, 47 };
	size_t page = getpagesize(), size = sizeof(struct kvm_clock_data);
	void *addr = map(2, PROT_READ | PROT_WRITE);
	bool ok = true;
	int i;

	munmap(addr + page, page);
	for (i = 0; i < ARRAY_SIZE(missing); i++)
		ok &= fails_at(addr + page - size + missing[i]);
	munmap(addr, page);
	return ok;
}

static bool test_get_read_only(void)
{
	void *addr = map(1, PROT_READ);
	bool ok = fails(KVM_GET_CLOCK, "GET", addr, EFAULT);

	munmap(addr, getpagesize());
	return ok;
}

/* ---- Good calls ---- */

static const u64 edges[] = {
	0, 1, 1UL << 32, (1UL << 63) - 1, 1UL << 63, (1UL << 63) + 1, -2UL, -1UL,
};

static bool test_known_flags(void)
{
	bool ok = true;
	u32 flags;

	for (flags = 0; flags <= OLD_FLAGS; flags += 2) {
		struct kvm_clock_data data = {
			.clock = 5 * NSEC_PER_SEC,
			.flags = flags,
			.realtime = -1UL,
		};

		ok &= check(sets(&data, data.clock), "flags 0x%x", flags);
	}
	return ok;
}

/* Far enough ahead of all that this test sets not to be too low. */
static bool test_monotonic_flag(void)
{
	bool ok = true;
	u32 flags;

	for (flags = 0; flags <= OLD_FLAGS; flags += 2) {
		struct kvm_clock_data data = {
			.clock = YEAR_NS + flags * NSEC_PER_SEC,
			.flags = flags | KVM_CLOCK_MONOTONIC,
			.realtime = -1UL,
		};

		ok &= check(sets(&data, data.clock), "flags 0x%x", flags);
	}
	return ok;
}

static bool test_clock_edges(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		struct kvm_clock_data data = { .clock = edges[i] };

		ok &= check(sets(&data, edges[i]), "clock %lu", edges[i]);
	}
	return ok;
}

/* Time that passed is added; time that has not come yet is not subtracted. */
static bool test_realtime_edges(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		struct kvm_clock_data data = {
			.clock = 7 * NSEC_PER_SEC,
			.flags = KVM_CLOCK_REALTIME,
			.realtime = edges[i],
		};
		u64 tsc = rdtsc(), now = kvmclock_realtime();
		u64 passed = now > edges[i] ? now - edges[i] : 0;

		ok &= check(sets_since(tsc, &data, data.clock + passed), "realtime %lu",
			    edges[i]);
	}
	return ok;
}

static bool set_realtime_is(s64 ago_ns, u64 added_ns)
{
	u64 tsc = rdtsc();
	struct kvm_clock_data data = {
		.clock = 7 * NSEC_PER_SEC,
		.flags = KVM_CLOCK_REALTIME,
		.realtime = kvmclock_realtime() - ago_ns,
	};

	return sets_since(tsc, &data, data.clock + added_ns);
}

static bool test_realtime_past(void)
{
	return set_realtime_is(10 * NSEC_PER_SEC, 10 * NSEC_PER_SEC);
}

static bool test_realtime_now(void)
{
	return set_realtime_is(0, 0);
}

static bool test_realtime_future(void)
{
	return set_realtime_is(-10 * NSEC_PER_SEC, 0);
}

/* Without the flag, realtime is not looked at. */
static bool test_realtime_without_flag(void)
{
	struct kvm_clock_data data = {
		.clock = 7 * NSEC_PER_SEC,
		.realtime = kvmclock_realtime() - 10 * NSEC_PER_SEC,
	};

	return sets(&data, data.clock);
}

static bool test_host_tsc_edges(void)
{
	bool ok = true;
	int i, with;

	for (i = 0; i < ARRAY_SIZE(edges); i++) {
		for (with = 0; with < 2; with++) {
			struct kvm_clock_data data = {
				.clock = 9 * NSEC_PER_SEC,
				.flags = with ? KVM_CLOCK_HOST_TSC : 0,
				.host_tsc = edges[i],
			};

			ok &= check(sets(&data, data.clock), "host_tsc %lu", edges[i]);
		}
	}
	return ok;
}

/* VMMs hand over whatever was in their structure. */
static bool test_nonzero_pads(void)
{
	struct kvm_clock_data data;

	memset(&data, 0xff, sizeof(data));
	data.clock = 11 * NSEC_PER_SEC;
	data.flags = OLD_FLAGS;
	return sets(&data, data.clock);
}

static bool test_get_set(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	/* The time since GET passes, by way of REALTIME. */
	return sets_since(data.host_tsc, &data, data.clock);
}

/* Nor does it matter what a VMM does to fields that it does not know. */
static bool test_get_set_nonzero_pads(void)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.tai_offset = -1;
	memset(&data.guest_tsc, 0xff, sizeof(data) - offsetof(struct kvm_clock_data, guest_tsc));
	return sets_since(data.host_tsc, &data, data.clock);
}

static bool test_set_without_vcpu(void)
{
	struct kvmclock_vm other;
	struct kvm_clock_data data;
	u64 tsc, elapsed, most;

	kvmclock_vm_init(&other, 0, 1);
	tsc = rdtsc();
	kvmclock_set(&other, YEAR_NS, 0, 0);
	kvmclock_vcpu_add(&other);
	kvmclock_enable(&other, 0, 0);
	data = kvmclock_get(&other);
	/* Host clock and TSC may differ by some ppm until the master clock starts. */
	most = (rdtsc() - tsc) * 1000000 / kvmclock_host_khz() * 101 / 100 + 1000;
	elapsed = data.clock - YEAR_NS;
	kvmclock_vm_destroy(&other);
	return check(elapsed <= most, "clock is %lu ns from the value set, at most %lu wanted",
		     elapsed, most);
}

/* ---- The guest's side ---- */

static bool test_msrs_read_back(void)
{
	u64 value = kvmclock_time_gpa(&kc, 0, 0) | KVM_MSR_ENABLED;

	return check(vcpu_get_msr(kc.vcpu[0], MSR_KVM_SYSTEM_TIME) == value, "host, old MSR") &&
	       check(vcpu_get_msr(kc.vcpu[0], MSR_KVM_SYSTEM_TIME_NEW) == value,
		     "host, new MSR") &&
	       check(kvmclock_run(&kc, 0, KVMCLOCK_RDMSR, MSR_KVM_SYSTEM_TIME_NEW, 0) == value,
		     "guest, new MSR");
}

static bool test_disabled_page(void)
{
	struct pvclock_vcpu_time_info before = *kc.page[1];
	bool ok;

	kvmclock_run(&kc, 1, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW, 0);
	kvmclock_set(&kc, 13 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	ok = check(!memcmp(&before, kc.page[1], sizeof(before)), "a disabled page changed");
	kvmclock_enable(&kc, 1, 0);
	kvmclock_settle(&kc);
	return ok && check(memcmp(&before, kc.page[1], sizeof(before)), "an enabled one did not");
}

/*
 * A guest may put its clock where there is no memory, or across a page boundary.
 * It gets none, then, but nothing worse happens, and it can have one later.
 */
static bool test_bad_page(void)
{
	gpa_t page = addr_gva2gpa(kc.vm, kc.guest_gva[1]) & ~4095UL;
	const u64 bad[] = { 1UL << 40, -4096UL, page + 4096 - 16, page + 4096 - 2 };
	struct pvclock_vcpu_time_info *time = kc.page[1];
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		kc.page[1] = NULL;
		kvmclock_run(&kc, 1, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW,
			     bad[i] | KVM_MSR_ENABLED);
		kvmclock_set(&kc, (20 + i) * NSEC_PER_SEC, 0, 0);
		kvmclock_settle(&kc);
		ok &= check(kvmclock_get(&kc).flags == KVMCLOCK_MASTER_FLAGS, "at %lx", bad[i]);

		kvmclock_enable(&kc, 1, 0);
		ok &= check(kvmclock_eval(time, time->tsc_timestamp) >= (20 + i) * NSEC_PER_SEC,
			    "no clock after %lx", bad[i]);
	}
	return ok;
}

static int ctrl(struct kvm_vcpu *vcpu)
{
	return __vcpu_ioctl(vcpu, KVM_KVMCLOCK_CTRL, NULL) ? errno : 0;
}

static bool test_ctrl_without_clock(void)
{
	struct kvmclock_state before;
	int never, disabled;

	kvmclock_run(&kc, 1, KVMCLOCK_WRMSR, MSR_KVM_SYSTEM_TIME_NEW, 0);
	kc.page[1] = NULL;
	kvmclock_get_state(&kc, &before);
	disabled = ctrl(kc.vcpu[1]);
	never = kvmclock_is_state(&kc, &before);
	kvmclock_enable(&kc, 1, 0);
	kvmclock_settle(&kc);
	return check(disabled == EINVAL, "errno %d", disabled) && never;
}

/* The guest hears it once; KVM leaves the bit alone until the guest clears it. */
static bool test_ctrl(void)
{
	struct pvclock_vcpu_time_info *page = kc.page[0];
	bool ok;
	int err;

	err = ctrl(kc.vcpu[0]);
	kvmclock_settle(&kc);
	ok = check(!err, "errno %d", err) &&
	     check(page->flags & PVCLOCK_GUEST_STOPPED, "not told") &&
	     check(!(kc.page[1]->flags & PVCLOCK_GUEST_STOPPED), "told the other vCPU");

	kvmclock_set(&kc, 15 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	ok &= check(page->flags & PVCLOCK_GUEST_STOPPED, "lost in an update");

	page->flags &= ~PVCLOCK_GUEST_STOPPED;
	kvmclock_set(&kc, 17 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	return check(!(page->flags & PVCLOCK_GUEST_STOPPED), "told twice") && ok;
}

/* ---- Without master clock, because the boot vCPU has used the old MSR ---- */

static bool test_get_without_master_clock(void)
{
	struct kvm_clock_data data;

	kvmclock_set_master(&kc, false);
	data = kvmclock_get(&kc);
	kvmclock_set_master(&kc, true);
	return check(!data.flags, "0x%x", data.flags) &&
	       check(!data.realtime && !data.host_tsc, "values without their flags") &&
	       pads_are_zero(&data);
}

/* GET, a vCPU's reading and GET again: each is what was set and the time since. */
static bool test_set_without_master_clock(void)
{
	u64 want = 21 * NSEC_PER_SEC, tsc, first, reading, last, most;

	kvmclock_set_master(&kc, false);
	tsc = rdtsc();
	kvmclock_set(&kc, want, 0, 0);
	first = kvmclock_get(&kc).clock;
	reading = kvmclock_run(&kc, 1, KVMCLOCK_READ, 0, 0);
	last = kvmclock_get(&kc).clock;
	most = (rdtsc() - tsc) * 1000000 / kvmclock_host_khz() + 1000;
	kvmclock_set_master(&kc, true);
	return check(first >= want && last <= want + most, "%lu to %lu, %lu wanted", first, last,
		     want) &&
	       check(reading + 1000 >= first && reading <= last + 1000, "%lu, not %lu to %lu",
		     reading, first, last);
}

/* ---- Statistics ---- */

static const char *no_stats(void)
{
	u64 value;

	return kvmclock_stat(&kc, "clock_updates", &value) &&
	       kvmclock_stat(&kc, "clock_reanchors", &value) ? NULL :
	       "this KVM has no statistics of the clock";
}

static u64 read_stat(const char *name)
{
	u64 value = 0;

	kvmclock_stat(&kc, name, &value);
	return value;
}

static bool test_stat_set(void)
{
	u64 updates = read_stat("clock_updates"), reanchors = read_stat("clock_reanchors");

	kvmclock_set(&kc, 19 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	updates = read_stat("clock_updates") - updates;
	reanchors = read_stat("clock_reanchors") - reanchors;
	return check(updates >= 1, "%lu", updates) && check(reanchors == 1, "%lu", reanchors);
}

static bool test_stat_no_cause(void)
{
	u64 reanchors = read_stat("clock_reanchors");
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_enable(&kc, i, 0);
		kvmclock_run(&kc, i, KVMCLOCK_ADD_MSR, MSR_IA32_TSC, 1UL << 32);
		vcpu_set_msr(kc.vcpu[i], MSR_IA32_TSC, 1UL << 50);
		kvmclock_get(&kc);
	}
	kvmclock_settle(&kc);
	reanchors = read_stat("clock_reanchors") - reanchors;
	return check(reanchors == 0, "%lu", reanchors);
}

/* ---- The tracepoint of the line's changes ---- */

/* A value that no other VM's clock has: drawn once, by SET, and not left again. */
static bool test_trace_line(void)
{
	const u64 ns = 23 * NSEC_PER_SEC + 246813579;
	char value[64];
	int set, all;

	snprintf(value, sizeof(value), " ns %lu ", ns);
	kvmclock_trace_start();
	kvmclock_set(&kc, ns, 0, 0);
	kvmclock_settle(&kc);
	vcpu_set_msr(kc.vcpu[0], MSR_IA32_TSC, 1UL << 50);
	kvmclock_settle(&kc);
	kvmclock_trace_stop();

	set = kvmclock_count_traced("kvm_clock_line: cause set ", value);
	all = kvmclock_count_traced("kvm_clock_line: ", value);
	return check(set == 1 && all == 1, "%d by SET, %d in all", set, all);
}

static const struct kvmclock_test tests[] = {
	{ "structure", test_structure },
	{ "capability", test_capability },
	{ "get", test_get },
	{ "get_without_vcpu", test_get_without_vcpu },
	{ "get_with_first_vcpu", test_get_with_first_vcpu },
	{ "unknown_flags", test_unknown_flags },
	{ "guest_tsc_without_opt_in", test_guest_tsc_without_opt_in },
	{ "bad_pointers", test_bad_pointers },
	{ "half_mapped", test_half_mapped },
	{ "get_read_only", test_get_read_only },
	{ "known_flags", test_known_flags },
	{ "monotonic_flag", test_monotonic_flag },
	{ "clock_edges", test_clock_edges },
	{ "realtime_edges", test_realtime_edges },
	{ "realtime_past", test_realtime_past },
	{ "realtime_now", test_realtime_now },
	{ "realtime_future", test_realtime_future },
	{ "realtime_without_flag", test_realtime_without_flag },
	{ "host_tsc_edges", test_host_tsc_edges },
	{ "nonzero_pads", test_nonzero_pads },
	{ "get_set", test_get_set },
	{ "get_set_nonzero_pads", test_get_set_nonzero_pads },
	{ "set_without_vcpu", test_set_without_vcpu },
	{ "msrs_read_back", test_msrs_read_back },
	{ "disabled_page", test_disabled_page },
	{ "bad_page", test_bad_page },
	{ "ctrl_without_clock", test_ctrl_without_clock },
	{ "ctrl", test_ctrl },
	{ "get_without_master_clock", test_get_without_master_clock },
	{ "set_without_master_clock", test_set_without_master_clock },
	{ "stat_set", test_stat_set, no_stats },
	{ "stat_no_cause", test_stat_no_cause, no_stats },
	{ "trace_line", test_trace_line, kvmclock_no_tracepoint },
};

int main(int argc, char *argv[])
{
	int i;

	kvmclock_start(ARRAY_SIZE(tests), 0);
	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], 0, NULL);

	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
