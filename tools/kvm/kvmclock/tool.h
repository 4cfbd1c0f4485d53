/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the tool share.
 */
#ifndef KVMCLOCK_TOOL_H
#define KVMCLOCK_TOOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include <linux/kvm.h>

#include "guest.h"
#include "libkvmclock.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

enum exit_code {
	EXIT_OK,
	EXIT_FAILED,		/* the operation failed */
	EXIT_USAGE,
	EXIT_UNSUPPORTED,	/* the kernel lacks what was asked for */
	EXIT_RECORD,		/* bad record */
};

/* fail.c: say what is wrong and end the program. */
__attribute__((noreturn, format(printf, 2, 3)))
void fail(enum exit_code code, const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2)))
void fail_errno(const char *format, ...);
__attribute__((noreturn))
void fail_usage(const char *format, ...);
/* For a KVMCLOCK_E_*: its words, errno's where it matters, advice, the exit code that belongs. */
__attribute__((noreturn))
void fail_library(int error, const char *what);
/* kvmclock.c */
uint64_t parse_number(const char *text, uint64_t min, uint64_t max, const char *what);
uint32_t parse_name(const char *text, uint32_t count, const char *(*name)(uint32_t),
		    const char *what);
void probe_or_fail(struct kvmclock_caps *caps);

int cmd_save(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/*
 * out.c: one report, as aligned text or as one JSON object on a line.  Every value
 * has a stable key and, for text, a label.
 */
struct out {
	FILE *file;
	bool json;
	bool more;		/* JSON: a comma goes before the next value */
};

/* Replaces what is not printable ASCII. */
void out_clean(char *text);
void out_begin(struct out *out, FILE *file, bool json);
void out_end(struct out *out);
void out_group(struct out *out, const char *key);
void out_group_end(struct out *out);
void out_list(struct out *out, const char *key, const char *label);
void out_item(struct out *out, const char *text);
void out_list_end(struct out *out);
void out_text(struct out *out, const char *key, const char *label, const char *text);
void out_bool(struct out *out, const char *key, const char *label, bool value);
void out_u64(struct out *out, const char *key, const char *label, uint64_t value, const char *unit);
void out_s64(struct out *out, const char *key, const char *label, int64_t value, const char *unit);
void out_null(struct out *out, const char *key, const char *label, const char *why);
void out_flags(struct out *out, const char *key, const char *label, uint32_t flags);

/* machine.c: the VM that runs the built-in guest. */
struct machine_vcpu {
	struct machine *machine;
	struct kvm_run *run;
	pthread_t thread;
	int failed;		/* exit reason, or -errno, that ended the guest */
};

struct machine {
	int kvm_fd;
	int vm_fd;
	uint32_t nr_vcpus;
	int fds[GUEST_MAX_VCPUS];
	struct machine_vcpu vcpus[GUEST_MAX_VCPUS];
	uint8_t *memory;
	bool stop;		/* accessed atomically */
	struct kvmclock_caps caps;
};

/* The registers that travel; the clock's MSR follows from the vCPU's number. */
struct machine_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

void machine_create(struct machine *m);
void machine_create_vcpus(struct machine *m, uint32_t nr_vcpus);
struct kvmclock_vm machine_vm(const struct machine *m);
void machine_boot(struct machine *m);
void machine_get_state(const struct machine *m, struct machine_state *states);
void machine_set_state(struct machine *m, const struct machine_state *states);
void machine_skew(struct machine *m, int64_t cycles);
#define ALL_VCPUS	UINT32_MAX
void machine_write_tsc(struct machine *m, uint32_t vcpu, uint64_t tsc);
void machine_start_clocks(struct machine *m);
void machine_start(struct machine *m);
void machine_stop(struct machine *m);
/* From the start, and once each vCPU has read its clock, for @ms. */
void machine_run(struct machine *m, uint32_t ms);

static inline struct guest_vcpu *machine_guest(const struct machine *m, uint32_t i)
{
	return (struct guest_vcpu *)(m->memory + GUEST_VCPUS + i * GUEST_PAGE);
}

static inline struct guest_shared *machine_shared(const struct machine *m)
{
	return (struct guest_shared *)(m->memory + GUEST_SHARED);
}

/*
 * stream.c: what a guest travels in.  A socket goes both ways: who receives says so at
 * first, and in the end that the guest is there.
 */
struct stream {
	int fd;
	const char *name;	/* as the user gave it */
	bool is_socket;
	bool is_file;		/* which has no name yet */
	int64_t deadline_ns;	/* CLOCK_MONOTONIC; 0: none */
	uint64_t sum;
};

/* Sent before the guest stops, so that the other side can prepare. */
struct stream_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t nr_vcpus;
	uint32_t tsc_khz;
	uint32_t memory_size;
	uint32_t run_ms;	/* until the guest stops, about */
	uint32_t reserved;
};

/* How long the other side may take, in ms; the tests are less patient. */
struct stream_limits {
	uint32_t greeting;	/* of who has just connected, to say who it is */
	uint32_t start;		/* of another source, to begin */
	uint32_t state;		/* to send or take all of the guest, and to acknowledge it */
};

extern struct stream_limits stream_limits;

/* The longest that a guest may run before it travels on: a day. */
#define STREAM_MAX_RUN_MS	86400000u

/* These have the other side's greeting: who says something else, or nothing, is dropped. */
void stream_open_target(struct stream *s, const char *name);
void stream_open_source(struct stream *s, const char *name, struct stream_header *header);
/* From now on, the other side has this long. */
void stream_set_limit(struct stream *s, uint64_t ms);
void stream_write(struct stream *s, const void *data, size_t size);
void stream_read(struct stream *s, void *data, size_t size);
void stream_write_header(struct stream *s, const struct stream_header *header);
void stream_write_sum(struct stream *s);
void stream_check_sum(struct stream *s);
/* Once the guest is there, or known to be. */
void stream_acknowledge(struct stream *s);
void stream_finish_target(struct stream *s);

/* socket.c: an address is unix:PATH or tcp:HOST:PORT, or the same to listen at. */
bool socket_is_address(const char *name);
bool socket_is_listener(const char *name);
int socket_connect(const char *name);
int socket_listen(const char *name);
/* The next that connects. */
int socket_accept(int fd, const char *name);
void socket_stop_listening(int fd, const char *name);

/* file.c: a file that gets its name when it is complete. */
int file_create(const char *name);
void file_finish(int fd, const char *name);

/* arrival.c: all that a source sends, read before anything of it is used. */
struct arrival {
	struct kvmclock_record *rec;
	struct machine_state states[GUEST_MAX_VCPUS];
	uint8_t memory[GUEST_MEMORY];
	struct guest_vcpu before[GUEST_MAX_VCPUS];	/* as the source left them */
	uint64_t max_clock;
};

void arrival_read(struct stream *s, const struct stream_header *header, struct arrival *a);

#endif /* KVMCLOCK_TOOL_H */
