// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a source sends, checked as far as the tool itself depends on it.
 */
#include <string.h>

#include "tool.h"

#define MAX_RECORD	65536

static void read_record(struct stream *s, struct arrival *a)
{
	uint8_t buf[MAX_RECORD];
	uint32_t size;
	int r;

	stream_read(s, &size, sizeof(size));
	if (size > sizeof(buf))
		fail(EXIT_RECORD, "%s: the record's length is corrupt", s->name);

	/* The guest has stopped: the rest is to come at once. */
	stream_set_limit(s, stream_limits.state);
	stream_read(s, buf, size);
	r = kvmclock_record_read(buf, size, &a->rec);
	if (r)
		fail_library(r, s->name);
}

/* The tool computes with the lines that the guest computed with last. */
static void check_guest(const struct stream *s, struct arrival *a, uint32_t i)
{
	struct guest_vcpu *g = &a->before[i];

	memcpy(g, a->memory + GUEST_VCPUS + i * GUEST_PAGE, sizeof(*g));
	if (!guest_line_valid(&g->last[g->readings % 2].line))
		fail(EXIT_RECORD, "%s: vCPU %u's line is corrupt", s->name, i);
}

void arrival_read(struct stream *s, const struct stream_header *header, struct arrival *a)
{
	uint32_t i;

	stream_set_limit(s, (uint64_t)header->run_ms + stream_limits.state);
	read_record(s, a);
	stream_read(s, a->states, header->nr_vcpus * sizeof(a->states[0]));
	stream_read(s, a->memory, GUEST_MEMORY);
	stream_check_sum(s);

	for (i = 0; i < header->nr_vcpus; i++)
		check_guest(s, a, i);
	memcpy(&a->max_clock, a->memory + GUEST_SHARED, sizeof(a->max_clock));
}
