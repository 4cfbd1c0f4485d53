// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
//! On simulated kernels, without KVM: who restores the TSCs, for each kind of source and
//! destination. These are the cells of the table in kvmclock-vmm.rst.

use super::*;
use std::cell::{RefCell, RefMut};
use std::mem::size_of;
use sys::OneMsr;

const STOCK: u32 = 0xe; // what KVM_CAP_ADJUST_CLOCK returns: mainline,
const OURS: u32 = 0xfe; // with all that this tree adds

const SECOND: u64 = 1_000_000_000;
const KHZ: u32 = 1_500_000; // of the guest
const MUL: u32 = 0xaaaa_aaab; // its line, with a shift of 0
const SKEW: u64 = 70_000;
const EPERM: i32 = 1;
const EINVAL: i32 = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stock,
    NotOptedIn,
    OptedIn,
    NoMasterClock,
}

const KINDS: [Kind; 4] = [Kind::Stock, Kind::NotOptedIn, Kind::OptedIn, Kind::NoMasterClock];

/// A host whose TSC runs at `khz`, with a VM of two vCPUs.
struct State {
    kind: Kind,
    khz: u32,
    tsc: u64,
    opted_in: u32,
    line_errno: i32,
    clock_ns: u64,
    clock_tsc: u64,
    offsets: [u64; 2],
    written: Vec<usize>,
}

struct Host(RefCell<State>);
struct FakeVcpu<'a>(&'a Host, usize);

fn ns_of(cycles: u64, khz: u32) -> u64 {
    (u128::from(cycles) * 1_000_000 / u128::from(khz)) as u64
}

fn line_ns(cycles: u64) -> u64 {
    (u128::from(cycles) * u128::from(MUL) >> 32) as u64
}

impl State {
    fn scaled(&self) -> u64 {
        (u128::from(self.tsc) * u128::from(KHZ) / u128::from(self.khz)) as u64
    }

    fn guest_tsc(&self, vcpu: usize) -> u64 {
        self.scaled().wrapping_add(self.offsets[vcpu])
    }

    fn clock(&self) -> u64 {
        self.clock_ns + line_ns(self.scaled() - self.clock_tsc)
    }

    fn wall(&self) -> u64 {
        1_800_000_000 * SECOND + ns_of(self.tsc, self.khz)
    }

    fn set(&mut self, ns: u64) {
        self.clock_ns = ns;
        self.clock_tsc = self.scaled();
    }

    fn master_clock(&self) -> bool {
        self.kind != Kind::NoMasterClock
    }

    fn get_clock(&self) -> ClockData {
        let mut data = ClockData { clock: self.clock(), ..Default::default() };

        if !self.master_clock() && self.opted_in == 0 {
            return data;
        }
        data.flags = KVM_CLOCK_REALTIME;
        data.realtime = self.wall();
        if self.master_clock() {
            data.flags |= KVM_CLOCK_HOST_TSC | KVM_CLOCK_TSC_STABLE;
            data.host_tsc = self.tsc;
        }
        if self.master_clock() && self.opted_in & KVM_CLOCK_GUEST_TSC != 0 {
            data.flags |= KVM_CLOCK_GUEST_TSC;
            data.guest_tsc = self.guest_tsc(0);
            data.tsc_to_system_mul = MUL;
        }

        data
    }

    fn set_clock(&mut self, data: &ClockData) -> std::result::Result<(), i32> {
        let known = if self.kind == Kind::Stock { STOCK } else { OURS };
        let passed = match data.has(KVM_CLOCK_REALTIME) {
            true => self.wall().saturating_sub(data.realtime),
            false => 0,
        };

        if data.flags & !known != 0 || data.flags & OPT_IN & !self.opted_in != 0 {
            return Err(EINVAL);
        }
        if data.has(KVM_CLOCK_GUEST_TSC) && self.line_errno != 0 {
            return Err(self.line_errno);
        }
        self.set(data.clock + passed);
        if data.has(KVM_CLOCK_GUEST_TSC) && self.master_clock() {
            let tsc = data.guest_tsc + khz_cycles(u128::from(passed), KHZ);
            let by = tsc.wrapping_sub(self.guest_tsc(0));
            self.offsets = self.offsets.map(|offset| offset.wrapping_add(by));
        }

        Ok(())
    }
}

