//! Tap devices that outlive the process that made them.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

use hanse_core::{Context, Result};
use nix::libc;

/// The user and group that may open a tap without being root: those of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOwner {
    pub uid: u32,
    pub gid: u32,
}

// From linux/if_tun.h.
nix::ioctl_write_ptr!(set_interface, b'T', 202, libc::c_int);
nix::ioctl_write_int!(set_persist, b'T', 203);
nix::ioctl_write_int!(set_owner, b'T', 204);
nix::ioctl_write_int!(set_group, b'T', 206);

/// Makes a tap in the calling thread's namespace. Until the last step it vanishes with this process, so a crash
/// leaves either none or a whole one.
pub fn create(name: &str, owner: TapOwner) -> Result<()> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun (is the kernel module tun loaded?)")?;
    let fd = device.as_raw_fd();
    // SAFETY: ifreq is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    // SAFETY: the descriptor is open, and the kernel reads and writes one ifreq, which outlives the call.
    unsafe { set_interface(fd, (&raw mut request).cast()) }
        .context(format_args!("cannot make tap {name}"))?;
    // SAFETY: these three take a number, no pointer.
    unsafe {
        set_owner(fd, owner.uid.into()).context(format_args!("cannot give away tap {name}"))?;
        set_group(fd, owner.gid.into()).context(format_args!("cannot give away tap {name}"))?;
        set_persist(fd, 1).context(format_args!("cannot keep tap {name}"))?;
    }
    Ok(())
}
