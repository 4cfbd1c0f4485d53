// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a guest's clock and TSC go on across a kexec of the host, although the
 * new kernel has calibrated the host's TSC differently.
 *
 *	kvmclock_kexec save FILE	run a guest, write down what it has
 *	kvmclock_kexec restore FILE	after the kexec: go on with it, and compare
 *
 * Between the two, load another kernel by kexec, keep FILE, and have that kernel
 * take the TSC for one of another frequency (tsc_early_khz= within 250 ppm, and without
 * a clock by which it finds out: hpet=disable pmtmr=0).
 *
 * KVM_CLOCK_HOST_TSC restores the TSCs exactly, and the line with its multiplier and
 * shift, to the nanosecond that KVM_GET_CLOCK rounds down.  KVM_SET_CLOCK_GUEST of the
 * page's own line then makes the page what it was, bit for bit.
 */
#include <fcntl.h>

#include "kvmclock.h"

#define NR_VCPUS	2

/* By how much vCPU 1's TSC is ahead. */
#define AHEAD		987654321UL

/* Two calibrations of the same kernel may differ by some ppm. */
#define MIN_PPM		50

/* What the guest had, and how the host was then. */
struct saved {
	u32 khz;
	struct kvm_clock_data data;
	struct pvclock_vcpu_time_info page[NR_VCPUS];
	u64 offset[NR_VCPUS];
	u64 last[NR_VCPUS];		/* reading of the clock */
	u64 last_tsc[NR_VCPUS];
};

static struct kvmclock_vm kc;
static struct saved saved;
static struct kvmclock_shot shot;

/* ---- Save ---- */

static void take(void)
{
	int i;

	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	kvmclock_set_offset(kc.vcpu[1], kvmclock_get_offset(kc.vcpu[0]) + AHEAD);
	kvmclock_set_offset(kc.vcpu[0], kvmclock_get_offset(kc.vcpu[0]));
	kvmclock_set(&kc, 40 * 24 * 3600 * NSEC_PER_SEC, 0, 0);
	kvmclock_settle(&kc);
	/* The line gets an age. */
	usleep(500000);

	saved.khz = kvmclock_host_khz();
	for (i = 0; i < NR_VCPUS; i++) {
		saved.last[i] = kvmclock_run(&kc, i, KVMCLOCK_READ, 0, 0);
		saved.last_tsc[i] = kvmclock_run(&kc, i, KVMCLOCK_RDTSC, 0, 0);
		kvmclock_snapshot(kc.page[i], &saved.page[i]);
		saved.offset[i] = kvmclock_get_offset(kc.vcpu[i]);
	}
	saved.data = kvmclock_get(&kc);
}

static void write_down(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	take();
	ksft_test_result(check(fd >= 0 && write(fd, &saved, sizeof(saved)) == sizeof(saved),
			       "errno %d", errno) &&
			 check(saved.data.flags == KVMCLOCK_RESTORE_FLAGS, "flags 0x%x",
			       saved.data.flags), "written\n");
	close(fd);
}

/* ---- Restore ---- */

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);

	TEST_ASSERT(fd >= 0 && read(fd, &saved, sizeof(saved)) == sizeof(saved), "Cannot read %s",
		    path);
	close(fd);
}

/* Otherwise, there is nothing to be seen. */
static bool test_other_kernel(void)
{
	s64 ppm = ((s64)kvmclock_host_khz() - saved.khz) * 1000000 / saved.khz;

	kvmclock_measure("kexec.frequency", ppm, "ppm");
	return check(labs(ppm) >= MIN_PPM, "%ld ppm from the old %u kHz", ppm, saved.khz) &&
	       check(rdtsc() > saved.data.host_tsc, "the TSC did not go on");
}

static bool test_restore(void)
{
	struct kvm_clock_data data = saved.data;
	int i, err;

	kvmclock_vm_init(&kc, saved.khz, NR_VCPUS);
	kc.ratio = 1ULL << kvmclock_frac_bits();
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_vcpu_add(&kc);
	kvmclock_set_offset(kc.vcpu[1], kvmclock_get_offset(kc.vcpu[0]) + AHEAD);
	kvmclock_set_offset(kc.vcpu[0], kvmclock_get_offset(kc.vcpu[0]));

	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
	err = kvmclock_try_set(&kc, &data);
	for (i = 0; i < NR_VCPUS; i++)
		kvmclock_enable(&kc, i, 0);
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &shot);
	return check(!err, "errno %d", err);
}

static bool test_tsc(void)
{
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		ok &= check(shot.offset[i] == saved.offset[i], "vCPU %d: %ld cycles off", i,
			    (s64)(shot.offset[i] - saved.offset[i]));
	return ok;
}

