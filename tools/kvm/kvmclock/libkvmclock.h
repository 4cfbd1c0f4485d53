/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * libkvmclock - move the time of a KVM guest from one kernel to another.
 *
 * A guest has two clocks, the KVM clock (in ns) and the TSC of each vCPU (in
 * cycles), and computes the first from the second.  Both have to go on when it
 * is saved here and restored there.  How well that can be done depends on the
 * kernels; the library takes the best way that there is, and says which it was
 * and how exact.
 *
 * On the source, with all vCPUs stopped (out of KVM_RUN):
 *
 *	struct kvmclock_caps caps;
 *	struct kvmclock_record *rec;
 *	struct kvmclock_vm vm = {
 *		.vm_fd = vm_fd, .vcpu_fds = fds, .nr_vcpus = n, .caps = &caps,
 *	};
 *
 *	err = kvmclock_probe(-1, &caps);	// once, at any time
 *	...
 *	err = kvmclock_save(&vm, 0, &rec);
 *	size = kvmclock_record_size(rec);
 *	buf = malloc(size);
 *	err = kvmclock_record_write(rec, buf, size);
 *	kvmclock_record_free(rec);
 *
 * On the destination:
 *
 *	err = kvmclock_probe(-1, &caps);
 *	...
 *	err = kvmclock_record_read(buf, size, &rec);
 *	kvmclock_record_info(rec, &info);
 *	err = kvmclock_prepare(&vm, info.tsc_khz, 0);	// before the vCPUs exist
 *	// create the vCPUs, restore their registers and MSRs; of the MSRs of
 *	// time leave out IA32_TSC, which the library sets, and the TSCs'
 *	// differences, which it restores, too
 *	err = kvmclock_restore(&vm, rec, NULL, &report);
 *	// now the local APIC, Xen timers, Hyper-V stimers; then run the vCPUs
 *	kvmclock_record_free(rec);
 *
 * The way that a restore takes (enum kvmclock_way), by source and destination; without
 * opt-in means that KVM_ENABLE_CAP is refused, as a sandbox may do:
 *
 *	source, destination	stock, or	opted in	opted in, no
 *				without opt-in			master clock
 *
 *	stock			offset (1)	exact (1)	offset (1, 2)
 *	without opt-in		offset (1)	exact (1)	offset (1, 2)
 *	opted in		offset		exact		offset (2)
 *	no master clock		offset (1)	exact (1)	offset (1, 2)
 *
 * Clock and TSCs count the same time in all of them.  The report has (1)
 * KVMCLOCK_NOTE_SAVED_INEXACT, (2) KVMCLOCK_NOTE_NO_MASTER_CLOCK.  Whatever the way was,
 * write neither IA32_TSC nor a TSC offset after it.  test_example.c has a case for each;
 * examples/vmm-lib.c is a whole VMM, and vmm.c one without the library.
 *
 * Every function that returns int returns 0 or a negative KVMCLOCK_E_*, which
 * kvmclock_strerror() turns into a sentence; where kvmclock_error_has_errno() says so,
 * errno is the kernel's.  On an error nothing has changed, apart from what a function
 * says, and a record that was to be returned is NULL.  The library has no state of its
 * own: functions may be called from any thread, but for one VM from one at a time.
 *
 * Sources: Documentation/virt/kvm/api.rst (KVM_GET_CLOCK, KVM_SET_CLOCK),
 * Documentation/virt/kvm/devices/vcpu.rst (KVM_VCPU_TSC_OFFSET),
 * Documentation/virt/kvm/x86/kvmclock.rst.
 */
#ifndef LIBKVMCLOCK_H
#define LIBKVMCLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the library; the record has a version of its own. */
#define KVMCLOCK_VERSION_MAJOR	1
#define KVMCLOCK_VERSION_MINOR	3

/* More vCPUs than any KVM has; records with more are refused. */
#define KVMCLOCK_MAX_VCPUS	65536

