// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify the ABI of KVM_CLOCK_GUEST_TSC: opting in, and what is refused.
 *
 * Every errno has its cases, also where several apply, because then the order
 * counts: EFAULT, EINVAL, EOPNOTSUPP, EBUSY, ERANGE.  A call that fails changes
 * nothing: no TSC, no byte of the guest's pages, nothing that KVM_GET_CLOCK
 * returns, and no statistic.
 */
#include <sys/mman.h>

#include "apic.h"
#include "kvmclock.h"

#define NR_VCPUS	2

#define OPT_IN_FLAGS	(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC | KVM_CLOCK_TAI)

#define KNOWN_FLAGS	(KVMCLOCK_RESTORE_FLAGS | OPT_IN_FLAGS | KVM_CLOCK_GUEST_STOPPED)

#define MAX_NS		BIT(63)

static struct kvmclock_vm kc;

static u64 sec_cycles(void)
{
	return kvmclock_host_khz() * 1000UL;
}

/* What SET accepts, and changes nothing but what a case is about. */
static struct kvm_clock_data valid(u32 flags)
{
	struct kvm_clock_data data = kvmclock_get(&kc);

	data.flags = KVM_CLOCK_GUEST_TSC | flags;
	return data;
}

static bool refuses(const struct kvm_clock_data *data, int want)
{
	struct kvmclock_state before;
	int err;

	kvmclock_get_state(&kc, &before);
	err = kvmclock_try_set(&kc, data);
	return check(err == want, "flags 0x%x: errno %d, not %d", data->flags, err, want) &
	       kvmclock_is_state(&kc, &before);
}

static bool accepts(const struct kvm_clock_data *data)
{
	int err = kvmclock_try_set(&kc, data);

	kvmclock_settle(&kc);
	return check(!err, "flags 0x%x: errno %d", data->flags, err);
}

/* All ways in which the TSC gets its value. */
static const u32 ways[] = {
	0, KVM_CLOCK_REALTIME, KVM_CLOCK_HOST_TSC, KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
	KVM_CLOCK_TSC_STABLE, KVM_CLOCK_MONOTONIC | KVM_CLOCK_REALTIME,
};

/* ---- Opting in ---- */

static u32 get_flags(void)
{
	return kvmclock_get(&kc).flags;
}

static bool opt_in_is(u64 flags)
{
	u32 want = KVMCLOCK_MASTER_FLAGS | (flags & (KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI));
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);

	/* The VM's own line; GET does not tell it without the opt-in. */
	data.guest_tsc = kvmclock_scale(data.host_tsc, kc.ratio) +
			 kvmclock_get_offset(kc.vcpu[0]);
	data.tsc_to_system_mul = kc.page[0]->tsc_to_system_mul;
	data.tsc_shift = kc.page[0]->tsc_shift;
	return check(get_flags() == want, "GET: flags 0x%x", get_flags()) &&
	       (flags & KVM_CLOCK_GUEST_TSC ? accepts(&data) : refuses(&data, EINVAL));
}

/* Each replaces the one before, whatever that was. */
static bool test_opt_in(void)
{
	static const u64 flags[] = {
		0, OPT_IN_FLAGS, KVM_CLOCK_MONOTONIC, KVM_CLOCK_GUEST_TSC, OPT_IN_FLAGS,
		KVM_CLOCK_GUEST_TSC, KVM_CLOCK_MONOTONIC, KVM_CLOCK_TAI, 0,
		KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI, KVM_CLOCK_GUEST_TSC,
	};
	bool ok = true;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		err = kvmclock_opt_in(&kc, flags[i]);
		ok &= check(!err, "0x%lx: errno %d", flags[i], err) && opt_in_is(flags[i]);
	}
	return ok;
}

static bool opt_in_fails(int fd, struct kvm_enable_cap *cap)
{
	int ret, err;

	cap->cap = KVM_CAP_ADJUST_CLOCK;
	errno = 0;
	ret = ioctl(fd, KVM_ENABLE_CAP, cap);
	err = errno;
	return check(ret == -1 && err == EINVAL, "flags 0x%x, args 0x%llx %llx %llx %llx: errno %d",
		     cap->flags, cap->args[0], cap->args[1], cap->args[2], cap->args[3], err) &&
	       check(get_flags() == KVMCLOCK_RESTORE_FLAGS, "GET: flags 0x%x", get_flags());
}

