/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How guests compute the time from what KVM shows them.
 *
 * Guests differ in whose page they read, and in what they do with a TSC below the
 * page's: Linux and FreeBSD compute modulo 2^64, OpenBSD and NetBSD compare, the
 * TSC of Hyper-V's page is multiplied as it is.  If an anchor is never ahead of a
 * TSC, as unsigned numbers, all of them get the same.
 *
 * All is written from what these guests do, not from what they are made of.  It
 * can be used by guests and, with lines that were copied, by the host.
 */
#ifndef SELFTEST_KVM_KVMCLOCK_GUESTS_H
#define SELFTEST_KVM_KVMCLOCK_GUESTS_H

#include <string.h>

#include <asm/pvclock-abi.h>

#include "hyperv.h"
#include "kvm_util.h"
#include "processor.h"

static inline u64 kvmclock_mul_shr(u64 a, u64 b, int shift)
{
	unsigned __int128 product = a;

	return product * b >> shift;
}

/* 64 bits times 32, of which guests drop the lowest 32. */
static inline u64 kvmclock_eval_delta(const struct pvclock_vcpu_time_info *line, u64 cycles)
{
	unsigned __int128 delta = cycles;

	if (line->tsc_shift < 0)
		delta >>= -line->tsc_shift;
	else
		delta <<= line->tsc_shift;

	return line->system_time + (u64)((delta * line->tsc_to_system_mul) >> 32);
}

/* Linux, FreeBSD. */
static inline u64 kvmclock_eval(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	return kvmclock_eval_delta(line, tsc - line->tsc_timestamp);
}

/* OpenBSD, NetBSD: the clock stands still until the TSC has reached the anchor. */
static inline u64 kvmclock_eval_compared(const struct pvclock_vcpu_time_info *line, u64 tsc)
{
	u64 anchor = line->tsc_timestamp;

	return kvmclock_eval_delta(line, tsc > anchor ? tsc - anchor : 0);
}

/* Hyper-V's page. */
struct kvmclock_tsc_page {
	u32 sequence;
	u32 reserved;
	u64 scale;
	s64 offset;
};

/* In units of 100 ns. */
static inline u64 kvmclock_eval_hyperv(const struct kvmclock_tsc_page *page, u64 tsc)
{
	return kvmclock_mul_shr(tsc, page->scale, 64) + page->offset;
}

static inline bool kvmclock_hyperv_is_valid(const struct kvmclock_tsc_page *page)
{
	return page->sequence && page->sequence != ~0U;
}

