//! `xtask guest-image`: a tiny disk image that boots like a cloud image does, built in seconds from Debian packages.
//!
//! Nothing is installed on the building machine and no privilege is needed: the packages are downloaded, unpacked
//! below the work directory, and used from there. The result is rebuilt only when one of its inputs changed.

mod command;
mod cpio;
mod disk;
mod initramfs;
mod kernel;
mod packages;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use packages::Packages;

/// How the finished disk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// The name that `qemu-img` and file names use.
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

#[derive(Args)]
pub struct Options {
    /// Where the image is written; by default `hanse-guest.<format>` in the work directory.
    #[arg(long)]
    output: Option<PathBuf>,
    /// The format of the image.
    #[arg(long, value_enum, default_value_t = Format::Qcow2)]
    format: Format,
    /// Where packages and intermediate files are kept; by default `target/guest` of this repository.
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Build even when no input changed.
    #[arg(long)]
    force: bool,
}

/// What decides about the image besides the packages: if one of these texts changes, a built image is stale.
const SOURCES: &[&str] = &[
    include_str!("cpio.rs"),
    include_str!("disk.rs"),
    include_str!("initramfs.rs"),
    include_str!("kernel.rs"),
    include_str!("mod.rs"),
    include_str!("packages.rs"),
];

/// Builds the image, or says that the one which is there is still right.
pub fn run(options: &Options) -> Result<()> {
    let work = match &options.work_dir {
        Some(path) => path.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest"),
    };
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let work = work.canonicalize()?;
    let output = match &options.output {
        Some(path) => std::path::absolute(path)?,
        None => work.join(format!("hanse-guest.{}", options.format.name())),
    };

    // Two builds at once (two test binaries, say) would unpack into the same directories.
    let lock = File::create(work.join("lock"))?;
    lock.lock().context("cannot lock the work directory")?;

    step("resolving Debian packages");
    let packages = Packages::resolve(&work)?;
    let inputs = inputs(&packages, options.format);
    let stamp = stamp_path(&output);
    if !options.force && output.exists() && fs::read_to_string(&stamp).is_ok_and(|seen| seen == inputs) {
        step(&format!("{} is up to date", output.display()));
        return Ok(());
    }

    let root = packages.unpack()?;
    step("assembling the initramfs");
    let kernel = kernel::find(&root)?;
    let initramfs = initramfs::build(&root, &kernel)?;
    step("writing the disk");
    let raw = work.join("disk.raw.new");
    disk::build(&root, &kernel.image, &initramfs, &work, &raw)?;
    publish(&raw, options.format, &output)?;
    write_durably(&stamp, inputs.as_bytes())?;

    let size = fs::metadata(&output)?.len();
    step(&format!("{} is ready: {:.1} MiB, kernel {}", output.display(), mib(size), kernel.release));
    Ok(())
}

/// Converts the raw disk and moves it to its place only when it is whole.
fn publish(raw: &Path, format: Format, output: &Path) -> Result<()> {
    if let Some(directory) = output.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut fresh = output.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    command::ensure_tool("qemu-img", "qemu-utils")?;
    // Also for a raw image: the conversion keeps the holes and works across file systems.
    command::run("qemu-img", |c| c.args(["convert", "-f", "raw", "-O", format.name()]).arg(raw).arg(&fresh))?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, output).with_context(|| format!("cannot put {} in place", output.display()))?;
    fs::remove_file(raw)?;
    Ok(())
}

/// Everything that the image is made of, as text: compared literally, so no hash has to be trusted or kept stable.
fn inputs(packages: &Packages, format: Format) -> String {
    let mut text = format!("format {}\n{}", format.name(), packages.versions());
    SOURCES.iter().for_each(|source| text.push_str(source));
    initramfs::SCRIPTS.iter().for_each(|script| text.push_str(script.text));
    text
}

fn stamp_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".inputs");
    PathBuf::from(path)
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// One line of progress.
fn step(text: &str) {
    eprintln!("guest-image: {text}");
}
