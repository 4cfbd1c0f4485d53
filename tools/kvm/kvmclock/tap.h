/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * Results of a unit test as TAP.
 */
#ifndef KVMCLOCK_TAP_H
#define KVMCLOCK_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_cases, tap_failed;

/* One case; returns whether it passed. */
__attribute__((format(printf, 2, 3)))
static inline bool tap_ok(bool passed, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_cases);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	tap_failed += !passed;

	return passed;
}

/* The plan, at the end; what main() returns. */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_cases);
	return tap_failed ? 1 : 0;
}

#endif /* KVMCLOCK_TAP_H */
