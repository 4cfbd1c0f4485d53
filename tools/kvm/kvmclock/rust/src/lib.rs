// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
//! Move the time of a KVM guest from one kernel to another, as libkvmclock does in C.
//!
//! A guest has two clocks that count the same time: the KVM clock (in ns) and the TSC of each
//! vCPU (in cycles). Both have to go on when it is saved here and restored there. A kernel with
//! KVM_CLOCK_GUEST_TSC does that in one call; on others, the TSCs are moved by their offsets.
//!
//! On the source, with all vCPUs stopped (out of KVM_RUN):
//!
//! ```no_run
//! # fn source(vm_fd: std::os::unix::io::RawFd, vcpu_fds: &[std::os::unix::io::RawFd])
//! # -> kvmclock::Result<kvmclock::Record> {
//! let caps = kvmclock::Caps::new(&vm_fd)?;
//! let vm = kvmclock::Vm::new(vm_fd, &caps); // when the VM is created
//! let record = vm.save(vcpu_fds)?;
//! # Ok(record) }
//! ```
//!
//! On the destination:
//!
//! ```no_run
//! # fn destination(vm_fd: std::os::unix::io::RawFd, vcpu_fds: &[std::os::unix::io::RawFd],
//! # record: kvmclock::Record) -> kvmclock::Result<()> {
//! let caps = kvmclock::Caps::new(&vm_fd)?;
//! let vm = kvmclock::Vm::new(vm_fd, &caps);
//! vm.set_tsc_khz(record.tsc_khz)?; // before the vCPUs exist
//! // Create the vCPUs, restore their registers and MSRs, but not IA32_TSC.
//! let report = vm.restore(vcpu_fds, &record, kvmclock::KVM_CLOCK_GUEST_STOPPED)?;
//! // Write no TSC after that. Now the local APICs, Xen's and Hyper-V's timers; then run.
//! # Ok(()) }
//! ```
//!
//! VM and vCPUs are whatever has a file descriptor: `VmFd` and `VcpuFd` of kvm-ioctls, or a
//! `RawFd` of them. It has to be one of KVM's. The vCPUs are in the same order on both hosts, the
//! boot vCPU first.
//!
//! Why it is done so, and what else a VMM has to restore, and when, is in
//! Documentation/virt/kvm/x86/kvmclock-vmm.rst.

#![warn(missing_docs)]

mod sys;
#[cfg(test)]
mod tests;

pub use sys::{VcpuIoctls, VmIoctls};

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The vCPUs' TSCs are equal, and the KVM clock is computed from them.
pub const KVM_CLOCK_TSC_STABLE: u32 = 0x2;
/// `realtime` is valid; to be added is what has passed since.
pub const KVM_CLOCK_REALTIME: u32 = 0x4;
/// `host_tsc` is valid.
pub const KVM_CLOCK_HOST_TSC: u32 = 0x8;
/// `guest_tsc`, `tsc_to_system_mul` and `tsc_shift` are valid, and to be restored.
pub const KVM_CLOCK_GUEST_TSC: u32 = 0x10;
/// The clock must not go below what the guest may have read.
pub const KVM_CLOCK_MONOTONIC: u32 = 0x20;
/// `tai_offset` is valid; what has passed is taken from CLOCK_TAI.
pub const KVM_CLOCK_TAI: u32 = 0x40;
/// The guest is to be told that it was stopped.
pub const KVM_CLOCK_GUEST_STOPPED: u32 = 0x80;

const OPT_IN: u32 = KVM_CLOCK_GUEST_TSC | KVM_CLOCK_TAI;
const ERANGE: i32 = 34;

/// How often to read clock and TSC one after the other, for the pair that is nearest.
const TRIES: u32 = 8;

/// `struct kvm_clock_data` of a kernel with KVM_CLOCK_GUEST_TSC; to others, the same bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs)]
pub struct ClockData {
    pub clock: u64,
    pub flags: u32,
    pub tai_offset: i32,
    pub realtime: u64,
    pub host_tsc: u64,
    pub guest_tsc: u64,
    pub tsc_to_system_mul: u32,
    pub tsc_shift: i8,
    pub pad: [u8; 3],
}

