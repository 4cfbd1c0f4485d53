// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit test of what a guest travels in.  What may end the program runs in a child,
 * whose exit code is the result.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "tap.h"
#include "tool.h"

#define NR_VCPUS	2
#define GREETING_MS	300
#define STATE_MS	1000
#define PATIENCE_S	8	/* what the limits make, with room for a busy machine */

static char dir[64];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static const char *in_dir(const char *format)
{
	static char path[4][128];
	static int n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), format, dir);
	return path[n];
}

static int exit_code(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A child that the parent gives up on: no test waits for ever. */
static pid_t child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(20);
		freopen("/dev/null", "w", stderr);
	}
	return pid;
}

static int connect_raw(void)
{
	return socket_connect(in_dir("unix:%s/socket"));
}

static void say(int fd, const void *data, size_t size)
{
	if (write(fd, data, size) != (ssize_t)size)
		abort();
}

static bool hear(int fd, const char *want)
{
	char buf[8];

	return recv(fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf) && !memcmp(buf, want, 8);
}

/* ---- A guest to send ---- */

struct fault {
	const char *name;
	uint32_t record_size;	/* 0: the right one */
	int8_t shift;
	size_t cut;		/* bytes that are missing in the end */
	bool bad_sum;
};

static struct stream_header a_header(void)
{
	return (struct stream_header) {
		.magic = "KVMCLKVM", .version = 2, .nr_vcpus = NR_VCPUS,
		.tsc_khz = 1000000, .memory_size = GUEST_MEMORY,
	};
}

static void write_record(struct stream *s, const struct fault *f)
{
	struct kvmclock_record *rec = kvmclock_record_alloc(NR_VCPUS);
	uint8_t buf[1024] = { };
	uint32_t size;

	rec->tsc_khz = 1000000;
	rec->host_khz = 1000000;
	rec->frac_bits = 48;
	rec->ratio = 1ull << 48;
	rec->mul = 1u << 31;
	rec->shift = 1;
	size = kvmclock_record_size(rec);
	if (size > sizeof(buf) || kvmclock_record_write(rec, buf, sizeof(buf)))
		abort();
	kvmclock_record_free(rec);

	stream_write(s, f->record_size ? &f->record_size : &size, sizeof(size));
	stream_write(s, buf, size);
}

static void write_guest(struct stream *s, const struct fault *f)
{
	static struct machine_state states[NR_VCPUS];
	static uint8_t memory[GUEST_MEMORY];
	struct guest_vcpu *g = (struct guest_vcpu *)(memory + GUEST_VCPUS);
	struct stream_header header = a_header();

	g->readings = 1;
	g->last[1].line.shift = f->shift;
	stream_write_header(s, &header);
	write_record(s, f);
	stream_write(s, states, sizeof(states));
	stream_write(s, memory, sizeof(memory));
	s->sum += f->bad_sum;
	stream_write_sum(s);
}

/* What a restore says to the stream that comes from @name. */
static int arrival_code(const char *name)
{
	pid_t pid = child();

	if (!pid) {
		struct arrival *a = calloc(1, sizeof(*a));
		struct stream_header header;
		struct stream s;

		stream_open_source(&s, name, &header);
		arrival_read(&s, &header, a);
		stream_acknowledge(&s);
		kvmclock_record_free(a->rec);
		free(a);
		exit(EXIT_OK);
	}
	return exit_code(pid);
}

static int written_code(const struct fault *f)
{
	const char *name = in_dir("%s/guest");
	struct stream s;
	pid_t pid = child();
	off_t size;
	int fd;

	if (!pid) {
		stream_open_target(&s, name);
		write_guest(&s, f);
		stream_finish_target(&s);
		fd = open(name, O_WRONLY);
		size = lseek(fd, 0, SEEK_END);
		exit(ftruncate(fd, size - f->cut));
	}
	if (exit_code(pid))
		return -1;
	return arrival_code(name);
}

static void test_arrivals(void)
{
	static const struct fault good = { .name = "a guest arrives" };
	static const struct fault faults[] = {
		{ .name = "a checksum that is wrong", .bad_sum = true },
		{ .name = "a record of 4 GB", .record_size = UINT32_MAX },
		{ .name = "a record that is longer than it says", .record_size = 8 },
		{ .name = "a record that is as long as there may be one", .record_size = 65536 },
		{ .name = "a shift of 32", .shift = 32 },
		{ .name = "a shift of -32", .shift = -32 },
		{ .name = "a shift of -128", .shift = -128 },
		{ .name = "no checksum", .cut = 8 },
		{ .name = "half of the memory", .cut = GUEST_MEMORY / 2 },
		{ .name = "no memory", .cut = GUEST_MEMORY + 8 },
		{ .name = "nothing but the header", .cut = GUEST_MEMORY + 8 + 4 +
			NR_VCPUS * sizeof(struct machine_state) + 100 },
	};
	unsigned int i;
	int r;

	r = written_code(&good);
	tap_ok(!r, "%s: %d", good.name, r);
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		r = written_code(&faults[i]);
		tap_ok(r == EXIT_RECORD, "%s: %d", faults[i].name, r);
	}
}

