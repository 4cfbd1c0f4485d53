// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest travels in: a file, standard output or input, a socket.
 *
 * The other side may be anybody, and silent: it is waited for until a deadline, for
 * all of a part together, so that slow bytes do not help.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define STREAM_VERSION	2

#define NSEC_PER_MSEC	1000000ll
#define NSEC_PER_SEC	1000000000ll

struct stream_limits stream_limits = { .greeting = 5000, .start = 60000, .state = 60000 };

static const uint8_t stream_magic[8] = { 'K', 'V', 'M', 'C', 'L', 'K', 'V', 'M' };
static const uint8_t stream_ready[8] = { 'K', 'V', 'M', 'C', 'L', 'K', 'R', 'X' };
static const uint8_t stream_arrived[8] = { 'K', 'V', 'M', 'C', 'L', 'K', 'O', 'K' };

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

void stream_set_limit(struct stream *s, uint64_t ms)
{
	s->deadline_ns = now_ns() + (int64_t)ms * NSEC_PER_MSEC;
}

/* Until something can be read or written.  False, with errno, at the deadline. */
static bool stream_wait(const struct stream *s, short events)
{
	struct pollfd fd = { .fd = s->fd, .events = events };
	int64_t left;
	int r;

	do {
		left = s->deadline_ns ? s->deadline_ns - now_ns() : INT_MAX * NSEC_PER_MSEC;
		if (left <= 0)
			break;
		r = poll(&fd, 1, left / NSEC_PER_MSEC + 1);
		if (r > 0 || (r < 0 && errno != EINTR))
			return r > 0;
	} while (true);

	errno = ETIMEDOUT;
	return false;
}