impl Host {
    fn new(kind: Kind, khz: u32, tsc: u64) -> Self {
        let mut state = State {
            kind,
            khz,
            tsc,
            opted_in: 0,
            line_errno: 0,
            clock_ns: 0,
            clock_tsc: 0,
            offsets: [5u64.wrapping_sub(tsc); 2],
            written: Vec::new(),
        };

        state.set(0);
        Self(RefCell::new(state))
    }

    /// Each call takes 100 cycles.
    fn call(&self) -> RefMut<'_, State> {
        let mut state = self.0.borrow_mut();

        state.tsc += 100;
        state
    }

    fn vm(&self) -> Vm<&Self> {
        Vm::new(self, &Caps::new(&self).unwrap())
    }

    fn vcpus(&self) -> [FakeVcpu<'_>; 2] {
        [FakeVcpu(self, 0), FakeVcpu(self, 1)]
    }

    fn run(&self, ns: u64) {
        let mut state = self.0.borrow_mut();

        state.tsc += khz_cycles(u128::from(ns), state.khz);
    }
}

fn refused<T>(errno: i32) -> Result<T> {
    Err(Error::Ioctl { name: "fake", errno })
}

impl VmIoctls for &Host {
    fn kvm_extension(&self, cap: u32) -> Result<u32> {
        match (cap, self.call().kind) {
            (sys::KVM_CAP_ADJUST_CLOCK, Kind::Stock) => Ok(STOCK),
            (sys::KVM_CAP_ADJUST_CLOCK, _) => Ok(OURS),
            _ => Ok(1),
        }
    }

    fn kvm_enable(&self, cap: u32, argument: u64) -> Result<()> {
        let mut state = self.call();

        assert_eq!((cap, argument), (sys::KVM_CAP_ADJUST_CLOCK, OPT_IN.into()));
        match state.kind {
            Kind::Stock => refused(EINVAL),
            Kind::NotOptedIn => refused(EPERM),
            _ => {
                state.opted_in = argument as u32;
                Ok(())
            }
        }
    }

    fn kvm_set_tsc_khz(&self, khz: u32) -> Result<()> {
        assert_eq!(khz, KHZ);
        Ok(())
    }

    fn kvm_clock(&self) -> Result<ClockData> {
        Ok(self.call().get_clock())
    }

    fn kvm_set_clock(&self, data: &ClockData) -> Result<()> {
        self.call().set_clock(data).or_else(refused)
    }
}

impl VcpuIoctls for FakeVcpu<'_> {
    fn kvm_tsc_khz(&self) -> Result<u32> {
        Ok(KHZ)
    }

    fn kvm_tsc(&self) -> Result<u64> {
        Ok(self.0.call().guest_tsc(self.1))
    }

    fn kvm_tsc_offset(&self) -> Result<u64> {
        Ok(self.0.call().offsets[self.1])
    }

    fn kvm_set_tsc_offset(&self, offset: u64) -> Result<()> {
        let mut state = self.0.call();

        state.offsets[self.1] = offset;
        state.written.push(self.1);
        Ok(())
    }
}

/// A guest that is an hour old, and has written its TSCs.
fn source(kind: Kind) -> Host {
    let host = Host::new(kind, 3_000_000, 5_000_000 * SECOND);

    host.0.borrow_mut().offsets[1] += SKEW;
    host.run(3600 * SECOND);
    host
}

/// Another second passes on the way.
fn destination(kind: Kind, from: &Host) -> Host {
    let host = Host::new(kind, 2_200_000, 77 * SECOND);
    let late = from.0.borrow().wall() + SECOND - host.0.borrow().wall();

    host.run(late);
    host
}

