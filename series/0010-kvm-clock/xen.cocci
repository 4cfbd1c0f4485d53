// The KVM clock is what the guest reads: no need to look at the guest's page.
@guest_pvclock@ type T; @@
- T xen_get_guest_pvclock(...) { ... }

// S1 is a do statement, which has no form of its own in a semantic patch.
@start_timer@ symbol vcpu, guest_now, kernel_now; identifier xen, r; expression E1, E2; statement S1, S2; @@
  kvm_xen_start_timer(...) {
- struct kvm_vcpu_xen *xen = E1;
  ...
- int r = E2;
- S1
- if (r) S2
+
+ /* There are no hrtimers on CLOCK_MONOTONIC_RAW, which differs by too little to matter. */
+ guest_now = kvmclock_get_monotonic(vcpu->kvm, &kernel_now);
  ...
  }