/* 0: the other side has closed it.  -1 and errno, as read(2). */
static int try_read(struct stream *s, void *data, size_t size)
{
	uint8_t *p = data;
	ssize_t n;

	while (size) {
		if (!stream_wait(s, POLLIN))
			return -1;
		n = read(s->fd, p, size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n;
		p += n;
		size -= n;
	}

	return 1;
}

/* What is ready for some bytes is for this many: a pipe's is not to block. */
static int try_write(struct stream *s, const void *data, size_t size)
{
	const uint8_t *p = data;
	ssize_t n;

	while (size) {
		if (!stream_wait(s, POLLOUT))
			return -1;
		n = write(s->fd, p, size < PIPE_BUF ? size : PIPE_BUF);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -1;
		p += n;
		size -= n;
	}

	return 1;
}

/* FNV-1a: against accidents, which is all that the guest's memory needs. */
static void add_sum(struct stream *s, const uint8_t *p, size_t size)
{
	while (size--)
		s->sum = (s->sum ^ *p++) * 0x100000001b3ull;
}

void stream_write(struct stream *s, const void *data, size_t size)
{
	add_sum(s, data, size);
	if (try_write(s, data, size) < 0)
		fail_errno("write to %s", s->name);
}

void stream_read(struct stream *s, void *data, size_t size)
{
	int r = try_read(s, data, size);

	if (r < 0 && errno == ETIMEDOUT)
		fail(EXIT_RECORD, "%s: the other side is too slow, or silent", s->name);
	if (r < 0)
		fail_errno("read from %s", s->name);
	if (!r)
		fail(EXIT_RECORD, "%s ends early, or the other side gave up", s->name);
	add_sum(s, data, size);
}

/* What is wrong with a header, in words, or NULL. */
static const char *header_fault(const struct stream_header *h)
{
	if (h->version != STREAM_VERSION)
		return "is of another version than this program knows";
	if (h->nr_vcpus < 1 || h->nr_vcpus > GUEST_MAX_VCPUS || !h->tsc_khz ||
	    h->tsc_khz > INT32_MAX || h->memory_size != GUEST_MEMORY ||
	    h->run_ms > STREAM_MAX_RUN_MS || h->reserved)
		return "has a corrupt header";

	return NULL;
}

/* ---- Greetings ---- */

/* A socket must not block beyond the deadline, even if poll(2) was too optimistic. */
static void use_socket(struct stream *s, int fd)
{
	s->fd = fd;
	s->is_socket = true;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* The other side is one that receives guests. */
static const char *greet_target(struct stream *s, struct stream_header *unused)
{
	uint8_t ready[sizeof(stream_ready)];

	(void)unused;
	if (try_read(s, ready, sizeof(ready)) <= 0)
		return "says nothing in time";
	if (memcmp(ready, stream_ready, sizeof(ready)))
		return "is not 'kvmclock restore'";

	return NULL;
}

static const char *read_fault(int r)
{
	if (!r)
		return "ends early";

	return errno == ETIMEDOUT ? "says nothing in time" : "cannot be read";
}

/* The other side is one that sends guests: here is its header. */
static const char *greet_source(struct stream *s, struct stream_header *header)
{
	const size_t magic = sizeof(header->magic);
	int r;

	if (s->is_socket && try_write(s, stream_ready, sizeof(stream_ready)) < 0)
		return "does not listen";

	/* Something else may be shorter than the magic, which has no 0 in it. */
	*header = (struct stream_header) { };
	r = try_read(s, header, magic);
	if (memcmp(header->magic, stream_magic,
		   r > 0 ? magic : strnlen((char *)header->magic, magic)))
		return "was not written by 'kvmclock save'";
	if (r > 0)
		r = try_read(s, (uint8_t *)header + magic, sizeof(*header) - magic);

	return r > 0 ? header_fault(header) : read_fault(r);
}

typedef const char *(*greet_fn)(struct stream *s, struct stream_header *header);

/* Serve who connects, until one is the right one; it is served alone, so for seconds only. */
static void listen_for(struct stream *s, struct stream_header *header, greet_fn greet)
{
	int fd = socket_listen(s->name);
	const char *fault;

	for (;;) {
		use_socket(s, socket_accept(fd, s->name));
		stream_set_limit(s, stream_limits.greeting);
		fault = greet(s, header);
		if (!fault)
			break;
		fprintf(stderr, "kvmclock: %s: who connected %s: dropped\n", s->name, fault);
		close(s->fd);
	}

	socket_stop_listening(fd, s->name);
}

static void connect_to(struct stream *s, struct stream_header *header, greet_fn greet)
{
	const char *fault;

	use_socket(s, socket_connect(s->name));
	stream_set_limit(s, stream_limits.start);
	fault = greet(s, header);
	if (fault)
		fail(EXIT_RECORD, "%s %s", s->name, fault);
}

static void open_socket(struct stream *s, struct stream_header *header, greet_fn greet)
{
	if (socket_is_listener(s->name))
		listen_for(s, header, greet);
	else
		connect_to(s, header, greet);
}

/* ---- Open and close ---- */

void stream_open_target(struct stream *s, const char *name)
{
	*s = (struct stream) { .name = name, .fd = STDOUT_FILENO };

	if (socket_is_address(name)) {
		open_socket(s, NULL, greet_target);
	} else if (strcmp(name, "-")) {
		s->fd = file_create(name);
		s->is_file = true;
	}
	s->deadline_ns = 0;
}

void stream_open_source(struct stream *s, const char *name, struct stream_header *header)
{
	const char *fault;

	*s = (struct stream) { .name = name, .fd = STDIN_FILENO };

	if (socket_is_address(name)) {
		open_socket(s, header, greet_source);
	} else {
		if (strcmp(name, "-"))
			s->fd = open(name, O_RDONLY | O_CLOEXEC);
		if (s->fd < 0)
			fail_errno("%s", name);
		stream_set_limit(s, stream_limits.start);
		fault = greet_source(s, header);
		if (fault)
			fail(EXIT_RECORD, "%s %s", name, fault);
	}
	add_sum(s, (const uint8_t *)header, sizeof(*header));
}

void stream_write_header(struct stream *s, const struct stream_header *header)
{
	struct stream_header h = *header;

	memcpy(h.magic, stream_magic, sizeof(h.magic));
	h.version = STREAM_VERSION;
	stream_set_limit(s, stream_limits.state);
	stream_write(s, &h, sizeof(h));
}

void stream_write_sum(struct stream *s)
{
	uint64_t sum = s->sum;

	stream_write(s, &sum, sizeof(sum));
}

void stream_check_sum(struct stream *s)
{
	uint64_t want = s->sum, sum;

	stream_read(s, &sum, sizeof(sum));
	if (sum != want)
		fail(EXIT_RECORD, "%s: the guest's state is corrupt", s->name);
}

/* If this gets lost, the guest runs here, and the source says that it failed. */
void stream_acknowledge(struct stream *s)
{
	if (s->is_socket && try_write(s, stream_arrived, sizeof(stream_arrived)) < 0)
		fail_errno("acknowledge to %s", s->name);
	if (s->fd != STDIN_FILENO)
		close(s->fd);
}

void stream_finish_target(struct stream *s)
{
	uint8_t arrived[sizeof(stream_arrived)];

	if (s->is_socket && (try_read(s, arrived, sizeof(arrived)) <= 0 ||
			     memcmp(arrived, stream_arrived, sizeof(arrived))))
		fail(EXIT_FAILED, "%s: the other side has not accepted the guest", s->name);
	if (s->is_file)
		file_finish(s->fd, s->name);
	if (s->fd != STDOUT_FILENO && close(s->fd))
		fail_errno("%s", s->name);
}
