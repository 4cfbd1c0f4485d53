// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the record of libkvmclock: whatever the bytes, reading them stays inside
 * them, and what was read is valid and written back as it was.
 *
 * A checksum stops nearly every mutation, so half of them get a right one.
 *
 * fuzz: -runs=1000000 -max_len=1024
 * cc: -Dfuzz_mutate=LLVMFuzzerMutate -Dfuzz_mutator=LLVMFuzzerCustomMutator
 */
#include "../../tools/kvm/kvmclock/record.c"

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

size_t fuzz_mutate(u8 *data, size_t size, size_t max);

static void repair(u8 *data, size_t size)
{
	if (size < RECORD_CRC)
		return;

	/* The length has to be right before the checksum is looked at. */
	if (size >= RECORD_HEADER)
		put(data + 12, 4, size);
	put(data + size - RECORD_CRC, RECORD_CRC, crc32c(data, size - RECORD_CRC));
}

size_t fuzz_mutator(u8 *data, size_t size, size_t max, unsigned int seed)
{
	size = fuzz_mutate(data, size, max);
	if (seed & 1)
		repair(data, size);

	return size;
}

static void require(int holds)
{
	if (!holds)
		abort();
}

/*
 * Reading it again gives the same, and what it was read from differs only where a
 * newer minor version has more, or version 0 less.
 */
static void check_round_trip(const struct kvmclock_record *rec, const u8 *data, size_t size)
{
	struct kvmclock_record *again = NULL;
	size_t length = kvmclock_record_size(rec), tai = get(data + 10, 2) ? 0 : RECORD_TAI;
	u8 *copy = malloc(length);

	require(copy && length <= size + tai);
	require(kvmclock_record_write(rec, copy, length - 1) == KVMCLOCK_E_SPACE);
	require(!kvmclock_record_write(rec, copy, length));
	if (get(data + 10, 2) == KVMCLOCK_RECORD_MINOR)
		require(length == size && !memcmp(copy, data, size));
	else
		require(!memcmp(copy + 16, data + 16, length - tai - RECORD_CRC - 16));
	require(!kvmclock_record_read(copy, length, &again));
	kvmclock_record_free(again);
	free(copy);
}

static void check_values(const struct kvmclock_record *rec)
{
	struct kvmclock_info info;
	s64 ns;
	u32 i;

	kvmclock_record_info(rec, &info);
	require(info.nr_vcpus >= 1 && info.nr_vcpus <= KVMCLOCK_MAX_VCPUS && info.mul);
	require(info.tsc_khz && info.host_khz && info.shift >= -31 && info.shift <= 31);
	for (i = 0; i < info.nr_vcpus; i++)
		require(rec->vcpus[i].offset - rec->vcpus[0].offset ==
			(u64)kvmclock_record_skew(rec, i));

	/* What restoring computes with it is defined. */
	ns = kvmclock_cycles_to_ns_signed(info.guest_tsc, info.mul, info.shift);
	kvmclock_ns_to_cycles_signed(ns, info.mul, info.shift);
	kvmclock_scale_tsc(info.host_tsc, rec->ratio, rec->frac_bits);
}

/* After an error there is nothing for the caller to free. */
int fuzz_input(const u8 *data, size_t size)
{
	struct kvmclock_record *rec = (struct kvmclock_record *)&magic;
	int r = kvmclock_record_read(data, size, &rec);

	require(r <= 0 && r >= KVMCLOCK_E_SCALE);
	if (r) {
		require(!rec);
		return 0;
	}

	check_round_trip(rec, data, size);
	check_values(rec);
	kvmclock_record_free(rec);
	return 0;
}
