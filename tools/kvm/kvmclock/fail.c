// SPDX-License-Identifier: GPL-2.0-only
/*
 * Say what is wrong, and end the program with the exit code that belongs to it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static void say(const char *format, va_list args)
{
	fputs("kvmclock: ", stderr);
	vfprintf(stderr, format, args);
}

void fail(enum exit_code code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	fputc('\n', stderr);
	exit(code);
}

void fail_errno(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	say(format, args);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(EXIT_FAILED);
}

/* Without a message where getopt has said it already. */
void fail_usage(const char *format, ...)
{
	va_list args;

	if (format) {
		va_start(args, format);
		say(format, args);
		fputc('\n', stderr);
	}
	fputs("Try 'kvmclock --help'.\n", stderr);
	exit(EXIT_USAGE);
}

static enum exit_code library_exit_code(int error)
{
	switch (error) {
	case KVMCLOCK_E_NO_KVM:
	case KVMCLOCK_E_UNSUPPORTED:
		return EXIT_UNSUPPORTED;
	case KVMCLOCK_E_MAGIC:
	case KVMCLOCK_E_VERSION:
	case KVMCLOCK_E_TRUNCATED:
	case KVMCLOCK_E_CORRUPT:
		return EXIT_RECORD;
	default:
		return EXIT_FAILED;
	}
}

/* What to do about it, where there is something. */
static const char *advice(int error)
{
	switch (error) {
	case KVMCLOCK_E_NO_KVM:
		return "Load kvm-intel or kvm-amd, and be root or in the group of /dev/kvm.";
	case KVMCLOCK_E_UNSUPPORTED:
		return "'kvmclock probe' shows what it offers; --way auto takes the best of it.";
	case KVMCLOCK_E_VERSION:
		return "Use the program of the source's version.";
	case KVMCLOCK_E_FREQUENCY:
		return "Without TSC scaling, a host of another frequency needs --way plain.";
	case KVMCLOCK_E_SCALE:
		return "--way exact and --way plain do not depend on it.";
	default:
		return NULL;
	}
}

void fail_library(int error, const char *what)
{
	const char *todo = advice(error);
	int reason = errno;

	fprintf(stderr, "kvmclock: %s: %s", what, kvmclock_strerror(error));
	if (kvmclock_error_has_errno(error))
		fprintf(stderr, ": %s", strerror(reason));
	fputc('\n', stderr);
	if (todo)
		fprintf(stderr, "%s\n", todo);

	exit(library_exit_code(error));
}
