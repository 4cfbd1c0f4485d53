// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Restore a VM's time, the best way that the kernel has.
 *
 * The record gives the clock, each vCPU's TSC and the line between clock and TSC,
 * all of one instant.  Written for vCPU 0, the boot vCPU; the others keep their
 * difference to it, which is written as a difference of TSC offsets, because then it
 * is exact, and before all TSCs are moved by the same number of cycles.
 *
 * With the policy to start over, it is another record that is restored: of a machine
 * that was reset just then.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"
#include "tsc_math.h"

/* One restore: what it works on, and what it needs to undo itself. */
struct job {
	const struct kvmclock_vm *vm;
	const struct kvmclock_record *rec;
	struct kvmclock_report *rep;
	uint32_t flags;			/* KVMCLOCK_MONOTONIC, KVMCLOCK_GUEST_STOPPED */
	uint32_t usable;		/* of KVM_CAP_ADJUST_CLOCK, with this VM */
	bool counts;			/* the time since the save */
	bool told;			/* the guest knows that it was stopped */
	bool use_offsets;		/* KVM_VCPU_TSC_OFFSET, and we can compute with it */
	struct kvmclock_scale scale;
	uint64_t *old;			/* offsets before */
	uint32_t old_width;
	struct kvmclock_instant before;
	bool clock_set;
	bool tsc_set;
};

static uint64_t skew(const struct job *job, uint32_t i)
{
	return job->rec->vcpus[i].offset - job->rec->vcpus[0].offset;
}

/* ---- Steps ---- */

/* CLOCK_TAI is what passes, where both hosts know it. */
static void add_tai(const struct job *job, struct kvm_clock_data *data)
{
	if (!(job->usable & KVMCLOCK_TAI) || !job->rec->tai_offset)
		return;

	data->tai_offset = job->rec->tai_offset;
	data->flags |= KVMCLOCK_TAI;
}

/* The time since the save, to be added by the kernel, or none. */
static void add_time(const struct job *job, struct kvm_clock_data *data)
{
	data->flags |= KVMCLOCK_REALTIME;
	data->realtime = job->counts ? job->rec->realtime : UINT64_MAX;
	if (job->counts)
		add_tai(job, data);
}

static int set_clock(struct job *job, struct kvm_clock_data *data)
{
	data->flags |= job->flags & KVMCLOCK_MONOTONIC;
	if (kvmclock_ioctl(job->vm->vm_fd, KVM_SET_CLOCK, data))
		return kvmclock_kernel_error(errno);

	job->clock_set = true;
	job->rep->set_flags = data->flags;
	return 0;
}

/* vCPU 0 last: vCPUs that are created later join the one that was written last. */
static int write_offsets(struct job *job, uint64_t offset)
{
	uint32_t i = job->vm->nr_vcpus;
	int r = 0;

	job->tsc_set = true;
	while (!r && i--)
		r = kvmclock_set_offset(job->vm->vcpu_fds[i], offset + skew(job, i));

	return r;
}

static int undo_offsets(const struct job *job)
{
	uint32_t i = job->vm->nr_vcpus;
	int r = 0;

	if (!job->vm->caps->tsc_offset)
		return KVMCLOCK_E_UNSUPPORTED;

	while (i--)
		r |= kvmclock_set_offset(job->vm->vcpu_fds[i], job->old[i]);

	return r;
}

/* As if nobody had set it: where wall time takes it from where it was. */
static int undo_clock(const struct job *job)
{
	struct kvm_clock_data data = {
		.clock = job->before.data.clock,
		.realtime = job->before.data.realtime,
		.flags = job->vm->caps->adjust_clock & KVMCLOCK_REALTIME,
	};

	return kvmclock_ioctl(job->vm->vm_fd, KVM_SET_CLOCK, &data);
}

/* Leaves errno to whom it belongs: the step that failed. */
static void undo(struct job *job)
{
	int error = errno;

	if (job->tsc_set && undo_offsets(job))
		job->rep->notes |= KVMCLOCK_NOTE_NOT_UNDONE;
	if (job->clock_set && undo_clock(job))
		job->rep->notes |= KVMCLOCK_NOTE_NOT_UNDONE;

	job->tsc_set = false;
	job->clock_set = false;
	errno = error;
}

