// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the clocks of an emulated host are against the physical machine's: for
 * lab/demo/hosts.py, which runs this on both, and for lab/boot-amd.sh.
 *
 *   hostclock answer FILE	in the host: answer requests for the TSC
 *   hostclock ask FILE CYCLES	on the physical machine: ask until the bounds are no
 *				more than CYCLES apart, or for some seconds from the
 *				first answer on; then tell the host to end
 *   hostclock now		TSC and CLOCK_REALTIME of one instant
 *   hostclock khz		on the physical machine: the frequency of its TSC, for a
 *				host, which would calibrate it wrongly while others
 *				want the processor, too
 *   hostclock shift NS		set CLOCK_REALTIME forward, or back
 *
 * The emulated TSC is the physical one minus a constant.  FILE is memory that both
 * have mapped (QEMU's ivshmem), so a request and its answer take a microsecond or
 * so: the host's TSC was read between the two readings of the physical one.  Of
 * all requests the least upper and the greatest lower bound are kept.  FILE is to
 * be zeroed before both.
 *
 *   LOW HIGH ROUNDS	physical TSC minus the host's is between LOW and HIGH
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <linux/types.h>

#define NSEC_PER_SEC	1000000000ll
#define SHARED_SIZE	4096
#define END		(~0ull)
#define MIN_ROUNDS	1000
#define LONGEST_S	6
#define PATIENCE_S	30

struct shared {
	alignas(64) __u64 asked;
	alignas(64) __u64 answered;
	__u64 tsc;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static __s64 clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		die("clock_gettime");

	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static __u64 read_tsc(void)
{
	__u64 tsc;

	_mm_lfence();
	tsc = __rdtsc();
	_mm_lfence();

	return tsc;
}

static struct shared *map_shared(const char *path)
{
	int fd = open(path, O_RDWR);
	void *p;

	if (fd < 0)
		die(path);

	p = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");

	close(fd);
	return p;
}

static void answer(struct shared *shared)
{
	__u64 last = 0, asked;

	/* Nobody waits for a host that answers for ever. */
	alarm(PATIENCE_S);
	while (1) {
		asked = __atomic_load_n(&shared->asked, __ATOMIC_ACQUIRE);
		if (asked == END)
			break;
		if (asked == last)
			continue;

		shared->tsc = read_tsc();
		__atomic_store_n(&shared->answered, asked, __ATOMIC_RELEASE);
		last = asked;
	}
}

/* A host that does not answer at once is waiting for a processor: give it this one. */
static void wait_for(const struct shared *shared, __u64 number)
{
	__s64 start = clock_ns(CLOCK_MONOTONIC), waited;

	while (__atomic_load_n(&shared->answered, __ATOMIC_ACQUIRE) != number) {
		waited = clock_ns(CLOCK_MONOTONIC) - start;
		if (waited > PATIENCE_S * NSEC_PER_SEC) {
			fprintf(stderr, "hostclock: no answer\n");
			exit(1);
		}
		if (waited > 20000)
			usleep(100);
	}
}

static void ask(struct shared *shared, __s64 cycles)
{
	__s64 start = 0, low = LLONG_MIN, high = LLONG_MAX;
	__u64 number = 0, before, after;

	do {
		before = read_tsc();
		__atomic_store_n(&shared->asked, ++number, __ATOMIC_RELEASE);
		wait_for(shared, number);
		after = read_tsc();
		if (!start)
			start = clock_ns(CLOCK_MONOTONIC);

		if ((__s64)(before - shared->tsc) > low)
			low = before - shared->tsc;
		if ((__s64)(after - shared->tsc) < high)
			high = after - shared->tsc;
	} while ((number < MIN_ROUNDS || high - low > cycles) &&
		 clock_ns(CLOCK_MONOTONIC) < start + LONGEST_S * NSEC_PER_SEC);

	__atomic_store_n(&shared->asked, END, __ATOMIC_RELEASE);
	printf("%lld %lld %llu\n", low, high, number);
}

struct instant {
	__u64 tsc;
	__s64 ns;
};

/* Of many tries the one that took least. */
static struct instant now(clockid_t id)
{
	__u64 least = (~0ull), before, after;
	struct instant now = {};
	__s64 ns;
	int i;

	for (i = 0; i < 2000; i++) {
		before = read_tsc();
		ns = clock_ns(id);
		after = read_tsc();
		if (after - before >= least)
			continue;

		least = after - before;
		now.tsc = before + least / 2;
		now.ns = ns;
	}
	return now;
}

static void print_now(void)
{
	struct instant i = now(CLOCK_REALTIME);

	printf("%llu %lld\n", i.tsc, i.ns);
}

static void print_khz(void)
{
	struct instant from = now(CLOCK_MONOTONIC_RAW), to;

	usleep(300000);
	to = now(CLOCK_MONOTONIC_RAW);
	printf("%.0f\n", (to.tsc - from.tsc) * 1e6 / (to.ns - from.ns));
}

static void shift(__s64 ns)
{
	struct timex t = { .modes = ADJ_SETOFFSET | ADJ_NANO };

	t.time.tv_sec = ns / NSEC_PER_SEC;
	t.time.tv_usec = ns % NSEC_PER_SEC;
	if (t.time.tv_usec < 0) {
		t.time.tv_sec--;
		t.time.tv_usec += NSEC_PER_SEC;
	}
	if (adjtimex(&t) < 0)
		die("adjtimex");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "answer")) {
		answer(map_shared(argv[2]));
	} else if (argc == 4 && !strcmp(argv[1], "ask")) {
		ask(map_shared(argv[2]), atoll(argv[3]));
	} else if (argc == 2 && !strcmp(argv[1], "now")) {
		print_now();
	} else if (argc == 2 && !strcmp(argv[1], "khz")) {
		print_khz();
	} else if (argc == 3 && !strcmp(argv[1], "shift")) {
		shift(atoll(argv[2]));
	} else {
		fprintf(stderr, "usage: hostclock answer FILE|ask FILE CYCLES|now|khz|shift NS\n");
		return 2;
	}
	return 0;
}
