/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <linux/types.h>

/* Ticks that one thing took, again and again, and the name of the case that is its floor, or "". */
struct samples {
	const char *name;
	const char *floor;
	int count;
	int room;
	__u64 *values;
};

#define SAMPLES(variable, name_, floor_) \
	struct samples variable = { .name = name_, .floor = floor_ }

/* Enough for a median that an interrupt does not move; fewer where one costs seconds to emulate. */
int repetitions(int vcpus);

void add(struct samples *samples, __u64 value);

/* Print them as a line of JSON, and forget them. What has no sample did not apply. */
void emit(struct samples *samples, int vcpus);

#endif
