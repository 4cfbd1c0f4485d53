// Xen's timer and CPUID leaf look at the vCPU's copy of its line.

@hv_clock_timer@ symbol vcpu, guest_now, kernel_now; expression E, E2; statement S1, S2; @@
  kvm_xen_start_timer(...) {
  ...
- if (vcpu->arch.hv_clock.version && E && E2) S1 else S2
+ guest_now = kvmclock_get_monotonic(vcpu->kvm, &kernel_now);
  ...
  }

@cpuid_line@ symbol vcpu; identifier entry; @@
  kvm_xen_update_tsc_info(...) {
  struct kvm_cpuid_entry2 *entry;
+ u64 ratio = vcpu->arch.l1_tsc_scaling_ratio;
+ struct pvclock_vcpu_time_info line;
  ...
- if (!vcpu->arch.xen.cpuid.base)
+ if (!vcpu->arch.xen.cpuid.base || !kvmclock_get_vcpu_line(vcpu, &line, NULL))
  	return;
  ...
  }
@cpuid_mul@ expression v; @@
- v->arch.hv_clock.tsc_to_system_mul
+ line.tsc_to_system_mul
@cpuid_shift@ expression v; @@
- v->arch.hv_clock.tsc_shift
+ line.tsc_shift
@cpuid_khz@ expression v; @@
- v->arch.hw_tsc_khz
+ kvm_scale_tsc(kvmclock_host_khz(), ratio)
