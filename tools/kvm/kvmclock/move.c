// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock save and kvmclock restore: move the built-in guest.
 *
 * What travels: a header, before the guest stops; the record of the VM's time;
 * registers; memory; a checksum.  Through a socket, who restores says that it is
 * ready before, and that the guest is there in the end.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/* What both commands can be told. */
struct move_options {
	uint32_t vcpus;
	uint32_t khz;
	uint32_t run_ms;
	int64_t skew;
	uint64_t write_tsc;
	uint32_t write_vcpu;	/* or ALL_VCPUS */
	uint32_t way;
	uint32_t policy;
	bool stopped;
	uint32_t flags;		/* KVMCLOCK_MONOTONIC, KVMCLOCK_SAVE_NO_GUEST_TSC */
	const char *save;
	bool json;
};

/* What the guest has seen, summed up over its vCPUs. */
struct guest_sum {
	uint64_t readings;
	uint64_t clock_back;
	uint64_t clock_back_max;
	uint64_t tsc_back;
	uint64_t tsc_back_max;
	uint64_t anchor_ahead;
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct guest_sum sum_guest(const struct machine *m)
{
	const struct guest_vcpu *g;
	struct guest_sum sum = { };
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		g = machine_guest(m, i);
		sum.readings += g->readings;
		sum.clock_back += g->clock_back;
		sum.clock_back_max = max_u64(sum.clock_back_max, g->clock_back_max);
		sum.tsc_back += g->tsc_back;
		sum.tsc_back_max = max_u64(sum.tsc_back_max, g->tsc_back_max);
		sum.anchor_ahead += g->anchor_ahead;
	}

	return sum;
}

static void out_guest(struct out *out, const struct guest_sum *sum)
{
	out_u64(out, "readings", "readings", sum->readings, "");
	out_u64(out, "clock_back", "clock went back", sum->clock_back, "times");
	out_u64(out, "clock_back_max_ns", "  by at most", sum->clock_back_max, "ns");
	out_u64(out, "tsc_back", "a vCPU's TSC went back", sum->tsc_back, "times");
	out_u64(out, "tsc_back_max_cycles", "  by at most", sum->tsc_back_max, "cycles");
	out_u64(out, "anchor_ahead", "a line began at a greater TSC", sum->anchor_ahead, "times");
}

/* ---- Save ---- */

static void send_header(struct stream *s, const struct machine *m, uint32_t run_ms)
{
	struct stream_header header = {
		.nr_vcpus = m->nr_vcpus,
		.memory_size = GUEST_MEMORY,
		.run_ms = run_ms,
	};
	struct kvmclock_record *rec;
	struct kvmclock_vm vm = machine_vm(m);
	struct kvmclock_info info;
	int r;

	/* Nothing runs yet: only the frequency is of interest. */
	r = kvmclock_save(&vm, 0, &rec);
	if (r)
		fail_library(r, "save");
	kvmclock_record_info(rec, &info);
	kvmclock_record_free(rec);

	header.tsc_khz = info.tsc_khz;
	stream_write_header(s, &header);
}

static void send_guest(struct stream *s, const struct machine *m, const struct kvmclock_record *rec)
{
	struct machine_state states[GUEST_MAX_VCPUS];
	uint32_t size = kvmclock_record_size(rec);
	uint8_t *buf = malloc(size);
	int r;

	if (!buf)
		fail_errno("memory");
	r = kvmclock_record_write(rec, buf, size);
	if (r)
		fail_library(r, "the record");

	machine_get_state(m, states);
	stream_set_limit(s, stream_limits.state);
	stream_write(s, &size, sizeof(size));
	stream_write(s, buf, size);
	stream_write(s, states, m->nr_vcpus * sizeof(states[0]));
	stream_write(s, m->memory, GUEST_MEMORY);
	stream_write_sum(s);
	stream_finish_target(s);
	free(buf);
}

static struct kvmclock_record *save_or_fail(const struct machine *m, uint32_t flags)
{
	struct kvmclock_vm vm = machine_vm(m);
	struct kvmclock_record *rec;
	int r;

	r = kvmclock_save(&vm, flags, &rec);
	if (r)
		fail_library(r, "save");

	return rec;
}

static const char *saved_how(const struct kvmclock_info *info)
{
	if (info->flags & KVMCLOCK_GUEST_TSC)
		return "exact";

	return info->sample_ns ? "sampled" : "offset";
}