enum kvmclock_error {
	KVMCLOCK_E_ARGUMENT	= -1,	/* an argument is out of its range */
	KVMCLOCK_E_NO_KVM	= -2,	/* /dev/kvm cannot be opened, see errno */
	KVMCLOCK_E_UNSUPPORTED	= -3,	/* this kernel does not offer it */
	KVMCLOCK_E_MAGIC	= -4,	/* not a record */
	KVMCLOCK_E_VERSION	= -5,	/* a record of a newer major version */
	KVMCLOCK_E_TRUNCATED	= -6,	/* the record ends early */
	KVMCLOCK_E_CORRUPT	= -7,	/* checksum or content is wrong */
	KVMCLOCK_E_SPACE	= -8,	/* the caller's buffer is too small */
	KVMCLOCK_E_VCPUS	= -9,	/* the VM has not the record's vCPUs */
	KVMCLOCK_E_FREQUENCY	= -10,	/* the VM's TSC frequency is another */
	KVMCLOCK_E_BUSY		= -11,	/* a vCPU is running */
	KVMCLOCK_E_RANGE	= -12,	/* a time or TSC is out of the kernel's range */
	KVMCLOCK_E_KERNEL	= -13,	/* the kernel refused, see errno */
	KVMCLOCK_E_MEMORY	= -14,	/* out of memory */
	KVMCLOCK_E_SCALE	= -15,	/* the TSC does not run as its frequency says */
};

/* As KVM_CLOCK_* of <linux/kvm.h>, which may be too old to know all of them. */
#define KVMCLOCK_TSC_STABLE	0x2u
#define KVMCLOCK_REALTIME	0x4u
#define KVMCLOCK_HOST_TSC	0x8u
#define KVMCLOCK_GUEST_TSC	0x10u
#define KVMCLOCK_MONOTONIC	0x20u
#define KVMCLOCK_TAI		0x40u
#define KVMCLOCK_GUEST_STOPPED	0x80u

/* What a kernel's KVM offers. */
struct kvmclock_caps {
	uint32_t adjust_clock;		/* KVM_CAP_ADJUST_CLOCK: 0, 1 (no flags), or flags */
	uint32_t clock_flags;		/* of KVM_GET_CLOCK for a VM with one new vCPU */
	uint32_t tsc_offset;		/* 1: KVM_VCPU_TSC_OFFSET */
	uint32_t tsc_control;		/* 1: the TSC can be scaled (KVM_CAP_TSC_CONTROL) */
	uint32_t vm_tsc_control;	/* 1: so for the VM (KVM_CAP_VM_TSC_CONTROL) */
	uint32_t stats_fd;		/* 1: KVM_CAP_BINARY_STATS_FD */
	uint32_t host_khz;		/* of the host's TSC, as KVM sees it */
	uint32_t frac_bits;		/* fraction bits of a scaling ratio: 48 (Intel), 32 (AMD) */
	uint32_t tolerance_ppm;		/* a frequency nearer to the host's is not scaled */
	uint32_t clock_guest;		/* 1: KVM_SET_CLOCK_GUEST (KVM_CAP_CLOCK_GUEST) */
	uint32_t reserved[6];		/* 0 */
};

/*
 * A VM.  Its vCPUs in the order of the record, the same on both hosts, the boot vCPU
 * (KVM_SET_BOOT_CPU_ID; vCPU 0 unless set) first; for kvmclock_prepare(), none.  @caps
 * comes from kvmclock_probe() on this host, and may be as old as the KVM modules are
 * loaded.
 */
struct kvmclock_vm {
	int vm_fd;
	uint32_t nr_vcpus;
	const int *vcpu_fds;
	const struct kvmclock_caps *caps;
};

/*
 * A saved time.  Opaque; kvmclock_record_info() shows what is in it.  It has what each
 * vCPU's TSC reads, with whatever the guest has written there.  A restore gives the vCPUs
 * their differences first, relative to vCPU 0, and then moves all of them together.
 */
struct kvmclock_record;

