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
	"usage: kvmclock probe [OPTION...]\n"
	"       kvmclock save [OPTION...] TARGET\n"
	"       kvmclock restore [OPTION...] SOURCE\n"
	"       kvmclock watch [OPTION...] [PID|PID-FD]\n"
	"       kvmclock help [COMMAND]\n"
	"       kvmclock --version\n"
	"\n"
	"probe    what this kernel's KVM offers for moving a guest's time\n"
	"save     run a small guest that reads its clocks, stop it, send it to TARGET\n"
	"restore  receive it from SOURCE, restore its time, run it, report how exact it was\n"
	"watch    the clocks of the VMs that run on this machine\n"
	"\n"
	"TARGET, SOURCE: a file, - (standard output, input), unix:PATH, tcp:HOST:PORT,\n"
	"unix-listen:PATH, tcp-listen:[ADDR]:PORT; no ADDR is this machine alone.\n"
	"Details: kvmclock help COMMAND, man kvmclock\n"
	"\n"
	"exit codes: 0 done, 1 failed, 2 usage, 3 the kernel lacks what was asked for,\n"
	"4 bad record\n";

/* The bash completion reads these: an option with its values, separated by |. */
static const char probe_usage[] =
	"usage: kvmclock probe [OPTION...]\n"
	"\n"
	"  --require auto|exact|same-host|guest|offset|documented|plain\n"
	"                  exit with 3 if a guest cannot be restored here in that way\n"
	"  --json          report as one JSON object on one line\n";

static const char save_usage[] =
	"usage: kvmclock save [OPTION...] TARGET\n"
	"\n"
	"  --vcpus N       the guest's vCPUs, 1 to 64; 2 unless told\n"
	"  --khz K         its TSC's frequency; the host's unless told\n"
	"  --run MS        how long it runs; 1000 unless told\n"
	"  --skew CYCLES   each vCPU's TSC is that much ahead of the one before it\n"
	"  --write-tsc CYCLES[:VCPU]\n"
	"                  the guest writes that to its TSCs, or to one of them\n"
	"  --way auto|exact|offset\n"
	"                  exact: fail without KVM_CLOCK_GUEST_TSC; offset: do without\n"
	"  --monotonic     its clock never goes below what it may have read\n"
	"  --json          report as one JSON object on one line\n";

static const char restore_usage[] =
	"usage: kvmclock restore [OPTION...] SOURCE\n"
	"\n"
	"  --way auto|exact|same-host|guest|offset|documented|plain\n"
	"                  how to restore; auto, the best of them, unless told\n"
	"  --policy count|freeze|start-over\n"
	"                  whether time has passed since the save; count unless told\n"
	"  --stopped       tell the guest that it was stopped\n"
	"  --run MS        how long it runs then; 1000 unless told\n"
	"  --save TARGET   save it again after that\n"
	"  --monotonic     its clock never goes below what it may have read\n"
	"  --json          report as one JSON object on one line\n";

static const char watch_usage[] =
	"usage: kvmclock watch [OPTION...] [PID|PID-FD]\n"
	"\n"
	"  --once          list once and end\n"
	"  --interval S    list every S seconds, 1 to 86400; 1 unless told\n"
	"  --json          each list as one JSON object on one line\n"
	"  --prometheus    list once, as metrics for Prometheus\n"
	"  --events        every change of a clock, as it happens\n";

uint64_t parse_number(const char *text, uint64_t min, uint64_t max, const char *what)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < min || value > max)
		fail_usage("%s: '%s' is not a number from %llu to %llu", what, text,
			   (unsigned long long)min, (unsigned long long)max);

	return value;
}

/* Which of @count names @text is. */
uint32_t parse_name(const char *text, uint32_t count, const char *(*name)(uint32_t),
		    const char *what)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (!strcmp(text, name(i)))
			return i;
	}

	fail_usage("no such %s: '%s'", what, text);
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

/* What a restore in @way needs and this host has not, or NULL. */
static const char *lacks(const struct kvmclock_caps *caps, uint32_t way)
{
	bool exact = way == KVMCLOCK_WAY_EXACT || way == KVMCLOCK_WAY_SAME_HOST;
	bool guest = way == KVMCLOCK_WAY_GUEST;
	bool offset = guest || way == KVMCLOCK_WAY_OFFSET || way == KVMCLOCK_WAY_DOCUMENTED;

	if (exact && !(caps->adjust_clock & KVMCLOCK_GUEST_TSC))
		return "KVM_CLOCK_GUEST_TSC";
	if (guest && !caps->clock_guest)
		return "KVM_SET_CLOCK_GUEST";
	if (offset && !(caps->adjust_clock & KVMCLOCK_REALTIME))
		return "KVM_CLOCK_REALTIME";
	if (offset && !caps->tsc_offset)
		return "KVM_VCPU_TSC_OFFSET";
	if ((exact || guest) && !(caps->clock_flags & KVMCLOCK_TSC_STABLE))
		return "the master clock, for which the host's clocksource has to be tsc";

	return NULL;
}

