// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program that runs inside the migrating guest of "make demo": clockwatch PORT.
 *
 * One thread per vCPU, pinned, reads three clocks without pause:
 *
 *   raw   CLOCK_MONOTONIC_RAW, which on the clocksource tsc is the TSC in
 *         nanoseconds, plus a constant;
 *   mono  CLOCK_MONOTONIC, what programs use;
 *   page  the pvclock page of the vCPU that the thread runs on, mapped by the
 *         vDSO: what KVM gives, before the guest kernel hides a backward step.
 *
 * A reading that is below any reading of the same clock that any vCPU finished
 * before this one began is a backward step.
 *
 * The main thread answers requests from the outermost machine, "SEQ\n" on a
 * virtio-serial port, with
 *
 *   R SEQ NUMBER RAW MONO PAGE RAW2 FLAGS READS0 READS1 ... then, per clock in that
 *   order, STEPS LARGEST
 *
 * where NUMBER counts the answers, so that a lost one is noticed, RAW2 is raw
 * once more, so that page is from between two readings of it, FLAGS are the
 * pvclock flags of vCPU 0, and the counts are those since the last answer. The
 * clock is read between the arrival of the request and the departure of the
 * answer, so the two times that the outermost machine notes enclose the
 * reading, whatever the latency of the port.
 *
 * "T SEQ\n", which starts no threads, is answered with
 *
 *   T SEQ TSC0 MONO TSC1, then per reading, in their order,
 *   VCPU TSC0 PAGE TSC1 TIMESTAMP SYSTEM MUL SHIFT FLAGS
 *
 * one of each vCPU that is online, and of the first one again; MONO, which the
 * first one reads, and PAGE are from between the two readings of the TSC, and the
 * rest is what was in the pvclock page then, for others to compute from.
 *
 * "W MSR VALUE VCPU...", numbers as in C, writes a register of these vCPUs, and is
 * not answered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <linux/types.h>

#define MAX_VCPUS	8
#define NSEC_PER_SEC	1000000000ull
#define TRIES		20

enum { RAW, MONO, PAGE, NR_CLOCKS };

/* The layout that KVM and its guests agreed on; the array has one per 64 bytes. */
struct pvti {
	alignas(64) __u32 version;
	__u32 pad0;
	__u64 tsc_timestamp;
	__u64 system_time;
	__u32 tsc_to_system_mul;
	__s8 tsc_shift;
	__u8 flags;
	__u8 pad[2];
};

struct steps {
	alignas(64) __u64 highest;
	__u64 count;
	__u64 largest;
};

struct vcpu {
	alignas(64) pthread_t thread;
	int cpu;
	__u64 reads;
};

static const struct pvti *pages;
static struct steps steps[NR_CLOCKS];
static struct vcpu vcpus[MAX_VCPUS];
static int nr_vcpus;

static void die(const char *what)
{
	fprintf(stderr, "clockwatch: %s: %s\n", what, strerror(errno));
	exit(1);
}

static __u64 posix_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		die("clock_gettime");
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static inline void barrier(void)
{
	asm volatile("" : : : "memory");
}

/* (delta * mul) >> 32, of which the product may need 96 bits. */
static __u64 scale_delta(__u64 delta, __u32 mul)
{
	return (delta >> 32) * mul + (((delta & 0xffffffff) * mul) >> 32);
}

/* @seen gets what was in the page. */
static __u64 pvclock_read(const struct pvti *p, struct pvti *seen)
{
	__u32 version;
	__u64 delta;

	do {
		version = p->version & ~1u;
		barrier();
		*seen = *p;
		_mm_lfence();
		delta = __rdtsc() - seen->tsc_timestamp;
		barrier();
	} while (p->version != version);
	if (seen->tsc_shift < 0)
		delta >>= -seen->tsc_shift;
	else
		delta <<= seen->tsc_shift;
	return seen->system_time + scale_delta(delta, seen->tsc_to_system_mul);
}

static __u64 read_page(int cpu, struct pvti *seen)
{
	return pages ? pvclock_read(&pages[cpu], seen) : 0;
}

static __u64 read_clock(int clock, int cpu)
{
	struct pvti seen;

	switch (clock) {
	case RAW:
		return posix_clock(CLOCK_MONOTONIC_RAW);
	case MONO:
		return posix_clock(CLOCK_MONOTONIC);
	default:
		return read_page(cpu, &seen);
	}
}