static void out_record(struct out *out, const struct kvmclock_record *rec)
{
	struct kvmclock_info info;

	kvmclock_record_info(rec, &info);
	out_text(out, "saved_by", "saved by", saved_how(&info));
	out_flags(out, "flags", "KVM_GET_CLOCK reported", info.flags);
	out_u64(out, "vcpus", "vCPUs", info.nr_vcpus, "");
	out_u64(out, "tsc_khz", "guest's TSC", info.tsc_khz, "kHz");
	out_u64(out, "host_khz", "host's TSC", info.host_khz, "kHz");
	out_u64(out, "clock_ns", "KVM clock", info.clock_ns, "ns");
	out_u64(out, "realtime_ns", "wall time", info.realtime_ns, "ns");
	out_u64(out, "host_tsc", "host TSC", info.host_tsc, "cycles");
	out_u64(out, "guest_tsc", "TSC of vCPU 0", info.guest_tsc, "cycles");
	out_u64(out, "mul", "line, multiplier", info.mul, "");
	out_s64(out, "shift", "line, shift", info.shift, "");
	out_u64(out, "sample_ns", "width of the instant", info.sample_ns, "ns");
	out_s64(out, "tai_offset", "CLOCK_TAI - CLOCK_REALTIME", info.tai_offset, "s");
	out_u64(out, "record_bytes", "record", kvmclock_record_size(rec), "bytes");
}

static void report_save(const struct move_options *opt, const struct machine *m,
			const struct kvmclock_record *rec, const char *target)
{
	struct guest_sum sum = sum_guest(m);
	struct out out;

	out_begin(&out, strcmp(target, "-") ? stdout : stderr, opt->json);
	out_record(&out, rec);
	out_group(&out, "guest");
	out_guest(&out, &sum);
	out_group_end(&out);
	out_end(&out);
}

static void create_guest(struct machine *m, const struct move_options *opt)
{
	struct kvmclock_vm vm;
	int r;

	machine_create(m);
	probe_or_fail(&m->caps);
	if (opt->way == KVMCLOCK_WAY_EXACT && !(m->caps.adjust_clock & KVMCLOCK_GUEST_TSC))
		fail_library(KVMCLOCK_E_UNSUPPORTED, "save --way exact");

	vm = machine_vm(m);
	r = kvmclock_prepare(&vm, opt->khz, opt->flags & KVMCLOCK_MONOTONIC);
	if (r)
		fail_library(r, "prepare the VM");
	machine_create_vcpus(m, opt->vcpus);
	machine_boot(m);
	if (opt->skew)
		machine_skew(m, opt->skew);
	if (opt->write_tsc)
		machine_write_tsc(m, opt->write_vcpu, opt->write_tsc);
}

static void save(const struct move_options *opt, const char *target)
{
	struct kvmclock_record *rec;
	struct machine m;
	struct stream s;

	create_guest(&m, opt);
	stream_open_target(&s, target);
	send_header(&s, &m, opt->run_ms);
	machine_run(&m, opt->run_ms);

	rec = save_or_fail(&m, opt->flags);
	send_guest(&s, &m, rec);
	report_save(opt, &m, rec, target);
	kvmclock_record_free(rec);
}

/* ---- Restore ---- */

/*
 * Put the guest in place.  A reading that it was stopped in may be the source's: the
 * one after it is the first here.
 */
static void place_guest(struct machine *m, struct arrival *a)
{
	struct guest_vcpu *g;
	uint32_t i;

	memcpy(m->memory, a->memory, GUEST_MEMORY);
	for (i = 0; i < m->nr_vcpus; i++) {
		g = machine_guest(m, i);
		g->first.tsc = 0;
		g->skip = 1;
	}

	machine_set_state(m, a->states);
	machine_start_clocks(m);
}

/* With --way plain a frequency that this host cannot run is accepted, and reported. */
static void prepare_guest(struct machine *m, const struct move_options *opt,
			  const struct stream_header *header)
{
	struct kvmclock_vm vm = machine_vm(m);
	int r;

	r = kvmclock_prepare(&vm, header->tsc_khz, opt->flags);
	if (r == KVMCLOCK_E_FREQUENCY && opt->way == KVMCLOCK_WAY_PLAIN)
		r = kvmclock_prepare(&vm, 0, opt->flags);
	if (r)
		fail_library(r, "prepare the VM");

	machine_create_vcpus(m, header->nr_vcpus);
}

