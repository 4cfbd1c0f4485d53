// functions that go, by name (any return type, any linkage)
@fn@
type T;
identifier f = {
	// time
	kvm_get_time_and_clockread, kvm_get_monotonic_and_clockread,
	// arithmetic
	div_frac, kvm_get_time_scale,
	// frequency of a TSC
	adjust_tsc_khz, set_tsc_khz, kvm_set_tsc_khz,
	// what decided on the master clock
	kvm_track_tsc_matching,
	// master clock and publishing
	pvclock_update_vm_gtod_copy, kvm_make_mclock_inprogress_request,
	__kvm_start_pvclock_update, kvm_start_pvclock_update, kvm_end_pvclock_update,
	kvm_update_masterclock, __get_kvmclock, get_kvmclock,
	get_kvmclock_ns, kvm_setup_guest_pvclock, kvm_guest_time_update,
	kvm_get_wall_clock_epoch, kvm_gen_kvmclock_update, kvmclock_reset,
	// MSRs, pause flag, ioctls
	kvm_write_system_time, kvm_set_guest_paused,
	kvm_vm_ioctl_get_clock, kvm_vm_ioctl_set_clock,
	// Hyper-V: the reference TSC page and counter
	compute_tsc_page_parameters, tsc_page_update_unsafe, kvm_hv_setup_tsc_page,
	kvm_hv_request_tsc_page_update, get_time_ref_counter
};
@@
- T f(...) { ... }
