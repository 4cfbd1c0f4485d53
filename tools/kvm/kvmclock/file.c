// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file that gets its name when it is complete.  Until then it has none, so that
 * nobody can put a link in its place, and nothing of it stays behind, whatever ends
 * the program.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

int file_create(const char *name)
{
	char *copy = strdup(name);
	int fd;

	if (!copy)
		fail_errno("%s", name);
	fd = open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		fail_errno("a file in the directory of %s", name);

	free(copy);
	return fd;
}

/* A name that is taken cannot be given away but by renaming. */
void file_finish(int fd, const char *name)
{
	char self[64], partial[PATH_MAX];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (snprintf(partial, sizeof(partial), "%s.%d", name, getpid()) >= (int)sizeof(partial))
		fail(EXIT_FAILED, "%s: the name is too long", name);

	if (linkat(AT_FDCWD, self, AT_FDCWD, partial, AT_SYMLINK_FOLLOW))
		fail_errno("%s", partial);
	if (rename(partial, name)) {
		unlink(partial);
		fail_errno("%s", name);
	}
}