static bool test_opt_in_unknown_flags(void)
{
	bool ok = true;
	int bit, with;

	for (bit = 0; bit < 64; bit++) {
		if (OPT_IN_FLAGS & (1UL << bit))
			continue;
		for (with = 0; with < 2; with++) {
			struct kvm_enable_cap cap = {
				.args[0] = (1UL << bit) | (with ? OPT_IN_FLAGS : 0),
			};

			ok &= opt_in_fails(kc.vm->fd, &cap);
		}
	}
	return ok;
}

static bool test_opt_in_other_args(void)
{
	bool ok = true;
	int i, bit;

	for (i = 1; i < 4; i++) {
		for (bit = 0; bit < 64; bit += 21) {
			struct kvm_enable_cap cap = { .args[0] = KVM_CLOCK_MONOTONIC };

			cap.args[i] = 1UL << bit;
			ok &= opt_in_fails(kc.vm->fd, &cap);
		}
	}
	return ok;
}

static bool test_opt_in_cap_flags(void)
{
	bool ok = true;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		struct kvm_enable_cap cap = {
			.args[0] = KVM_CLOCK_MONOTONIC,
			.flags = 1U << bit,
		};

		ok &= opt_in_fails(kc.vm->fd, &cap);
	}
	return ok;
}

/* It is the VM's, not a vCPU's. */
static bool test_opt_in_vcpu(void)
{
	struct kvm_enable_cap cap = { .args[0] = KVM_CLOCK_GUEST_TSC };

	return opt_in_fails(kc.vcpu[0]->fd, &cap);
}

/* Before there is a vCPU, as a VMM will do it. */
static bool test_opt_in_first(void)
{
	struct kvmclock_vm fresh;
	u32 before, after;
	int err;

	kvmclock_vm_init(&fresh, 0, 1);
	err = kvmclock_opt_in(&fresh, OPT_IN_FLAGS);
	before = kvmclock_get(&fresh).flags;
	kvmclock_vcpu_add(&fresh);
	after = kvmclock_get(&fresh).flags;
	kvmclock_vm_destroy(&fresh);
	return check(!err, "errno %d", err) &&
	       check(before == (KVM_CLOCK_REALTIME | KVM_CLOCK_TAI), "flags 0x%x", before) &&
	       check(after == (KVMCLOCK_RESTORE_FLAGS | KVM_CLOCK_TAI), "flags 0x%x", after);
}

/* ---- EFAULT ---- */

/* The flags that are mapped are wrong, what is not is the last byte. */
static bool test_efault(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);
	size_t page = getpagesize(), size = sizeof(data);
	struct kvmclock_state before;
	int err;
	void *at;

	at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(at != MAP_FAILED, "mmap() failed");
	munmap(at + page, page);

	data.flags = -1U;
	data.tsc_to_system_mul = 0;
	memcpy(at + page - size + 1, &data, size - 1);
	kvmclock_get_state(&kc, &before);
	err = kvmclock_try_set(&kc, at + page - size + 1);
	munmap(at, page);
	return check(err == EFAULT, "errno %d", err) & kvmclock_is_state(&kc, &before);
}

/* ---- EINVAL ---- */

/* What is wrong with a line. */
static const struct spoil {
	u32 mul;
	int shift;
	u8 pad[3];
} spoils[] = {
	{ .mul = 0 },
	{ .mul = 1U << 31, .shift = 32 },
	{ .mul = 1U << 31, .shift = -32 },
	{ .mul = 1U << 31, .shift = 127 },
	{ .mul = 1U << 31, .shift = -128 },
	{ .mul = 1U << 31, .pad = { 1 } },
	{ .mul = 1U << 31, .pad = { 0, 1 } },
	{ .mul = 1U << 31, .pad = { 0, 0, 0x80 } },
};