static void raise_to(__u64 *max, __u64 value)
{
	__u64 old = __atomic_load_n(max, __ATOMIC_SEQ_CST);

	while (old < value)
		if (__atomic_compare_exchange_n(max, &old, value, true,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			break;
}

/* The highest reading is loaded before the clock is read: what it names is past. */
static void check_clock(int clock, int cpu)
{
	struct steps *s = &steps[clock];
	__u64 before = __atomic_load_n(&s->highest, __ATOMIC_SEQ_CST);
	__u64 now = read_clock(clock, cpu);

	if (now < before) {
		__atomic_fetch_add(&s->count, 1, __ATOMIC_SEQ_CST);
		raise_to(&s->largest, before - now);
	} else {
		raise_to(&s->highest, now);
	}
}

static bool try_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void pin(int cpu)
{
	if (!try_pin(cpu))
		die("sched_setaffinity");
}

static void *watch(void *arg)
{
	struct vcpu *v = arg;
	int clock;

	pin(v->cpu);
	for (;;) {
		for (clock = 0; clock < NR_CLOCKS; clock++)
			check_clock(clock, v->cpu);
		__atomic_fetch_add(&v->reads, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static __u64 take(__u64 *count)
{
	return __atomic_exchange_n(count, 0, __ATOMIC_SEQ_CST);
}

/* A write from the page to a pipe fails where a load would raise SIGBUS. */
static bool readable(const void *addr)
{
	int fd[2];
	bool ok;

	if (pipe(fd))
		die("pipe");
	ok = write(fd[1], addr, sizeof(struct pvti)) == sizeof(struct pvti);
	close(fd[0]);
	close(fd[1]);
	return ok;
}

/*
 * KVM's pages have a mapping of their own, behind the vDSO's data.  Before 6.13 they
 * were the second page of those.
 */
static const char *pages_in(const char *line)
{
	unsigned long addr = strtoul(line, NULL, 16);

	if (strstr(line, "[vvar_vclock]"))
		return (char *)addr;
	if (strstr(line, "[vvar]"))
		return (char *)addr + 4096;
	return NULL;
}

static void find_pages(void)
{
	const char *addr;
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "r");

	if (!maps)
		die("/proc/self/maps");
	while (fgets(line, sizeof(line), maps)) {
		addr = pages_in(line);
		if (addr && readable(addr))
			pages = (const void *)addr;
	}
	fclose(maps);
}

/* The answering thread goes before the readers, or its latency is a time slice. */
static void hurry(void)
{
	struct sched_param param = { .sched_priority = 10 };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		die("sched_setscheduler");
}

static void answer(FILE *out, unsigned long seq)
{
	__u64 raw = read_clock(RAW, 0);
	__u64 mono = read_clock(MONO, 0);
	__u64 page = read_clock(PAGE, 0);
	__u64 raw2 = read_clock(RAW, 0);
	static unsigned long number;
	int i;

	fprintf(out, "R %lu %lu %llu %llu %llu %llu %d", seq, number++, raw, mono, page, raw2,
		pages ? pages[0].flags : -1);
	for (i = 0; i < nr_vcpus; i++)
		fprintf(out, " %llu", take(&vcpus[i].reads));
	for (i = 0; i < NR_CLOCKS; i++)
		fprintf(out, " %llu %llu", take(&steps[i].count), take(&steps[i].largest));
	fputc('\n', out);
	if (fflush(out))
		die("answer");
}

/* The narrowest of several: nobody came between. */
static void answer_vcpu(FILE *out, int cpu)
{
	__u64 least = ~0ull, tsc0 = 0, tsc1 = 0, page = 0, before, now, after;
	struct pvti seen = {}, line = {};
	int i;

	for (i = 0; i < TRIES; i++) {
		before = __rdtsc();
		_mm_lfence();
		now = read_page(cpu, &seen);
		_mm_lfence();
		after = __rdtsc();
		if (after - before >= least)
			continue;

		least = after - before;
		tsc0 = before;
		page = now;
		tsc1 = after;
		line = seen;
	}
	fprintf(out, " %d %llu %llu %llu %llu %llu %u %d %u", cpu, tsc0, page, tsc1,
		line.tsc_timestamp, line.system_time, line.tsc_to_system_mul,
		line.tsc_shift, line.flags);
}

/* Its clocksource may be one that takes long to read. */
static void answer_mono(FILE *out)
{
	__u64 before = __rdtsc(), mono, after;

	_mm_lfence();
	mono = read_clock(MONO, 0);
	_mm_lfence();
	after = __rdtsc();
	fprintf(out, " %llu %llu %llu", before, mono, after);
}

/* vCPUs come by hot plug, so that the number of them is none that was found once. */
static void answer_vcpus(FILE *out, unsigned long seq)
{
	int cpu;

	pin(0);
	fprintf(out, "T %lu", seq);
	answer_mono(out);
	for (cpu = 0; cpu < MAX_VCPUS; cpu++)
		if (try_pin(cpu))
			answer_vcpu(out, cpu);
	pin(0);
	answer_vcpu(out, 0);
	fputc('\n', out);
	if (fflush(out))
		die("answer");
}

/* The driver of the device has the vCPU itself write. */
static void write_msr(int cpu, __u32 msr, __u64 value)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0 || pwrite(fd, &value, sizeof(value), msr) != sizeof(value))
		die(path);
	close(fd);
}

static void write_msrs(char *request)
{
	__u32 msr = strtoul(request, &request, 0);
	__u64 value = strtoull(request, &request, 0);

	while (*request == ' ')
		write_msr(strtoul(request, &request, 0), msr, value);
}

static void start_watching(void)
{
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vcpus[i].cpu = i;
		errno = pthread_create(&vcpus[i].thread, NULL, watch, &vcpus[i]);
		if (errno)
			die("pthread_create");
	}
	hurry();
}

/* The first request starts the readers, so that a guest that waits is idle. */
static void serve(const char *port)
{
	FILE *in = fopen(port, "r+");
	bool watching = false;
	char line[64];
	FILE *out;

	if (!in)
		die(port);
	out = fdopen(dup(fileno(in)), "w");
	if (!out)
		die("fdopen");
	fprintf(out, "H vcpus=%d page=%d\n", nr_vcpus, !!pages);
	fflush(out);
	for (;;) {
		if (fgets(line, sizeof(line), in)) {
			if (line[0] == 'T') {
				answer_vcpus(out, strtoul(line + 1, NULL, 10));
				continue;
			}
			if (line[0] == 'W') {
				write_msrs(line + 1);
				continue;
			}
			if (!watching)
				start_watching();
			watching = true;
			answer(out, strtoul(line, NULL, 10));
		} else {
			/* Nobody at the other end, for the moment. */
			clearerr(in);
			usleep(10000);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: clockwatch PORT\n");
		return 2;
	}
	nr_vcpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (nr_vcpus > MAX_VCPUS)
		nr_vcpus = MAX_VCPUS;
	find_pages();
	serve(argv[1]);
	return 0;
}