impl ClockData {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused this ioctl.
    Ioctl {
        /// As KVM_GET_CLOCK.
        name: &'static str,
        /// The kernel's.
        errno: i32,
    },
    /// The VM has not the record's vCPUs, or none.
    Vcpus,
    /// The guest's TSC runs at another frequency here.
    Frequency {
        /// In kHz.
        here: u32,
        /// In kHz.
        saved: u32,
    },
    /// The record is not one that was saved.
    Record,
}

/// Of all that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kernel's, where it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Ioctl { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Ioctl { name, errno } => {
                write!(f, "{name}: {}", std::io::Error::from_raw_os_error(*errno))
            }
            Error::Vcpus => write!(f, "the VM has not the record's vCPUs"),
            Error::Frequency { here, saved } => {
                write!(f, "the guest's TSC runs at {here} kHz here, not {saved}")
            }
            Error::Record => write!(f, "the record is not one that was saved"),
        }
    }
}

impl std::error::Error for Error {}

/// What a kernel's KVM offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// KVM_CAP_ADJUST_CLOCK: 0, 1 (no flags), or the flags that the kernel knows.
    pub adjust_clock: u32,
    /// A guest's TSC can be scaled to another frequency than the host's.
    pub tsc_control: bool,
}

impl Caps {
    /// Ask `/dev/kvm`, or a VM.
    pub fn new(kvm: &impl VmIoctls) -> Result<Self> {
        Ok(Self {
            adjust_clock: kvm.kvm_extension(sys::KVM_CAP_ADJUST_CLOCK)?,
            tsc_control: kvm.kvm_extension(sys::KVM_CAP_TSC_CONTROL)? != 0,
        })
    }
}

/// A saved time. What each vCPU's TSC reads is in it, with whatever the guest has written there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// All of what KVM_GET_CLOCK has returned. With a `realtime` of `u64::MAX`, no time is to
    /// pass: a guest that was paused goes on from what was saved.
    pub clock: ClockData,
    /// Frequency of the guest's TSC.
    pub tsc_khz: u32,
    /// The TSC of the boot vCPU at the instant of `clock`.
    pub tsc: u64,
    /// By how much `tsc` can be off that instant; 0 if it was the kernel's.
    pub width_ns: u64,
    /// KVM_VCPU_TSC_OFFSET of each vCPU, for their differences.
    pub tsc_offsets: Vec<u64>,
}

impl Record {
    /// Whether it can be computed with; it may come from anywhere.
    fn check(&self) -> Result<()> {
        let shift_valid = (-31..=31).contains(&self.clock.tsc_shift);
        let line_valid = self.clock.tsc_to_system_mul != 0 && shift_valid;

        match self.tsc_khz != 0 && (line_valid || !self.clock.has(KVM_CLOCK_GUEST_TSC)) {
            true => Ok(()),
            false => Err(Error::Record),
        }
    }

    /// The guest's cycles in so many ns: by the kernel's line, or else as exact as a kHz.
    fn cycles(&self, ns: u64) -> u64 {
        let ns = u128::from(ns);

        if self.clock.has(KVM_CLOCK_GUEST_TSC) {
            let shift = 32 - i32::from(self.clock.tsc_shift);
            return ((ns << shift) / u128::from(self.clock.tsc_to_system_mul)) as u64;
        }

        khz_cycles(ns, self.tsc_khz)
    }

    /// Of vCPU `i`, where the boot vCPU has `boot`.
    fn offset(&self, boot: u64, i: usize) -> u64 {
        boot.wrapping_add(self.tsc_offsets[i]).wrapping_sub(self.tsc_offsets[0])
    }
}

fn khz_cycles(ns: u128, khz: u32) -> u64 {
    (ns * u128::from(khz) / 1_000_000) as u64
}

