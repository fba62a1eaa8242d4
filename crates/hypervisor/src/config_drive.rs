//! The config drive: an ISO 9660 image with the label that cloud-init looks for.
//!
//! Written here because what is needed is small: a handful of files, no boot record. The image has two directory
//! trees over the same file contents, the primary one (upper case, ECMA-119) and Joliet's (exact names, UCS-2).
//! The same files always give the same image.

use std::collections::{BTreeMap, BTreeSet};

use hanse_core::{Error, Result};

use crate::metadata::Files;

/// By this label a guest finds the drive.
pub const LABEL: &str = "config-2";

/// No drive is larger, in bytes; user data is limited to 64 KiB long before.
const IMAGE_MAX: usize = 16 << 20;

const SECTOR: usize = 2048;
/// Sectors 0–15 are the system area; then primary descriptor, Joliet descriptor, terminator.
const FIRST_DESCRIPTOR: u32 = 16;
const FIRST_FREE: u32 = 19;
/// 1980-01-01 00:00 UTC in a directory record: content that is equal shall be equal.
const DATE: [u8; 7] = [80, 1, 1, 0, 0, 0, 0];

/// Builds the image.
///
/// # Errors
/// When the files are too many or too large for a config drive.
pub fn image(files: &Files) -> Result<Vec<u8>> {
    let size: usize = files.values().map(|content| content.len().next_multiple_of(SECTOR)).sum();
    if size > IMAGE_MAX {
        return Err(Error::too_large(format!("a config drive holds at most {IMAGE_MAX} bytes, not {size}")));
    }
    let directories = directories(files);
    let mut trees =
        [Tree::new(Names::Primary, files, &directories), Tree::new(Names::Joliet, files, &directories)];
    let mut next = FIRST_FREE;
    for tree in &mut trees {
        next = tree.place(next);
    }
    let mut extents = BTreeMap::new();
    for (path, content) in files {
        extents.insert(path.as_str(), (next, number(content.len())));
        next += sectors(content.len());
    }

    let mut image = vec![0; next as usize * SECTOR];
    let mut put = |sector: u32, bytes: &[u8]| {
        let from = sector as usize * SECTOR;
        image[from..from + bytes.len()].copy_from_slice(bytes);
    };
    for (index, tree) in (0..).zip(&trees) {
        put(FIRST_DESCRIPTOR + index, &tree.descriptor(next));
        put(tree.path_tables[0], &tree.path_table(u32::to_le_bytes, u16::to_le_bytes));
        put(tree.path_tables[1], &tree.path_table(u32::to_be_bytes, u16::to_be_bytes));
        for directory in 0..tree.directories.len() {
            put(tree.directories[directory].extent.0, &tree.records(directory, &extents));
        }
    }
    put(FIRST_DESCRIPTOR + 2, b"\xffCD001\x01");
    for (path, content) in files {
        put(extents[path.as_str()].0, content);
    }
    Ok(image)
}

/// Every directory that the paths imply; the root is the empty path.
fn directories(files: &Files) -> BTreeSet<&str> {
    let mut found = BTreeSet::from([""]);
    for path in files.keys() {
        found.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    found
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Primary,
    Joliet,
}

impl Names {
    fn encode(self, name: &str) -> Vec<u8> {
        match self {
            Names::Primary => name.to_ascii_uppercase().into_bytes(),
            Names::Joliet => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }

    /// A file's name has an extension and a version.
    fn encode_file(self, name: &str) -> Vec<u8> {
        let dot = if self == Names::Primary && !name.contains('.') { "." } else { "" };
        self.encode(&format!("{name}{dot};1"))
    }
}

/// One of the two directory trees.
struct Tree<'a> {
    names: Names,
    /// In the order of the path table: by depth, then by parent, then by name. The first is the root.
    directories: Vec<Directory<'a>>,
    /// Sectors of the little-endian and of the big-endian path table.
    path_tables: [u32; 2],
}

struct Directory<'a> {
    name: Vec<u8>,
    parent: usize,
    children: Vec<Child<'a>>,
    /// First sector and size in bytes.
    extent: (u32, u32),
}

struct Child<'a> {
    name: Vec<u8>,
    what: What<'a>,
}

