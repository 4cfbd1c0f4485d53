// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * Unit test of the record: what is written is read, and nothing else.
 */
#include "record.c"
#include "tap.h"

#define SIZE	256

static uint8_t good[SIZE];
static size_t good_size;

static struct kvmclock_record *example(uint32_t nr_vcpus)
{
	struct kvmclock_record *rec = kvmclock_record_alloc(nr_vcpus);
	uint32_t i;

	rec->clock = 0x0123456789abcdef;
	rec->realtime = 1800000000ULL * KVMCLOCK_NSEC_PER_SEC;
	rec->host_tsc = 0xfedcba9876543210;
	rec->ratio = 1ULL << 47;
	rec->frac_bits = 48;
	rec->flags = KVMCLOCK_RECORD_FLAGS;
	rec->tsc_khz = 1500000;
	rec->host_khz = 3000000;
	rec->sample_ns = 7;
	rec->mul = 0xaaaaaaab;
	rec->shift = -1;
	rec->tai_offset = -37;
	for (i = 0; i < nr_vcpus; i++) {
		rec->vcpus[i].offset = -1000000ULL * i;
		rec->vcpus[i].tsc = 0x7000000000000000 + rec->vcpus[i].offset;
	}

	return rec;
}

static bool same(const struct kvmclock_record *a, const struct kvmclock_record *b)
{
	uint8_t x[SIZE] = { }, y[SIZE] = { };

	return !kvmclock_record_write(a, x, sizeof(x)) && !kvmclock_record_write(b, y, sizeof(y)) &&
	       !memcmp(x, y, sizeof(x));
}

#define NOT_NULL	(-1000)	/* no error of the library's */

/* What reading @size bytes returns; what was read is dropped. On an error there is nothing. */
static int read_error(const uint8_t *p, size_t size)
{
	struct kvmclock_record *rec = (void *)good;
	int r = kvmclock_record_read(p, size, &rec);

	if (r)
		return rec ? NOT_NULL : r;

	kvmclock_record_free(rec);
	return 0;
}

static void repair(uint8_t *p, size_t size)
{
	put(p + size - RECORD_CRC, RECORD_CRC, crc32c(p, size - RECORD_CRC));
}

/* The good record with one field changed and the checksum right. */
static int changed(size_t offset, unsigned int bytes, uint64_t value)
{
	uint8_t p[SIZE];

	memcpy(p, good, good_size);
	put(p + offset, bytes, value);
	repair(p, good_size);

	return read_error(p, good_size);
}

static void test_round_trip(void)
{
	struct kvmclock_record *rec = example(3), *copy = NULL;
	struct kvmclock_info info;
	uint8_t small[8];
	int r;

	good_size = kvmclock_record_size(rec);
	tap_ok(good_size == 136, "size of a record of 3 vCPUs");
	tap_ok(!kvmclock_record_write(rec, good, sizeof(good)), "write");
	r = kvmclock_record_read(good, good_size, &copy);
	if (tap_ok(!r, "read") && tap_ok(same(rec, copy), "what is read is what was written")) {
		kvmclock_record_info(copy, &info);
		tap_ok(info.clock_ns == rec->clock && info.shift == -1 && info.nr_vcpus == 3 &&
		       info.guest_tsc == 0x7000000000000000 && info.tai_offset == -37, "info");
		tap_ok(kvmclock_record_skew(copy, 2) == -2000000 && !kvmclock_record_skew(copy, 3),
		       "skew");
	}
	tap_ok(kvmclock_record_write(rec, small, sizeof(small)) == KVMCLOCK_E_SPACE,
	       "buffer too small");
	kvmclock_record_free(rec);
	kvmclock_record_free(copy);
}

static void test_bytes(void)
{
	static const uint8_t begin[] = {
		'K', 'V', 'M',	'C',  'L',  'O',  'C',	'K',  1,    0,	  1,
		0,   136, 0,	0,    0,    3,	  0,	0,    0,    0x1e, 0,
		0,   0,	  0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
	};

	tap_ok(!memcmp(good, begin, sizeof(begin)), "the beginning is little-endian, to the byte");
	tap_ok(crc32c((const uint8_t *)"123456789", 9) == 0xe3069283, "check value of CRC32C");
}

static void test_truncated(void)
{
	size_t size;
	int bad = 0, r;

	for (size = 0; size < good_size; size++) {
		r = read_error(good, size);
		if (r != KVMCLOCK_E_TRUNCATED)
			bad++;
	}
	tap_ok(!bad, "each of %zu truncations is refused as such", good_size);
}

static void test_bit_flips(void)
{
	uint8_t p[SIZE];
	size_t bit;
	int bad = 0, r;

	for (bit = 0; bit < good_size * 8; bit++) {
		memcpy(p, good, good_size);
		p[bit / 8] ^= 1 << bit % 8;
		r = read_error(p, good_size);
		if (r != KVMCLOCK_E_CORRUPT && r != KVMCLOCK_E_MAGIC && r != KVMCLOCK_E_TRUNCATED)
			bad++;
	}
	tap_ok(!bad, "each of %zu bit flips is refused", good_size * 8);
}

static void test_longer(void)
{
	uint8_t p[SIZE];

	memset(p, 0, sizeof(p));
	memcpy(p, good, good_size);
	tap_ok(read_error(p, good_size + 1) == KVMCLOCK_E_CORRUPT, "a byte behind the record");

	put(p + 12, 4, good_size + 8);
	repair(p, good_size + 8);
	tap_ok(read_error(p, good_size + 8) == KVMCLOCK_E_CORRUPT,
	       "trailing bytes of no newer minor version");

	put(p + 10, 2, KVMCLOCK_RECORD_MINOR + 1);
	repair(p, good_size + 8);
	tap_ok(!read_error(p, good_size + 8), "trailing bytes of a newer minor version");
	p[good_size]++;
	tap_ok(read_error(p, good_size + 8) == KVMCLOCK_E_CORRUPT, "the checksum covers them");
}

