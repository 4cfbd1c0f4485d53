// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
//! KVM's ioctls that are about time, see Documentation/virt/kvm/api.rst. All code of this
//! crate that is unsafe is here.

use crate::{ClockData, Error, Result};
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::raw::{c_int, c_ulong};
use std::os::unix::io::AsRawFd;

pub(crate) const KVM_CAP_ADJUST_CLOCK: u32 = 39;
pub(crate) const KVM_CAP_TSC_CONTROL: u32 = 60;

const MSR_IA32_TSC: u32 = 0x10;
const KVM_VCPU_TSC_CTRL: u32 = 0;
const KVM_VCPU_TSC_OFFSET: u64 = 0;

#[cfg(target_env = "musl")]
type RequestNumber = c_int;
#[cfg(not(target_env = "musl"))]
type RequestNumber = c_ulong;

extern "C" {
    fn ioctl(fd: c_int, request: RequestNumber, ...) -> c_int;
}

/// A request, and the type of what it points to; `()` if it takes a number.
pub(crate) struct Request<T> {
    name: &'static str,
    pub(crate) number: u32,
    argument: PhantomData<T>,
}

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

impl<T> Request<T> {
    const fn new(name: &'static str, direction: u32, number: u32, size: usize) -> Self {
        let number = direction << 30 | (size as u32) << 16 | 0xae << 8 | number;

        Self { name, number, argument: PhantomData }
    }
}

#[repr(C)]
pub(crate) struct EnableCap {
    cap: u32,
    flags: u32,
    args: [u64; 4],
    pad: [u8; 64],
}

#[repr(C)]
pub(crate) struct DeviceAttr {
    flags: u32,
    group: u32,
    attr: u64,
    addr: u64,
}

/// `struct kvm_msrs` with one entry, which is not in the size that the request encodes.
#[repr(C)]
pub(crate) struct OneMsr {
    nmsrs: u32,
    pad: u32,
    index: u32,
    reserved: u32,
    data: u64,
}

const CLOCK_SIZE: usize = size_of::<ClockData>();

pub(crate) const CHECK_EXTENSION: Request<()> = Request::new("KVM_CHECK_EXTENSION", NONE, 0x03, 0);
pub(crate) const SET_CLOCK: Request<ClockData> =
    Request::new("KVM_SET_CLOCK", WRITE, 0x7b, CLOCK_SIZE);
pub(crate) const GET_CLOCK: Request<ClockData> =
    Request::new("KVM_GET_CLOCK", READ, 0x7c, CLOCK_SIZE);
pub(crate) const GET_MSRS: Request<OneMsr> = Request::new("KVM_GET_MSRS", READ | WRITE, 0x88, 8);
pub(crate) const SET_TSC_KHZ: Request<()> = Request::new("KVM_SET_TSC_KHZ", NONE, 0xa2, 0);
pub(crate) const GET_TSC_KHZ: Request<()> = Request::new("KVM_GET_TSC_KHZ", NONE, 0xa3, 0);
pub(crate) const ENABLE_CAP: Request<EnableCap> =
    Request::new("KVM_ENABLE_CAP", WRITE, 0xa3, size_of::<EnableCap>());
pub(crate) const SET_DEVICE_ATTR: Request<DeviceAttr> =
    Request::new("KVM_SET_DEVICE_ATTR", WRITE, 0xe1, size_of::<DeviceAttr>());
pub(crate) const GET_DEVICE_ATTR: Request<DeviceAttr> =
    Request::new("KVM_GET_DEVICE_ATTR", WRITE, 0xe2, size_of::<DeviceAttr>());

fn checked<T>(request: &Request<T>, r: c_int) -> Result<u32> {
    u32::try_from(r).map_err(|_| Error::Ioctl {
        name: request.name,
        errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
    })
}

fn with_number(fd: &impl AsRawFd, request: Request<()>, argument: u32) -> Result<u32> {
    let number = request.number as RequestNumber;

    // SAFETY: these requests take a number, and touch no memory of ours.
    let r = unsafe { ioctl(fd.as_raw_fd(), number, c_ulong::from(argument)) };
    checked(&request, r)
}