enum What<'a> {
    File(&'a str),
    /// Its place in the path table.
    Directory(usize),
}

impl<'a> Tree<'a> {
    fn new(names: Names, files: &'a Files, all: &BTreeSet<&'a str>) -> Tree<'a> {
        let mut tree = Tree { names, directories: Vec::new(), path_tables: [0; 2] };
        let mut paths = vec![("", 0)];
        let mut at = 0;
        while let Some(&(path, parent)) = paths.get(at) {
            let mut children: Vec<_> =
                all.iter()
                    .filter_map(|directory| {
                        Some((names.encode(child_of(path, directory)?), Some(*directory), ""))
                    })
                    .chain(files.keys().filter_map(|file| {
                        Some((names.encode_file(child_of(path, file)?), None, file.as_str()))
                    }))
                    .collect();
            children.sort();
            let children = children.into_iter().map(|(name, directory, file)| match directory {
                None => Child { name, what: What::File(file) },
                Some(directory) => {
                    paths.push((directory, at));
                    Child { name, what: What::Directory(paths.len() - 1) }
                }
            });
            let children = children.collect();
            let name = if at == 0 { vec![0] } else { names.encode(path.rsplit('/').next().unwrap_or(path)) };
            tree.directories.push(Directory { name, parent, children, extent: (0, 0) });
            at += 1;
        }
        tree
    }

    /// Gives the tree its sectors from `next` on and returns the first one behind it.
    fn place(&mut self, mut next: u32) -> u32 {
        let table = self.path_table(u32::to_le_bytes, u16::to_le_bytes).len();
        for start in &mut self.path_tables {
            *start = next;
            next += sectors(table);
        }
        for directory in &mut self.directories {
            let mut length = 2 * record(&[0], (0, 0), true).len();
            for child in &directory.children {
                length = fit(length, record(&child.name, (0, 0), false).len());
            }
            directory.extent = (next, number(length.next_multiple_of(SECTOR)));
            next += sectors(length);
        }
        next
    }

    fn path_table(&self, long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let mut table = Vec::new();
        for directory in &self.directories {
            table.extend([byte(directory.name.len()), 0]);
            table.extend(long(directory.extent.0));
            table.extend(short(u16::try_from(directory.parent + 1).unwrap_or(u16::MAX)));
            table.extend(&directory.name);
            table.resize(table.len().next_multiple_of(2), 0);
        }
        table
    }

    fn records(&self, directory: usize, files: &BTreeMap<&str, (u32, u32)>) -> Vec<u8> {
        let directory = &self.directories[directory];
        let mut records = record(&[0], directory.extent, true);
        records.extend(record(&[1], self.directories[directory.parent].extent, true));
        for child in &directory.children {
            let record = match child.what {
                What::File(path) => record(&child.name, files.get(path).copied().unwrap_or_default(), false),
                What::Directory(index) => record(&child.name, self.directories[index].extent, true),
            };
            records.resize(fit(records.len(), record.len()) - record.len(), 0);
            records.extend(record);
        }
        records
    }

    /// The volume descriptor (ECMA-119 8.4 and 8.5).
    fn descriptor(&self, volume_sectors: u32) -> Vec<u8> {
        let joliet = self.names == Names::Joliet;
        let space = self.names.encode(" ");
        let mut sector = vec![0; SECTOR];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, if joliet { b"\x02CD001\x01" } else { b"\x01CD001\x01" });
        // Texts are padded with spaces: system and volume; volume set, publisher, preparer, application, files.
        put(8, &space.repeat(64 / space.len()));
        put(190, &space.repeat(623 / space.len()));
        // A label is taken as it is, in both trees.
        let label = if joliet { self.names.encode(LABEL) } else { LABEL.as_bytes().to_vec() };
        put(40, &label);
        put(80, &both_long(volume_sectors));
        if joliet {
            put(88, b"%/E");
        }
        put(120, &both_short(1));
        put(124, &both_short(1));
        put(128, &both_short(2048));
        put(132, &both_long(number(self.path_table(u32::to_le_bytes, u16::to_le_bytes).len())));
        put(140, &self.path_tables[0].to_le_bytes());
        put(148, &self.path_tables[1].to_be_bytes());
        put(156, &record(&[0], self.directories[0].extent, true));
        for date in [813, 830, 847, 864] {
            put(date, &[b'0'; 16]);
        }
        put(881, &[1]);
        sector
    }
}

