/* SPDX-License-Identifier: GPL-2.0 */
#if !defined(_TRACE_KVMCLOCK_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVMCLOCK_H

#include <linux/tracepoint.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

#define kvmclock_trace_symbol_cause				\
	{ KVMCLOCK_CAUSE_SET,		"set" },		\
	{ KVMCLOCK_CAUSE_MODE,		"mode" },		\
	{ KVMCLOCK_CAUSE_FREQUENCY,	"frequency" },		\
	{ KVMCLOCK_CAUSE_TSC_RESET,	"tsc reset" },		\
	{ KVMCLOCK_CAUSE_TSC_SET_BACK,	"tsc set back" }

/* For every change of a VM's line.  In host clock mode, mul is 0. */
TRACE_EVENT(kvm_clock_line,
	TP_PROTO(const struct kvm *kvm, enum kvmclock_cause cause,
		 const struct pvclock_vcpu_time_info *old,
		 const struct pvclock_vcpu_time_info *new),
	TP_ARGS(kvm, cause, old, new),

	TP_STRUCT__entry(
		__string(vm,		kvm->stats_id)
		__field(unsigned int,	cause)
		__field(__u64,		old_tsc)
		__field(__u64,		old_ns)
		__field(__u32,		old_mul)
		__field(__s8,		old_shift)
		__field(__u64,		new_tsc)
		__field(__u64,		new_ns)
		__field(__u32,		new_mul)
		__field(__s8,		new_shift)
	),

	TP_fast_assign(
		__assign_str(vm);
		__entry->cause		= cause;
		__entry->old_tsc	= old->tsc_timestamp;
		__entry->old_ns		= old->system_time;
		__entry->old_mul	= old->tsc_to_system_mul;
		__entry->old_shift	= old->tsc_shift;
		__entry->new_tsc	= new->tsc_timestamp;
		__entry->new_ns		= new->system_time;
		__entry->new_mul	= new->tsc_to_system_mul;
		__entry->new_shift	= new->tsc_shift;
	),

	TP_printk("cause %s old tsc %llu ns %llu mul %u shift %d new tsc %llu ns %llu mul %u shift %d vm %s",
		  __print_symbolic(__entry->cause, kvmclock_trace_symbol_cause),
		  __entry->old_tsc, __entry->old_ns, __entry->old_mul, __entry->old_shift,
		  __entry->new_tsc, __entry->new_ns, __entry->new_mul, __entry->new_shift,
		  __get_str(vm))
);

#endif /* _TRACE_KVMCLOCK_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../arch/x86/kvm
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE kvmclock_trace

#include <trace/define_trace.h>
