// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock watch: the clocks of the VMs that run on this machine.
 *
 * KVM's debugfs directory has one entry PID-FD per VM.  The clock is there on
 * kernels that show it; KVM_GET_CLOCK is for the process that created the VM only.
 * Statistics come from debugfs, or from a statistics file descriptor that the VMM
 * has open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "tool.h"

#define DEBUGFS		"/sys/kernel/debug/kvm"
#define CLOCKSOURCE	"/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define NR_STATS	4
#define MAX_VMS		1024

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd	438
#endif

static const struct {
	const char *name;
	const char *column;
} stats[NR_STATS] = {
	{ "clock_updates", "UPDATES" },
	{ "clock_reanchors", "REANCHORS" },
	{ "clock_raised", "RAISED" },
	{ "clock_raised_max_ns", "RAISED-MAX-NS" },
};

struct value {
	bool known;
	uint64_t value;
};

struct vm {
	char name[32];		/* PID-FD */
	int pid;
	int fd;
	char command[32];
	uint32_t vcpus;
	struct value tsc;	/* of vCPU 0, now */
	bool equal;		/* all vCPUs have the same TSC offset */
	struct value clock;
	uint32_t flags;
	struct value stats[NR_STATS];
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

static void look_at_clock(struct vm *vm)
{
	struct value flags = read_value(vm->name, "clock_flags");

	vm->clock = read_value(vm->name, "clock_ns");
	vm->flags = flags.value;
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
		if (!strcmp((char *)desc + sizeof(*desc), stats[k].name) &&
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
		vm->stats[i] = read_value(vm->name, stats[i].name);
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
		strcpy(vm->command, "?");
	out_clean(vm->command);
	look_at_clock(vm);
	look_at_stats(vm);
	look_at_tsc(vm);
}

static uint32_t find_vms(struct vm *vms, const char *which)
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

/* ---- Output ---- */

static const char *mode(const struct vm *vm)
{
	return vm->flags & KVMCLOCK_TSC_STABLE ? "master" : "host";
}

static void out_value(struct out *out, const char *key, struct value value)
{
	if (value.known)
		out_u64(out, key, "", value.value, "");
	else
		out_null(out, key, "", "");
}

static void out_vm(struct out *out, const struct vm *vm)
{
	unsigned int i;

	out_text(out, "vm", "", vm->name);
	out_s64(out, "pid", "", vm->pid, "");
	out_text(out, "command", "", vm->command);
	out_u64(out, "vcpus", "", vm->vcpus, "");
	out_value(out, "clock_ns", vm->clock);
	if (vm->clock.known)
		out_text(out, "mode", "", mode(vm));
	else
		out_null(out, "mode", "", "");
	out_value(out, "tsc", vm->tsc);
	out_bool(out, "tsc_offsets_equal", "", vm->equal);
	for (i = 0; i < NR_STATS; i++)
		out_value(out, stats[i].name, vm->stats[i]);
}

static void clocksource(char *buf, size_t size)
{
	if (!read_text(buf, size, CLOCKSOURCE))
		strcpy(buf, "?");
}

static void print_json(const struct vm *vms, uint32_t n)
{
	char source[32];
	struct out out;
	uint32_t i;

	clocksource(source, sizeof(source));
	out_begin(&out, stdout, true);
	out_text(&out, "clocksource", "", source);
	out_list(&out, "vms", "");
	for (i = 0; i < n; i++) {
		fputs(i ? ",{" : "{", stdout);
		out.more = false;
		out_vm(&out, &vms[i]);
		fputc('}', stdout);
	}
	out_list_end(&out);
	out_end(&out);
}

static void print_value(struct value value, int width)
{
	if (value.known)
		printf(" %*llu", width, (unsigned long long)value.value);
	else
		printf(" %*s", width, "-");
}

static void print_vm(const struct vm *vm)
{
	unsigned int i;

	printf("%-14s %-15s %5u", vm->name, vm->command, vm->vcpus);
	print_value(vm->clock, 20);
	printf(" %-6s", vm->clock.known ? mode(vm) : "-");
	print_value(vm->tsc, 20);
	printf(" %-6s", vm->vcpus ? (vm->equal ? "equal" : "differ") : "-");
	for (i = 0; i < NR_STATS; i++)
		print_value(vm->stats[i], strlen(stats[i].column));
	putchar('\n');
}

/* Why there is a "-", once for all. */
static void print_reasons(const struct vm *vms, uint32_t n)
{
	bool no_clock = false, no_stats = false;
	uint32_t i;

	for (i = 0; i < n; i++) {
		no_clock |= !vms[i].clock.known;
		no_stats |= !vms[i].stats[0].known;
	}

	if (no_clock)
		puts("clock and mode: not offered by this kernel");
	if (no_stats)
		puts("statistics of the clock: not offered by this kernel");
}

static void print_table(const struct vm *vms, uint32_t n)
{
	char source[32];
	unsigned int i;

	clocksource(source, sizeof(source));
	printf("host's clocksource: %s\n", source);
	if (!n) {
		puts("no VM is running");
		return;
	}

	printf("%-14s %-15s %5s %20s %-6s %20s %-6s", "VM", "COMMAND", "VCPUS", "CLOCK-NS", "MODE",
	       "TSC", "TSCS");
	for (i = 0; i < NR_STATS; i++)
		printf(" %s", stats[i].column);
	putchar('\n');
	for (i = 0; i < n; i++)
		print_vm(&vms[i]);
	print_reasons(vms, n);
}

static void show(struct vm *vms, const char *which, bool json)
{
	uint32_t n = find_vms(vms, which);

	if (which && !n)
		fail(EXIT_FAILED, "no VM %s is running", which);
	if (json) {
		print_json(vms, n);
		return;
	}
	/* In place on a terminal, one below the other elsewhere. */
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	print_table(vms, n);
	fflush(stdout);
}

enum { OPT_ONCE = 256, OPT_INTERVAL, OPT_JSON };

int cmd_watch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, OPT_ONCE },
		{ "interval", required_argument, NULL, OPT_INTERVAL },
		{ "json", no_argument, NULL, OPT_JSON },
		{ }
	};
	static struct vm vms[MAX_VMS];
	bool once = false, json = false;
	uint32_t interval = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == OPT_ONCE)
			once = true;
		else if (option == OPT_INTERVAL)
			interval = parse_number(optarg, 1, 86400, "--interval");
		else if (option == OPT_JSON)
			json = true;
		else
			fail_usage(NULL);
	}
	if (optind < argc - 1)
		fail_usage("watch takes at most one operand");

	for (;;) {
		show(vms, argv[optind], json);
		if (once || ferror(stdout))
			return EXIT_OK;
		sleep(interval);
	}
}