struct kvmclock_info {
	uint64_t clock_ns;	/* the KVM clock, of the same instant as the next three */
	uint64_t realtime_ns;	/* CLOCK_REALTIME of the source, since 1970 */
	uint64_t host_tsc;	/* TSC of the source, in cycles, neither scaled nor offset */
	uint64_t guest_tsc;	/* TSC of vCPU 0, in cycles */
	uint32_t mul;		/* the line from TSC to ns: tsc_to_system_mul ... */
	int32_t shift;		/* ... and tsc_shift of pvclock_vcpu_time_info */
	uint32_t flags;		/* of KVM_GET_CLOCK; with GUEST_TSC the line is the kernel's own */
	uint32_t nr_vcpus;
	uint32_t tsc_khz;	/* of the guest, as set by KVM_SET_TSC_KHZ */
	uint32_t host_khz;	/* of the source */
	uint32_t sample_ns;	/* width of the instant: 0 if it was the kernel's */
	int32_t tai_offset;	/* CLOCK_TAI - CLOCK_REALTIME in s; 0 if it is not known */
	uint32_t reserved[4];	/* 0 */
};

enum kvmclock_way {
	/* The first of exact, guest, offset, plain that there is. */
	KVMCLOCK_WAY_AUTO,
	/* SET_CLOCK with GUEST_TSC | REALTIME: clock, TSCs and their relation. */
	KVMCLOCK_WAY_EXACT,
	/* SET_CLOCK with GUEST_TSC | HOST_TSC: only on the source, not rebooted. */
	KVMCLOCK_WAY_SAME_HOST,
	/* SET_CLOCK with REALTIME, then KVM_VCPU_TSC_OFFSET, scaling considered. */
	KVMCLOCK_WAY_OFFSET,
	/* The same by the formula of vcpu.rst, wrong for a scaled TSC. */
	KVMCLOCK_WAY_DOCUMENTED,
	/* SET_CLOCK without flags, and IA32_TSC: time stood still meanwhile. */
	KVMCLOCK_WAY_PLAIN,
	/* KVM_VCPU_TSC_OFFSET, then the line by KVM_SET_CLOCK_GUEST of vCPU 0. */
	KVMCLOCK_WAY_GUEST,
	KVMCLOCK_NR_WAYS
};

/* What the guest is to believe of the time since the save. */
enum kvmclock_policy {
	/* It has passed, for the clock and the TSC.  PLAIN cannot, and notes it. */
	KVMCLOCK_POLICY_COUNT,
	/* It has not: both go on from what was saved (pause, snapshot). */
	KVMCLOCK_POLICY_FREEZE,
	/* Both begin at 0 again, all vCPUs' TSCs equal (reset of the machine). */
	KVMCLOCK_POLICY_START_OVER,
	KVMCLOCK_NR_POLICIES
};

/* What the caller should know about a restore that succeeded; bits of notes. */
#define KVMCLOCK_NOTE_NO_MASTER_CLOCK	0x1u
#define KVMCLOCK_NOTE_TSC_NOT_MOVED	0x2u
#define KVMCLOCK_NOTE_FREQUENCY		0x4u
#define KVMCLOCK_NOTE_WALL_BACK		0x8u
#define KVMCLOCK_NOTE_SAVED_INEXACT	0x10u
#define KVMCLOCK_NOTE_DOWNTIME_LOST	0x20u
#define KVMCLOCK_NOTE_SKEW_LOST		0x40u
#define KVMCLOCK_NOTE_RAISED		0x80u
/* And about one that failed: it could not be undone entirely. */
#define KVMCLOCK_NOTE_NOT_UNDONE	0x100u
#define KVMCLOCK_NR_NOTES		9