/* For ways of more than one step: only once nothing can go wrong any more. */
static int tell_stopped(struct job *job)
{
	uint32_t i;
	int r = 0;

	if (!(job->flags & KVMCLOCK_GUEST_STOPPED) || job->told)
		return 0;

	for (i = 0; !r && i < job->vm->nr_vcpus; i++)
		r = kvmclock_tell_stopped(job->vm->vcpu_fds[i]);

	return r;
}

/* ---- Ways ---- */

static bool skews_present(const struct job *job)
{
	uint32_t i;

	for (i = 1; i < job->vm->nr_vcpus; i++) {
		if (job->old[i] - job->old[0] != skew(job, i))
			return false;
	}

	return true;
}

/*
 * Before the kernel moves all TSCs by the same number of cycles: the differences
 * between vCPUs, relative to vCPU 0, which keeps the offset that it has.
 */
static int set_skews(struct job *job)
{
	if (skews_present(job))
		return 0;
	if (!job->vm->caps->tsc_offset)
		return KVMCLOCK_E_UNSUPPORTED;

	return write_offsets(job, job->old[0]);
}

/*
 * vCPU 0's TSC at the instant @now.  By its offset, if that can be computed with: a
 * check of what the kernel did should not rest on what the kernel says.
 */
static uint64_t tsc_at(const struct job *job, const struct kvmclock_instant *now, uint64_t offset)
{
	if (now->data.flags & KVMCLOCK_GUEST_TSC && !job->use_offsets)
		return now->data.guest_tsc;

	return kvmclock_scale_tsc(now->data.host_tsc, job->scale.ratio, job->scale.frac_bits) +
	       offset;
}

/* Where the record's line has vCPU 0's TSC when the clock is what it is now. */
static int move_tscs(struct job *job)
{
	const struct kvmclock_record *rec = job->rec;
	struct kvmclock_instant now;
	uint64_t tsc;
	int r;

	r = kvmclock_get_instant(job->vm, &now);
	if (r)
		return r;

	tsc = rec->vcpus[0].tsc + kvmclock_ns_to_cycles_signed(now.data.clock - rec->clock,
							       rec->mul, rec->shift);

	return write_offsets(job, tsc - kvmclock_scale_tsc(now.data.host_tsc, job->scale.ratio,
							   job->scale.frac_bits));
}

static int set_clock_by_wall_time(struct job *job)
{
	struct kvm_clock_data data = { .clock = job->rec->clock };

	add_time(job, &data);
	return set_clock(job, &data);
}

static int restore_offset(struct job *job)
{
	return set_clock_by_wall_time(job) ?: move_tscs(job);
}

/* To the letter of vcpu.rst: host TSCs are subtracted as if the guest's were not scaled. */
static int restore_documented(struct job *job)
{
	const struct kvmclock_record *rec = job->rec;
	struct kvmclock_instant now;
	uint64_t cycles;
	int r;

	r = set_clock_by_wall_time(job) ?: kvmclock_get_instant(job->vm, &now);
	if (r)
		return r;

	cycles = (__int128)(int64_t)(now.data.clock - rec->clock) * rec->tsc_khz / 1000000;

	return write_offsets(job, rec->vcpus[0].offset + cycles + rec->host_tsc -
				  now.data.host_tsc);
}

/*
 * The kernel falls back to wall time by itself where the master clock cannot run,
 * and then leaves the TSCs to us.
 */
static int finish_exact(struct job *job)
{
	struct kvmclock_instant now;
	int r;

	r = kvmclock_get_instant(job->vm, &now);
	if (r || now.data.flags & KVMCLOCK_TSC_STABLE)
		return r;

	job->rep->way = KVMCLOCK_WAY_OFFSET;
	job->rep->notes |= KVMCLOCK_NOTE_NO_MASTER_CLOCK;
	if (job->use_offsets)
		return move_tscs(job);

	job->rep->notes |= KVMCLOCK_NOTE_TSC_NOT_MOVED;
	return 0;
}

/* The kernel tells the guest, too, as what is left to do does not fail. */
static int restore_by_line(struct job *job, struct kvm_clock_data *data)
{
	const struct kvmclock_record *rec = job->rec;
	int r;

	data->clock = rec->clock;
	data->guest_tsc = rec->vcpus[0].tsc;
	data->tsc_to_system_mul = rec->mul;
	data->tsc_shift = rec->shift;
	data->flags |= KVMCLOCK_GUEST_TSC |
		       (job->flags & job->usable & KVMCLOCK_GUEST_STOPPED);

	r = set_skews(job) ?: set_clock(job, data);
	if (r)
		return r;

	job->told = data->flags & KVMCLOCK_GUEST_STOPPED;
	return finish_exact(job);
}

