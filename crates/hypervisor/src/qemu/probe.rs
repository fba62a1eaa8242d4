//! Which accelerator works here, found out by using it.
//!
//! That `/dev/kvm` opens says nothing, and neither does `query-kvm`: there are hosts where both agree and a guest
//! hangs in its first instructions. So a guest of four instructions is booted, which makes QEMU exit with a code
//! that nothing else gives. The verdict is kept until the kernel, the processor or QEMU changes.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hanse_core::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::Settings;
use super::command;
use super::process::{self, Surroundings};
use crate::{Accelerator, files};

/// How long a guest of four instructions may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The debug-exit device makes QEMU exit with twice the written value plus one.
const EXIT_PORT: u16 = 0x501;
const EXIT_VALUE: u8 = 0x10;
const EXIT_CODE: i32 = EXIT_VALUE as i32 * 2 + 1;

/// SeaBIOS does not boot from smaller disks: it cannot make a geometry for them.
const DISK_SIZE: usize = 1 << 20;

/// A disk with a boot sector that writes [`EXIT_VALUE`] to [`EXIT_PORT`] and halts.
fn boot_disk() -> Vec<u8> {
    let [low, high] = EXIT_PORT.to_le_bytes();
    let code = [
        0xba, low, high, // mov dx, EXIT_PORT
        0xb0, EXIT_VALUE, // mov al, EXIT_VALUE
        0xee,       // out dx, al
        0xf4,       // hlt
        0xeb, 0xfd, // jmp to the hlt
    ];
    let mut disk = vec![0; DISK_SIZE];
    disk[..code.len()].copy_from_slice(&code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// A verdict and what it holds for.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    kernel: String,
    processor: String,
    qemu: String,
    accelerator: Accelerator,
}

/// KVM if a guest runs under it, TCG otherwise.
///
/// # Errors
/// When QEMU itself does not run, or the verdict cannot be kept.
pub async fn probe(settings: &Settings, machine: &str) -> Result<Accelerator> {
    let path = settings.base.join("accelerator.json");
    let mut verdict = Verdict {
        kernel: first_line(&files::read(Path::new("/proc/sys/kernel/osrelease"), 4096)?.unwrap_or_default()),
        processor: processor()?,
        qemu: first_line(&ask(settings, "--version").await?),
        accelerator: Accelerator::Tcg,
    };
    let known = files::read(&path, 64 << 10)?.and_then(|text| serde_json::from_slice::<Verdict>(&text).ok());
    if let Some(known) = known {
        verdict.accelerator = known.accelerator;
        if verdict == known {
            return Ok(known.accelerator);
        }
    }
    verdict.accelerator = match boots(settings, machine, Accelerator::Kvm, LIMIT).await {
        Ok(()) => Accelerator::Kvm,
        Err(error) => {
            tracing::warn!(%error, "KVM does not work here; guests run emulated, which is slow");
            Accelerator::Tcg
        }
    };
    let text = serde_json::to_vec_pretty(&verdict).context("cannot encode the accelerator's verdict")?;
    files::write(&path, &text, None)?;
    Ok(verdict.accelerator)
}

/// Boots the four instructions under an accelerator.
///
/// # Errors
/// When they do not run to their end, with what QEMU said.
pub async fn boots(
    settings: &Settings,
    machine: &str,
    accelerator: Accelerator,
    limit: Duration,
) -> Result<()> {
    let image = settings.base.join("probe.img");
    files::write(&image, &boot_disk(), settings.owner)?;
    let mut arguments = Vec::new();
    for (option, value) in command::base(machine, accelerator) {
        arguments.push(OsString::from(option));
        arguments.extend((!value.is_empty()).then(|| OsString::from(value)));
    }
    let exit = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=2");
    let disk = "driver=raw,node-name=boot,read-only=on,file.driver=file,file.filename=probe.img";
    let more = [
        "-m",
        "32M",
        "-device",
        &exit,
        "-blockdev",
        disk,
        "-device",
        "virtio-blk-pci,drive=boot,bootindex=1",
    ];
    arguments.extend(more.map(OsString::from));
    let output = process::bounded_output(16 << 10)?;
    let around = Surroundings {
        keep: Vec::new(),
        directory: &settings.base,
        namespace: None,
        owner: settings.owner,
        groups: settings.groups(),
        output: &output,
        dies_with_us: true,
    };
    let command = process::command(&settings.binary, arguments, around)?;
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .context(format!("cannot run {}", settings.binary.display()))?;
    let name = accelerator.as_str();
    let ended = tokio::time::timeout(limit, child.wait()).await;
    if ended.is_err() {
        child.kill().await.context("cannot kill the probe")?;
    }
    match ended {
        Ok(status) if status.as_ref().is_ok_and(|status| status.code() == Some(EXIT_CODE)) => Ok(()),
        Ok(status) => {
            let status = status.context("cannot wait for QEMU")?;
            let said = process::written(&output);
            Err(Error::unavailable(format!("a test guest under {name} ended with {status}: {said}")))
        }
        Err(_) => {
            Err(Error::unavailable(format!("a test guest under {name} did not get through in {limit:?}")))
        }
    }
}

/// The versioned machine type that `q35` stands for in this QEMU.
pub async fn newest_machine(settings: &Settings) -> Result<String> {
    let text = ask(settings, "-machine help").await?;
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .filter(|line| line.starts_with("q35 "))
        .find_map(|line| line.split("(alias of ").nth(1)?.strip_suffix(')'))
        .map(str::to_owned)
        .ok_or_else(|| Error::internal(format!("{} has no machine type q35", settings.binary.display())))
}

/// Runs QEMU only for what it prints.
async fn ask(settings: &Settings, arguments: &str) -> Result<Vec<u8>> {
    let what = format!("cannot run {} {arguments}", settings.binary.display());
    let run = Command::new(&settings.binary)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let limit = Duration::from_secs(30);
    let late = |_| Error::unavailable(format!("{what}: no answer in {} s", limit.as_secs()));
    let output = tokio::time::timeout(limit, run).await.map_err(late)?.context(&what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::internal(format!("{what}: {}: {}", output.status, said.trim())));
    }
    Ok(output.stdout)
}