static void spoil(struct kvm_clock_data *data, const struct spoil *spoil)
{
	memcpy(data->pad, spoil->pad, sizeof(data->pad));
	if (!spoil->mul || spoil->shift) {
		data->tsc_to_system_mul = spoil->mul;
		data->tsc_shift = spoil->shift;
	}
}

static bool test_einval(void)
{
	bool ok = true;
	int i, way;

	for (i = 0; i < ARRAY_SIZE(spoils); i++) {
		for (way = 0; way < ARRAY_SIZE(ways); way++) {
			struct kvm_clock_data data = valid(ways[way]);

			spoil(&data, &spoils[i]);
			ok &= check(refuses(&data, EINVAL), "row %d", i);
		}
	}
	return ok;
}

/* Without the flag, nobody looks at what is in its fields. */
static bool test_without_flag(void)
{
	bool ok = true;
	int i, way;

	for (i = 0; i < ARRAY_SIZE(spoils); i++) {
		for (way = 0; way < ARRAY_SIZE(ways); way++) {
			struct kvm_clock_data data = valid(ways[way]);

			data.flags &= ~KVM_CLOCK_GUEST_TSC;
			spoil(&data, &spoils[i]);
			ok &= check(accepts(&data), "row %d", i);
		}
	}
	return ok;
}

static bool test_einval_unknown_flags(void)
{
	bool ok = true;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC | (1U << bit));

		if (!(KNOWN_FLAGS & (1U << bit)))
			ok &= refuses(&data, EINVAL);
	}
	return ok;
}

/* ---- EOPNOTSUPP ---- */

static bool refuses_without_master(void)
{
	bool ok = true;
	int way;

	for (way = 0; way < ARRAY_SIZE(ways); way++) {
		struct kvm_clock_data data = valid(ways[way]);

		data.tsc_to_system_mul = kc.page[0]->tsc_to_system_mul;
		data.tsc_shift = kc.page[0]->tsc_shift;
		if (!(data.flags & KVM_CLOCK_REALTIME))
			ok &= refuses(&data, EOPNOTSUPP);
	}
	return ok;
}

/* No vCPU moves, so that its page need not be rewritten. */
static bool test_eopnotsupp_old_msr(void)
{
	bool ok;

	kvmclock_set_master(&kc, false);
	ok = check(get_flags() == KVM_CLOCK_REALTIME, "GET: flags 0x%x", get_flags());
	ok = ok && refuses_without_master();
	kvmclock_set_master(&kc, true);
	return ok;
}

static bool test_eopnotsupp_clocksource(void)
{
	const char *other = kvmclock_other_clocksource();
	bool ok;

	TEST_ASSERT(kvmclock_set_clocksource(other), "Cannot switch to %s", other);
	ok = check(kvmclock_wait_flags(&kc, KVM_CLOCK_REALTIME), "GET is not realtime alone");
	kvmclock_settle(&kc);
	ok = ok && refuses_without_master();
	TEST_ASSERT(kvmclock_set_clocksource("tsc"), "Cannot switch to tsc");
	return ok & check(kvmclock_wait_flags(&kc, KVMCLOCK_RESTORE_FLAGS), "not again");
}

/* Elsewhere than in the VM that the other cases use: errno of each way. */
static bool errnos_are(struct kvmclock_vm *vm, int none, int realtime)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);
	int host_tsc_err, realtime_err;

	host_tsc_err = kvmclock_try_set(vm, &data);
	data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_REALTIME;
	realtime_err = kvmclock_try_set(vm, &data);
	return check(host_tsc_err == none, "HOST_TSC: errno %d, not %d", host_tsc_err, none) &
	       check(realtime_err == realtime, "REALTIME: errno %d, not %d", realtime_err,
		     realtime);
}

/* Where TSCs are not scaled, one that is to be faster has to catch up. */
static bool test_eopnotsupp_frequency(void)
{
	unsigned long khz = 2 * kvmclock_host_khz();
	struct kvmclock_vm vm;
	bool ok;

	kvmclock_vm_create(&vm, 0, NR_VCPUS, NR_VCPUS);
	kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC);
	ok = check(errnos_are(&vm, 0, 0), "with one frequency");
	vcpu_ioctl(vm.vcpu[1], KVM_SET_TSC_KHZ, (void *)khz);
	ok &= check(errnos_are(&vm, EOPNOTSUPP, 0), "with two frequencies");
	kvmclock_vm_destroy(&vm);
	return ok;
}

