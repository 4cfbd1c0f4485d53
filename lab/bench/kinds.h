/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KINDS_H
#define KINDS_H

/* Each has a VM of its own, and emits what it has measured. */
void measure_host_clock(int vcpus);
void measure_absent(int vcpus);
void measure_no_slot(int vcpus);
void measure_other_pages(int vcpus);

#endif
