// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>

#include "samples.h"
#include "vm.h"

int repetitions(int vcpus)
{
	return vcpus <= 64 ? 11 : vcpus <= 512 ? 5 : 3;
}

void add(struct samples *samples, __u64 value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room * 2 + 16;
		samples->values = realloc(samples->values, samples->room * sizeof(value));
		if (!samples->values)
			die("no memory for samples of %s", samples->name);
	}
	samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

void emit(struct samples *samples, int vcpus)
{
	__u64 *v = samples->values;
	int n = samples->count;

	if (!n)
		return;
	qsort(v, n, sizeof(*v), compare);
	printf("{\"case\": \"%s\", \"vcpus\": %d, \"floor\": \"%s\", \"samples\": %d, ",
	       samples->name, vcpus, samples->floor, n);
	printf("\"min\": %llu, \"median\": %llu, \"max\": %llu}\n", v[0], v[n / 2], v[n - 1]);
	fflush(stdout);
	free(v);
	*samples = (struct samples){ .name = samples->name, .floor = samples->floor };
}