/* The line that waits for vCPUs is one for the TSC that they will have. */
static bool test_eopnotsupp_first(void)
{
	int scaled = kvmclock_can_scale() ? ERANGE : EOPNOTSUPP;
	struct kvmclock_vm vm;
	bool ok;

	kvmclock_vm_init(&vm, 0, 1);
	kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC);
	ok = check(errnos_are(&vm, 0, 0), "with the host's frequency");
	kvmclock_vm_destroy(&vm);

	if (!kvm_has_cap(KVM_CAP_VM_TSC_CONTROL))
		return ok;
	kvmclock_vm_init(&vm, 2 * kvmclock_host_khz(), 1);
	kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC);
	ok &= check(errnos_are(&vm, scaled, scaled == ERANGE ? ERANGE : 0), "with another one");
	kvmclock_vm_destroy(&vm);
	return ok;
}

/* ---- EBUSY ---- */

/* Before this one, all fields have their values: the TSC would have to move. */
static struct kvm_clock_data moving(u32 flags)
{
	struct kvm_clock_data data = valid(flags);

	data.guest_tsc += 1UL << 40;
	return data;
}

/* vCPU 1 is busy: the TSC cannot be moved, but all else can be done. */
static bool refuses_to_move(void)
{
	static const u32 flags[] = {
		KVM_CLOCK_HOST_TSC, KVM_CLOCK_REALTIME, KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
		KVM_CLOCK_HOST_TSC | KVM_CLOCK_MONOTONIC,
	};
	struct kvm_clock_data data;
	bool ok = true;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		data = moving(flags[i]);
		err = kvmclock_try_set(&kc, &data);
		ok &= check(err == EBUSY, "flags 0x%x: errno %d", data.flags, err);
	}
	data = valid(KVM_CLOCK_HOST_TSC);
	err = kvmclock_try_set(&kc, &data);
	ok &= check(!err, "TSC as it is: errno %d", err);
	data = valid(0);
	err = kvmclock_try_set(&kc, &data);
	return ok & check(!err, "TSC not asked for: errno %d", err);
}

/* Within the errors that can apply to a vCPU that runs, the order. */
static bool busy_order(void)
{
	struct kvm_clock_data inval = moving(KVM_CLOCK_HOST_TSC);
	struct kvm_clock_data range = moving(KVM_CLOCK_HOST_TSC), still = valid(0);
	int err;
	bool ok;

	inval.tsc_to_system_mul = 0;
	err = kvmclock_try_set(&kc, &inval);
	ok = check(err == EINVAL, "EINVAL and EBUSY: errno %d", err);
	range.clock = -1UL;
	err = kvmclock_try_set(&kc, &range);
	ok &= check(err == EBUSY, "EBUSY and ERANGE: errno %d", err);
	still.clock = -1UL;
	err = kvmclock_try_set(&kc, &still);
	return ok & check(err == ERANGE, "ERANGE, as the TSC does not move: errno %d", err);
}

static struct kvmclock_thread thread;

/*
 * Read the clock, and stay in the guest, until arg[1] says otherwise.  None comes,
 * but interrupts are enabled: Bochs does not interrupt a guest that has them off,
 * and so would not let any other task run on its only CPU.
 */
static void guest_spin(struct kvmclock_guest *guest)
{
	u64 now, last = 0;

	sti();
	while (!READ_ONCE(guest->arg[1])) {
		now = kvmclock_read(&guest->time[0]);
		if (last > now)
			guest->ret = last - now;
		last = now;
		WRITE_ONCE(guest->arg[0], 1);
	}
	cli();
	for (;;)
		GUEST_UCALL_NONE();
}

static void wait_for(u64 *value)
{
	int tries;

	for (tries = 0; !READ_ONCE(*value); tries++) {
		TEST_ASSERT(tries < 10000, "The vCPU does not run");
		usleep(1000);
	}
}

