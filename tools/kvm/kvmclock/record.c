// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
/*
 * The record of a VM's time in bytes.  Little-endian, without padding:
 *
 *	 0  8	magic "KVMCLOCK"
 *	 8  2	major version: a reader refuses a newer one
 *	10  2	minor version: a newer one has more bytes before the checksum
 *	12  4	length of it all, checksum included
 *	16  4	number of vCPUs
 *	20  4	flags of KVM_GET_CLOCK
 *	24  8	clock, ns, below 2^63
 *	32  8	CLOCK_REALTIME, ns since 1970, below 2^63
 *	40  8	host TSC
 *	48  8	ratio of the guest's TSC to the host's, not 0
 *	56  4	frequency of the guest's TSC, kHz, not 0, below 2^31
 *	60  4	frequency of the host's TSC, likewise
 *	64  4	width of the instant, ns
 *	68  4	multiplier of the line, not 0
 *	72  1	shift of the line, -31 to 31
 *	73  1	fraction bits of the ratio, 20 to 63
 *	74  6	0
 *	80 16	for each vCPU its TSC and TSC offset; their difference, the
 *		scaled TSC of the host, is the same for all.  So it does not
 *		matter whose TSC guest_tsc of KVM_GET_CLOCK was.
 *	end-8 4	since minor version 1: CLOCK_TAI less CLOCK_REALTIME, s, signed; 0
 *		if it is not known
 *	end-4 4	CRC32C of all bytes before
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "tsc_math.h"

#define RECORD_HEADER	80
#define RECORD_VCPU	16
#define RECORD_TAI	4
#define RECORD_CRC	4

static const uint8_t magic[8] = { 'K', 'V', 'M', 'C', 'L', 'O', 'C', 'K' };

static void put(uint8_t *p, unsigned int bytes, uint64_t value)
{
	for (; bytes; bytes--, value >>= 8)
		*p++ = value;
}

static uint64_t get(const uint8_t *p, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | p[bytes];

	return value;
}

/* Castagnoli's polynomial, bit by bit: a record is short. */
static uint32_t crc32c(const uint8_t *p, size_t size)
{
	uint32_t crc = ~0u;
	int bit;

	while (size--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}

	return ~crc;
}

struct kvmclock_record *kvmclock_record_alloc(uint32_t nr_vcpus)
{
	struct kvmclock_record *rec = calloc(1, sizeof(*rec));

	if (!rec)
		return NULL;

	rec->nr_vcpus = nr_vcpus;
	rec->vcpus = calloc(nr_vcpus, sizeof(*rec->vcpus));
	if (!rec->vcpus) {
		free(rec);
		return NULL;
	}

	return rec;
}

KVMCLOCK_PUBLIC void kvmclock_record_free(struct kvmclock_record *rec)
{
	if (!rec)
		return;

	free(rec->vcpus);
	free(rec);
}

static bool khz_valid(uint32_t khz)
{
	return khz && khz <= KVMCLOCK_MAX_KHZ;
}

static bool vcpus_valid(const struct kvmclock_record *rec)
{
	uint64_t scaled = rec->vcpus[0].tsc - rec->vcpus[0].offset;
	uint32_t i;

	for (i = 1; i < rec->nr_vcpus; i++) {
		if (rec->vcpus[i].tsc - rec->vcpus[i].offset != scaled)
			return false;
	}

	return true;
}

/* Whatever else computes with a record relies on this. */
bool kvmclock_record_valid(const struct kvmclock_record *rec)
{
	return !(rec->flags & ~KVMCLOCK_RECORD_FLAGS) &&
	       rec->clock <= INT64_MAX && rec->realtime <= INT64_MAX &&
	       rec->ratio && kvmclock_frac_bits_valid(rec->frac_bits) &&
	       khz_valid(rec->tsc_khz) && khz_valid(rec->host_khz) &&
	       rec->mul && rec->shift >= -31 && rec->shift <= 31 &&
	       vcpus_valid(rec);
}

KVMCLOCK_PUBLIC size_t kvmclock_record_size(const struct kvmclock_record *rec)
{
	return RECORD_HEADER + (size_t)rec->nr_vcpus * RECORD_VCPU + RECORD_TAI + RECORD_CRC;
}

static void put_header(uint8_t *p, const struct kvmclock_record *rec)
{
	memset(p, 0, RECORD_HEADER);
	memcpy(p, magic, sizeof(magic));
	put(p + 8, 2, KVMCLOCK_RECORD_MAJOR);
	put(p + 10, 2, KVMCLOCK_RECORD_MINOR);
	put(p + 12, 4, kvmclock_record_size(rec));
	put(p + 16, 4, rec->nr_vcpus);
	put(p + 20, 4, rec->flags);
	put(p + 24, 8, rec->clock);
	put(p + 32, 8, rec->realtime);
	put(p + 40, 8, rec->host_tsc);
	put(p + 48, 8, rec->ratio);
	put(p + 56, 4, rec->tsc_khz);
	put(p + 60, 4, rec->host_khz);
	put(p + 64, 4, rec->sample_ns);
	put(p + 68, 4, rec->mul);
	put(p + 72, 1, (uint8_t)rec->shift);
	put(p + 73, 1, rec->frac_bits);
}