static void out_notes(struct out *out, uint32_t notes)
{
	uint32_t i;

	if (out->json) {
		out_list(out, "notes", "notes");
		for (i = 0; i < KVMCLOCK_NR_NOTES; i++) {
			if (notes & 1u << i)
				out_item(out, kvmclock_note_name(1u << i));
		}
		out_list_end(out);
		return;
	}

	for (i = 0; i < KVMCLOCK_NR_NOTES; i++) {
		if (notes & 1u << i)
			out_text(out, "", "note", kvmclock_note_text(1u << i));
	}
}

static void out_way(struct out *out, const struct kvmclock_report *rep)
{
	out_text(out, "way", "way", kvmclock_way_name(rep->way));
	if (!out->json)
		out_text(out, "", "", kvmclock_way_text(rep->way));
	out_notes(out, rep->notes);
	out_flags(out, "set_flags", "KVM_SET_CLOCK was given", rep->set_flags);
	out_flags(out, "get_flags", "KVM_GET_CLOCK reports", rep->get_flags);
	out_s64(out, "elapsed_ns", "wall time since the save", rep->elapsed_ns, "ns");
	out_s64(out, "cycles_moved", "TSCs moved by", rep->cycles_moved, "cycles");
	out_s64(out, "clock_error_ns", "clock, against wall time", rep->clock_error_ns, "ns");
	out_u64(out, "clock_bound_ns", "  known to within", rep->clock_bound_ns, "ns");
	out_s64(out, "tsc_error_ns", "TSC, against wall time", rep->tsc_error_ns, "ns");
	out_u64(out, "tsc_bound_ns", "  known to within", rep->tsc_bound_ns, "ns");
	out_s64(out, "relation_error_ns", "clock, against the TSC", rep->relation_error_ns, "ns");
	out_u64(out, "relation_bound_ns", "  known to within", rep->relation_bound_ns, "ns");
}

/* What a vCPU saw as a step: the first line here minus the last one there, at the same TSC. */
static int64_t line_step(const struct guest_vcpu *before, const struct guest_vcpu *now)
{
	const struct kvmclock_pvclock *old = &before->last[before->readings % 2].line;

	/* A TSC that went back: how far, on the old line. */
	if ((int64_t)(now->first.tsc - old->tsc_timestamp) < 0)
		return now->first.clock - 2 * old->system_time +
		       guest_clock(old, 2 * old->tsc_timestamp - now->first.tsc);

	return now->first.clock - guest_clock(old, now->first.tsc);
}

static bool has_step(const struct guest_vcpu *before, const struct guest_vcpu *now)
{
	return before->readings && now->first.tsc;
}

static uint64_t magnitude(int64_t value)
{
	return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static void out_guest_steps(struct out *out, const struct machine *m, const struct arrival *a)
{
	int64_t step, worst = 0, gap = INT64_MAX, now;
	bool seen = false;
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		if (!has_step(&a->before[i], machine_guest(m, i)))
			continue;
		seen = true;
		step = line_step(&a->before[i], machine_guest(m, i));
		if (magnitude(step) > magnitude(worst))
			worst = step;
		now = machine_guest(m, i)->first.clock - a->max_clock;
		if (now < gap)
			gap = now;
	}

	if (!seen) {
		out_null(out, "relation_step_ns", "step seen by the guest", "not read on both");
		out_null(out, "clock_gap_ns", "clock, from last to first", "not read on both");
		return;
	}
	out_s64(out, "relation_step_ns", "step seen by the guest", worst, "ns");
	out_s64(out, "clock_gap_ns", "clock, from last to first", gap, "ns");
}

static void out_line(struct out *out, const char *key, const struct kvmclock_pvclock *line)
{
	out_group(out, key);
	out_u64(out, "tsc_timestamp", "", line->tsc_timestamp, "");
	out_u64(out, "system_time", "", line->system_time, "");
	out_u64(out, "mul", "", line->mul, "");
	out_s64(out, "shift", "", line->shift, "");
	out_u64(out, "flags", "", line->flags, "");
	out_group_end(out);
}

/* For who computes with it: the last line there and the first one here, as vCPU 0 had them. */
static void out_lines(struct out *out, const struct machine *m, const struct arrival *a)
{
	const struct guest_vcpu *before = &a->before[0], *now = machine_guest(m, 0);

	if (!out->json || !has_step(before, now))
		return;

	out_line(out, "line_before", &before->last[before->readings % 2].line);
	out_line(out, "line_after", &now->first.line);
}

/* For who computes with it: what was restored, and what was there before any vCPU ran. */
static void out_ends(struct out *out, const struct arrival *a,
		     const struct kvmclock_record *restored)
{
	if (!out->json)
		return;

	out_group(out, "source");
	out_record(out, a->rec);
	out_group_end(out);
	out_group(out, "restored");
	out_record(out, restored);
	out_group_end(out);
}