static void spin_start(void)
{
	kvmclock_set_code(&kc, 1, guest_spin);
	kvmclock_thread_start(&thread, kc.vcpu[1]);
	wait_for(&kvmclock_guest(&kc, 1)->arg[0]);
}

static bool spin_stop(void)
{
	u64 back;

	WRITE_ONCE(kvmclock_guest(&kc, 1)->arg[1], 1);
	kvmclock_thread_stop(&thread);
	back = kvmclock_guest(&kc, 1)->ret;
	kvmclock_set_code(&kc, 1, kvmclock_guest_main);
	return check(!back, "went back by %lu ns", back);
}

static bool test_ebusy_running(void)
{
	struct kvmclock_state before;
	bool ok;

	kvmclock_get_state(&kc, &before);
	spin_start();
	ok = refuses_to_move();
	ok &= busy_order();
	ok &= spin_stop();
	return ok & kvmclock_is_state(&kc, &before);
}

/* ---- A vCPU that is halted ---- */

#define WAKE_VECTOR	0x41

static void wake_handler(struct ex_regs *regs)
{
	x2apic_write_reg(APIC_EOI, 0);
}

static void guest_halt(struct kvmclock_guest *guest)
{
	x2apic_enable();
	guest->arg[0] = 1;
	for (;;) {
		safe_halt();
		cli();
		GUEST_UCALL_NONE();
	}
}

static void wake(int id)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | id << 12,
		.data = WAKE_VECTOR,
	};

	TEST_ASSERT(__vm_ioctl(kc.vm, KVM_SIGNAL_MSI, &msi) == 1, "The vCPU cannot be woken");
}

static bool test_ebusy_halted(void)
{
	struct kvmclock_state before;
	int tries;
	bool ok;

	kvmclock_get_state(&kc, &before);
	kvmclock_set_code(&kc, 1, guest_halt);
	kvmclock_thread_start(&thread, kc.vcpu[1]);
	wait_for(&kvmclock_guest(&kc, 1)->arg[0]);
	for (tries = 0; !vcpu_get_stat(kc.vcpu[1], blocking); tries++) {
		TEST_ASSERT(tries < 10000, "The vCPU does not halt");
		usleep(1000);
	}
	ok = refuses_to_move();
	WRITE_ONCE(thread.stop, true);
	wake(1);
	kvmclock_thread_stop(&thread);
	kvmclock_set_code(&kc, 1, kvmclock_guest_main);
	return ok & kvmclock_is_state(&kc, &before);
}

/* ---- A vCPU that is in another ioctl ---- */

static bool stop_reading;

/* Spend as much of the time as possible in an ioctl that takes long. */
static void *read_msrs(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct kvm_msrs *msrs;
	int i;

	msrs = calloc(1, sizeof(*msrs) + 255 * sizeof(msrs->entries[0]));
	TEST_ASSERT(msrs, "Out of memory");
	msrs->nmsrs = 255;
	for (i = 0; i < 255; i++)
		msrs->entries[i].index = MSR_IA32_TSC;
	while (!READ_ONCE(stop_reading))
		ioctl(vcpu->fd, KVM_GET_MSRS, msrs);
	free(msrs);
	return NULL;
}

static bool test_ebusy_ioctl(void)
{
	u64 end_ms = kvmclock_now_ms() + 20000;
	int i, err, busy = 0, other = 0;
	pthread_t reader;

	WRITE_ONCE(stop_reading, false);
	kvm_pthread_create(&reader, NULL, read_msrs, kc.vcpu[1]);
	for (i = 0; !busy && kvmclock_now_ms() < end_ms; i++) {
		struct kvm_clock_data data = moving(KVM_CLOCK_HOST_TSC);

		data.guest_tsc -= 1UL << 41;
		err = kvmclock_try_set(&kc, &data);
		busy += err == EBUSY;
		if (err && err != EBUSY)
			other = err;
	}
	WRITE_ONCE(stop_reading, true);
	kvm_pthread_join(reader, NULL);
	kvmclock_settle(&kc);
	return check(busy, "not refused in %d calls", i) & check(!other, "errno %d", other);
}

/* ---- ERANGE ---- */

