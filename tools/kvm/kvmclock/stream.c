// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a guest goes to and comes from: a file, standard output or input, a socket
 * that connects or listens.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define STREAM_VERSION	1

/* A socket that nobody listens at yet may be the other side's that is just starting. */
#define CONNECT_TRIES	100

static const uint8_t stream_magic[8] = { 'K', 'V', 'M', 'C', 'L', 'K', 'V', 'M' };

static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

static int accept_one(int fd, const char *name)
{
	int peer;

	if (listen(fd, 1))
		fail_errno("listen at %s", name);
	do {
		peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	} while (peer < 0 && errno == EINTR);
	if (peer < 0)
		fail_errno("accept at %s", name);

	close(fd);
	return peer;
}

static int try_connect(const struct sockaddr *addr, socklen_t size)
{
	struct timespec pause = { .tv_nsec = 100000000 };
	int fd, i, error;

	for (i = 0; i < CONNECT_TRIES; i++) {
		fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -1;
		if (!connect(fd, addr, size))
			return fd;
		error = errno;
		close(fd);
		errno = error;
		if (error != ECONNREFUSED && error != ENOENT)
			return -1;
		nanosleep(&pause, NULL);
	}

	return -1;
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		fail_usage("the path of the socket is empty or too long: '%s'", path);
	strcpy(addr.sun_path, path);

	return addr;
}

static int unix_connect(const char *path)
{
	struct sockaddr_un addr = unix_address(path);
	int fd = try_connect((struct sockaddr *)&addr, sizeof(addr));

	if (fd < 0)
		fail_errno("connect to %s", path);
	return fd;
}

static int unix_listen(const char *path)
{
	struct sockaddr_un addr = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		fail_errno("%s", path);

	fd = accept_one(fd, path);
	unlink(path);
	return fd;
}

/* HOST:PORT, with an IPv6 address in brackets; no HOST is any. */
static struct addrinfo *tcp_address(const char *name, int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *result;
	char *host = strdup(name), *port = host ? strrchr(host, ':') : NULL, *start = host;
	int r;

	if (!port)
		fail_usage("not HOST:PORT: '%s'", name);
	*port++ = 0;
	if (*start == '[' && port[-2] == ']') {
		start++;
		port[-2] = 0;
	}

	/* Numbers need no resolver, which a static program may not have. */
	hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
	r = getaddrinfo(*start ? start : NULL, port, &hints, &result);
	if (r == EAI_NONAME) {
		hints.ai_flags = flags;
		r = getaddrinfo(*start ? start : NULL, port, &hints, &result);
	}
	if (r)
		fail(EXIT_FAILED, "%s: %s", name, gai_strerror(r));

	free(host);
	return result;
}

static int tcp_connect(const char *name)
{
	struct addrinfo *addr = tcp_address(name, 0);
	int fd = try_connect(addr->ai_addr, addr->ai_addrlen);

	if (fd < 0)
		fail_errno("connect to %s", name);
	freeaddrinfo(addr);
	return fd;
}

static int tcp_listen(const char *name)
{
	struct addrinfo *addr = tcp_address(name, AI_PASSIVE);
	int fd = socket(addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		fail_errno("%s", name);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, addr->ai_addr, addr->ai_addrlen))
		fail_errno("%s", name);

	freeaddrinfo(addr);
	return accept_one(fd, name);
}

static int open_socket(const char *name)
{
	const char *rest;

	rest = after(name, "unix:");
	if (rest)
		return unix_connect(rest);
	rest = after(name, "unix-listen:");
	if (rest)
		return unix_listen(rest);
	rest = after(name, "tcp:");
	if (rest)
		return tcp_connect(rest);
	rest = after(name, "tcp-listen:");
	if (rest)
		return tcp_listen(rest);

	return -1;
}

/* A file gets its name when it is complete. */
static int create_file(struct stream *s)
{
	int fd;

	if (asprintf(&s->partial, "%s.partial", s->name) < 0)
		fail_errno("%s", s->name);
	fd = open(s->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		fail_errno("%s", s->partial);

	return fd;
}

void stream_open_target(struct stream *s, const char *name)
{
	*s = (struct stream) { .name = name };
	s->fd = strcmp(name, "-") ? open_socket(name) : STDOUT_FILENO;
	if (s->fd < 0)
		s->fd = create_file(s);
}

void stream_open_source(struct stream *s, const char *name)
{
	*s = (struct stream) { .name = name };
	s->fd = strcmp(name, "-") ? open_socket(name) : STDIN_FILENO;
	if (s->fd < 0)
		s->fd = open(name, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		fail_errno("%s", name);
}

/* FNV-1a: against accidents, which is all that the guest's memory needs. */
static void add_sum(struct stream *s, const uint8_t *p, size_t size)
{
	while (size--)
		s->sum = (s->sum ^ *p++) * 0x100000001b3ull;
}

void stream_write(struct stream *s, const void *data, size_t size)
{
	const uint8_t *p = data;
	ssize_t n;

	add_sum(s, data, size);
	while (size) {
		n = write(s->fd, p, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail_errno("write to %s", s->name);
		p += n;
		size -= n;
	}
}

void stream_read(struct stream *s, void *data, size_t size)
{
	uint8_t *p = data;
	size_t left = size;
	ssize_t n;

	while (left) {
		n = read(s->fd, p, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail_errno("read from %s", s->name);
		if (!n)
			fail(EXIT_RECORD, "%s ends early, or the other side gave up", s->name);
		p += n;
		left -= n;
	}
	add_sum(s, data, size);
}

void stream_write_header(struct stream *s, const struct stream_header *header)
{
	struct stream_header h = *header;

	memcpy(h.magic, stream_magic, sizeof(h.magic));
	h.version = STREAM_VERSION;
	stream_write(s, &h, sizeof(h));
}

static bool header_fits(const struct stream_header *h)
{
	return h->nr_vcpus >= 1 && h->nr_vcpus <= GUEST_MAX_VCPUS && h->tsc_khz &&
	       h->tsc_khz <= INT32_MAX && h->memory_size == GUEST_MEMORY &&
	       !h->reserved[0] && !h->reserved[1];
}

void stream_read_header(struct stream *s, struct stream_header *h)
{
	stream_read(s, h, sizeof(*h));
	if (memcmp(h->magic, stream_magic, sizeof(h->magic)))
		fail(EXIT_RECORD, "%s was not written by 'kvmclock save'", s->name);
	if (h->version != STREAM_VERSION)
		fail(EXIT_RECORD, "%s is of version %u, this program knows %u", s->name, h->version,
		     STREAM_VERSION);
	if (!header_fits(h))
		fail(EXIT_RECORD, "%s: the header is corrupt", s->name);
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

void stream_close(struct stream *s)
{
	if (s->fd != STDOUT_FILENO && s->fd != STDIN_FILENO && close(s->fd))
		fail_errno("%s", s->name);
	if (s->partial && rename(s->partial, s->name))
		fail_errno("%s", s->name);

	free(s->partial);
	s->partial = NULL;
}
