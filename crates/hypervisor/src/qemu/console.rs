//! The serial console, kept within bounds whether the agent runs or not.
//!
//! QEMU writes it to a ring in its own memory; there it stays within [`RING`] bytes without anybody's help. The
//! driver fetches it now and then into `console.log`, which it rotates. A guest that prints faster than it is
//! fetched loses the oldest part, as on a real terminal.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use hanse_core::{Context, Error, Result};
use serde_json::json;
use tokio::sync::Mutex;

use crate::files;
use crate::qmp::Qmp;

/// Bytes that QEMU keeps, a power of two.
pub const RING: usize = 256 << 10;
/// At this size, in bytes, the log is rotated; so two files of it are the most there is, plus one fetched part.
pub const LOG_MAX: u64 = 512 << 10;
const PART: usize = 64 << 10;
pub const CHARDEV: &str = "console";

/// Fetches what QEMU has. `order` keeps two fetches from mixing their parts.
pub async fn fetch(qmp: &Qmp, directory: &Path, order: &Mutex<()>) -> Result<()> {
    let _order = order.lock().await;
    // Bounded, because a guest may print faster than we read.
    for _ in 0..2 * RING / PART {
        let arguments = json!({ "device": CHARDEV, "size": PART, "format": "base64" });
        let answer = qmp.execute("ringbuf-read", arguments).await?;
        let text = answer.as_str().ok_or_else(|| Error::internal("QEMU gives no console"))?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .context("QEMU gives a console that is not base64")?;
        if bytes.is_empty() {
            break;
        }
        append(directory, &bytes)?;
    }
    Ok(())
}

fn append(directory: &Path, bytes: &[u8]) -> Result<()> {
    let path = directory.join("console.log");
    let what = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).context(what())?;
    file.write_all(bytes).context(what())?;
    if file.metadata().context(what())?.len() > LOG_MAX {
        std::fs::rename(&path, directory.join("console.log.1")).context(what())?;
    }
    Ok(())
}

/// The last bytes of the log.
pub fn tail(directory: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    let limit = LOG_MAX + PART as u64;
    let newer = files::read(&directory.join("console.log"), limit)?.unwrap_or_default();
    let mut all = match newer.len() < max_bytes {
        true => files::read(&directory.join("console.log.1"), limit)?.unwrap_or_default(),
        false => Vec::new(),
    };
    all.extend(newer);
    Ok(all.split_off(all.len().saturating_sub(max_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_end_and_stays_within_its_bounds() {
        let directory = tempfile::tempdir().unwrap();
        for part in 0..40_u8 {
            append(directory.path(), &vec![part; PART]).unwrap();
            let sizes =
                std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
            assert!(sizes.sum::<u64>() <= 2 * (LOG_MAX + PART as u64));
        }
        let end = tail(directory.path(), PART + 10).unwrap();
        assert_eq!(end.len(), PART + 10);
        assert!(end[..10].iter().all(|byte| *byte == 38) && end[10..].iter().all(|byte| *byte == 39));
        assert_eq!(tail(&directory.path().join("none"), 10).unwrap(), b"");
    }
}
