// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit test of kvmclock watch: what it computes of two lists, what it says to Prometheus,
 * and the tracepoint's events, in a directory that looks like tracefs.  test_kvm.sh has
 * the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"
#include "watch.h"

#define SECOND		1000000000ull
#define BORN		(1800000000 * SECOND)

static struct vm vm_at(const char *name, uint64_t age_ns, int64_t ahead_ns, uint64_t updates)
{
	struct vm vm = {
		.pid = 12, .command = "a \"b\\", .vcpus = 2, .equal = true,
		.flags = KVMCLOCK_TSC_STABLE,
		.born_ns = BORN,
		.wall_ns = BORN + age_ns,
		.clock = { true, age_ns + ahead_ns },
		.stats[STAT_UPDATES] = { true, updates },
	};

	snprintf(vm.name, sizeof(vm.name), "%s", name);
	return vm;
}

static void test_first(void)
{
	struct vm vm = vm_at("12-3", 90 * SECOND, 0, 5);
	int64_t ppb;

	vms_compare(&vm, 1, NULL, 0);
	tap_ok(vm_uptime_s(&vm).known && vm_uptime_s(&vm).value == 90, "uptime");
	tap_ok(!vm_drift_ppb(&vm, &ppb), "no drift without another list");
	tap_ok(!vm.since[STAT_UPDATES].known, "no changes without another list");
	vm.born_ns = 0;
	tap_ok(!vm_uptime_s(&vm).known, "no uptime without a birth");
}

/* The drift is since the first list: all of @ns came in the first half of 10 s. */
static void test_drift(int64_t ns, int64_t want)
{
	struct vm other = vm_at("9-9", 0, 0, 0);
	struct vm first = vm_at("12-3", 90 * SECOND, 77, 5);
	struct vm second[2] = { other, vm_at("12-3", 95 * SECOND, 77 + ns, 8) };
	struct vm third[2] = { vm_at("12-3", 100 * SECOND, 77 + ns, 8), other };
	int64_t ppb = 0;
	bool known;

	vms_compare(&first, 1, NULL, 0);
	vms_compare(second, 2, &first, 1);
	tap_ok(second[1].since[STAT_UPDATES].known && second[1].since[STAT_UPDATES].value == 3 &&
	       !second[1].since[STAT_RAISED].known, "changes since the last list");
	vms_compare(third, 2, second, 2);
	known = vm_drift_ppb(&third[0], &ppb);
	tap_ok(known && ppb == want,
	       "drift of %lld ns in 10 s since the first list: %lld ppb", (long long)ns,
	       (long long)ppb);
	tap_ok(third[0].since[STAT_UPDATES].known && !third[0].since[STAT_UPDATES].value,
	       "no changes since the last list");
}

/* By the name of one that is gone. */
static void test_reborn(void)
{
	struct vm old = vm_at("12-3", 90 * SECOND, 0, 5), vm = vm_at("12-3", 91 * SECOND, 0, 6);
	int64_t ppb;

	vms_compare(&old, 1, NULL, 0);
	vm.born_ns += 90 * SECOND;
	vms_compare(&vm, 1, &old, 1);
	tap_ok(!vm.since[STAT_UPDATES].known && !vm_drift_ppb(&vm, &ppb),
	       "another VM by the same name");
}

static void test_prometheus(void)
{
	struct vm vms[2] = { vm_at("12-3", 90 * SECOND, 7, 5), vm_at("13-3", 0, 0, 0) };
	char *text = NULL;
	size_t size;
	FILE *file;

	vms[0].stats[STAT_RAISED_MAX] = (struct value) { true, 1500000000 };
	vms[1].clock.known = false;
	vms[1].stats[STAT_UPDATES].known = false;
	file = open_memstream(&text, &size);
	prometheus_print(file, vms, 2);
	fclose(file);

	tap_ok(strstr(text, "\n# TYPE kvmclock_updates_total counter\nkvmclock_updates_total{") &&
	       strstr(text, "_updates_total{vm=\"12-3\",pid=\"12\",command=\"a \\\"b\\\\\"} 5\n# "),
	       "a counter, quoted, of the VM that has it");
	tap_ok(strstr(text, "} 90.000000007\n"), "ns as seconds");
	tap_ok(strstr(text, "kvmclock_raised_max_seconds{vm=\"12-3\"") &&
	       strstr(text, "} 1.500000000\n"), "the peak as seconds");
	tap_ok(strstr(text, "kvmclock_vcpus{vm=\"13-3\"") &&
	       !strstr(text, "kvmclock_clock_seconds{vm=\"13-3\"") &&
	       !strstr(text, "kvmclock_master_clock{vm=\"13-3\""), "what is not known is left out");
	free(text);
}

/* ---- Events ---- */

static char tracefs[64];