static void test_version(void)
{
	tap_ok(changed(8, 2, KVMCLOCK_RECORD_MAJOR + 1) == KVMCLOCK_E_VERSION,
	       "newer major version");
	tap_ok(changed(8, 2, 0xffff) == KVMCLOCK_E_VERSION, "newest major version");
	tap_ok(changed(8, 2, 0) == KVMCLOCK_E_CORRUPT, "major version 0");
	tap_ok(!changed(10, 2, KVMCLOCK_RECORD_MINOR + 1),
	       "newer minor version without more bytes");
	tap_ok(changed(0, 8, 0) == KVMCLOCK_E_MAGIC, "wrong magic");
}

/* Minor version 0 had no offset of CLOCK_TAI. */
static void test_old_version(void)
{
	struct kvmclock_record *rec = NULL;
	size_t size = good_size - RECORD_TAI;
	struct kvmclock_info info = { };
	uint8_t p[SIZE];

	memcpy(p, good, good_size);
	put(p + 10, 2, 0);
	put(p + 12, 4, size);
	repair(p, size);
	if (tap_ok(!kvmclock_record_read(p, size, &rec), "a record of minor version 0"))
		kvmclock_record_info(rec, &info);
	tap_ok(info.nr_vcpus == 3 && info.shift == -1 && !info.tai_offset,
	       "its content, and no offset of CLOCK_TAI");
	kvmclock_record_free(rec);

	put(p + 10, 2, KVMCLOCK_RECORD_MINOR);
	repair(p, size);
	tap_ok(read_error(p, size) == KVMCLOCK_E_CORRUPT, "this version as short as that");
	memcpy(p, good, good_size);
	put(p + 10, 2, 0);
	repair(p, good_size);
	tap_ok(read_error(p, good_size) == KVMCLOCK_E_CORRUPT, "that version as long as this");
}

static void test_fields(void)
{
	static const struct {
		const char *name;
		size_t offset;
		unsigned int bytes;
		uint64_t value;
	} bad[] = {
		{ "no vCPU", 16, 4, 0 },
		{ "fewer vCPUs than entries", 16, 4, 2 },
		{ "more vCPUs than entries", 16, 4, 4 },
		{ "vCPUs without end", 16, 4, 0xffffffff },
		{ "vCPUs whose size overflows", 16, 4, 0x10000003 },
		{ "length below the header", 12, 4, 20 },
		{ "unknown flag", 20, 4, KVMCLOCK_RECORD_FLAGS | 32 },
		{ "flag 1", 20, 4, KVMCLOCK_RECORD_FLAGS | 1 },
		{ "clock of 2^63", 24, 8, 1ULL << 63 },
		{ "wall time of 2^63", 32, 8, 1ULL << 63 },
		{ "ratio 0", 48, 8, 0 },
		{ "frequency 0", 56, 4, 0 },
		{ "frequency of 2^31", 56, 4, 1U << 31 },
		{ "host frequency 0", 60, 4, 0 },
		{ "multiplier 0", 68, 4, 0 },
		{ "shift 32", 72, 1, 32 },
		{ "shift -32", 72, 1, 0xe0 },
		{ "19 fraction bits", 73, 1, 19 },
		{ "64 fraction bits", 73, 1, 64 },
		{ "padding", 79, 1, 1 },
		{ "vCPU with another host TSC", 80 + 16, 8, 1 },
	};
	unsigned int i;

	for (i = 0; i < KVMCLOCK_ARRAY_SIZE(bad); i++)
		tap_ok(changed(bad[i].offset, bad[i].bytes, bad[i].value) == KVMCLOCK_E_CORRUPT,
		       "%s", bad[i].name);
	tap_ok(!changed(20, 4, 0), "no flags");
	tap_ok(!changed(72, 1, 0xe1), "shift -31");
}

static void test_strings(void)
{
	int i, bad = 0;

	for (i = 0; i >= KVMCLOCK_E_SCALE; i--)
		bad += !kvmclock_strerror(i) || !*kvmclock_strerror(i);
	for (i = 0; i < KVMCLOCK_NR_NOTES; i++)
		bad += !kvmclock_note_name(1u << i) || !kvmclock_note_text(1u << i);
	for (i = 0; i < KVMCLOCK_NR_WAYS; i++)
		bad += !kvmclock_way_name(i) || !kvmclock_way_text(i);
	tap_ok(!bad, "everything has words");
	for (i = 1, bad = 0; i >= KVMCLOCK_E_SCALE - 1; i--)
		bad += kvmclock_error_has_errno(i) !=
		       (i == KVMCLOCK_E_NO_KVM || i == KVMCLOCK_E_KERNEL);
	tap_ok(!bad, "errno is the reason of the errors that the header says");
	tap_ok(!strcmp(kvmclock_strerror(1), "unknown error") &&
	       !strcmp(kvmclock_strerror(KVMCLOCK_E_SCALE - 1), "unknown error") &&
	       !strcmp(kvmclock_strerror(-2147483647 - 1), "unknown error") &&
	       !strcmp(kvmclock_way_name(99), "unknown") &&
	       !strcmp(kvmclock_note_text(3), "unknown"),
	       "what is unknown, too");
}

int main(void)
{
	test_round_trip();
	test_bytes();
	test_truncated();
	test_bit_flips();
	test_longer();
	test_version();
	test_old_version();
	test_fields();
	test_strings();

	return tap_done();
}
