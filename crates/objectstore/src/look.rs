//! What a look at the store and a transaction have in common, so that what only reads is written once.

use hanse_core::Result;
use hanse_logstore::{Change, Record, View};

/// What a look at the store and a transaction have in common.
pub trait Look {
    /// # Errors
    /// Internal if the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Record>>;
    /// The first record of which `is_it` says so.
    ///
    /// # Errors
    /// Internal if the store cannot be read.
    fn first(&self, prefix: &[u8], is_it: impl Fn(&Record) -> Result<bool>) -> Result<Option<Record>>;
}

fn first_of(
    found: impl Iterator<Item = Result<(Vec<u8>, Record)>>,
    is_it: impl Fn(&Record) -> Result<bool>,
) -> Result<Option<Record>> {
    for item in found {
        let (_, record) = item?;
        if is_it(&record)? {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

impl Look for View {
    fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        View::get(self, key)
    }

    fn first(&self, prefix: &[u8], is_it: impl Fn(&Record) -> Result<bool>) -> Result<Option<Record>> {
        first_of(self.scan_prefix(prefix)?, is_it)
    }
}

impl Look for Change<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        Change::get(self, key)
    }

    fn first(&self, prefix: &[u8], is_it: impl Fn(&Record) -> Result<bool>) -> Result<Option<Record>> {
        first_of(self.scan_prefix(prefix)?, is_it)
    }
}