static const char *in_tracefs(const char *format, ...)
{
	static char path[2][256];
	static int which;
	va_list args;
	int n;

	which = !which;
	n = snprintf(path[which], sizeof(path[0]), "%s/", tracefs);
	va_start(args, format);
	vsnprintf(path[which] + n, sizeof(path[0]) - n, format, args);
	va_end(args);
	return path[which];
}

static const char *content(const char *path)
{
	static char buf[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = 0;
	close(fd);
	return buf;
}

static void create(const char *path)
{
	close(open(path, O_WRONLY | O_CREAT, 0600));
}

/* What tracefs has in an instance as soon as that is created. */
static void create_instance(int pid)
{
	mkdir(in_tracefs("instances/kvmclock-%d", pid), 0700);
	mkdir(in_tracefs("instances/kvmclock-%d/events", pid), 0700);
	mkdir(in_tracefs("instances/kvmclock-%d/events/kvm", pid), 0700);
	mkdir(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line", pid), 0700);
	create(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line/enable", pid));
	create(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line/filter", pid));
	mkfifo(in_tracefs("instances/kvmclock-%d/trace_pipe", pid), 0600);
}

/* And what goes with it. */
static void empty_instance(int pid)
{
	unlink(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line/enable", pid));
	unlink(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line/filter", pid));
	rmdir(in_tracefs("instances/kvmclock-%d/events/kvm/kvm_clock_line", pid));
	rmdir(in_tracefs("instances/kvmclock-%d/events/kvm", pid));
	rmdir(in_tracefs("instances/kvmclock-%d/events", pid));
	unlink(in_tracefs("instances/kvmclock-%d/trace_pipe", pid));
}

/* Waits for a byte on @start, so that its directory is there. */
static void run_child(const int start[2], const int output[2])
{
	char byte;

	alarm(20);
	close(start[1]);
	if (read(start[0], &byte, 1) != 1)
		_exit(99);
	dup2(output[1], STDOUT_FILENO);
	freopen("/dev/null", "w", stderr);
	events_watch(tracefs, 77);
	exit(EXIT_OK);
}

static pid_t start_child(const int start[2], const int output[2])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		run_child(start, output);
	return pid;
}

static int finish(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_events(void)
{
	static const char line[] = "cause set old tsc 1";
	int start[2], output[2], trace, code;
	char got[64] = "";
	pid_t pid;

	if (pipe(start) || pipe(output))
		abort();
	pid = start_child(start, output);
	create_instance(pid);
	trace = open(in_tracefs("instances/kvmclock-%d/trace_pipe", pid), O_RDWR);
	if (write(trace, line, sizeof(line)) < 0 || write(start[1], "", 1) < 0)
		abort();

	tap_ok(read(output[0], got, sizeof(got)) == sizeof(line) && !strcmp(got, line),
	       "an event is passed on");
	tap_ok(!strcmp(content(in_tracefs("instances/kvmclock-%d/%s", pid,
					  "events/kvm/kvm_clock_line/enable")), "1"),
	       "the tracepoint is enabled");
	tap_ok(!strcmp(content(in_tracefs("instances/kvmclock-%d/%s", pid,
					  "events/kvm/kvm_clock_line/filter")),
		       "vm == \"kvm-77\""), "for one process");

	empty_instance(pid);
	kill(pid, SIGTERM);
	code = finish(pid);
	tap_ok(!code && access(in_tracefs("instances/kvmclock-%d", pid), F_OK),
	       "a signal ends it, and nothing is left: exit %d", code);
	rmdir(in_tracefs("instances/kvmclock-%d", pid));
	close(trace);
}

static void test_no_event(void)
{
	int start[2], output[2], code;
	pid_t pid;

	if (pipe(start) || pipe(output))
		abort();
	rmdir(in_tracefs("events/kvm/kvm_clock_line"));
	pid = start_child(start, output);
	if (write(start[1], "", 1) < 0)
		abort();
	code = finish(pid);
	tap_ok(code == EXIT_UNSUPPORTED, "a kernel without the tracepoint: exit %d", code);
	tap_ok(access(in_tracefs("instances/kvmclock-%d", pid), F_OK), "and no instance is made");
}

int main(void)
{
	snprintf(tracefs, sizeof(tracefs), "/tmp/test_watch.XXXXXX");
	if (!mkdtemp(tracefs))
		return 1;
	mkdir(in_tracefs("instances"), 0700);
	mkdir(in_tracefs("events"), 0700);
	mkdir(in_tracefs("events/kvm"), 0700);
	mkdir(in_tracefs("events/kvm/kvm_clock_line"), 0700);

	test_first();
	test_drift(2000, 200);
	test_drift(-2000, -200);
	test_reborn();
	test_prometheus();
	test_events();
	test_no_event();

	rmdir(in_tracefs("events/kvm"));
	rmdir(in_tracefs("events"));
	rmdir(in_tracefs("instances"));
	rmdir(tracefs);

	return tap_done();
}