/* A frequency that is by @ppb higher than the VM's. */
static void set_frequency(struct kvm_clock_data *data, s64 ppb)
{
	__int128 mul = (__int128)data->tsc_to_system_mul * NSEC_PER_SEC / (NSEC_PER_SEC + ppb);

	for (; mul >> 32; mul /= 2)
		data->tsc_shift++;
	data->tsc_to_system_mul = mul;
}

/* 10 ppb more or less than what KVM tolerates. */
static bool frequency(s64 inside)
{
	s64 limit = kvmclock_tolerance_ppm() * 1000 + (inside ? -10 : 10);
	bool ok = true;
	int way, sign;

	for (way = 0; way < ARRAY_SIZE(ways); way++) {
		for (sign = -1; sign <= 1; sign += 2) {
			struct kvm_clock_data data = valid(ways[way]);

			set_frequency(&data, sign * limit);
			ok &= check(inside ? accepts(&data) : refuses(&data, ERANGE),
				    "flags 0x%x, %ld ppb", data.flags, sign * limit);
			/* HOST_TSC keeps the rate; the next one is to start from the VM's own. */
			kvmclock_set_master(&kc, false);
			kvmclock_set_master(&kc, true);
		}
	}
	return ok;
}

static bool test_frequency_inside(void)
{
	return frequency(true);
}

static bool test_frequency_outside(void)
{
	return frequency(false);
}

/*
 * A VM that was told another frequency than the host's, but one that KVM takes for
 * the same: its lines come from hosts near the one that it was told.
 */
static bool test_frequency_told(void)
{
	s64 ppb = kvmclock_tolerance_ppm() * 1000 * 4 / 5;
	unsigned long khz = kvmclock_host_khz();
	struct kvm_clock_data data;
	struct kvmclock_vm vm;
	bool ok = true;
	int sign, err;

	khz += khz * ppb / NSEC_PER_SEC;
	kvmclock_vm_create(&vm, 0, NR_VCPUS, NR_VCPUS);
	vcpu_ioctl(vm.vcpu[0], KVM_SET_TSC_KHZ, (void *)khz);
	vcpu_ioctl(vm.vcpu[1], KVM_SET_TSC_KHZ, (void *)khz);
	kvmclock_opt_in(&vm, KVM_CLOCK_GUEST_TSC);

	for (sign = -1; sign <= 1; sign += 2) {
		data = kvmclock_get(&vm);
		data.flags = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_HOST_TSC;
		set_frequency(&data, sign > 0 ? 2 * ppb : -ppb / 2);
		err = kvmclock_try_set(&vm, &data);
		ok &= check(err == (sign > 0 ? 0 : ERANGE), "%+d: errno %d", sign, err);
	}
	kvmclock_vm_destroy(&vm);
	return ok;
}

/* Legal for a line, but for no TSC of this VM's frequency. */
static bool test_shifts(void)
{
	static const s8 shifts[] = { -31, 31 };
	static const u32 muls[] = { 1, 1U << 31, -1U };
	bool ok = true;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		for (j = 0; j < ARRAY_SIZE(muls); j++) {
			struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);

			data.tsc_shift = shifts[i];
			data.tsc_to_system_mul = muls[j];
			ok &= refuses(&data, ERANGE);
		}
	}
	return ok;
}

/* The line has not begun yet. */
static bool test_guest_tsc_ahead(void)
{
	struct kvm_clock_data data = valid(0);

	data.guest_tsc += 1000 * sec_cycles();
	return refuses(&data, ERANGE);
}

static bool test_host_tsc_ahead(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);
	struct kvm_clock_data both = valid(KVM_CLOCK_HOST_TSC | KVM_CLOCK_REALTIME);
	struct kvm_clock_data none = valid(0);

	data.host_tsc += 1000 * sec_cycles();
	both.host_tsc += 1000 * sec_cycles();
	none.host_tsc += 1000 * sec_cycles();
	return refuses(&data, ERANGE) & check(accepts(&both), "REALTIME wins") &
	       check(accepts(&none), "without HOST_TSC");
}

