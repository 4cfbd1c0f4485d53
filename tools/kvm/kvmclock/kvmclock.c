// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock - look at the KVM clock, and move a guest's time.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const char usage[] =
	"usage: kvmclock probe [--json]\n"
	"       kvmclock save [--vcpus N] [--khz K] [--run MS] [--skew CYCLES]\n"
	"                     [--write-tsc CYCLES[:VCPU]]\n"
	"                     [--way auto|exact|offset] [--monotonic] [--json] TARGET\n"
	"       kvmclock restore [--way auto|exact|same-host|guest|offset|documented|plain]\n"
	"                     [--policy count|freeze|start-over] [--stopped] [--monotonic]\n"
	"                     [--run MS] [--save TARGET] [--json] SOURCE\n"
	"       kvmclock watch [--once] [--interval S] [--json] [PID|PID-FD]\n"
	"\n"
	"probe    what this kernel's KVM offers for moving a guest's time\n"
	"save     run a small guest that reads its clocks, stop it, send it to TARGET\n"
	"restore  receive it from SOURCE, restore its time, run it, report how exact it was\n"
	"watch    the clocks of the VMs that run on this machine\n"
	"\n"
	"TARGET, SOURCE: a file, - (standard output, input), unix:PATH, tcp:HOST:PORT,\n"
	"unix-listen:PATH, tcp-listen:[ADDR]:PORT; no ADDR is this machine alone.\n"
	"Details: man kvmclock\n"
	"\n"
	"exit codes: 0 done, 1 failed, 2 usage, 3 the kernel lacks what was asked for,\n"
	"4 bad record\n";

uint64_t parse_number(const char *text, uint64_t max, const char *what)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max)
		fail_usage("%s: '%s' is not a number from 0 to %llu", what, text,
			   (unsigned long long)max);

	return value;
}

void probe_or_fail(struct kvmclock_caps *caps)
{
	int r;

	errno = 0;
	r = kvmclock_probe(-1, caps);
	if (r)
		fail_library(r, "probe");
	if (!caps->adjust_clock)
		fail_library(KVMCLOCK_E_UNSUPPORTED, "KVM_CAP_ADJUST_CLOCK");
}

/* ---- probe ---- */

static const char *best_way(const struct kvmclock_caps *caps)
{
	if (caps->adjust_clock & KVMCLOCK_GUEST_TSC)
		return kvmclock_way_name(KVMCLOCK_WAY_EXACT);
	if (caps->clock_guest && caps->tsc_offset)
		return kvmclock_way_name(KVMCLOCK_WAY_GUEST);
	if (caps->adjust_clock & KVMCLOCK_REALTIME && caps->tsc_offset)
		return kvmclock_way_name(KVMCLOCK_WAY_OFFSET);

	return kvmclock_way_name(KVMCLOCK_WAY_PLAIN);
}

static void report_probe(const struct kvmclock_caps *caps, bool json)
{
	bool master = caps->clock_flags & KVMCLOCK_TSC_STABLE;
	struct out out;

	out_begin(&out, stdout, json);
	out_u64(&out, "adjust_clock", "KVM_CAP_ADJUST_CLOCK", caps->adjust_clock, "");
	out_flags(&out, "flags", "  flags", caps->adjust_clock);
	out_bool(&out, "guest_tsc", "restore clock and TSC at once",
		 caps->adjust_clock & KVMCLOCK_GUEST_TSC);
	out_bool(&out, "monotonic", "clock that never goes back",
		 caps->adjust_clock & KVMCLOCK_MONOTONIC);
	out_bool(&out, "tai", "right across leap seconds", caps->adjust_clock & KVMCLOCK_TAI);
	out_bool(&out, "guest_stopped", "tell all vCPUs that they were stopped",
		 caps->adjust_clock & KVMCLOCK_GUEST_STOPPED);
	out_bool(&out, "clock_guest", "restore the line of a vCPU", caps->clock_guest);
	out_bool(&out, "tsc_offset", "TSC offsets", caps->tsc_offset);
	out_bool(&out, "tsc_control", "TSC scaling", caps->tsc_control);
	out_bool(&out, "vm_tsc_control", "  for a whole VM", caps->vm_tsc_control);
	out_bool(&out, "stats_fd", "binary statistics", caps->stats_fd);
	out_u64(&out, "host_khz", "TSC frequency", caps->host_khz, "kHz");
	out_u64(&out, "frac_bits", "  ratio's fraction bits", caps->frac_bits, "");
	out_u64(&out, "tolerance_ppm", "  taken as equal within", caps->tolerance_ppm, "ppm");
	out_bool(&out, "master_clock", "master clock", master);
	out_flags(&out, "clock_flags", "  KVM_GET_CLOCK reports", caps->clock_flags);
	out_text(&out, "best_way", "best way to restore", best_way(caps));
	out_end(&out);
}

static int cmd_probe(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ }
	};
	struct kvmclock_caps caps;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'j')
			fail_usage(NULL);
		json = true;
	}
	if (optind != argc)
		fail_usage("probe takes no operand");

	probe_or_fail(&caps);
	report_probe(&caps, json);
	return EXIT_OK;
}

static int cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fputs(usage, stdout);
	return EXIT_OK;
}

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("kvmclock %s\n", kvmclock_version());
	return EXIT_OK;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "probe", cmd_probe },
	{ "save", cmd_save },
	{ "restore", cmd_restore },
	{ "watch", cmd_watch },
	{ "help", cmd_help },
	{ "--help", cmd_help },
	{ "-h", cmd_help },
	{ "--version", cmd_version },
};

static bool wants_help(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return true;
	}

	return false;
}

int main(int argc, char **argv)
{
	unsigned int i;
	int r;

	if (argc < 2)
		fail_usage("no command");
	if (wants_help(argc, argv))
		return cmd_help(argc, argv);

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		r = commands[i].run(argc - 1, argv + 1);
		if (fflush(stdout) || ferror(stdout))
			fail_errno("standard output");
		return r;
	}

	fail_usage("no such command: '%s'", argv[1]);
}
