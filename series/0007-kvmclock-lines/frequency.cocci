// The frequency of a CPU may be asked for on another one by now.
@cpu_khz@ @@
- static unsigned long get_cpu_tsc_khz(void)
+ unsigned long get_cpu_tsc_khz(void)
  { ... }
@cpu_khz_read@ symbol cpu_tsc_khz; @@
  get_cpu_tsc_khz(void) {
  ...
- 	return __this_cpu_read(cpu_tsc_khz);
+ 	return raw_cpu_read(cpu_tsc_khz);
  ...
  }

// By how much a vCPU's frequency may be off the host's without scaling.
@tolerance@ @@
- static u32 __read_mostly tsc_tolerance_ppm = 250;
+ u32 __read_mostly tsc_tolerance_ppm = 250;
