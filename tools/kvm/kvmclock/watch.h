/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of kvmclock watch share.
 */
#ifndef KVMCLOCK_WATCH_H
#define KVMCLOCK_WATCH_H

#include "tool.h"

#define MAX_VMS		1024

enum { STAT_UPDATES, STAT_REANCHORS, STAT_RAISED, STAT_RAISED_MAX, NR_STATS };

/* Their names in KVM's statistics. */
extern const char *const vm_stats[NR_STATS];

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
	uint64_t wall_ns;	/* CLOCK_REALTIME at that clock */
	uint64_t born_ns;	/* the same when the VM was created; 0 if it is not known */
	struct value first_clock;	/* when the VM was first seen */
	uint64_t first_wall_ns;
	uint32_t flags;
	struct value stats[NR_STATS];
	struct value since[NR_STATS];	/* the last list */
};

/* vms.c: all, or those of @which, a PID or PID-FD. */
uint32_t vms_find(struct vm *vms, const char *which);
void host_clocksource(char *buf, size_t size);
/* What has changed since another list of the same VMs. */
void vms_compare(struct vm *vms, uint32_t n, const struct vm *old, uint32_t nr_old);
struct value vm_uptime_s(const struct vm *vm);
bool vm_drift_ppb(const struct vm *vm, int64_t *ppb);

/* prometheus.c */
void prometheus_print(FILE *file, const struct vm *vms, uint32_t n);

/* events.c: what the tracepoint tells, until SIGINT or SIGTERM. @pid 0: of all VMs. */
void events_watch(const char *tracefs, int pid);

#endif /* KVMCLOCK_WATCH_H */