static bool test_clock_too_large(void)
{
	static const u64 clocks[] = { MAX_NS + 1, MAX_NS + MAX_NS / 2, -1UL };
	bool ok = true;
	int i, way;

	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		for (way = 0; way < ARRAY_SIZE(ways); way++) {
			struct kvm_clock_data data = valid(ways[way]);

			data.clock = clocks[i];
			data.realtime = -1UL;
			ok &= check(refuses(&data, ERANGE), "clock %lu", clocks[i]);
		}
	}
	return ok;
}

/*
 * Neither is too large, but their sum is, by a second, or is not, by 1000.  A host
 * that has just booted has no TSC of long ago.
 */
static bool sum(u32 flags)
{
	struct kvm_clock_data data = valid(flags), fits;

	data.realtime -= 2 * NSEC_PER_SEC;
	data.host_tsc -= 2 * sec_cycles();
	data.guest_tsc -= kvmclock_scale(2 * sec_cycles(), kc.ratio);
	fits = data;
	data.clock = MAX_NS - NSEC_PER_SEC;
	fits.clock = MAX_NS - 1002 * NSEC_PER_SEC;
	return check(refuses(&data, ERANGE), "flags 0x%x", flags) &
	       check(accepts(&fits), "flags 0x%x", flags);
}

static bool test_sum_too_large(void)
{
	bool ok = true;
	int way;

	for (way = 0; way < ARRAY_SIZE(ways); way++)
		ok &= sum(ways[way]);
	return ok;
}

/* The sum that the fallback computes is no other. */
static bool test_sum_without_master(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_REALTIME);
	bool ok;

	kvmclock_set_master(&kc, false);
	data.realtime -= 10 * NSEC_PER_SEC;
	data.clock = MAX_NS - 9 * NSEC_PER_SEC;
	ok = refuses(&data, ERANGE);
	data.clock = -1UL;
	ok &= refuses(&data, ERANGE);
	kvmclock_set_master(&kc, true);
	return ok;
}

/* Since 1970: more than a hundred of these years would fit. */
static bool test_realtime_zero(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_REALTIME);

	data.realtime = 0;
	data.clock = 12345;
	return accepts(&data);
}

/* ---- The order ---- */

static bool test_order_without_master(void)
{
	struct kvm_clock_data inval = moving(KVM_CLOCK_HOST_TSC);
	struct kvm_clock_data busy = moving(KVM_CLOCK_HOST_TSC), range = busy;
	bool ok;
	int err;

	kvmclock_set_master(&kc, false);
	inval.tsc_to_system_mul = 0;
	range.clock = -1UL;
	ok = check(refuses(&inval, EINVAL), "EINVAL and EOPNOTSUPP");
	ok &= check(refuses(&range, EOPNOTSUPP), "EOPNOTSUPP and ERANGE");

	spin_start();
	err = kvmclock_try_set(&kc, &busy);
	ok &= check(err == EOPNOTSUPP, "EOPNOTSUPP and EBUSY: errno %d", err);
	ok &= spin_stop();
	kvmclock_set_master(&kc, true);
	return ok;
}

static bool test_order_einval_erange(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC);

	data.tsc_to_system_mul = 0;
	data.clock = -1UL;
	return refuses(&data, EINVAL);
}

/* ---- A VM without vCPUs ---- */

/* What is refused leaves no trace either: the TSC begins at 0, when it begins. */
static bool test_first_refused(void)
{
	struct kvm_clock_data data = valid(KVM_CLOCK_HOST_TSC), got;
	struct kvmclock_vm fresh;
	u64 before, after;
	s64 offset;
	int err[3];

	before = kvmclock_scale(rdtsc(), kvmclock_ratio(0));
	kvmclock_vm_init(&fresh, 0, 1);
	after = kvmclock_scale(rdtsc(), fresh.ratio);
	err[0] = kvmclock_try_set(&fresh, &data);
	kvmclock_opt_in(&fresh, KVM_CLOCK_GUEST_TSC);
	data.host_tsc += 1000 * sec_cycles();
	err[1] = kvmclock_try_set(&fresh, &data);
	data.flags = KVM_CLOCK_GUEST_TSC;
	err[2] = kvmclock_try_set(&fresh, &data);
	got = kvmclock_get(&fresh);

	kvmclock_vcpu_add(&fresh);
	offset = kvmclock_get_offset(fresh.vcpu[0]);
	kvmclock_vm_destroy(&fresh);
	return check(err[0] == EINVAL && err[1] == ERANGE && err[2] == ERANGE,
		     "errno %d, %d, %d", err[0], err[1], err[2]) &
	       check(got.clock < data.clock && got.flags == KVM_CLOCK_REALTIME,
		     "GET: %lu, flags 0x%x", (u64)got.clock, got.flags) &
	       check((s64)(before + offset) <= 0 && (s64)(after + offset) >= 0,
		     "the TSC was %ld to %ld", (s64)(before + offset), (s64)(after + offset));
}