/*
 * What was done, and how exact it is.  The errors are measured after the fact,
 * by KVM_GET_CLOCK and the vCPUs' TSC offsets, against the record:
 *
 * clock_error_ns	the clock, minus the saved clock plus the wall time since.
 *			How well the two hosts' CLOCK_REALTIME agree comes on
 *			top, and nobody can see it from inside.
 * tsc_error_ns		the same of vCPU 0's TSC.
 * relation_error_ns	the clock, minus what the record's line makes of vCPU 0's
 *			TSC: what a guest sees as a step of one clock against
 *			the other.
 * *_bound_ns		by how much the figure itself can be off.
 *
 * Where no time is to pass, the errors are against the values that are restored,
 * and the time from the restore to the measurement is in the bounds.
 */
struct kvmclock_report {
	uint32_t way;		/* enum kvmclock_way, never AUTO */
	uint32_t notes;		/* KVMCLOCK_NOTE_* */
	uint32_t set_flags;	/* of KVM_SET_CLOCK */
	uint32_t get_flags;	/* of KVM_GET_CLOCK afterwards */
	int64_t elapsed_ns;	/* wall time from the save to the restore */
	int64_t cycles_moved;	/* what was added to vCPU 0's TSC */
	int64_t clock_error_ns;
	int64_t tsc_error_ns;
	int64_t relation_error_ns;
	uint64_t clock_bound_ns;
	uint64_t tsc_bound_ns;
	uint64_t relation_bound_ns;
	uint64_t reserved[4];	/* 0 */
};

struct kvmclock_restore_options {
	uint32_t way;		/* enum kvmclock_way */
	/*
	 * KVMCLOCK_MONOTONIC: never below what the guest may have read.
	 * KVMCLOCK_GUEST_STOPPED: tell the guest that it was stopped; by
	 * KVM_SET_CLOCK, or where the kernel cannot, by KVM_KVMCLOCK_CTRL.
	 */
	uint32_t flags;
	uint32_t policy;	/* enum kvmclock_policy; SAME_HOST and DOCUMENTED only COUNT */
	uint32_t reserved[5];	/* 0 */
};

/*
 * Find out what the kernel's KVM offers.  @kvm_fd is /dev/kvm, or -1 to have it
 * opened.  Creates a VM with one vCPU and destroys it again; where that is not
 * allowed (a sandbox), probe before entering it and keep @caps.
 */
int kvmclock_probe(int kvm_fd, struct kvmclock_caps *caps);

/*
 * Prepare a VM for a restore, or a new one for a later save: opt in to what the
 * kernel offers, and set the TSC's frequency, 1 to 2^31 - 1 kHz, or 0 to leave it.
 * To be called before the first vCPU is created.  KVMCLOCK_E_FREQUENCY: this host
 * cannot run a TSC at that frequency.  @flags is 0 or KVMCLOCK_MONOTONIC, which
 * has to be given each time again: an opt-in replaces the one before.  Whatever
 * the kernel has of GUEST_TSC and TAI is opted in to.  Where that is refused, the VM does
 * without; but not without KVMCLOCK_MONOTONIC, which is an error then.
 */
int kvmclock_prepare(const struct kvmclock_vm *vm, uint32_t tsc_khz, uint32_t flags);

/* Save as a kernel without GUEST_TSC would: in @flags of kvmclock_save(). */
#define KVMCLOCK_SAVE_NO_GUEST_TSC	0x80000000u

/*
 * Save the time of a VM whose vCPUs are all stopped.  Opts in as kvmclock_prepare()
 * does.  @flags is a combination of KVMCLOCK_MONOTONIC and KVMCLOCK_SAVE_NO_GUEST_TSC.
 * Changes nothing that a guest can see.  The caller frees *@rec.
 *
 * While a vCPU is in KVM_RUN, this and kvmclock_restore() fail with KVMCLOCK_E_BUSY if
 * the VM has opted in to GUEST_TSC and runs the master clock.  Without either, the
 * kernel has no call that would tell, and they wait until the vCPU leaves KVM_RUN.
 */
int kvmclock_save(const struct kvmclock_vm *vm, uint32_t flags, struct kvmclock_record **rec);

