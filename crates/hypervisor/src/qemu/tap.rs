//! Opening a tap that the network driver made, in the namespace that it made it in.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use hanse_core::{Context, Error, Result};

/// Opens the tap `name` in the namespace. QEMU gets the descriptor and so needs no right to open any.
///
/// # Errors
/// When there is no such namespace, or no such tap in it (none is ever made here).
pub fn open(namespace: Option<&Path>, name: &str) -> Result<OwnedFd> {
    let what = || match namespace {
        Some(namespace) => format!("cannot open tap {name} in {}", namespace.display()),
        None => format!("cannot open tap {name}"),
    };
    let missing = || Error::conflict(format!("{}: there is none", what()));
    let interface = CString::new(name).ok().filter(|name| name.as_bytes_with_nul().len() <= libc::IFNAMSIZ);
    let interface = interface.ok_or_else(missing)?;
    let Some(path) = namespace else {
        return open_here(&interface).context(what())?.ok_or_else(missing);
    };
    let file = File::open(path).context(what())?;
    // A thread of its own enters the namespace and ends there, so that no other work ever runs in it.
    let opened = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the descriptor is open; only this thread changes its namespace.
            if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
                return Err(io::Error::last_os_error());
            }
            open_here(&interface)
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that opens it panicked")))
    });
    opened.context(what())?.ok_or_else(missing)
}

/// In the namespace of the calling thread; none if there is no such interface.
fn open_here(name: &CString) -> io::Result<Option<OwnedFd>> {
    // Asking for an unknown name would make a new tap.
    // SAFETY: the name is a C string.
    if unsafe { libc::if_nametoindex(name.as_ptr()) } == 0 {
        return Ok(None);
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an all-zero ifreq is a valid one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: TUNSETIFF reads an ifreq, which outlives the call.
    if unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a write of QEMU's must never block its main loop.
    if unsafe { libc::fcntl(device.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Some(device.into()))
}