static int restore_exact(struct job *job)
{
	struct kvm_clock_data data = { };

	add_time(job, &data);
	return restore_by_line(job, &data);
}

static int restore_same_host(struct job *job)
{
	struct kvm_clock_data data = {
		.host_tsc = job->rec->host_tsc,
		.flags = KVMCLOCK_HOST_TSC,
	};

	return restore_by_line(job, &data);
}

/* What has passed by wall time, at @now. */
static int64_t passed_ns(const struct job *job, const struct kvmclock_instant *now)
{
	int64_t ns = now->data.realtime - job->rec->realtime;

	if (!job->counts)
		return 0;
	if (now->data.flags & KVMCLOCK_TAI && now->data.tai_offset && job->rec->tai_offset)
		ns += (int64_t)(now->data.tai_offset - job->rec->tai_offset) *
		      (int64_t)KVMCLOCK_NSEC_PER_SEC;

	return ns;
}

/*
 * The TSCs by wall time, and then the clock by the record's line, which makes it
 * exact: the kernel computes it from the TSC that is there.
 */
static int restore_guest(struct job *job)
{
	const struct kvmclock_record *rec = job->rec;
	const struct kvmclock_pvclock line = {
		.tsc_timestamp = rec->vcpus[0].tsc,
		.system_time = rec->clock,
		.mul = rec->mul,
		.shift = rec->shift,
	};
	struct kvmclock_instant now;
	int64_t passed;
	uint64_t tsc;
	int r;

	r = kvmclock_get_instant(job->vm, &now);
	if (r)
		return r;

	passed = passed_ns(job, &now);
	tsc = rec->vcpus[0].tsc;
	if (passed > 0)
		tsc += kvmclock_ns_to_cycles(passed, rec->mul, rec->shift);

	r = write_offsets(job, tsc - kvmclock_scale_tsc(now.data.host_tsc, job->scale.ratio,
							job->scale.frac_bits));
	r = r ?: kvmclock_set_line(job->vm->vcpu_fds[0], &line);
	job->clock_set = !r;

	return r;
}

/* Written one after the other, vCPUs have the same TSC if KVM takes them to be meant so. */
static int restore_plain(struct job *job)
{
	struct kvm_clock_data data = { .clock = job->rec->clock };
	uint32_t i = job->vm->nr_vcpus;
	int r = 0;

	job->tsc_set = true;
	/* A TSC of 0 would not be taken for what it is, but for the others' at the time. */
	while (!r && i--) {
		r = kvmclock_set_tsc(job->vm->vcpu_fds[i], job->rec->vcpus[i].tsc ?: 1);
		if (skew(job, i))
			job->rep->notes |= KVMCLOCK_NOTE_SKEW_LOST;
	}
	if (job->counts)
		job->rep->notes |= KVMCLOCK_NOTE_DOWNTIME_LOST;

	return r ?: set_clock(job, &data);
}

static const struct {
	uint32_t flags;			/* of KVM_CAP_ADJUST_CLOCK, that the way needs */
	bool offsets;
	bool clock_guest;
	bool counts_only;		/* it knows no other policy */
	int (*restore)(struct job *job);
} ways[KVMCLOCK_NR_WAYS] = {
	[KVMCLOCK_WAY_EXACT] = {
		.flags = KVMCLOCK_GUEST_TSC, .restore = restore_exact,
	},
	[KVMCLOCK_WAY_SAME_HOST] = {
		.flags = KVMCLOCK_GUEST_TSC, .counts_only = true, .restore = restore_same_host,
	},
	[KVMCLOCK_WAY_GUEST] = {
		.flags = KVMCLOCK_REALTIME, .offsets = true, .clock_guest = true,
		.restore = restore_guest,
	},
	[KVMCLOCK_WAY_OFFSET] = {
		.flags = KVMCLOCK_REALTIME, .offsets = true, .restore = restore_offset,
	},
	[KVMCLOCK_WAY_DOCUMENTED] = {
		.flags = KVMCLOCK_REALTIME, .offsets = true, .counts_only = true,
		.restore = restore_documented,
	},
	[KVMCLOCK_WAY_PLAIN] = { .restore = restore_plain },
};