/* What --way auto takes. */
static const char *best_way(const struct kvmclock_caps *caps)
{
	static const uint32_t order[] = {
		KVMCLOCK_WAY_EXACT, KVMCLOCK_WAY_GUEST, KVMCLOCK_WAY_OFFSET
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		if (!lacks(caps, order[i]))
			return kvmclock_way_name(order[i]);
	}

	return kvmclock_way_name(KVMCLOCK_WAY_PLAIN);
}

/* Mainline's modules have no version; a package of ours gives them one. */
static void report_kvm(struct out *out, const struct kvmclock_caps *caps)
{
	const char *kvm = caps->adjust_clock & KVMCLOCK_GUEST_TSC ? "kvmclock" : "stock";
	FILE *f = fopen("/sys/module/kvm/version", "re");
	char version[64] = "";

	if (f && fscanf(f, "%63s", version) != 1)
		*version = '\0';
	if (f)
		fclose(f);

	out_text(out, "kvm", "KVM that is loaded", kvm);
	if (*version)
		out_text(out, "module_version", "  version of the module", version);
	else
		out_null(out, "module_version", "  version of the module", "none");
}

static void report_probe(const struct kvmclock_caps *caps, bool json)
{
	bool master = caps->clock_flags & KVMCLOCK_TSC_STABLE;
	struct out out;

	out_begin(&out, stdout, json);
	report_kvm(&out, caps);
	out_u64(&out, "adjust_clock", "KVM_CAP_ADJUST_CLOCK", caps->adjust_clock, "");
	out_flags(&out, "flags", "  flags", caps->adjust_clock);
	out_bool(&out, "guest_tsc", "restore clock and TSC at once",
		 caps->adjust_clock & KVMCLOCK_GUEST_TSC);
	out_bool(&out, "monotonic", "clock that never goes back",
		 caps->adjust_clock & KVMCLOCK_MONOTONIC);
	out_bool(&out, "tai", "right across leap seconds", caps->adjust_clock & KVMCLOCK_TAI);
	out_bool(&out, "guest_stopped", "tell all vCPUs of a stop",
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
		{ "require", required_argument, NULL, 'r' },
		{ }
	};
	uint32_t way = KVMCLOCK_WAY_AUTO;
	struct kvmclock_caps caps;
	const char *lack;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j')
			json = true;
		else if (option == 'r')
			way = parse_name(optarg, KVMCLOCK_NR_WAYS, kvmclock_way_name, "way");
		else
			fail_usage(NULL);
	}
	if (optind != argc)
		fail_usage("probe takes no operand");

	probe_or_fail(&caps);
	report_probe(&caps, json);
	lack = lacks(&caps, way);
	if (lack)
		fail(EXIT_UNSUPPORTED, "the way %s needs %s", kvmclock_way_name(way), lack);

	return EXIT_OK;
}

static int cmd_help(int argc, char **argv);

static int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("kvmclock %s\n", kvmclock_version());
	return EXIT_OK;
}

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
} commands[] = {
	{ "probe", cmd_probe, probe_usage },
	{ "save", cmd_save, save_usage },
	{ "restore", cmd_restore, restore_usage },
	{ "watch", cmd_watch, watch_usage },
	{ "help", cmd_help, usage },
	{ "--help", cmd_help, usage },
	{ "-h", cmd_help, usage },
	{ "--version", cmd_version, usage },
	{ "-V", cmd_version, usage },
};

static const struct command *find_command(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	}

	fail_usage("no such command: '%s'", name);
}

static int cmd_help(int argc, char **argv)
{
	fputs(argc > 1 ? find_command(argv[1])->usage : usage, stdout);
	return EXIT_OK;
}

static bool wants_help(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	}

	return false;
}

int main(int argc, char **argv)
{
	const struct command *command;
	int r = EXIT_OK;

	if (argc < 2)
		fail_usage("no command");

	signal(SIGPIPE, SIG_IGN);
	command = find_command(argv[1]);
	if (wants_help(argc - 1, argv + 1))
		fputs(command->usage, stdout);
	else
		r = command->run(argc - 1, argv + 1);
	if (fflush(stdout) || ferror(stdout))
		fail_errno("standard output");

	return r;
}
