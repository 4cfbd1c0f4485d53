// The private copy of the timekeeper: what keeps it and what reads it, by name.
@copy_fn@
type T;
identifier f = {
	update_pvclock_gtod, gtod_is_based_on_tsc, read_tsc, vgettsc, do_kvmclock_base, do_monotonic, do_realtime,
	kvm_check_tsc_unstable
};
@@
- T f(...) { ... }

@clock_struct@ @@
- struct pvclock_clock { ... };

@gtod_struct@ @@
- struct pvclock_gtod_data { ... };

@gtod_data@ @@
- static struct pvclock_gtod_data pvclock_gtod_data;
