/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kvmclock_* tests call and these selftests have not got, or under another
 * name.
 */
#ifndef SELFTEST_KVM_KVMCLOCK_COMPAT_H
#define SELFTEST_KVM_KVMCLOCK_COMPAT_H

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"
#include "vmx.h"

#define gva_t		vm_vaddr_t
#define gpa_t		vm_paddr_t
#define vm_alloc	vm_vaddr_alloc
#define vm_alloc_page	vm_vaddr_alloc_page

static inline void kvm_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
				      void *(*main)(void *), void *arg)
{
	TEST_ASSERT_EQ(pthread_create(thread, attr, main, arg), 0);
}

static inline void kvm_pthread_join(pthread_t thread, void **ret)
{
	TEST_ASSERT_EQ(pthread_join(thread, ret), 0);
}

static inline void pin_self_to_cpu(int cpu)
{
	kvm_pin_this_task_to_pcpu(cpu);
}

static inline void sti(void)
{
	asm volatile("sti");
}

static inline void cli(void)
{
	asm volatile("cli");
}

static inline void safe_halt(void)
{
	asm volatile("sti; hlt");
}

/* What get_kvm_param_integer() and its like do for a module of any name. */
static inline int kvm_get_module_param_integer(const char *module, const char *param)
{
	TEST_ASSERT(!strcmp(module, "kvm"), "No way to read parameters of %s", module);

	return get_kvm_param_integer(param);
}

/* Two files for each vCPU, and some for everything else. */
static inline void kvm_set_files_rlimit(int nr_vcpus)
{
	struct rlimit limit;

	TEST_ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur >= nr_vcpus * 2 + 100)
		return;

	limit.rlim_cur = nr_vcpus * 2 + 100;
	if (limit.rlim_max < limit.rlim_cur)
		limit.rlim_max = limit.rlim_cur;
	__TEST_REQUIRE(!setrlimit(RLIMIT_NOFILE, &limit), "Cannot open as many files");
}

/*
 * A vCPU that runs does not open its file of statistics, so look at the sum of the
 * VM's vCPUs in debugfs.
 */
static inline u64 kvmclock_sum_stat(struct kvm_vm *vm, const char *name)
{
	unsigned long value;
	char path[128];
	FILE *file;
	int nr;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s", getpid(), vm->fd, name);
	file = fopen(path, "r");
	TEST_ASSERT(file, "Cannot open %s", path);
	nr = fscanf(file, "%lu", &value);
	TEST_ASSERT(nr == 1, "Cannot read %s", path);
	fclose(file);
	return value;
}

#define vcpu_get_stat(vcpu, stat)	kvmclock_sum_stat((vcpu)->vm, #stat)

/* The end of a stack for a nested guest. */
static inline void *kvmclock_nested_stack(void)
{
	static u64 stack[64];

	return &stack[ARRAY_SIZE(stack)];
}

#define generic_svm_setup(svm, code)	generic_svm_setup(svm, code, kvmclock_nested_stack())
#define prepare_vmcs(vmx, code)		prepare_vmcs(vmx, code, kvmclock_nested_stack())

#endif /* SELFTEST_KVM_KVMCLOCK_COMPAT_H */