KVMCLOCK_PUBLIC int kvmclock_record_write(const struct kvmclock_record *rec, void *buf, size_t size)
{
	size_t length = kvmclock_record_size(rec);
	uint8_t *p = buf;
	uint32_t i;

	if (size < length)
		return KVMCLOCK_E_SPACE;

	put_header(p, rec);
	for (i = 0; i < rec->nr_vcpus; i++) {
		put(p + RECORD_HEADER + i * RECORD_VCPU, 8, rec->vcpus[i].tsc);
		put(p + RECORD_HEADER + i * RECORD_VCPU + 8, 8, rec->vcpus[i].offset);
	}
	put(p + RECORD_HEADER + i * RECORD_VCPU, RECORD_TAI, (uint32_t)rec->tai_offset);
	put(p + length - RECORD_CRC, RECORD_CRC, crc32c(p, length - RECORD_CRC));

	return 0;
}

/*
 * Say "truncated" of a good beginning that ends early, and "newer" only of what
 * arrived whole: a version that a broken cable made up is corrupt.
 */
static int check_frame(const uint8_t *p, size_t size)
{
	uint64_t length;

	if (memcmp(p, magic, size < sizeof(magic) ? size : sizeof(magic)))
		return KVMCLOCK_E_MAGIC;
	if (size < 16)
		return KVMCLOCK_E_TRUNCATED;

	length = get(p + 12, 4);
	if (length < 16 + RECORD_CRC || length < size)
		return KVMCLOCK_E_CORRUPT;
	if (length > size)
		return KVMCLOCK_E_TRUNCATED;
	if (get(p + size - RECORD_CRC, RECORD_CRC) != crc32c(p, size - RECORD_CRC))
		return KVMCLOCK_E_CORRUPT;

	return 0;
}

static int check_version(const uint8_t *p)
{
	unsigned int major = get(p + 8, 2);

	if (major > KVMCLOCK_RECORD_MAJOR)
		return KVMCLOCK_E_VERSION;

	return major ? 0 : KVMCLOCK_E_CORRUPT;
}

/* The number of vCPUs has to fit the length, and exactly if the minor version is known. */
static int check_length(const uint8_t *p, size_t size)
{
	unsigned int minor = get(p + 10, 2);
	uint64_t vcpus, need;

	if (size < RECORD_HEADER + RECORD_CRC)
		return KVMCLOCK_E_CORRUPT;

	vcpus = get(p + 16, 4);
	if (!vcpus || vcpus > KVMCLOCK_MAX_VCPUS || get(p + 74, 6))
		return KVMCLOCK_E_CORRUPT;

	need = RECORD_HEADER + vcpus * RECORD_VCPU + (minor ? RECORD_TAI : 0) + RECORD_CRC;
	if (size < need || (size > need && minor <= KVMCLOCK_RECORD_MINOR))
		return KVMCLOCK_E_CORRUPT;

	return 0;
}

static void get_record(const uint8_t *p, struct kvmclock_record *rec)
{
	uint32_t i;

	rec->flags = get(p + 20, 4);
	rec->clock = get(p + 24, 8);
	rec->realtime = get(p + 32, 8);
	rec->host_tsc = get(p + 40, 8);
	rec->ratio = get(p + 48, 8);
	rec->tsc_khz = get(p + 56, 4);
	rec->host_khz = get(p + 60, 4);
	rec->sample_ns = get(p + 64, 4);
	rec->mul = get(p + 68, 4);
	rec->shift = (int8_t)p[72];
	rec->frac_bits = p[73];

	for (i = 0; i < rec->nr_vcpus; i++) {
		rec->vcpus[i].tsc = get(p + RECORD_HEADER + i * RECORD_VCPU, 8);
		rec->vcpus[i].offset = get(p + RECORD_HEADER + i * RECORD_VCPU + 8, 8);
	}
	if (get(p + 10, 2))
		rec->tai_offset = get(p + RECORD_HEADER + i * RECORD_VCPU, RECORD_TAI);
}

KVMCLOCK_PUBLIC int kvmclock_record_read(const void *buf, size_t size, struct kvmclock_record **out)
{
	struct kvmclock_record *rec;
	int r;

	*out = NULL;
	r = check_frame(buf, size);
	r = r ?: check_version(buf);
	r = r ?: check_length(buf, size);
	if (r)
		return r;

	rec = kvmclock_record_alloc(get((const uint8_t *)buf + 16, 4));
	if (!rec)
		return KVMCLOCK_E_MEMORY;

	get_record(buf, rec);
	if (!kvmclock_record_valid(rec)) {
		kvmclock_record_free(rec);
		return KVMCLOCK_E_CORRUPT;
	}

	*out = rec;
	return 0;
}

KVMCLOCK_PUBLIC void kvmclock_record_info(const struct kvmclock_record *rec,
					  struct kvmclock_info *info)
{
	*info = (struct kvmclock_info) {
		.clock_ns = rec->clock,
		.realtime_ns = rec->realtime,
		.host_tsc = rec->host_tsc,
		.guest_tsc = rec->vcpus[0].tsc,
		.mul = rec->mul,
		.shift = rec->shift,
		.flags = rec->flags,
		.nr_vcpus = rec->nr_vcpus,
		.tsc_khz = rec->tsc_khz,
		.host_khz = rec->host_khz,
		.sample_ns = rec->sample_ns,
		.tai_offset = rec->tai_offset,
	};
}

KVMCLOCK_PUBLIC int64_t kvmclock_record_skew(const struct kvmclock_record *rec, uint32_t i)
{
	return i < rec->nr_vcpus ? (int64_t)(rec->vcpus[i].tsc - rec->vcpus[0].tsc) : 0;
}