/* A byte from time to time keeps nobody waiting longer than silence does. */
static void test_slow(size_t start, const char *name)
{
	uint8_t bytes[sizeof(struct stream_header) + 4096] = { };
	struct stream_header header = a_header();
	uint32_t record_size = 8192;
	double begin = now();
	size_t i;
	int fds[2], r;
	pid_t pid;

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &record_size, sizeof(record_size));
	if (pipe(fds))
		abort();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fds[0]);
		say(fds[1], bytes, start);
		for (i = start; i < sizeof(bytes) && write(fds[1], bytes + i, 1) == 1; i++)
			usleep(50000);
		sleep(start == sizeof(bytes) ? PATIENCE_S : 0);
		_exit(0);
	}

	close(fds[1]);
	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	r = arrival_code("-");
	kill(pid, SIGKILL);
	exit_code(pid);
	tap_ok(r == EXIT_RECORD && now() - begin < PATIENCE_S, "%s: %d after %.1f s", name, r,
	       now() - begin);
}

/* ---- Sockets ---- */

static void test_loopback(const char *name, in_addr_t want)
{
	struct sockaddr_in addr = { };
	socklen_t size = sizeof(addr);
	int fd = socket_listen(name);

	getsockname(fd, (struct sockaddr *)&addr, &size);
	close(fd);
	tap_ok(addr.sin_addr.s_addr == htonl(want), "%s binds %s", name, inet_ntoa(addr.sin_addr));
}

/* Dropped: the listener closes the connection, in seconds. */
static bool is_dropped(int fd)
{
	double begin = now();
	char c;
	int n;

	do
		n = recv(fd, &c, 1, 0);
	while (n > 0);
	close(fd);
	return now() - begin < PATIENCE_S;
}

static void test_listening_source(void)
{
	struct stream_header header = a_header(), bad = header;
	pid_t pid = child();
	int silent, wrong, good;

	if (!pid) {
		struct stream_header got;
		struct stream s;

		stream_open_source(&s, in_dir("unix-listen:%s/socket"), &got);
		exit(got.tsc_khz != header.tsc_khz);
	}

	bad.version = 77;
	silent = connect_raw();
	wrong = connect_raw();
	good = connect_raw();
	say(wrong, &bad, sizeof(bad));
	say(good, &header, sizeof(header));
	tap_ok(is_dropped(silent), "a source that is silent is dropped");
	tap_ok(is_dropped(wrong), "a source of another version is dropped");
	tap_ok(hear(good, "KVMCLKRX"), "the next one is told to go on");
	tap_ok(!exit_code(pid), "and its header is taken");
	close(good);
}

static void test_listening_target(void)
{
	pid_t pid = child();
	int silent, wrong, good;

	if (!pid) {
		struct stream s;

		stream_open_target(&s, in_dir("unix-listen:%s/socket"));
		exit(EXIT_OK);
	}

	silent = connect_raw();
	wrong = connect_raw();
	good = connect_raw();
	say(wrong, "GET / HT", 8);
	say(good, "KVMCLKRX", 8);
	tap_ok(is_dropped(silent), "a target that is silent is dropped");
	tap_ok(is_dropped(wrong), "a target that is something else is dropped");
	tap_ok(!exit_code(pid), "the next one is taken");
	close(good);
}

enum answer { REFUSES, ANSWERS_WRONG, IS_SILENT, ACCEPTS };

