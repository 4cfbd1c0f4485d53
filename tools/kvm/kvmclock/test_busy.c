// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that runs has no time to save or restore: the library says so, and does not wait
 * for it.  Needs /dev/kvm with KVM_CLOCK_GUEST_TSC.  Exits with 0 if it was so.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tool.h"

/* Who waits for the vCPUs does so for as long as they run: until this ends it all. */
#define PATIENCE_S	60

static void expect(int got, int want, const char *what)
{
	if (got != want)
		fail(EXIT_FAILED, "%s: %s", what, kvmclock_strerror(got));
}

int main(void)
{
	struct kvmclock_record *rec, *none;
	struct kvmclock_report report;
	struct kvmclock_vm vm;
	struct machine m;

	machine_create(&m);
	expect(kvmclock_probe(-1, &m.caps), 0, "probe");
	vm = machine_vm(&m);
	expect(kvmclock_prepare(&vm, 0, 0), 0, "prepare");
	machine_create_vcpus(&m, 2);
	machine_boot(&m);
	vm = machine_vm(&m);
	expect(kvmclock_save(&vm, 0, &rec), 0, "save before it runs");

	machine_start(&m);
	alarm(PATIENCE_S);
	expect(kvmclock_save(&vm, 0, &none), KVMCLOCK_E_BUSY, "save while it runs");
	expect(kvmclock_restore(&vm, rec, NULL, &report), KVMCLOCK_E_BUSY,
	       "restore while it runs");
	machine_stop(&m);

	expect(kvmclock_restore(&vm, rec, NULL, &report), 0, "restore after it has run");
	kvmclock_record_free(rec);

	return EXIT_OK;
}
