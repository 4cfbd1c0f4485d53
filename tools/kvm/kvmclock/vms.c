// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMs that run on this machine, and what can be seen of their clocks.
 *
 * KVM's debugfs directory has one entry PID-FD per VM.  The clock is there on
 * kernels that show it; KVM_GET_CLOCK is for the process that created the VM only.
 * Statistics come from debugfs, or from a statistics file descriptor that the VMM
 * has open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "watch.h"

#define DEBUGFS		"/sys/kernel/debug/kvm"
#define CLOCKSOURCE	"/sys/devices/system/clocksource/clocksource0/current_clocksource"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd	438
#endif

const char *const vm_stats[NR_STATS] = {
	[STAT_UPDATES] = "clock_updates",
	[STAT_REANCHORS] = "clock_reanchors",
	[STAT_RAISED] = "clock_raised",
	[STAT_RAISED_MAX] = "clock_raised_max_ns",
};

/* ---- Files ---- */

__attribute__((format(printf, 3, 4)))
static bool read_text(char *buf, size_t size, const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	ssize_t n;
	int fd;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;

	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return true;
}

/* Offsets are printed as signed. */
static struct value read_value(const char *vm, const char *file)
{
	char buf[32];

	if (!read_text(buf, sizeof(buf), DEBUGFS "/%s/%s", vm, file))
		return (struct value) { };

	if (*buf == '-')
		return (struct value) { true, (uint64_t)strtoll(buf, NULL, 10) };

	return (struct value) { true, strtoull(buf, NULL, 10) };
}

/* ---- What a VMM has open ---- */

static int steal_fd(int pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), copy, error;

	if (pidfd < 0)
		return -1;
	copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	error = errno;
	close(pidfd);
	errno = error;

	return copy;
}

static bool is_link_to(int pid, int fd, const char *target)
{
	char path[64], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;

	link[n] = 0;
	return !strcmp(link, target);
}

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Its directory is as old as the VM. */
static void look_at_age(struct vm *vm)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), DEBUGFS "/%s", vm->name);
	if (!stat(path, &st))
		vm->born_ns = st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec;
}

/*
 * The wall time is that of the middle of the reading, of the shortest of a few: others may
 * run in between.
 */
static void look_at_clock(struct vm *vm)
{
	uint64_t shortest = UINT64_MAX, before, took;
	struct value clock;
	int tries;

	vm->flags = read_value(vm->name, "clock_flags").value;
	for (tries = 0; tries < 8 && shortest > 50000; tries++) {
		before = wall_ns();
		clock = read_value(vm->name, "clock_ns");
		took = wall_ns() - before;
		if (took >= shortest)
			continue;

		shortest = took;
		vm->clock = clock;
		vm->wall_ns = before + took / 2;
	}
}

/* ---- Statistics ---- */

/* One descriptor of a statistics file; its value, if it is one of ours. */
static void read_stat(int fd, const struct kvm_stats_header *header, uint32_t i, struct vm *vm)
{
	size_t size = sizeof(struct kvm_stats_desc) + header->name_size;
	struct kvm_stats_desc *desc = calloc(1, size + 1);
	unsigned int k;
	uint64_t value;

	if (!desc || pread(fd, desc, size, header->desc_offset + i * size) != (ssize_t)size)
		goto out;

	for (k = 0; k < NR_STATS; k++) {
		if (!strcmp((char *)desc + sizeof(*desc), vm_stats[k]) &&
		    pread(fd, &value, sizeof(value), header->data_offset + desc->offset) ==
			    sizeof(value))
			vm->stats[k] = (struct value) { true, value };
	}
out:
	free(desc);
}

static void read_stats_fd(int fd, struct vm *vm)
{
	struct kvm_stats_header header;
	uint32_t i;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || header.name_size > 4096)
		return;
	for (i = 0; i < header.num_desc; i++)
		read_stat(fd, &header, i, vm);
}

/* Which statistics are whose, a process with several VMs does not tell. */
static int find_stats_fd(int pid)
{
	char path[32];
	struct dirent *entry;
	int found = -1, count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (!is_link_to(pid, atoi(entry->d_name), "anon_inode:kvm-vm-stats"))
			continue;
		found = atoi(entry->d_name);
		count++;
	}
	closedir(dir);

	return count == 1 ? found : -1;
}

static void look_at_stats(struct vm *vm)
{
	int number = find_stats_fd(vm->pid), fd, i;

	for (i = 0; i < NR_STATS; i++)
		vm->stats[i] = read_value(vm->name, vm_stats[i]);
	if (vm->stats[0].known || number < 0)
		return;

	fd = steal_fd(vm->pid, number);
	if (fd < 0)
		return;
	read_stats_fd(fd, vm);
	close(fd);
}