/* What save exits with when the other side has read all of the guest. */
static void test_acknowledgement(enum answer answer, int want, const char *name)
{
	static const struct fault good;
	static char buf[65536];
	int listener = socket_listen(in_dir("unix-listen:%s/socket")), fd, r;
	size_t left = sizeof(struct stream_header) + 4 + GUEST_MEMORY + 8, rest = 0;
	double begin = now();
	pid_t pid = child();

	if (!pid) {
		struct stream s;

		close(listener);
		stream_open_target(&s, in_dir("unix:%s/socket"));
		write_guest(&s, &good);
		stream_finish_target(&s);
		exit(EXIT_OK);
	}

	fd = socket_accept(listener, "socket");
	say(fd, "KVMCLKRX", 8);
	while (rest < left + NR_VCPUS * sizeof(struct machine_state) &&
	       (r = recv(fd, buf, sizeof(buf), 0)) > 0)
		rest += r;
	/* The record, whose length does not matter here. */
	usleep(200000);
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	if (answer == ACCEPTS)
		say(fd, "KVMCLKOK", 8);
	if (answer == ANSWERS_WRONG)
		say(fd, "KVMCLKNO", 8);
	if (answer == REFUSES)
		close(fd);
	r = exit_code(pid);
	if (answer != REFUSES)
		close(fd);
	socket_stop_listening(listener, in_dir("unix-listen:%s/socket"));
	tap_ok(r == want && now() - begin < PATIENCE_S, "%s: exit %d", name, r);
}

/* ---- Files ---- */

static int count_files(void)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void test_link(void)
{
	const char *name = in_dir("%s/file"), *link = in_dir("%s/file.partial");
	const char *victim = in_dir("%s/victim");
	int fd = open(victim, O_WRONLY | O_CREAT, 0600);
	char buf[8] = "";

	close(fd);
	if (symlink(victim, link))
		abort();
	fd = file_create(name);
	say(fd, "new", 3);
	tap_ok(access(name, F_OK), "a file has no name before it is complete");
	file_finish(fd, name);
	close(fd);
	fd = open(name, O_RDONLY);
	tap_ok(read(fd, buf, sizeof(buf)) == 3 && !strcmp(buf, "new"), "it has one after");
	close(fd);
	fd = open(victim, O_RDONLY);
	tap_ok(read(fd, buf, sizeof(buf)) == 0, "a link NAME.partial is not followed");
	close(fd);

	fd = file_create(name);
	say(fd, "newer", 5);
	file_finish(fd, name);
	close(fd);
	fd = open(name, O_RDONLY);
	tap_ok(read(fd, buf, sizeof(buf)) == 5, "a file that is there is replaced");
	close(fd);
	unlink(name);
	unlink(link);
	unlink(victim);
}

static void test_kill(void)
{
	int before = count_files();
	pid_t pid = child();

	if (!pid) {
		struct stream s;

		stream_open_target(&s, in_dir("%s/killed"));
		stream_write(&s, "half", 4);
		raise(SIGKILL);
	}
	exit_code(pid);
	tap_ok(count_files() == before, "SIGKILL leaves no file behind");
}

/* ---- Texts and lines ---- */

static void test_clean(void)
{
	char name[] = "a\033[2J\177\233\"b", plain[] = "qemu-system-x86";

	out_clean(name);
	out_clean(plain);
	tap_ok(!strcmp(name, "a?[2J??\"b"), "a terminal's escapes are not printed: %s", name);
	tap_ok(!strcmp(plain, "qemu-system-x86"), "plain names are");
}

static void test_shifts(void)
{
	struct kvmclock_pvclock line = { .mul = 1 };
	int shift, valid = 0;

	for (shift = INT8_MIN; shift <= INT8_MAX; shift++) {
		line.shift = shift;
		if (!guest_line_valid(&line))
			continue;
		valid++;
		guest_clock(&line, UINT64_MAX);
	}
	tap_ok(valid == 63, "%d shifts are computed with", valid);
}

int main(void)
{
	snprintf(dir, sizeof(dir), "/tmp/kvmclock-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	alarm(120);	/* no test waits for ever */
	stream_limits = (struct stream_limits) { GREETING_MS, STATE_MS, STATE_MS };

	test_arrivals();
	test_slow(0, "a header, byte by byte");
	test_slow(sizeof(struct stream_header), "a record, byte by byte");
	test_slow(sizeof(struct stream_header) + 4096, "silence in the middle of the record");
	test_loopback("tcp-listen::0", INADDR_LOOPBACK);
	test_loopback("tcp-listen:0.0.0.0:0", INADDR_ANY);
	test_listening_source();
	test_listening_target();
	test_acknowledgement(ACCEPTS, EXIT_OK, "a guest that is accepted");
	test_acknowledgement(REFUSES, EXIT_FAILED, "a guest that is refused");
	test_acknowledgement(ANSWERS_WRONG, EXIT_FAILED, "an answer that is none");
	test_acknowledgement(IS_SILENT, EXIT_FAILED, "no answer");
	test_link();
	test_kill();
	test_clean();
	test_shifts();

	unlink(in_dir("%s/guest"));
	rmdir(dir);
	return tap_done();
}
