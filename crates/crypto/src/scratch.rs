//! The memory that Argon2 fills. A thread that hashes keeps it from one hash to the next: to get 19 MiB from the system
//! and to touch them for the first time costs a tenth of the hash.

use std::cell::RefCell;

use argon2::{Argon2, Block};

/// More than this is given back at once: only hashes from elsewhere ask for it.
const KEPT_MAX_KIB: usize = 32 * 1024;

thread_local! {
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// `Argon2::hash_password_into` with the memory of this thread, which keeps it until [`release`].
pub(crate) fn hash_into(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> argon2::Result<()> {
    MEMORY.with_borrow_mut(|memory| {
        let blocks = argon2.params().block_count();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let hashed = argon2.hash_password_into_with_memory(password, salt, out, memory.as_mut_slice());
        if blocks * Block::SIZE > KEPT_MAX_KIB * 1024 {
            *memory = Vec::new();
        }
        hashed
    })
}

/// Gives the memory of this thread back.
pub(crate) fn release() {
    MEMORY.with_borrow_mut(|memory| *memory = Vec::new());
}

#[cfg(test)]
pub(crate) fn kept() -> usize {
    MEMORY.with_borrow(Vec::len)
}
