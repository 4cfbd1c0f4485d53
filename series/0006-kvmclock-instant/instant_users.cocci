// Who asks for the time gets it from a snapshot.

@base_ns@ @@
- ktime_add(ktime_get_raw(), pvclock_gtod_data.offs_boot)
+ ktime_mono_to_any(ktime_get_raw(), TK_OFFS_BOOT)

@boot_time@ symbol kernel_ns, tsc_timestamp; @@
  kvm_get_time_and_clockread(...)
  {
- ...
+ struct kvmclock_instant now;
+
+ kvmclock_get_instant(CLOCK_MONOTONIC, &now);
+ *kernel_ns = kvmclock_boot_ns(&now);
+ *tsc_timestamp = now.tsc;
+ return now.tsc_based;
  }

@monotonic@ symbol kernel_ns, tsc_timestamp; @@
  kvm_get_monotonic_and_clockread(...)
  {
- ...
+ struct kvmclock_instant now;
+
+ kvmclock_get_instant(CLOCK_MONOTONIC, &now);
+ *kernel_ns = now.sys_ns;
+ *tsc_timestamp = now.tsc;
+ return now.tsc_based;
  }

@walltime@ symbol ts, tsc_timestamp; @@
  kvm_get_walltime_and_clockread(...)
  {
- ...
+ struct kvmclock_instant now;
+
+ kvmclock_get_instant(CLOCK_REALTIME, &now);
+ *ts = ns_to_timespec64(now.sys_ns);
+ *tsc_timestamp = now.tsc;
+ return now.tsc_based;
  }

// Who asks for the clocksource's mode.
@gtod_local@ identifier gtod; @@
- struct pvclock_gtod_data *gtod = &pvclock_gtod_data;

@is_tsc_based@ identifier gtod; @@
- gtod_is_based_on_tsc(gtod->clock.vclock_mode)
+ kvmclock_host_is_tsc_based()

@mode_of_local@ expression vcpu, matched, online, master; identifier gtod; @@
- trace_kvm_track_tsc(vcpu, matched, online, master, gtod->clock.vclock_mode);
+ trace_kvm_track_tsc(vcpu, matched, online, master, READ_ONCE(kvmclock_vclock_mode));

@mode_of_copy@ @@
- pvclock_gtod_data.clock.vclock_mode
+ READ_ONCE(kvmclock_vclock_mode)

@notify@ symbol tk; @@
- update_pvclock_gtod(tk);
+ WRITE_ONCE(kvmclock_vclock_mode, tk->tkr_mono.clock->vdso_clock_mode);

@include_hyperv@ @@
- #include <clocksource/hyperv_timer.h>

@include_instant@ @@
  #include "x86.h"
+ #include "kvmclock.h"
