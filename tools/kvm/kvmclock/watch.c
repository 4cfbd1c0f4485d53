// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock watch: the clocks of the VMs that run on this machine, as a table or as JSON.
 */
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch.h"

#define TRACEFS		"/sys/kernel/tracing"

static const char *const columns[NR_STATS] = {
	[STAT_UPDATES] = "UPDATES",
	[STAT_REANCHORS] = "REANCHORS",
	[STAT_RAISED] = "RAISED",
	[STAT_RAISED_MAX] = "RAISED-MAX-NS",
};

#define STAT_WIDTH	14

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

static void out_drift(struct out *out, const struct vm *vm)
{
	int64_t ppb;

	if (vm_drift_ppb(vm, &ppb))
		out_s64(out, "drift_ppb", "", ppb, "");
	else
		out_null(out, "drift_ppb", "", "");
}

static void out_vm(struct out *out, const struct vm *vm)
{
	unsigned int i;

	out_text(out, "vm", "", vm->name);
	out_s64(out, "pid", "", vm->pid, "");
	out_text(out, "command", "", vm->command);
	out_u64(out, "vcpus", "", vm->vcpus, "");
	out_value(out, "uptime_s", vm_uptime_s(vm));
	out_value(out, "clock_ns", vm->clock);
	out_drift(out, vm);
	if (vm->clock.known)
		out_text(out, "mode", "", mode(vm));
	else
		out_null(out, "mode", "", "");
	out_value(out, "tsc", vm->tsc);
	out_bool(out, "tsc_offsets_equal", "", vm->equal);
	for (i = 0; i < NR_STATS; i++)
		out_value(out, vm_stats[i], vm->stats[i]);
	out_group(out, "since_last");
	for (i = 0; i < STAT_RAISED_MAX; i++)
		out_value(out, vm_stats[i], vm->since[i]);
	out_group_end(out);
}

static void print_json(const struct vm *vms, uint32_t n)
{
	char source[32];
	struct out out;
	uint32_t i;

	host_clocksource(source, sizeof(source));
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

static void print_uptime(struct value s)
{
	unsigned int hours = s.value / 3600, rest = s.value % 3600;

	if (!s.known)
		printf(" %9s", "-");
	else if (hours < 100)
		printf("  %02u:%02u:%02u", hours, rest / 60, rest % 60);
	else
		printf(" %5ud%02uh", hours / 24, hours % 24);
}

static void print_drift(const struct vm *vm)
{
	int64_t ppb;

	if (vm_drift_ppb(vm, &ppb))
		printf(" %+9.1f", ppb / 1e3);
	else
		printf(" %9s", "-");
}

/* And what is new since the last list. */
static void print_stat(const struct vm *vm, unsigned int i)
{
	char text[64];

	if (!vm->since[i].known || !vm->since[i].value) {
		print_value(vm->stats[i], STAT_WIDTH);
		return;
	}
	snprintf(text, sizeof(text), "%llu (+%llu)", (unsigned long long)vm->stats[i].value,
		 (unsigned long long)vm->since[i].value);
	printf(" %*s", STAT_WIDTH, text);
}

static void print_vm(const struct vm *vm)
{
	unsigned int i;

	printf("%-14s %-15s %5u", vm->name, vm->command, vm->vcpus);
	print_uptime(vm_uptime_s(vm));
	print_value(vm->clock, 20);
	print_drift(vm);
	printf(" %-6s", vm->clock.known ? mode(vm) : "-");
	print_value(vm->tsc, 20);
	printf(" %-6s", vm->vcpus ? (vm->equal ? "equal" : "differ") : "-");
	for (i = 0; i < NR_STATS; i++)
		print_stat(vm, i);
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

	host_clocksource(source, sizeof(source));
	printf("host's clocksource: %s\n", source);
	if (!n) {
		puts("no VM is running");
		return;
	}

	printf("%-14s %-15s %5s %9s %20s %9s %-6s %20s %-6s", "VM", "COMMAND", "VCPUS", "UPTIME",
	       "CLOCK-NS", "DRIFT-PPM", "MODE", "TSC", "TSCS");
	for (i = 0; i < NR_STATS; i++)
		printf(" %*s", STAT_WIDTH, columns[i]);
	putchar('\n');
	for (i = 0; i < n; i++)
		print_vm(&vms[i]);
	print_reasons(vms, n);
}

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_PROMETHEUS };

static void print_vms(const struct vm *vms, uint32_t n, enum format format)
{
	if (format == FORMAT_JSON) {
		print_json(vms, n);
		return;
	}
	if (format == FORMAT_PROMETHEUS) {
		prometheus_print(stdout, vms, n);
		return;
	}

	/* In place on a terminal, one below the other elsewhere. */
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	print_table(vms, n);
	fflush(stdout);
}

static void list_vms(const char *which, enum format format, bool once, uint32_t interval)
{
	static struct vm lists[2][MAX_VMS];
	uint32_t n[2] = { }, now = 0;

	for (;; now = !now) {
		n[now] = vms_find(lists[now], which);
		if (which && !n[now])
			fail(EXIT_FAILED, "no VM %s is running", which);
		vms_compare(lists[now], n[now], lists[!now], n[!now]);
		print_vms(lists[now], n[now], format);
		if (once || ferror(stdout))
			return;
		sleep(interval);
	}
}

/* The tracepoint knows no more of a VM than the process. */
static int event_pid(const char *which)
{
	char *end = "";
	long pid = which ? strtol(which, &end, 10) : 0;

	if ((which && pid <= 0) || pid > INT_MAX || (*end && *end != '-'))
		fail_usage("'%s' is neither PID nor PID-FD", which);

	return pid;
}

enum { OPT_ONCE = 256, OPT_INTERVAL, OPT_JSON, OPT_PROMETHEUS, OPT_EVENTS };

int cmd_watch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, OPT_ONCE },
		{ "interval", required_argument, NULL, OPT_INTERVAL },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "prometheus", no_argument, NULL, OPT_PROMETHEUS },
		{ "events", no_argument, NULL, OPT_EVENTS },
		{ }
	};
	enum format format = FORMAT_TABLE;
	bool once = false, events = false;
	uint32_t interval = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == OPT_ONCE)
			once = true;
		else if (option == OPT_INTERVAL)
			interval = parse_number(optarg, 1, 86400, "--interval");
		else if (option == OPT_JSON)
			format = FORMAT_JSON;
		else if (option == OPT_PROMETHEUS)
			format = FORMAT_PROMETHEUS;
		else if (option == OPT_EVENTS)
			events = true;
		else
			fail_usage(NULL);
	}
	if (optind < argc - 1)
		fail_usage("watch takes at most one operand");

	if (events && (once || format))
		fail_usage("--events is not a list");
	if (events)
		events_watch(TRACEFS, event_pid(argv[optind]));
	else
		list_vms(argv[optind], format, once || format == FORMAT_PROMETHEUS, interval);

	return EXIT_OK;
}