/* ---- The choice ---- */

static int run_way(struct job *job, uint32_t way)
{
	int r;

	if (ways[way].flags & ~job->usable)
		return KVMCLOCK_E_UNSUPPORTED;
	if (ways[way].clock_guest && !job->vm->caps->clock_guest)
		return KVMCLOCK_E_UNSUPPORTED;
	if (ways[way].offsets && !job->use_offsets)
		return job->vm->caps->tsc_offset ? KVMCLOCK_E_SCALE : KVMCLOCK_E_UNSUPPORTED;

	job->rep->way = way;
	job->rep->notes = 0;
	r = ways[way].restore(job) ?: tell_stopped(job);
	if (r)
		undo(job);

	return r;
}

static int run_best_way(struct job *job)
{
	static const uint32_t order[] = {
		KVMCLOCK_WAY_EXACT, KVMCLOCK_WAY_GUEST, KVMCLOCK_WAY_OFFSET,
		KVMCLOCK_WAY_PLAIN
	};
	int r = KVMCLOCK_E_UNSUPPORTED;
	unsigned int i;

	for (i = 0; i < KVMCLOCK_ARRAY_SIZE(order); i++) {
		r = run_way(job, order[i]);
		if (r != KVMCLOCK_E_UNSUPPORTED && r != KVMCLOCK_E_SCALE)
			break;
	}

	return r;
}

/* ---- Before and after ---- */

/* A VM at another frequency can only get its clock and TSC back as values. */
static int check_frequency(struct job *job, uint32_t way)
{
	uint32_t khz;
	int r;

	r = kvmclock_vm_khz(job->vm, &khz);
	if (r)
		return r;
	if (khz != job->rec->tsc_khz && way != KVMCLOCK_WAY_PLAIN)
		return KVMCLOCK_E_FREQUENCY;

	job->scale = kvmclock_vm_scale(job->vm->caps, khz);
	return 0;
}

static int look_before(struct job *job)
{
	int r;

	r = kvmclock_get_instant(job->vm, &job->before);
	r = r ?: kvmclock_read_offsets(job->vm, &job->scale, job->old, &job->old_width);
	if (r || !job->vm->caps->tsc_offset)
		return r;

	r = kvmclock_check_scale(job->vm->vcpu_fds[0], &job->scale, job->rec->tsc_khz);
	job->use_offsets = !r;

	return r == KVMCLOCK_E_SCALE ? 0 : r;
}

static void note_raised(struct job *job)
{
	struct kvmclock_report *rep = job->rep;

	if (job->flags & KVMCLOCK_MONOTONIC && rep->relation_error_ns > 0 &&
	    (uint64_t)rep->relation_error_ns > rep->relation_bound_ns)
		rep->notes |= KVMCLOCK_NOTE_RAISED;
}

/* @width: of the instant and of vCPU 0's offset.  A cycle of the TSC is what rounding costs. */
static void set_bounds(struct job *job, uint64_t width)
{
	struct kvmclock_report *rep = job->rep;
	uint64_t cycle = kvmclock_cycles_to_ns(1, job->rec->mul, job->rec->shift) + 1;
	uint64_t since = 0;

	width += job->rec->sample_ns;
	if (!job->counts)
		since = llabs(rep->clock_error_ns);
	rep->clock_bound_ns = width + since + 1;
	rep->tsc_bound_ns = width + since + cycle;
	rep->relation_bound_ns = width + cycle;
}

static void compare(struct job *job, const struct kvmclock_instant *now, uint64_t offset)
{
	const struct kvmclock_record *rec = job->rec;
	struct kvmclock_report *rep = job->rep;
	int64_t by_tsc;

	by_tsc = kvmclock_cycles_to_ns_signed(tsc_at(job, now, offset) - rec->vcpus[0].tsc,
					      rec->mul, rec->shift);
	rep->get_flags = now->data.flags;
	rep->elapsed_ns = passed_ns(job, now);
	rep->cycles_moved = offset - job->old[0];
	rep->clock_error_ns = now->data.clock - rec->clock - rep->elapsed_ns;
	rep->tsc_error_ns = by_tsc - rep->elapsed_ns;
	rep->relation_error_ns = now->data.clock - rec->clock - by_tsc;
}

