// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * The machine: system calls, the TSC, the processor.
 */
#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "internal.h"
#include "tsc_math.h"

#define CPUID_SVM	0x4

static int sys_open_kvm(void)
{
	return open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

static void sys_close(int fd)
{
	close(fd);
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

static uint64_t sys_rdtsc(void)
{
	uint64_t tsc;

	_mm_lfence();
	tsc = __rdtsc();
	_mm_lfence();

	return tsc;
}

static uint64_t sys_realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * KVMCLOCK_NSEC_PER_SEC + now.tv_nsec;
}

/* SVM has ratios of 8.32 bits, VMX of 16.48. */
static uint32_t sys_frac_bits(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && (ecx & CPUID_SVM))
		return 32;

	return 48;
}

static uint32_t sys_tolerance_ppm(void)
{
	FILE *f = fopen("/sys/module/kvm/parameters/tsc_tolerance_ppm", "re");
	unsigned int ppm = 250;

	if (!f)
		return ppm;
	if (fscanf(f, "%u", &ppm) != 1)
		ppm = 250;
	fclose(f);

	return ppm;
}

struct kvmclock_sys kvmclock_sys = {
	.open_kvm = sys_open_kvm,
	.close = sys_close,
	.ioctl = sys_ioctl,
	.rdtsc = sys_rdtsc,
	.realtime_ns = sys_realtime_ns,
	.frac_bits = sys_frac_bits,
	.tolerance_ppm = sys_tolerance_ppm,
};