static void out_guest_since(struct out *out, const struct machine *m, const struct arrival *a)
{
	struct guest_sum sum = sum_guest(m);
	uint32_t i;

	for (i = 0; i < m->nr_vcpus; i++) {
		sum.readings -= a->before[i].readings;
		sum.clock_back -= a->before[i].clock_back;
		sum.tsc_back -= a->before[i].tsc_back;
		sum.anchor_ahead -= a->before[i].anchor_ahead;
	}

	out_group(out, "guest");
	out_u64(out, "vcpus", "vCPUs", m->nr_vcpus, "");
	out_guest_steps(out, m, a);
	out_lines(out, m, a);
	out_guest(out, &sum);
	out_group_end(out);
}

/* From the save to the end of this run, by the kernel's figures at both ends. */
static void out_run(struct out *out, const struct kvmclock_record *from,
		    const struct kvmclock_record *to)
{
	struct kvmclock_info a, b;
	uint64_t wall, clock, cycles, want;	/* modulo 2^64: a record may say anything */

	kvmclock_record_info(from, &a);
	kvmclock_record_info(to, &b);
	wall = b.realtime_ns - a.realtime_ns;
	clock = b.clock_ns - a.clock_ns;
	cycles = b.guest_tsc - a.guest_tsc;
	want = (__int128)(int64_t)wall * a.tsc_khz / 1000000;

	out_group(out, "run");
	out_s64(out, "wall_ns", "since the save, wall time", wall, "ns");
	out_s64(out, "clock_ns", "  clock gained", clock, "ns");
	out_s64(out, "clock_minus_wall_ns", "  more than wall time", clock - wall, "ns");
	out_s64(out, "tsc_cycles", "  TSC gained", cycles, "cycles");
	out_s64(out, "tsc_minus_wall_cycles", "  more than wall time", cycles - want, "cycles");
	out_group_end(out);
}

static void report_restore(const struct move_options *opt, const struct machine *m,
			   const struct arrival *a, const struct kvmclock_report *rep,
			   const struct kvmclock_record *restored,
			   const struct kvmclock_record *end)
{
	bool busy = opt->save && !strcmp(opt->save, "-");
	struct out out;

	out_begin(&out, busy ? stderr : stdout, opt->json);
	out_way(&out, rep);
	out_ends(&out, a, restored);
	out_guest_since(&out, m, a);
	out_run(&out, a->rec, end);
	if (opt->save) {
		out_group(&out, "saved");
		out_record(&out, end);
		out_group_end(&out);
	}
	out_end(&out);
}

static void restore_time(struct machine *m, const struct move_options *opt, const struct arrival *a,
			 struct kvmclock_report *rep)
{
	struct kvmclock_restore_options options = {
		.way = opt->way,
		.policy = opt->policy,
		.flags = opt->flags | (opt->stopped ? KVMCLOCK_GUEST_STOPPED : 0),
	};
	struct kvmclock_vm vm = machine_vm(m);
	int r;

	r = kvmclock_restore(&vm, a->rec, &options, rep);
	if (r)
		fail_library(r, "restore");
}

/* Where the guest goes on to, from @header's source: it is to run there and here before. */
static void open_next(struct stream *next, const struct move_options *opt,
		      const struct stream_header *header)
{
	struct stream_header h = *header;

	if (opt->run_ms > STREAM_MAX_RUN_MS - h.run_ms)
		fail_usage("--run %u: with what the source runs, that is more than a day",
			   opt->run_ms);

	h.run_ms += opt->run_ms;
	stream_open_target(next, opt->save);
	stream_write_header(next, &h);
}

static void restore(const struct move_options *opt, const char *source)
{
	struct arrival *a = calloc(1, sizeof(*a));
	struct stream_header header;
	struct kvmclock_record *restored, *end;
	struct kvmclock_report rep;
	struct stream s, next;
	struct machine m;

	if (!a)
		fail_errno("memory");

	machine_create(&m);
	probe_or_fail(&m.caps);
	stream_open_source(&s, source, &header);
	prepare_guest(&m, opt, &header);
	if (opt->save)
		open_next(&next, opt, &header);

	arrival_read(&s, &header, a);
	place_guest(&m, a);
	restore_time(&m, opt, a, &rep);
	stream_acknowledge(&s);
	restored = save_or_fail(&m, opt->flags);
	machine_run(&m, opt->run_ms);

	end = save_or_fail(&m, opt->flags);
	if (opt->save)
		send_guest(&next, &m, end);
	report_restore(opt, &m, a, &rep, restored, end);
	kvmclock_record_free(restored);
	kvmclock_record_free(end);
	kvmclock_record_free(a->rec);
	free(a);
}

