//! qcow2 files made byte by byte, sound ones and others.

pub const CLUSTER: usize = 65_536;

/// The bytes of a qcow2 file, to be changed at will.
#[derive(Clone)]
pub struct Forged(pub Vec<u8>);

impl Forged {
    /// A sound, empty image of version 3: header, table of reference counts, one block of them, L1 table.
    pub fn empty(virtual_size: u64) -> Forged {
        let l1_entries = virtual_size.div_ceil((CLUSTER * CLUSTER / 8) as u64) as u32;
        assert!(l1_entries as usize * 8 <= CLUSTER);
        let mut forged = Forged(vec![0; 4 * CLUSTER]);
        forged.0[..4].copy_from_slice(b"QFI\xfb");
        forged
            .be32(4, 3)
            .be32(20, 16)
            .be64(24, virtual_size)
            .be32(36, l1_entries)
            .be64(40, 3 * CLUSTER as u64)
            .be64(48, CLUSTER as u64)
            .be32(56, 1)
            .be32(96, 4)
            .be32(100, 104)
            .be64(CLUSTER, 2 * CLUSTER as u64);
        for cluster in 0..4 {
            forged.0[2 * CLUSTER + 2 * cluster + 1] = 1;
        }
        forged
    }

    /// The same in version 2, whose header is shorter.
    pub fn version_2(virtual_size: u64) -> Forged {
        let mut forged = Forged::empty(virtual_size);
        forged.be32(4, 2);
        forged.0[72..104].fill(0);
        forged
    }

    pub fn be32(&mut self, at: usize, value: u32) -> &mut Forged {
        self.0[at..at + 4].copy_from_slice(&value.to_be_bytes());
        self
    }

    pub fn be64(&mut self, at: usize, value: u64) -> &mut Forged {
        self.0[at..at + 8].copy_from_slice(&value.to_be_bytes());
        self
    }

    pub fn text(&mut self, at: usize, text: &[u8]) -> &mut Forged {
        self.0[at..at + text.len()].copy_from_slice(text);
        self
    }

    /// A header extension right behind the header.
    pub fn extension(&mut self, kind: u32, content: &[u8]) -> &mut Forged {
        self.be32(104, kind).be32(108, content.len() as u32).text(112, content)
    }

    /// Its first guest cluster holds this byte throughout.
    pub fn with_data(virtual_size: u64, byte: u8) -> Forged {
        let mut forged = Forged::empty(virtual_size);
        forged.0.resize(6 * CLUSTER, 0);
        for cluster in [4, 5] {
            forged.0[2 * CLUSTER + 2 * cluster + 1] = 1;
        }
        const COPIED: u64 = 1 << 63;
        forged
            .be64(3 * CLUSTER, COPIED | (4 * CLUSTER) as u64)
            .be64(4 * CLUSTER, COPIED | (5 * CLUSTER) as u64);
        forged.0[5 * CLUSTER..].fill(byte);
        forged
    }
}
