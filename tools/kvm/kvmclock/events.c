// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every change of a clock's line, as KVM's tracepoint tells it: in a tracing instance of
 * our own, so that nobody else's tracing is disturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch.h"

#define EVENT	"events/kvm/kvm_clock_line"

static char instance[PATH_MAX];
static bool stopped;		/* accessed atomically */

static void stop(int signal)
{
	(void)signal;
	__atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
}

/* However the program ends. */
static void remove_instance(void)
{
	rmdir(instance);
}

static void write_file(const char *file, const char *text)
{
	char path[PATH_MAX + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", instance, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail_errno("%s", path);
	close(fd);
}

static void create_instance(const char *tracefs)
{
	char event[PATH_MAX];

	snprintf(event, sizeof(event), "%s/" EVENT, tracefs);
	if (access(event, F_OK) && errno == ENOENT)
		fail(EXIT_UNSUPPORTED, "%s is not there: load a KVM that has it, mount tracefs",
		     event);

	/* Of a process of the same number that was killed, it can be ours. */
	snprintf(instance, sizeof(instance), "%s/instances/kvmclock-%d", tracefs, getpid());
	if (mkdir(instance, 0700) && errno != EEXIST)
		fail_errno("%s", instance);
	atexit(remove_instance);
}

/* KVM's name of a VM is that of the process that has created it. */
static void enable_event(int pid)
{
	char filter[32];

	if (pid) {
		snprintf(filter, sizeof(filter), "vm == \"kvm-%d\"", pid);
		write_file(EVENT "/filter", filter);
	}
	write_file(EVENT "/enable", "1");
}

/* Signals come only while we wait. */
static void copy_events(int fd, const sigset_t *unblocked)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED) && !ferror(stdout)) {
		if (ppoll(&p, 1, NULL, unblocked) < 0)
			continue;
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno != EAGAIN)
			fail_errno("trace_pipe");
		if (n > 0)
			fwrite(buf, 1, n, stdout);
		fflush(stdout);
	}
}

void events_watch(const char *tracefs, int pid)
{
	struct sigaction action = { .sa_handler = stop };
	char pipe[PATH_MAX + 64];
	sigset_t blocked, old;
	int fd;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &old);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);

	create_instance(tracefs);
	enable_event(pid);
	snprintf(pipe, sizeof(pipe), "%s/trace_pipe", instance);
	fd = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail_errno("%s", pipe);

	copy_events(fd, &old);
	close(fd);
}