fn processor() -> Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    Ok(text.lines().find(|line| line.starts_with("model name")).unwrap_or("unknown").to_owned())
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::Choice;

    #[tokio::test]
    async fn four_instructions_run_to_their_end_under_emulation_and_a_broken_qemu_is_no_success() {
        let base = tempfile::tempdir().unwrap();
        // Emulation on a busy host may take long; nothing here depends on how long.
        let limit = Duration::from_secs(120);
        let mut settings = Settings { accelerator: Choice::Tcg, ..Settings::new(base.path()) };
        if !settings.binary.exists() {
            let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
            assert!(!required.split(',').any(|area| area.trim() == "qemu"), "qemu is required");
            eprintln!("SKIPPED: this needs qemu");
            return;
        }
        boots(&settings, "q35", Accelerator::Tcg, limit).await.unwrap();
        assert!(newest_machine(&settings).await.unwrap().starts_with("pc-q35-"));
        let error = boots(&settings, "no-such-machine", Accelerator::Tcg, limit).await.unwrap_err();
        assert!(error.message().contains("unsupported machine type"), "{error}");
        settings.binary = "/bin/true".into();
        boots(&settings, "q35", Accelerator::Tcg, limit).await.unwrap_err();
        // One that hangs, as KVM does on some hosts.
        settings.binary = base.path().join("hangs");
        std::fs::write(&settings.binary, "#!/bin/sh\nexec sleep 3600\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&settings.binary, mode).unwrap();
        let error = boots(&settings, "q35", Accelerator::Tcg, Duration::from_millis(300)).await.unwrap_err();
        assert!(error.message().contains("did not get through"), "{error}");
    }
}