/* ---- TSC ---- */

static struct value vcpu_value(const struct vm *vm, uint32_t i, const char *name)
{
	char file[64];

	snprintf(file, sizeof(file), "vcpu%u/%s", i, name);
	return read_value(vm->name, file);
}

static void look_at_tsc(struct vm *vm)
{
	struct value first = vcpu_value(vm, 0, "tsc-offset"), offset = first, ratio, bits;
	uint64_t tsc = __rdtsc();

	vm->equal = true;
	for (vm->vcpus = 0; offset.known; offset = vcpu_value(vm, ++vm->vcpus, "tsc-offset")) {
		if (offset.value != first.value)
			vm->equal = false;
	}

	if (!first.known)
		return;
	ratio = vcpu_value(vm, 0, "tsc-scaling-ratio");
	bits = vcpu_value(vm, 0, "tsc-scaling-ratio-frac-bits");
	if (ratio.known && bits.known && bits.value < 64)
		tsc = (__uint128_t)tsc * ratio.value >> bits.value;
	vm->tsc = (struct value) { true, tsc + first.value };
}

/* ---- VMs ---- */

static bool parse_vm(const char *name, struct vm *vm)
{
	char end;

	if (sscanf(name, "%d-%d%c", &vm->pid, &vm->fd, &end) != 2)
		return false;
	snprintf(vm->name, sizeof(vm->name), "%d-%d", vm->pid, vm->fd);

	return true;
}

/* PID, or PID-FD. */
static bool wanted(const struct vm *vm, const char *which)
{
	char *end;

	if (!which || !strcmp(vm->name, which))
		return true;

	return strtol(which, &end, 10) == vm->pid && !*end;
}

static void look_at(struct vm *vm)
{
	if (!read_text(vm->command, sizeof(vm->command), "/proc/%d/comm", vm->pid))
		snprintf(vm->command, sizeof(vm->command), "?");
	out_clean(vm->command);
	look_at_age(vm);
	look_at_clock(vm);
	look_at_stats(vm);
	look_at_tsc(vm);
}

uint32_t vms_find(struct vm *vms, const char *which)
{
	DIR *dir = opendir(DEBUGFS);
	struct dirent *entry;
	uint32_t n = 0;

	if (!dir && errno == ENOENT)
		fail(EXIT_UNSUPPORTED, DEBUGFS " is not there: load KVM, mount debugfs");
	if (!dir)
		fail_errno(DEBUGFS);

	while (n < MAX_VMS && (entry = readdir(dir))) {
		vms[n] = (struct vm) { };
		if (!parse_vm(entry->d_name, &vms[n]) || !wanted(&vms[n], which))
			continue;
		look_at(&vms[n++]);
	}
	closedir(dir);

	return n;
}

void host_clocksource(char *buf, size_t size)
{
	if (!read_text(buf, size, CLOCKSOURCE))
		snprintf(buf, size, "?");
}

/* ---- What changes ---- */

/* Since @old, which is the same VM; without one, @vm is seen for the first time. */
static void vm_compare(struct vm *vm, const struct vm *old)
{
	unsigned int i;

	vm->first_clock = old ? old->first_clock : vm->clock;
	vm->first_wall_ns = old ? old->first_wall_ns : vm->wall_ns;
	for (i = 0; old && i < NR_STATS; i++) {
		if (old->stats[i].known && vm->stats[i].known)
			vm->since[i] = (struct value) {
				true, vm->stats[i].value - old->stats[i].value
			};
	}
}

/* A process may have another VM by the name of one that is gone. */
void vms_compare(struct vm *vms, uint32_t n, const struct vm *old, uint32_t nr_old)
{
	uint32_t i, k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < nr_old; k++) {
			if (!strcmp(vms[i].name, old[k].name) && vms[i].born_ns == old[k].born_ns)
				break;
		}
		vm_compare(&vms[i], k < nr_old ? &old[k] : NULL);
	}
}

struct value vm_uptime_s(const struct vm *vm)
{
	bool known = vm->born_ns && vm->wall_ns >= vm->born_ns;

	return (struct value) { known, (vm->wall_ns - vm->born_ns) / 1000000000 };
}

/* By how much the clock is faster than wall time since the VM was first seen, in 10^-9. */
bool vm_drift_ppb(const struct vm *vm, int64_t *ppb)
{
	int64_t wall = vm->wall_ns - vm->first_wall_ns;
	int64_t clock = vm->clock.value - vm->first_clock.value;

	if (!vm->clock.known || !vm->first_clock.known || wall <= 0)
		return false;

	*ppb = (__int128)(clock - wall) * 1000000000 / wall;
	return true;
}