/// Who restored the TSCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// KVM, with the clock, in one KVM_SET_CLOCK.
    Exact,
    /// This crate, by KVM_VCPU_TSC_OFFSET, because one of the kernels cannot, or did not opt in.
    Offset,
}

/// What a restore has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who restored the TSCs.
    pub way: Way,
    /// Of KVM_SET_CLOCK.
    pub set_flags: u32,
    /// Of KVM_GET_CLOCK afterwards.
    pub get_flags: u32,
    /// What the clock has gained since it was saved.
    pub elapsed_ns: u64,
    /// By how much clock and TSC can have parted, besides the rounding of the frequency to a kHz.
    pub bound_ns: u64,
}

/// Clock and TSC of the boot vCPU.
struct Instant {
    clock: ClockData,
    tsc: u64,
    width_ns: u64,
}

/// A VM that has opted in to what its kernel has.
#[derive(Debug)]
pub struct Vm<V> {
    fd: V,
    usable: u32,
}

impl<V: VmIoctls> Vm<V> {
    /// When the VM is created, on both hosts: opts in to KVM_CLOCK_GUEST_TSC and KVM_CLOCK_TAI.
    /// Where that is refused, as in a sandbox, the VM does without, see [`Vm::usable`].
    pub fn new(fd: V, caps: &Caps) -> Self {
        let wanted = caps.adjust_clock & OPT_IN;
        let refused =
            wanted != 0 && fd.kvm_enable(sys::KVM_CAP_ADJUST_CLOCK, wanted.into()).is_err();
        let usable = caps.adjust_clock & if refused { !OPT_IN } else { !0 };

        Self { fd, usable }
    }

    /// The flags of [`Caps::adjust_clock`] that this VM can use.
    pub fn usable(&self) -> u32 {
        self.usable
    }

    /// On the destination, before the first vCPU is created: the frequency of the record's TSC.
    pub fn set_tsc_khz(&self, khz: u32) -> Result<()> {
        self.fd.kvm_set_tsc_khz(khz)
    }

    /// Save the time of a VM whose vCPUs are all stopped.
    pub fn save<C: VcpuIoctls>(&self, vcpus: &[C]) -> Result<Record> {
        let boot = vcpus.first().ok_or(Error::Vcpus)?;
        let tsc_khz = boot.kvm_tsc_khz()?;
        let tsc_offsets = vcpus.iter().map(C::kvm_tsc_offset).collect::<Result<_>>()?;
        let Instant { clock, tsc, width_ns } = self.instant(boot, tsc_khz)?;

        Ok(Record { clock, tsc_khz, tsc, width_ns, tsc_offsets })
    }

    /// As late as possible before the vCPUs run. `flags` can be KVM_CLOCK_MONOTONIC and
    /// KVM_CLOCK_GUEST_STOPPED; what the kernel has not got of these is left out. Write no TSC
    /// after it, whatever the way was. A VM whose restore has failed must not run.
    pub fn restore<C: VcpuIoctls>(
        &self,
        vcpus: &[C],
        record: &Record,
        flags: u32,
    ) -> Result<Report> {
        let boot = vcpus.first().ok_or(Error::Vcpus)?;

        if vcpus.len() != record.tsc_offsets.len() {
            return Err(Error::Vcpus);
        }
        record.check()?;
        check_frequency(boot, record.tsc_khz)?;

        if record.tsc_offsets.iter().any(|offset| *offset != record.tsc_offsets[0]) {
            set_offsets(vcpus, record, boot.kvm_tsc_offset()?)?;
        }
        let set_flags = self.set_clock(&record.clock, flags)?;
        let now = self.fd.kvm_clock()?;
        let mut report = Report {
            way: Way::Exact,
            set_flags,
            get_flags: now.flags,
            elapsed_ns: now.clock.saturating_sub(record.clock.clock),
            bound_ns: 0,
        };

        if set_flags & now.flags & KVM_CLOCK_GUEST_TSC == 0 {
            let now = self.instant(boot, record.tsc_khz)?;
            move_tscs(vcpus, record, &now)?;
            report.way = Way::Offset;
            report.bound_ns = record.width_ns.saturating_add(now.width_ns);
        }

        Ok(report)
    }