/* Hyper-V's counter, for guests whose page is invalid, and those that do not look for it. */
static inline u64 kvmclock_hyperv_counter(void)
{
	return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

/* ---- What a vCPU reads ---- */

/* Where it is, in terms of who reads; NULL: nowhere. */
struct kvmclock_pages {
	const struct pvclock_vcpu_time_info *own;
	const struct pvclock_vcpu_time_info *boot;	/* the boot vCPU's */
	const struct pvclock_vcpu_time_info *xen;	/* the boot vCPU's, for Xen's vDSO */
	const struct kvmclock_tsc_page *hyperv;
};

/* What it is, all at one TSC. */
struct kvmclock_view {
	struct pvclock_vcpu_time_info own, boot, xen;
	struct kvmclock_tsc_page hyperv;
	bool is_boot;
};

static inline void kvmclock_view_pages(const struct kvmclock_pages *pages,
				       struct kvmclock_view *view)
{
	memset(view, 0, sizeof(*view));
	view->is_boot = pages->own == pages->boot;
	if (pages->own)
		memcpy(&view->own, (const void *)pages->own, sizeof(view->own));
	if (pages->boot)
		memcpy(&view->boot, (const void *)pages->boot, sizeof(view->boot));
	if (pages->xen)
		memcpy(&view->xen, (const void *)pages->xen, sizeof(view->xen));
	if (pages->hyperv)
		memcpy(&view->hyperv, (const void *)pages->hyperv, sizeof(view->hyperv));
}

static inline bool kvmclock_view_is_torn(const struct kvmclock_view *view)
{
	return (view->own.version | view->boot.version | view->xen.version) & 1;
}

/* Returns the TSC; what was there before it was read still was there afterwards. */
static inline u64 kvmclock_look(const struct kvmclock_pages *pages, struct kvmclock_view *view)
{
	struct kvmclock_view after;
	u64 tsc;

	do {
		kvmclock_view_pages(pages, view);
		asm volatile("lfence" ::: "memory");
		tsc = rdtsc();
		asm volatile("lfence" ::: "memory");
		kvmclock_view_pages(pages, &after);
	} while (kvmclock_view_is_torn(view) || memcmp(view, &after, sizeof(after)));

	return tsc;
}

/* ---- Formulas ---- */

static inline bool kvmclock_is_stable(const struct pvclock_vcpu_time_info *line)
{
	return line->tsc_to_system_mul && (line->flags & PVCLOCK_TSC_STABLE_BIT);
}

/* In the kernel, the page of the CPU that it runs on. */
static inline bool kvmclock_linux_can(const struct kvmclock_view *view)
{
	return view->own.tsc_to_system_mul;
}

static inline u64 kvmclock_linux(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	return kvmclock_eval(&view->own, tsc);
}

/* CPU 0's page on all of them, while TSCs are equal; else system calls. */
static inline bool kvmclock_linux_vdso_can(const struct kvmclock_view *view)
{
	return kvmclock_is_stable(&view->boot);
}

static inline u64 kvmclock_linux_vdso(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	return kvmclock_eval(&view->boot, tsc);
}

/* The first CPU's page while TSCs are equal, else the one of the CPU that it runs on. */
static inline u64 kvmclock_freebsd_libc(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	return kvmclock_eval(kvmclock_is_stable(&view->boot) ? &view->boot : &view->own, tsc);
}

/*
 * There is one page, of the boot CPU, for all of them.  Where TSCs differ, what others
 * read in it is nothing that KVM has promised, but it does not go back.
 */
static inline bool kvmclock_openbsd_can(const struct kvmclock_view *view)
{
	return view->boot.tsc_to_system_mul &&
	       (view->is_boot || kvmclock_is_stable(&view->boot));
}

/* @last is what was read before, on any CPU. */
static inline u64 kvmclock_openbsd(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	u64 now = kvmclock_eval_compared(&view->boot, tsc);

	if (!kvmclock_is_stable(&view->boot) && now < last)
		return last;
	return now;
}

static inline bool kvmclock_xen_vdso_can(const struct kvmclock_view *view)
{
	return kvmclock_is_stable(&view->xen);
}

static inline u64 kvmclock_xen_vdso(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	return kvmclock_eval(&view->xen, tsc);
}

static inline bool kvmclock_hyperv_can(const struct kvmclock_view *view)
{
	return kvmclock_hyperv_is_valid(&view->hyperv);
}

static inline u64 kvmclock_hyperv(const struct kvmclock_view *view, u64 tsc, u64 last)
{
	return kvmclock_eval_hyperv(&view->hyperv, tsc);
}

/* What a guest reads in @unit_ns, if it @can. */
struct kvmclock_formula {
	const char *name;
	u64 unit_ns;
	bool (*can)(const struct kvmclock_view *view);
	u64 (*read)(const struct kvmclock_view *view, u64 tsc, u64 last);
};

enum kvmclock_guest_kind {
	KVMCLOCK_LINUX,
	KVMCLOCK_LINUX_VDSO,
	KVMCLOCK_FREEBSD_LIBC,
	KVMCLOCK_OPENBSD,
	KVMCLOCK_XEN_VDSO,
	KVMCLOCK_HYPERV,
	KVMCLOCK_NR_FORMULAS,
};

static const struct kvmclock_formula kvmclock_formulas[KVMCLOCK_NR_FORMULAS] = {
	[KVMCLOCK_LINUX] = { "linux", 1, kvmclock_linux_can, kvmclock_linux },
	[KVMCLOCK_LINUX_VDSO] = { "linux_vdso", 1, kvmclock_linux_vdso_can, kvmclock_linux_vdso },
	[KVMCLOCK_FREEBSD_LIBC] = { "freebsd_libc", 1, kvmclock_linux_can, kvmclock_freebsd_libc },
	[KVMCLOCK_OPENBSD] = { "openbsd_netbsd", 1, kvmclock_openbsd_can, kvmclock_openbsd },
	[KVMCLOCK_XEN_VDSO] = { "xen_vdso", 1, kvmclock_xen_vdso_can, kvmclock_xen_vdso },
	[KVMCLOCK_HYPERV] = { "hyperv_page", 100, kvmclock_hyperv_can, kvmclock_hyperv },
};

/*
 * By how many of its units formula @kind is not @ns at @tsc; 0 if such a guest has
 * another way there.  Of the three terms of Hyper-V's page each is rounded down, so
 * that one unit more or less is right.
 */
static inline s64 kvmclock_formula_error(enum kvmclock_guest_kind kind,
					 const struct kvmclock_view *view, u64 tsc, u64 ns)
{
	const struct kvmclock_formula *formula = &kvmclock_formulas[kind];
	s64 error;

	if (!formula->can(view))
		return 0;

	error = formula->read(view, tsc, 0) - ns / formula->unit_ns;
	return formula->unit_ns > 1 && error >= -1 && error <= 1 ? 0 : error;
}

#endif /* SELFTEST_KVM_KVMCLOCK_GUESTS_H */
