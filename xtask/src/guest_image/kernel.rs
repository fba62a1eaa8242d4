//! The kernel of the guest and the few modules of it that a virtual machine needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What the guest loads, in this order, each after what it depends on. Everything else a guest meets here (ext4,
/// af_packet, PCI Express and ACPI hot-plug, the serial port) is built into Debian's cloud kernel.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "virtio_scsi", // a config drive is a CD-ROM behind this
    "sr_mod",
    "vfat",      // its file system is either this
    "nls_cp437", // with the two character sets that vfat asks for
    "nls_ascii",
    "isofs",  // or this
    "button", // the ACPI power button
    "evdev",  // and the way a program hears of it
];

/// An unpacked kernel.
pub struct Kernel {
    /// The compressed kernel image.
    pub image: PathBuf,
    /// Its version, as `uname -r` says it.
    pub release: String,
    /// The modules to load, in an order in which every module comes after those it needs.
    pub modules: Vec<Module>,
}

/// One kernel module.
#[derive(Debug)]
pub struct Module {
    /// Its name with underscores, as `lsmod` shows it.
    pub name: String,
    /// The names of the modules it needs.
    pub needs: Vec<String>,
    /// The object file.
    pub content: Vec<u8>,
}

/// Finds the one kernel below `root`.
pub fn find(root: &Path) -> Result<Kernel> {
    let boot = root.join("boot");
    let mut found = None;
    for entry in fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            found = Some((boot.join(&name), release.to_owned()));
        }
    }
    let Some((image, release)) = found else { bail!("{} holds no kernel", boot.display()) };
    let mut files = BTreeMap::new();
    index(&root.join("lib/modules").join(&release).join("kernel"), &mut files)?;
    let mut modules = Vec::new();
    for name in MODULES {
        collect(name, &files, &mut modules)?;
    }
    Ok(Kernel { image, release, modules })
}

/// Maps the name of every module below `directory` to its file.
fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            index(&path, files)?;
        } else if let Some(stem) = entry.file_name().to_string_lossy().strip_suffix(".ko") {
            files.insert(stem.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Appends `name` to `modules`, after everything that it needs; does nothing when it is there already.
fn collect(name: &str, files: &BTreeMap<String, PathBuf>, modules: &mut Vec<Module>) -> Result<()> {
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(path) = files.get(name) else { bail!("the kernel package has no module {name}") };
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let needs = needs(&content);
    for need in &needs {
        collect(need, files, modules)?;
    }
    modules.push(Module { name: name.to_owned(), needs, content });
    Ok(())
}

/// What a module says it needs: `depends=a,b` among the NUL-terminated strings of its `.modinfo` section.
fn needs(content: &[u8]) -> Vec<String> {
    content
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .map(|list| String::from_utf8_lossy(list).into_owned())
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=virtio-ring,virtio\0name=x\0"),
            ["virtio_ring", "virtio"]
        );
        assert!(needs(b"license=GPL\0depends=\0").is_empty());
    }

    #[test]
    fn modules_come_after_those_they_need_and_only_once() {
        let directory = tempfile::tempdir().unwrap();
        for (name, depends) in [("a", "b,c-d"), ("b", "c-d"), ("c-d", "")] {
            fs::write(directory.path().join(format!("{name}.ko")), format!("\0depends={depends}\0")).unwrap();
        }
        let mut files = BTreeMap::new();
        index(directory.path(), &mut files).unwrap();
        let mut modules = Vec::new();
        collect("a", &files, &mut modules).unwrap();
        collect("b", &files, &mut modules).unwrap();
        let order: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(order, ["c_d", "b", "a"]);
        assert!(collect("missing", &files, &mut modules).is_err());
    }
}
