// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a Xen timer expires in peace where the VM has no shared_info page.
 *
 * Its event cannot be delivered.  KVM finds that out when the timer is read, in a way that a
 * VMM can provoke, so that it is not to warn: there are hosts that panic on a warning.
 */
#include <fcntl.h>
#include <string.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* Where the warning would come from: others may come at the same time. */
#define PLACE	"virt/kvm/pfncache.c"

/* WARN_ON_ONCE() is to warn once more. */
static void warn_again(void)
{
	int fd = open("/sys/kernel/debug/clear_warn_once", O_WRONLY);

	if (fd < 0)
		return;

	TEST_ASSERT(write(fd, "1", 1) == 1, "clear_warn_once");
	close(fd);
}

/* The end of the kernel's log. */
static int open_log(void)
{
	int fd = open_path_or_exit("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	TEST_ASSERT(lseek(fd, 0, SEEK_END) == 0, "lseek() of /dev/kmsg");
	return fd;
}

/* Each read() is one record, or fails: at the end, or as records were overwritten. */
static bool log_names(int fd, const char *text)
{
	char record[8192];
	ssize_t len;

	for (;;) {
		len = read(fd, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return false;

		record[len] = '\0';
		if (strstr(record, text))
			return true;
	}
}

static void expire_timer(struct kvm_vcpu *vcpu)
{
	struct kvm_xen_vcpu_attr timer = {
		.type = KVM_XEN_VCPU_ATTR_TYPE_TIMER,
		.u.timer.port = 1,
		.u.timer.priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
		.u.timer.expires_ns = 1,
	};

	vcpu_ioctl(vcpu, KVM_XEN_VCPU_SET_ATTR, &timer);
	vcpu_ioctl(vcpu, KVM_XEN_VCPU_GET_ATTR, &timer);
	TEST_ASSERT(timer.u.timer.port == 1, "port %u", timer.u.timer.port);
}

int main(void)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | KVM_XEN_HVM_CONFIG_EVTCHN_SEND,
		.msr = 0x40000000,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int log;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_EVTCHN_SEND);

	ksft_print_header();
	ksft_set_plan(1);

	vm = vm_create_with_one_vcpu(&vcpu, NULL);
	vm_ioctl(vm, KVM_XEN_HVM_CONFIG, &config);

	warn_again();
	log = open_log();
	expire_timer(vcpu);
	ksft_test_result(!log_names(log, PLACE), "no shared_info\n");

	close(log);
	kvm_vm_free(vm);
	ksft_finished();
}
