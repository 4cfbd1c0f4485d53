// What the uapi header defines now.

@own_structs@ identifier s = {pvclock_vcpu_time_info, pvclock_wall_clock}; @@
- struct s { ... };