/* ---- The tracepoint ---- */

/* One line for a restore, none where nothing changes. */
static bool test_trace(void)
{
	struct kvm_clock_data data = moving(KVM_CLOCK_HOST_TSC), same;
	const u64 ns = 31 * NSEC_PER_SEC + 135792468;
	char value[64];
	int set, all;

	data.clock = ns;
	snprintf(value, sizeof(value), " ns %lu ", ns);
	kvmclock_trace_start();
	accepts(&data);
	same = valid(KVM_CLOCK_HOST_TSC);
	accepts(&same);
	kvmclock_trace_stop();

	set = kvmclock_count_traced("kvm_clock_line: cause set ", value);
	all = kvmclock_count_traced("kvm_clock_line: ", value);
	return check(set == 1 && all == 1, "%d by SET, %d in all", set, all);
}

static const struct kvmclock_test tests[] = {
	{ "opt_in", test_opt_in },
	{ "opt_in_unknown_flags", test_opt_in_unknown_flags },
	{ "opt_in_other_args", test_opt_in_other_args },
	{ "opt_in_cap_flags", test_opt_in_cap_flags },
	{ "opt_in_vcpu", test_opt_in_vcpu },
	{ "opt_in_first", test_opt_in_first },
	{ "efault", test_efault },
	{ "einval", test_einval },
	{ "einval_unknown_flags", test_einval_unknown_flags },
	{ "without_flag", test_without_flag },
	{ "eopnotsupp_old_msr", test_eopnotsupp_old_msr },
	{ "eopnotsupp_clocksource", test_eopnotsupp_clocksource, kvmclock_no_clocksource },
	{ "eopnotsupp_frequency", test_eopnotsupp_frequency },
	{ "eopnotsupp_first", test_eopnotsupp_first },
	{ "ebusy_running", test_ebusy_running },
	{ "ebusy_halted", test_ebusy_halted },
	{ "ebusy_ioctl", test_ebusy_ioctl },
	{ "frequency_inside", test_frequency_inside },
	{ "frequency_outside", test_frequency_outside },
	{ "frequency_told", test_frequency_told },
	{ "shifts", test_shifts },
	{ "guest_tsc_ahead", test_guest_tsc_ahead },
	{ "host_tsc_ahead", test_host_tsc_ahead },
	{ "clock_too_large", test_clock_too_large },
	{ "sum_too_large", test_sum_too_large },
	{ "sum_without_master", test_sum_without_master },
	{ "realtime_zero", test_realtime_zero },
	{ "order_without_master", test_order_without_master },
	{ "order_einval_erange", test_order_einval_erange },
	{ "first_refused", test_first_refused },
	{ "trace", test_trace, kvmclock_no_tracepoint },
};

int main(void)
{
	int i;

	TEST_REQUIRE(kvmclock_knows(OPT_IN_FLAGS));
	kvmclock_start(ARRAY_SIZE(tests), 0);
	/* In host clock mode, a vCPU that moves to another CPU gets another line. */
	pin_self_to_cpu(0);
	kvmclock_vm_create(&kc, 0, NR_VCPUS, NR_VCPUS);
	vm_install_exception_handler(kc.vm, WAKE_VECTOR, wake_handler);
	kvmclock_set(&kc, 1000 * NSEC_PER_SEC, 0, 0);
	kvmclock_opt_in(&kc, KVM_CLOCK_GUEST_TSC);

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], 0, NULL);

	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