    fn set_clock(&self, saved: &ClockData, flags: u32) -> Result<u32> {
        let mut data = *saved;

        data.flags &= OPT_IN | KVM_CLOCK_REALTIME;
        data.flags |= flags & (KVM_CLOCK_MONOTONIC | KVM_CLOCK_GUEST_STOPPED);
        data.flags &= self.usable;
        match self.fd.kvm_set_clock(&data) {
            // The line is for another frequency.
            Err(Error::Ioctl { errno: ERANGE, .. }) if data.has(KVM_CLOCK_GUEST_TSC) => {
                data.flags &= !KVM_CLOCK_GUEST_TSC;
                self.fd.kvm_set_clock(&data)?;
            }
            result => result?,
        }

        Ok(data.flags)
    }

    /// The kernel's own, or the narrowest of some tries.
    fn instant(&self, boot: &impl VcpuIoctls, khz: u32) -> Result<Instant> {
        let mut best = self.try_instant(boot, khz)?;

        for _ in 1..TRIES {
            if best.width_ns == 0 {
                break;
            }
            let next = self.try_instant(boot, khz)?;
            if next.width_ns < best.width_ns {
                best = next;
            }
        }

        Ok(best)
    }

    /// What the kernel does not report of the instant is read between two reads of the clock,
    /// and taken to be of the middle.
    fn try_instant(&self, boot: &impl VcpuIoctls, khz: u32) -> Result<Instant> {
        let clock = with_realtime(self.fd.kvm_clock()?);

        if clock.has(KVM_CLOCK_GUEST_TSC) {
            return Ok(Instant { tsc: clock.guest_tsc, clock, width_ns: 0 });
        }

        let tsc = boot.kvm_tsc()?;
        let width_ns = self.fd.kvm_clock()?.clock.saturating_sub(clock.clock);
        let since = khz_cycles(u128::from(width_ns / 2), khz);

        Ok(Instant { clock, tsc: tsc.wrapping_sub(since), width_ns: width_ns.saturating_add(1) })
    }
}

/// A kernel that does not run the master clock reports no wall time, unless it was opted in.
fn with_realtime(mut clock: ClockData) -> ClockData {
    if !clock.has(KVM_CLOCK_REALTIME) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        clock.realtime = since_1970.as_nanos() as u64;
        clock.flags |= KVM_CLOCK_REALTIME;
    }

    clock
}

/// A host that cannot scale TSCs has only frequencies that are near its own.
fn check_frequency(boot: &impl VcpuIoctls, saved: u32) -> Result<()> {
    let here = boot.kvm_tsc_khz()?;

    if here.abs_diff(saved) > saved / 4000 {
        return Err(Error::Frequency { here, saved });
    }

    Ok(())
}

/// With the saved differences. The boot vCPU last: one that is created later joins the one that
/// was written last.
fn set_offsets<C: VcpuIoctls>(vcpus: &[C], record: &Record, boot: u64) -> Result<()> {
    for (i, vcpu) in vcpus.iter().enumerate().rev() {
        vcpu.kvm_set_tsc_offset(record.offset(boot, i))?;
    }

    Ok(())
}

/// KVM has restored the clock only: the TSCs gain what it has gained.
fn move_tscs<C: VcpuIoctls>(vcpus: &[C], record: &Record, now: &Instant) -> Result<()> {
    let gained_ns = now.clock.clock.saturating_sub(record.clock.clock);
    let tsc = record.tsc.wrapping_add(record.cycles(gained_ns));
    let offset = vcpus[0].kvm_tsc_offset()?.wrapping_add(tsc).wrapping_sub(now.tsc);

    set_offsets(vcpus, record, offset)
}