/*
 * Restore a VM's time.  @opt may be NULL, @report must not.  All is validated
 * before anything changes; where the kernel refuses a later step, the earlier
 * ones are undone: TSC offsets exactly, the clock to where wall time takes it.
 * With KVMCLOCK_WAY_PLAIN the frequency may differ, and the report notes it.
 */
int kvmclock_restore(const struct kvmclock_vm *vm, const struct kvmclock_record *rec,
		     const struct kvmclock_restore_options *opt, struct kvmclock_report *report);

/*
 * A record in bytes: little-endian, versioned, with a checksum, the same
 * on all hosts.  kvmclock_record_write() fills the first kvmclock_record_size()
 * bytes of @buf.  kvmclock_record_read() takes exactly one record, from a source
 * that need not be trusted, and allocates *@rec.
 */
size_t kvmclock_record_size(const struct kvmclock_record *rec);
int kvmclock_record_write(const struct kvmclock_record *rec, void *buf, size_t size);
int kvmclock_record_read(const void *buf, size_t size, struct kvmclock_record **rec);
void kvmclock_record_info(const struct kvmclock_record *rec, struct kvmclock_info *info);
/* TSC of vCPU @i minus that of vCPU 0, in cycles; 0 if there is no such vCPU. */
int64_t kvmclock_record_skew(const struct kvmclock_record *rec, uint32_t i);
void kvmclock_record_free(struct kvmclock_record *rec);

/*
 * A record of what a VMM has in a snapshot of its own: @clock_data is the struct
 * kvm_clock_data (48 bytes, native byte order) that KVM_GET_CLOCK has filled in, with
 * REALTIME and HOST_TSC; @offsets has the KVM_VCPU_TSC_OFFSET of each of @nr_vcpus, 1 to
 * KVMCLOCK_MAX_VCPUS, vCPUs in the order of struct kvmclock_vm; @tsc_khz, 1 to 2^31 - 1,
 * is what KVM_GET_TSC_KHZ of a vCPU has returned.  @source is what kvmclock_probe() has
 * found there.  Of that, host_khz, frac_bits, tsc_control and tolerance_ppm count: for a
 * snapshot that has nothing of it, of a TSC that was not scaled, host_khz is @tsc_khz,
 * frac_bits 48, and the rest 0.
 *
 * KVMCLOCK_E_ARGUMENT: something of that is out of its range, a flag is missing, or a
 * time is 2^63 ns or more.  The caller frees *@rec.
 */
int kvmclock_record_from_clock_data(const void *clock_data, const uint64_t *offsets,
				    uint32_t nr_vcpus, uint32_t tsc_khz,
				    const struct kvmclock_caps *source,
				    struct kvmclock_record **rec);

/*
 * The way back, for a VMM whose snapshots know no records.  Fills the 48 bytes of
 * @clock_data, and the offsets of as many vCPUs as kvmclock_record_info() says; the
 * frequency is there, too.  REALTIME and HOST_TSC are always set: where the kernel has
 * not reported them, they are known to within sample_ns, which gets lost.  The offsets
 * are those of the source.
 */
void kvmclock_record_to_clock_data(const struct kvmclock_record *rec, void *clock_data,
				   uint64_t *offsets);

/* Version of the library that runs, as "1.3"; the header's is that of the one built with. */
const char *kvmclock_version(void);

/* 1 if errno is the reason of @error, a KVMCLOCK_E_*; 0 if it means nothing then. */
int kvmclock_error_has_errno(int error);

/* Words for a person; never NULL.  A note is one bit of kvmclock_report.notes. */
const char *kvmclock_strerror(int error);
const char *kvmclock_way_name(uint32_t way);
const char *kvmclock_way_text(uint32_t way);
const char *kvmclock_policy_name(uint32_t policy);
const char *kvmclock_note_name(uint32_t note);
const char *kvmclock_note_text(uint32_t note);

#ifdef __cplusplus
}
#endif

#endif /* LIBKVMCLOCK_H */