/* ---- Options ---- */

enum {
	OPT_VCPUS = 256, OPT_KHZ, OPT_RUN, OPT_SKEW, OPT_WAY, OPT_JSON, OPT_MONOTONIC, OPT_SAVE,
	OPT_POLICY, OPT_STOPPED, OPT_WRITE_TSC
};

/* CYCLES of all vCPUs, or CYCLES:VCPU. */
static void parse_write_tsc(char *text, struct move_options *opt)
{
	char *vcpu = strchr(text, ':');

	opt->write_vcpu = ALL_VCPUS;
	if (vcpu) {
		*vcpu++ = '\0';
		opt->write_vcpu = parse_number(vcpu, 0, GUEST_MAX_VCPUS - 1, "--write-tsc, vCPU");
	}
	opt->write_tsc = parse_number(text, 0, UINT64_MAX, "--write-tsc");
}

static void parse_option(int option, struct move_options *opt)
{
	switch (option) {
	case OPT_VCPUS:
		opt->vcpus = parse_number(optarg, 1, GUEST_MAX_VCPUS, "--vcpus");
		break;
	case OPT_KHZ:
		opt->khz = parse_number(optarg, 0, INT32_MAX, "--khz");
		break;
	case OPT_RUN:
		opt->run_ms = parse_number(optarg, 0, STREAM_MAX_RUN_MS, "--run");
		break;
	case OPT_SKEW:
		opt->skew = parse_number(optarg, 0, UINT32_MAX, "--skew");
		break;
	case OPT_WRITE_TSC:
		parse_write_tsc(optarg, opt);
		break;
	case OPT_WAY:
		opt->way = parse_name(optarg, KVMCLOCK_NR_WAYS, kvmclock_way_name, "way");
		break;
	case OPT_JSON:
		opt->json = true;
		break;
	case OPT_MONOTONIC:
		opt->flags |= KVMCLOCK_MONOTONIC;
		break;
	case OPT_SAVE:
		opt->save = optarg;
		break;
	case OPT_POLICY:
		opt->policy = parse_name(optarg, KVMCLOCK_NR_POLICIES, kvmclock_policy_name,
					 "policy");
		break;
	case OPT_STOPPED:
		opt->stopped = true;
		break;
	default:
		fail_usage(NULL);
	}
}

static const char *parse(int argc, char **argv, const struct option *options,
			 struct move_options *opt)
{
	int option;

	*opt = (struct move_options) { .vcpus = 2, .run_ms = 1000 };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		parse_option(option, opt);
	if (optind != argc - 1)
		fail_usage("%s takes one operand", argv[0]);

	return argv[optind];
}

int cmd_save(int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpus", required_argument, NULL, OPT_VCPUS },
		{ "khz", required_argument, NULL, OPT_KHZ },
		{ "run", required_argument, NULL, OPT_RUN },
		{ "skew", required_argument, NULL, OPT_SKEW },
		{ "write-tsc", required_argument, NULL, OPT_WRITE_TSC },
		{ "way", required_argument, NULL, OPT_WAY },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "monotonic", no_argument, NULL, OPT_MONOTONIC },
		{ }
	};
	struct move_options opt;
	const char *target = parse(argc, argv, options, &opt);

	if (opt.way == KVMCLOCK_WAY_OFFSET)
		opt.flags |= KVMCLOCK_SAVE_NO_GUEST_TSC;
	else if (opt.way > KVMCLOCK_WAY_EXACT)
		fail_usage("save knows the ways auto, exact, offset");
	if (opt.write_vcpu != ALL_VCPUS && opt.write_vcpu >= opt.vcpus)
		fail_usage("--write-tsc: there is no vCPU %u", opt.write_vcpu);

	save(&opt, target);
	return EXIT_OK;
}

int cmd_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "way", required_argument, NULL, OPT_WAY },
		{ "run", required_argument, NULL, OPT_RUN },
		{ "save", required_argument, NULL, OPT_SAVE },
		{ "policy", required_argument, NULL, OPT_POLICY },
		{ "stopped", no_argument, NULL, OPT_STOPPED },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "monotonic", no_argument, NULL, OPT_MONOTONIC },
		{ }
	};
	struct move_options opt;
	const char *source = parse(argc, argv, options, &opt);

	restore(&opt, source);
	return EXIT_OK;
}
