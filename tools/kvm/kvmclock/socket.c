// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets that connect or listen, by the names that the user gives them.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/* A socket that nobody listens at yet may be the other side's that is just starting. */
#define CONNECT_TRIES	100
#define BACKLOG		8

/* Without an address: nobody but this machine. */
#define LOOPBACK	"127.0.0.1"

static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

bool socket_is_listener(const char *name)
{
	return after(name, "unix-listen:") || after(name, "tcp-listen:");
}

bool socket_is_address(const char *name)
{
	return socket_is_listener(name) || after(name, "unix:") || after(name, "tcp:");
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		fail_usage("the path of the socket is empty or too long: '%s'", path);
	strcpy(addr.sun_path, path);

	return addr;
}

/* HOST:PORT, with an IPv6 address in brackets. */
static struct addrinfo *tcp_address(const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *result;
	char *host = strdup(name), *port = host ? strrchr(host, ':') : NULL, *start = host;
	int r;

	if (!port)
		fail_usage("not HOST:PORT: '%s'", name);
	if (*start == '[' && port[-1] == ']') {
		start++;
		port[-1] = 0;
	}
	*port++ = 0;

	/* Numbers need no resolver, which a static program may not have. */
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	r = getaddrinfo(*start ? start : LOOPBACK, port, &hints, &result);
	if (r == EAI_NONAME) {
		hints.ai_flags = 0;
		r = getaddrinfo(start, port, &hints, &result);
	}
	if (r)
		fail(EXIT_FAILED, "%s: %s", name, gai_strerror(r));

	free(host);
	return result;
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

int socket_connect(const char *name)
{
	const char *path = after(name, "unix:");
	struct sockaddr_un local;
	struct addrinfo *addr;
	int fd;

	if (path) {
		local = unix_address(path);
		fd = try_connect((struct sockaddr *)&local, sizeof(local));
	} else {
		addr = tcp_address(after(name, "tcp:"));
		fd = try_connect(addr->ai_addr, addr->ai_addrlen);
		freeaddrinfo(addr);
	}

	if (fd < 0)
		fail_errno("connect to %s", name);
	return fd;
}

static int bind_one(const char *name, const struct sockaddr *addr, socklen_t size)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		fail_errno("%s", name);
	if (addr->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, addr, size))
		fail_errno("%s", name);
	if (listen(fd, BACKLOG))
		fail_errno("listen at %s", name);

	return fd;
}

int socket_listen(const char *name)
{
	const char *path = after(name, "unix-listen:");
	struct sockaddr_un local;
	struct addrinfo *addr;
	int fd;

	if (path) {
		local = unix_address(path);
		return bind_one(name, (struct sockaddr *)&local, sizeof(local));
	}

	addr = tcp_address(after(name, "tcp-listen:"));
	fd = bind_one(name, addr->ai_addr, addr->ai_addrlen);
	freeaddrinfo(addr);
	return fd;
}

int socket_accept(int fd, const char *name)
{
	int peer;

	do {
		peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	} while (peer < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (peer < 0)
		fail_errno("accept at %s", name);

	return peer;
}

void socket_stop_listening(int fd, const char *name)
{
	const char *path = after(name, "unix-listen:");

	close(fd);
	if (path)
		unlink(path);
}
