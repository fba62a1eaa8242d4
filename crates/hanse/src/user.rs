//! The system user that the control plane and the guests run as.

use std::process::Command;

use hanse_core::{Context, Error, Result};
use nix::unistd::{Gid, Uid, User, setegid, seteuid, setgid, setgroups, setuid};

use crate::state::Owner;

/// # Errors
/// If the machine's user database cannot be read.
pub fn find(name: &str) -> Result<Option<Owner>> {
    let user = User::from_name(name).context(format!("cannot look up the user {name}"))?;
    Ok(user.map(|user| Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// Finds the user or makes it. Answers whether it was made.
///
/// # Errors
/// If there is none and none can be made.
pub fn find_or_make(name: &str) -> Result<(Owner, bool)> {
    if let Some(owner) = find(name)? {
        return Ok((owner, false));
    }
    run(
        "useradd",
        &[
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            "--user-group",
            name,
        ],
    )?;
    let owner = find(name)?
        .ok_or_else(|| Error::unavailable(format!("the user {name} was made but is not there")))?;
    Ok((owner, true))
}

/// # Errors
/// If the user cannot be removed.
pub fn remove(name: &str) -> Result<()> {
    if find(name)?.is_none() {
        return Ok(());
    }
    run("userdel", &[name])
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let done = Command::new(program).args(arguments).output().map_err(|error| {
        Error::unavailable(format!("cannot run {program}: install the package passwd")).because(error)
    })?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::unavailable(format!("{program} failed: {text}")))
}

/// Is this user until the value is dropped, so that what is written is the user's. To be called while there is one thread.
pub struct Acting(Uid, Gid);

impl Acting {
    /// # Errors
    /// If there is no such user, or the process is neither root nor this user.
    pub fn start(name: &str) -> Result<Acting> {
        let owner = find(name)?
            .ok_or_else(|| Error::bad_request(format!("there is no user {name}: `hanse up` makes it")))?;
        let before = Acting(Uid::effective(), Gid::effective());
        let what = format!("cannot act as the user {name}");
        setegid(Gid::from_raw(owner.gid)).context(what.clone())?;
        seteuid(Uid::from_raw(owner.uid)).context(what)?;
        Ok(before)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        let back = seteuid(self.0).and_then(|()| setegid(self.1));
        if let Err(error) = back {
            tracing::error!(%error, "cannot be the former user again");
        }
    }
}

/// Gives up root for good. To be called before any other thread exists.
///
/// # Errors
/// If the process was started as somebody else than root or this user.
pub fn become_user(name: &str) -> Result<()> {
    let owner = find(name)?
        .ok_or_else(|| Error::bad_request(format!("there is no user {name}: `hanse up` makes it")))?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    if Uid::effective() == uid {
        return Ok(());
    }
    let what = format!("cannot become the user {name}");
    setgroups(&[]).context(what.clone())?;
    setgid(gid).context(what.clone())?;
    setuid(uid).context(what)
}