/* By how much the page's line is off what it was, now and in an hour. */
static s64 line_error(int i, u64 seconds)
{
	u64 tsc = rdtsc() + saved.offset[i] + seconds * saved.khz * 1000;

	return kvmclock_line_at(&shot.line[i], tsc) - kvmclock_line_at(&saved.page[i], tsc);
}

static bool lines_are_within(s64 low, const char *what)
{
	struct kvmclock_series error = {};
	bool ok = true;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		kvmclock_record(&error, line_error(i, 0));
		kvmclock_record(&error, line_error(i, 3600));
		ok &= check(shot.line[i].tsc_to_system_mul == saved.page[i].tsc_to_system_mul &&
			    shot.line[i].tsc_shift == saved.page[i].tsc_shift,
			    "vCPU %d: %u, %d, not %u, %d", i, shot.line[i].tsc_to_system_mul,
			    shot.line[i].tsc_shift, saved.page[i].tsc_to_system_mul,
			    saved.page[i].tsc_shift);
	}
	return kvmclock_within(&error, what, "ns", low, 0) && ok;
}

/* GET has rounded the clock down, and lines of one rate round twice at another anchor. */
static bool test_line(void)
{
	return lines_are_within(-kvmclock_rounding_ns(&saved.page[0]), "kexec.line");
}

static bool test_page(void)
{
	struct pvclock_vcpu_time_info line = saved.page[0];
	bool ok = true;
	int i, err;

	err = ioctl(kc.vcpu[0]->fd, KVM_SET_CLOCK_GUEST, &line) ? errno : 0;
	kvmclock_settle(&kc);
	kvmclock_shoot(&kc, &shot);
	for (i = 0; i < NR_VCPUS; i++) {
		line = shot.line[i];
		line.version = saved.page[i].version;
		ok &= check(!memcmp(&line, &saved.page[i], sizeof(line)),
			    "vCPU %d: another page", i);
	}
	return check(!err, "errno %d", err) & ok & lines_are_within(0, "kexec.page");
}

/* The guest goes on: behind what it has read, by the time of the kexec. */
static bool test_readings(void)
{
	u64 begin, clock, tsc, end;
	bool ok = true;
	s64 apart;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		begin = rdtsc();
		clock = kvmclock_run(&kc, i, KVMCLOCK_READ, 0, 0);
		tsc = kvmclock_run(&kc, i, KVMCLOCK_RDTSC, 0, 0);
		end = rdtsc();
		ok &= check(clock > saved.last[i], "the clock went back by %ld ns",
			    (s64)(saved.last[i] - clock));
		ok &= check(tsc > saved.last_tsc[i], "the TSC went back by %ld cycles",
			    (s64)(saved.last_tsc[i] - tsc));
		/* What both have gained is what the host's TSC has. */
		apart = kvmclock_outside(tsc, begin + saved.offset[i], end + saved.offset[i]);
		ok &= check(!apart, "the TSC is %ld cycles off", apart);
		apart = kvmclock_outside(clock,
					 kvmclock_line_at(&saved.page[i], begin + saved.offset[i]),
					 kvmclock_line_at(&saved.page[i], end + saved.offset[i]));
		ok &= check(!apart, "the clock is %ld ns off", apart);
	}
	/*
	 * For who reads it: the wall clock begins anew with the second that the RTC shows,
	 * and an emulated host may have calibrated its TSC badly.
	 */
	kvmclock_measure("kexec.gained", (clock - saved.last[NR_VCPUS - 1]) / 1000000, "ms");
	kvmclock_measure("kexec.gained_by_wall_clock",
			 (kvmclock_realtime() - saved.data.realtime) / 1000000, "ms");
	return ok;
}

static const struct kvmclock_test tests[] = {
	{ "other_kernel", test_other_kernel },
	{ "restore", test_restore },
	{ "tsc", test_tsc },
	{ "line", test_line },
	{ "page", test_page },
	{ "readings", test_readings },
};

int main(int argc, char **argv)
{
	bool restore = argc == 3 && !strcmp(argv[1], "restore");
	int i;

	if (!restore && (argc != 3 || strcmp(argv[1], "save")))
		ksft_exit_skip("usage: kvmclock_kexec save|restore FILE, a kexec between\n");
	TEST_REQUIRE(kvmclock_knows(KVM_CLOCK_GUEST_TSC));
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_CLOCK_GUEST));

	kvmclock_start(restore ? ARRAY_SIZE(tests) : 1, 0);
	if (restore) {
		load(argv[2]);
		for (i = 0; i < ARRAY_SIZE(tests); i++)
			kvmclock_run_test(&tests[i], 0, NULL);
	} else {
		write_down(argv[2]);
	}
	kvmclock_finished();
}