/// The name of `path` in `directory`, if it stands directly in it.
fn child_of<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    let name = match directory {
        "" => path,
        _ => path.strip_prefix(directory)?.strip_prefix('/')?,
    };
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// A directory record (ECMA-119 9.1).
fn record(name: &[u8], (sector, size): (u32, u32), directory: bool) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both_long(sector));
    record.extend(both_long(size));
    record.extend(DATE);
    record.extend([if directory { 2 } else { 0 }, 0, 0]);
    record.extend(both_short(1));
    record.push(byte(name.len()));
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = byte(record.len());
    record
}

/// The length after a record of `record` bytes was added behind `length`: none crosses a sector.
fn fit(length: usize, record: usize) -> usize {
    let free = SECTOR - length % SECTOR;
    if record <= free { length + record } else { length + free + record }
}

fn sectors(bytes: usize) -> u32 {
    number(bytes.div_ceil(SECTOR))
}

/// Lengths are bounded by [`IMAGE_MAX`], so nothing is ever cut off here.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

fn both_long(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both_short(value: u16) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes[..2].copy_from_slice(&value.to_le_bytes());
    bytes[2..].copy_from_slice(&value.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8]) -> usize {
        u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize
    }

    /// Reads an image back as a guest does: descriptor, root record, then down the directories.
    fn read(image: &[u8], descriptor: usize, name: fn(&[u8]) -> String) -> Files {
        let mut files = Files::new();
        let mut open = vec![(String::new(), image[descriptor * SECTOR + 156..].to_vec())];
        while let Some((path, record)) = open.pop() {
            let (from, size) = (long(&record[2..]) * SECTOR, long(&record[10..]));
            let content = &image[from..from + size];
            if record[25] & 2 == 0 {
                files.insert(path, content.to_vec());
                continue;
            }
            for sector in content.chunks(SECTOR) {
                let mut rest = sector;
                while rest.first().is_some_and(|length| *length > 0) {
                    let (record, more) = rest.split_at(rest[0] as usize);
                    let id = &record[33..33 + record[32] as usize];
                    if id != [0] && id != [1] {
                        let child = name(id);
                        let path = if path.is_empty() { child } else { format!("{path}/{child}") };
                        open.push((path, record.to_vec()));
                    }
                    rest = more;
                }
            }
        }
        files
    }

    fn some_files() -> Files {
        let mut files = Files::from([
            ("openstack/latest/meta_data.json".to_owned(), b"{}".to_vec()),
            ("openstack/latest/user_data".to_owned(), vec![7; 5000]),
            ("openstack/2018-08-27/meta_data.json".to_owned(), b"{\"a\":1}".to_vec()),
            ("ec2/latest/meta-data.json".to_owned(), Vec::new()),
        ]);
        // More than one sector of directory.
        for index in 0..60 {
            files.insert(format!("many/some-long-name-{index:02}.json"), vec![index; 3]);
        }
        files
    }

    #[test]
    fn an_image_gives_back_the_files_in_both_trees() {
        let files = some_files();
        let image = image(&files).unwrap();
        let joliet = |id: &[u8]| {
            let units: Vec<u16> = id.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap().trim_end_matches(";1").to_owned()
        };
        assert_eq!(read(&image, 17, joliet), files);
        // As Linux shows the primary tree: lower case, without version and without an empty extension.
        let primary = |id: &[u8]| {
            let name = String::from_utf8(id.to_vec()).unwrap().to_lowercase();
            name.trim_end_matches(";1").trim_end_matches('.').to_owned()
        };
        assert_eq!(read(&image, 16, primary), files);
    }

    #[test]
    fn equal_files_give_equal_images_with_the_label_that_guests_look_for() {
        let image = image(&some_files()).unwrap();
        assert_eq!(image, super::image(&some_files()).unwrap());
        assert_eq!(&image[16 * SECTOR + 40..][..9], b"config-2 ");
        assert_eq!(image.len() % SECTOR, 0);
        assert_eq!(long(&image[16 * SECTOR + 80..]) * SECTOR, image.len());
    }
}