fn with_struct<T>(fd: &impl AsRawFd, request: Request<T>, argument: &mut T) -> Result<u32> {
    let number = request.number as RequestNumber;

    // SAFETY: the request is one that takes a T, which is borrowed for the call, and any bytes
    // make a T. KVM keeps no pointer to it.
    let r = unsafe { ioctl(fd.as_raw_fd(), number, argument as *mut T) };
    checked(&request, r)
}

/// KVM_VCPU_TSC_OFFSET: `offset` is where the kernel reads or writes 8 bytes, during the call.
fn tsc_offset_attr(
    fd: &impl AsRawFd,
    request: Request<DeviceAttr>,
    offset: &mut u64,
) -> Result<u32> {
    let mut attr = DeviceAttr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: KVM_VCPU_TSC_OFFSET,
        addr: offset as *mut u64 as u64,
    };

    with_struct(fd, request, &mut attr)
}

/// A VM's ioctls. Everything with a file descriptor has them: kvm-ioctls' `VmFd`, or a `RawFd`.
pub trait VmIoctls {
    /// KVM_CHECK_EXTENSION, which `/dev/kvm` has, too.
    fn kvm_extension(&self, cap: u32) -> Result<u32>;
    /// KVM_ENABLE_CAP with one argument.
    fn kvm_enable(&self, cap: u32, argument: u64) -> Result<()>;
    /// KVM_SET_TSC_KHZ of the VM.
    fn kvm_set_tsc_khz(&self, khz: u32) -> Result<()>;
    /// KVM_GET_CLOCK.
    fn kvm_clock(&self) -> Result<ClockData>;
    /// KVM_SET_CLOCK.
    fn kvm_set_clock(&self, data: &ClockData) -> Result<()>;
}

/// A vCPU's ioctls, likewise.
pub trait VcpuIoctls {
    /// KVM_GET_TSC_KHZ.
    fn kvm_tsc_khz(&self) -> Result<u32>;
    /// The TSC that the guest reads now: MSR_IA32_TSC by KVM_GET_MSRS.
    fn kvm_tsc(&self) -> Result<u64>;
    /// KVM_VCPU_TSC_OFFSET.
    fn kvm_tsc_offset(&self) -> Result<u64>;
    /// KVM_VCPU_TSC_OFFSET.
    fn kvm_set_tsc_offset(&self, offset: u64) -> Result<()>;
}

impl<F: AsRawFd> VmIoctls for F {
    fn kvm_extension(&self, cap: u32) -> Result<u32> {
        with_number(self, CHECK_EXTENSION, cap)
    }

    fn kvm_enable(&self, cap: u32, argument: u64) -> Result<()> {
        let mut cap = EnableCap { cap, flags: 0, args: [argument, 0, 0, 0], pad: [0; 64] };

        with_struct(self, ENABLE_CAP, &mut cap).map(drop)
    }

    fn kvm_set_tsc_khz(&self, khz: u32) -> Result<()> {
        with_number(self, SET_TSC_KHZ, khz).map(drop)
    }

    fn kvm_clock(&self) -> Result<ClockData> {
        let mut data = ClockData::default();

        with_struct(self, GET_CLOCK, &mut data)?;
        Ok(data)
    }

    fn kvm_set_clock(&self, data: &ClockData) -> Result<()> {
        with_struct(self, SET_CLOCK, &mut data.clone()).map(drop)
    }
}

impl<F: AsRawFd> VcpuIoctls for F {
    fn kvm_tsc_khz(&self) -> Result<u32> {
        with_number(self, GET_TSC_KHZ, 0)
    }

    fn kvm_tsc(&self) -> Result<u64> {
        let mut msr = OneMsr { nmsrs: 1, pad: 0, index: MSR_IA32_TSC, reserved: 0, data: 0 };

        with_struct(self, GET_MSRS, &mut msr)?;
        Ok(msr.data)
    }

    fn kvm_tsc_offset(&self) -> Result<u64> {
        let mut offset = 0;

        tsc_offset_attr(self, GET_DEVICE_ATTR, &mut offset)?;
        Ok(offset)
    }

    fn kvm_set_tsc_offset(&self, mut offset: u64) -> Result<()> {
        tsc_offset_attr(self, SET_DEVICE_ATTR, &mut offset).map(drop)
    }
}