/// By how much the clock has gained more than wall time, and each TSC more than the clock.
fn assert_right(from: &Host, to: &Host, limit_ns: u64) {
    let (from, to) = (from.0.borrow(), to.0.borrow());
    let gained = to.clock() - from.clock();

    assert!(gained.abs_diff(to.wall() - from.wall()) <= 1000, "the clock has gained {gained} ns");
    for i in 0..2 {
        let cycles = to.guest_tsc(i).wrapping_sub(from.guest_tsc(i));
        let apart = ns_of(cycles, KHZ).abs_diff(gained);
        assert!(apart <= limit_ns, "TSC {i} is {apart} ns off");
    }
    assert_eq!(to.offsets[1] - to.offsets[0], SKEW);
}

fn move_guest(from: &Host, to: &Host) -> Report {
    let record = from.vm().save(&from.vcpus()).unwrap();
    let vm = to.vm();

    vm.set_tsc_khz(record.tsc_khz).unwrap();
    vm.restore(&to.vcpus(), &record, KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED).unwrap()
}

#[test]
fn each_source_and_destination() {
    for from_kind in KINDS {
        for to_kind in KINDS {
            println!("{from_kind:?} to {to_kind:?}");
            let from = source(from_kind);
            let to = destination(to_kind, &from);
            let report = move_guest(&from, &to);
            let exact = from_kind == Kind::OptedIn && to_kind == Kind::OptedIn;

            assert_eq!(report.way, if exact { Way::Exact } else { Way::Offset });
            assert_eq!(report.bound_ns == 0, exact);
            assert_eq!(report.get_flags, to.0.borrow().get_clock().flags);
            assert!(report.elapsed_ns.abs_diff(SECOND) < 1000, "{report:?}");
            assert_right(&from, &to, 4);
            // The boot vCPU last: their differences, and then where they are to be.
            let written = [1, 0].repeat(if exact { 1 } else { 2 });
            assert_eq!(to.0.borrow().written, written);
        }
    }
}

/// The line is for a frequency that the kernel takes for another.
#[test]
fn line_is_refused() {
    let from = source(Kind::OptedIn);
    let to = destination(Kind::OptedIn, &from);

    to.0.borrow_mut().line_errno = ERANGE;
    let report = move_guest(&from, &to);
    assert_eq!(report.way, Way::Offset);
    assert_right(&from, &to, 2);
}

#[test]
fn flags_are_those_of_the_destination() {
    let from = source(Kind::OptedIn);
    let to = |kind| move_guest(&from, &destination(kind, &from)).set_flags;
    let of_guest = KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED;

    assert_eq!(to(Kind::Stock), KVM_CLOCK_REALTIME);
    assert_eq!(to(Kind::NotOptedIn), KVM_CLOCK_REALTIME | of_guest);
    assert_eq!(to(Kind::OptedIn), KVM_CLOCK_REALTIME | KVM_CLOCK_GUEST_TSC | of_guest);
    assert_eq!(source(Kind::NotOptedIn).vm().usable(), OURS & !OPT_IN);
}

/// With a `realtime` of `u64::MAX`.
#[test]
fn no_time_passes() {
    for kind in KINDS {
        let from = source(Kind::OptedIn);
        let to = destination(kind, &from);
        let mut record = from.vm().save(&from.vcpus()).unwrap();

        record.clock.realtime = u64::MAX;
        let report = to.vm().restore(&to.vcpus(), &record, 0).unwrap();
        let gained = to.0.borrow().guest_tsc(0) - record.tsc;
        assert!(report.elapsed_ns < 1000 && gained < 2000, "{kind:?}: {report:?}, {gained} cycles");
    }
}

/// Of a kernel that does not report it.
#[test]
fn wall_time_is_saved() {
    let host = source(Kind::NoMasterClock);
    let caps = Caps { adjust_clock: STOCK, tsc_control: true };
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let record = Vm::new(&host, &caps).save(&host.vcpus()).unwrap();

    assert_eq!(record.clock.flags, KVM_CLOCK_REALTIME);
    assert!((before..before + 60 * SECOND).contains(&record.clock.realtime));
}

