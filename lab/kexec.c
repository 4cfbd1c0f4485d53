// SPDX-License-Identifier: GPL-2.0-only
/*
 * In an emulated host: end this kernel, and go on with another.
 *
 *	kexec BZIMAGE INITRD CMDLINE
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/reboot.h>

static int fail(const char *what)
{
	fprintf(stderr, "kexec: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	int kernel, initrd;

	if (argc != 4) {
		fprintf(stderr, "usage: kexec BZIMAGE INITRD CMDLINE\n");
		return 2;
	}

	kernel = open(argv[1], O_RDONLY);
	if (kernel < 0)
		return fail(argv[1]);
	initrd = open(argv[2], O_RDONLY);
	if (initrd < 0)
		return fail(argv[2]);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3], 0UL))
		return fail("kexec_file_load()");

	/* What was written to the serial ports leaves them. */
	sleep(1);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return fail("reboot()");
}
