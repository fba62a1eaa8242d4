//! Objects that end by themselves at a time which stands in their head (Swift's `X-Delete-At`). From then on they are not seen,
//! whether they have been removed yet or not, in either API. What is due is found by an index in the order of the ends.
//!
//! It ends as if its owner deleted it: with versions there is a delete marker then, and the version stays.

use std::ops::Bound;

use hanse_core::{Error, Result, Timestamp};
use hanse_logstore::Change;

use crate::conditions::Conditions;
use crate::expiry::BATCH;
use crate::notifications::Origin;
use crate::record::{self, Bucket, Head};
use crate::versions::{Wanted, delete};
use crate::{ObjectStore, keys};

/// The object has become what is seen of its key.
///
/// # Errors
/// Internal if the store cannot be written.
pub fn enter(change: &mut Change<'_>, bucket: &Bucket, key: &str, head: &Head) -> Result<()> {
    match head.ends_at {
        Some(end) => change.put(&keys::end(end, &bucket.id, key), bucket.name.clone(), &[]),
        None => Ok(()),
    }
}

/// The object is not any more what is seen of its key.
///
/// # Errors
/// Internal if the store cannot be written.
pub fn leave(change: &mut Change<'_>, bucket: &Bucket, key: &str, head: &Head) -> Result<()> {
    match head.ends_at {
        Some(end) => change.delete(&keys::end(end, &bucket.id, key)),
        None => Ok(()),
    }
}

/// The end, the bucket's id and the object of a key of the index.
fn split(place: &[u8]) -> Option<(i64, &str, &str)> {
    let text = std::str::from_utf8(place.strip_prefix(keys::ENDS)?).ok()?;
    let mut parts = text.splitn(3, '/');
    let end = i64::from_str_radix(parts.next()?, 16).ok()?;
    Some((end, parts.next()?, parts.next()?))
}

/// Ends one object, if it is still the one that was to end then; says whether it did.
fn end(change: &mut Change<'_>, place: &[u8], name: &[u8], now: Timestamp, origin: &Origin) -> Result<bool> {
    let broken = || Error::internal("the end of an object does not read");
    let (end, bucket_id, key) = split(place).ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| broken())?;
    let bucket = match change.get(&keys::bucket(name))? {
        Some(found) => Some(record::from_json::<Bucket>(&found.value)?).filter(|found| found.id == bucket_id),
        None => None,
    };
    let object = match &bucket {
        Some(bucket) => change.get(&keys::object(&bucket.id, key))?,
        None => None,
    };
    if let (Some(bucket), Some(found)) = (&bucket, object)
        && Head::decode(&found.value)?.0.ends_at == Some(end)
    {
        let conditions = Conditions::default();
        let wanted = Wanted { key: key.to_owned(), version: None, conditions, bypasses: false };
        // What is refused now is tried again by the next pass.
        return Ok(delete(change, bucket, &wanted, now, origin)?.is_ok());
    }
    change.delete(place)?;
    Ok(false)
}

impl ObjectStore {
    /// Removes what has ended, in all buckets; says how many objects that were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub(crate) async fn end_due(&self) -> Result<usize> {
        let (mut count, now) = (0, self.0.cx.now());
        let until = keys::end(now.seconds().saturating_add(1), "", "");
        let mut after = keys::ENDS.to_vec();
        loop {
            let due: Vec<_> = {
                let range = (Bound::Excluded(after.as_slice()), Bound::Excluded(until.as_slice()));
                let found = self.0.store.view()?.scan(range)?.take(BATCH);
                found
                    .map(|found| found.map(|(place, record)| (place, record.value)))
                    .collect::<Result<_>>()?
            };
            let Some((last, _)) = due.last() else { return Ok(count) };
            after.clone_from(last);
            let origins: Vec<Origin> = due.iter().map(|_| self.origin_of_lifecycle()).collect();
            let done = self.write_and_tell(move |change| {
                let mut count = 0;
                for ((place, name), origin) in due.iter().zip(&origins) {
                    // It may have gone meanwhile.
                    if change.get(place)?.is_some() {
                        count += usize::from(end(change, place, name, now, origin)?);
                    }
                }
                Ok(count)
            });
            count += done.await?;
        }
    }
}