static void note_record(struct job *job)
{
	struct kvmclock_report *rep = job->rep;
	uint32_t khz = job->rec->tsc_khz;

	if (!(job->rec->flags & KVMCLOCK_GUEST_TSC))
		rep->notes |= KVMCLOCK_NOTE_SAVED_INEXACT;
	if (rep->elapsed_ns < 0)
		rep->notes |= KVMCLOCK_NOTE_WALL_BACK;
	kvmclock_get_khz(job->vm->vcpu_fds[0], &khz);
	if (khz != job->rec->tsc_khz)
		rep->notes |= KVMCLOCK_NOTE_FREQUENCY;
}

/* The restore has succeeded; what cannot be measured any more does not undo it. */
static int look_after(struct job *job)
{
	struct kvmclock_vm first = *job->vm;
	struct kvmclock_instant now;
	uint64_t offset;
	uint32_t width;
	int r;

	first.nr_vcpus = 1;
	r = kvmclock_get_instant(&first, &now);
	r = r ?: kvmclock_read_offsets(&first, &job->scale, &offset, &width);
	if (r)
		return r;

	compare(job, &now, offset);
	set_bounds(job, (uint64_t)now.width_ns + width);
	note_raised(job);
	note_record(job);

	return 0;
}

static int restore(struct job *job, uint32_t way)
{
	int r;

	r = kvmclock_opt_in(job->vm, job->flags, true, &job->usable);
	r = r ?: kvmclock_check_stopped(job->vm, job->usable);
	r = r ?: check_frequency(job, way);
	r = r ?: look_before(job);
	if (r)
		return r;

	r = way == KVMCLOCK_WAY_AUTO ? run_best_way(job) : run_way(job, way);
	if (r)
		return r;

	r = look_after(job);
	if (r)
		undo(job);

	return r;
}

static bool options_valid(const struct kvmclock_restore_options *opt)
{
	uint32_t set = 0;
	unsigned int i;

	for (i = 0; i < KVMCLOCK_ARRAY_SIZE(opt->reserved); i++)
		set |= opt->reserved[i];

	return !set && opt->way < KVMCLOCK_NR_WAYS && opt->policy < KVMCLOCK_NR_POLICIES &&
	       !(opt->policy && ways[opt->way].counts_only) &&
	       !(opt->flags & ~(KVMCLOCK_MONOTONIC | KVMCLOCK_GUEST_STOPPED));
}

/* What a machine would have saved that was reset at the time of the save. */
static struct kvmclock_record *reset_record(const struct kvmclock_record *rec)
{
	struct kvmclock_record *reset = kvmclock_record_alloc(rec->nr_vcpus);
	struct kvmclock_record_vcpu *vcpus;

	if (!reset)
		return NULL;

	vcpus = reset->vcpus;
	*reset = *rec;
	reset->vcpus = vcpus;
	reset->clock = 0;
	return reset;
}

KVMCLOCK_PUBLIC int kvmclock_restore(const struct kvmclock_vm *vm,
				     const struct kvmclock_record *rec,
				     const struct kvmclock_restore_options *opt,
				     struct kvmclock_report *report)
{
	static const struct kvmclock_restore_options defaults;
	struct job job = { .vm = vm, .rec = rec, .rep = report };
	struct kvmclock_record *reset = NULL;
	int r;

	opt = opt ?: &defaults;
	if (!rec || !report || !options_valid(opt))
		return KVMCLOCK_E_ARGUMENT;

	*report = (struct kvmclock_report) { };
	r = kvmclock_check_vm(vm);
	if (r)
		return r;
	if (vm->nr_vcpus != rec->nr_vcpus)
		return KVMCLOCK_E_VCPUS;

	if (opt->policy == KVMCLOCK_POLICY_START_OVER)
		reset = reset_record(rec);
	job.rec = reset ?: rec;
	job.flags = opt->flags;
	job.counts = opt->policy == KVMCLOCK_POLICY_COUNT;
	job.old = calloc(vm->nr_vcpus, sizeof(*job.old));
	if (job.old && (reset || opt->policy != KVMCLOCK_POLICY_START_OVER))
		r = restore(&job, opt->way);
	else
		r = KVMCLOCK_E_MEMORY;

	free(job.old);
	kvmclock_record_free(reset);

	return r;
}