/// And nothing has changed.
#[test]
fn what_does_not_fit_is_refused() {
    let from = source(Kind::OptedIn);
    let to = destination(Kind::OptedIn, &from);
    let good = from.vm().save(&from.vcpus()).unwrap();
    let clock = |change: fn(&mut ClockData)| {
        let mut record = good.clone();
        change(&mut record.clock);
        record
    };
    let refuses = |record: &Record, error| {
        assert_eq!(to.vm().restore(&to.vcpus(), record, 0), Err(error), "{record:?}");
        assert!(to.0.borrow().written.is_empty());
    };

    refuses(&clock(|c| c.tsc_to_system_mul = 0), Error::Record);
    refuses(&clock(|c| c.tsc_shift = 32), Error::Record);
    refuses(&clock(|c| c.tsc_shift = -32), Error::Record);
    refuses(&Record { tsc_khz: 0, ..good.clone() }, Error::Record);
    refuses(&Record { tsc_offsets: vec![0], ..good.clone() }, Error::Vcpus);
    refuses(
        &Record { tsc_khz: KHZ + 376, ..good.clone() },
        Error::Frequency { here: KHZ, saved: KHZ + 376 },
    );
    assert_eq!(to.vm().save::<FakeVcpu>(&[]), Err(Error::Vcpus));
    to.vm().restore(&to.vcpus(), &Record { tsc_khz: KHZ + 375, ..good }, 0).unwrap();
}

#[test]
fn errors_have_the_kernels_errno() {
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let error = nothing.kvm_clock().unwrap_err();

    assert_eq!(error, Error::Ioctl { name: "KVM_GET_CLOCK", errno: 25 });
    assert_eq!(error.errno(), Some(25));
    assert_eq!(error.to_string(), "KVM_GET_CLOCK: Inappropriate ioctl for device (os error 25)");
    assert_eq!(Error::Vcpus.errno(), None);
}

/// Where each field of `struct kvm_clock_data` is.
#[test]
fn layout_is_the_kernels() {
    let data = ClockData::default();
    let at = |field: usize| field - &data as *const ClockData as usize;

    assert_eq!(size_of::<ClockData>(), 48);
    assert_eq!(at(&data.clock as *const u64 as usize), 0);
    assert_eq!(at(&data.flags as *const u32 as usize), 8);
    assert_eq!(at(&data.tai_offset as *const i32 as usize), 12);
    assert_eq!(at(&data.realtime as *const u64 as usize), 16);
    assert_eq!(at(&data.host_tsc as *const u64 as usize), 24);
    assert_eq!(at(&data.guest_tsc as *const u64 as usize), 32);
    assert_eq!(at(&data.tsc_to_system_mul as *const u32 as usize), 40);
    assert_eq!(at(&data.tsc_shift as *const i8 as usize), 44);
    assert_eq!(at(&data.pad as *const [u8; 3] as usize), 45);
    assert_eq!(size_of::<OneMsr>(), 24);
}

/// As a C compiler makes them of <linux/kvm.h>.
#[test]
fn requests_are_the_kernels() {
    assert_eq!(sys::CHECK_EXTENSION.number, 0xae03);
    assert_eq!(sys::SET_CLOCK.number, 0x4030ae7b);
    assert_eq!(sys::GET_CLOCK.number, 0x8030ae7c);
    assert_eq!(sys::GET_MSRS.number, 0xc008ae88);
    assert_eq!(sys::SET_TSC_KHZ.number, 0xaea2);
    assert_eq!(sys::GET_TSC_KHZ.number, 0xaea3);
    assert_eq!(sys::ENABLE_CAP.number, 0x4068aea3);
    assert_eq!(sys::SET_DEVICE_ATTR.number, 0x4018aee1);
    assert_eq!(sys::GET_DEVICE_ATTR.number, 0x4018aee2);
}

#[cfg(feature = "serde")]
#[test]
fn record_can_be_serialised() {
    fn is<T: serde::Serialize + serde::de::DeserializeOwned>() {}

    is::<Record>();
}
