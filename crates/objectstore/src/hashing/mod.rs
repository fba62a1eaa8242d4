//! Hashing of bodies beside what else is done with them: a batch behind, on other threads, those that come at the same
//! time together.

mod md5;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hanse_core::{Error, Result};
use tokio::sync::oneshot;

pub use self::md5::Md5;
use self::md5::{LANES, update_together};
use crate::crypt::FRAME;
use crate::sums::Sum;

/// So many bytes of a body are hashed at once.
const BATCH: usize = 1 << 20;
/// What is no larger is hashed on the spot.
const SPOT: usize = 512 << 10;

/// MD5 and what other sums are asked for.
pub struct Sums {
    pub md5: Md5,
    pub sums: Vec<Sum>,
}

impl Sums {
    fn update(&mut self, batch: &[Bytes]) {
        // In pieces that stay in the processor's cache from one to the next.
        for piece in batch.iter().flat_map(|bytes| bytes.chunks(FRAME)) {
            self.md5.update(piece);
            self.sums.iter_mut().for_each(|sum| sum.update(piece));
        }
    }
}

/// A batch that waits for a thread.
struct Waiting {
    sums: Box<Sums>,
    batch: Vec<Bytes>,
    done: oneshot::Sender<Box<Sums>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// That are taking from it.
    threads: usize,
}

/// The threads that hash, as many as half the processors: more would find less to hash together.
#[derive(Clone)]
pub struct Hashing(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    most: usize,
}

/// A thread that takes from the queue, or will. It counts until it is dropped, also if it never ran.
struct Thread(Option<Arc<Shared>>);

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    /// Those that are hashed next. With nothing left to do the thread ends, before anybody can count on it.
    fn take(&mut self) -> Vec<Waiting> {
        let Some(shared) = self.0.clone() else { return Vec::new() };
        let mut queue = shared.queue();
        if queue.waiting.is_empty() {
            queue.threads -= 1;
            self.0 = None;
        }
        let count = queue.waiting.len().min(LANES);
        queue.waiting.drain(..count).collect()
    }

    fn run(mut self) {
        loop {
            let taken = self.take();
            if taken.is_empty() {
                return;
            }
            // Whose batch made it panic is told that its hash is lost, as those who were with it are.
            let _ = catch_unwind(AssertUnwindSafe(|| hash(taken)));
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.queue().threads -= 1;
        }
    }
}

fn hash(mut taken: Vec<Waiting>) {
    if let [one] = &mut taken[..] {
        one.sums.update(&one.batch);
    } else {
        let mut bodies: Vec<(&mut Md5, &[Bytes])> = Vec::with_capacity(taken.len());
        for Waiting { sums, batch, .. } in &mut taken {
            for bytes in batch.iter() {
                sums.sums.iter_mut().for_each(|sum| sum.update(bytes));
            }
            bodies.push((&mut sums.md5, batch));
        }
        update_together(&mut bodies);
    }
    for Waiting { sums, done, .. } in taken {
        // Nobody waits for the sums of an upload that was broken off.
        let _ = done.send(sums);
    }
}

impl Hashing {
    pub fn new() -> Hashing {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Hashing(Arc::new(Shared { queue: Mutex::default(), most: (processors / 2).max(1) }))
    }

    fn submit(&self, sums: Box<Sums>, batch: Vec<Bytes>) -> oneshot::Receiver<Box<Sums>> {
        let (done, receiver) = oneshot::channel();
        let mut queue = self.0.queue();
        queue.waiting.push(Waiting { sums, batch, done });
        if queue.threads < self.0.most {
            queue.threads += 1;
            let thread = Thread(Some(self.0.clone()));
            drop(queue);
            tokio::task::spawn_blocking(move || thread.run());
        }
        receiver
    }
}

/// Hashes one body.
pub struct Hasher {
    hashing: Hashing,
    /// `None` while a batch is hashed elsewhere.
    sums: Option<Box<Sums>>,
    running: Option<oneshot::Receiver<Box<Sums>>>,
    batch: Vec<Bytes>,
    size: usize,
}

impl Hasher {
    pub fn new(hashing: &Hashing, sums: Vec<Sum>) -> Hasher {
        Hasher {
            hashing: hashing.clone(),
            sums: Some(Box::new(Sums { md5: Md5::new(), sums })),
            running: None,
            batch: Vec::new(),
            size: 0,
        }
    }

    async fn sums(&mut self) -> Result<Box<Sums>> {
        let lost = || Error::internal("a hash of a body is lost");
        match (self.sums.take(), self.running.take()) {
            (Some(sums), _) => Ok(sums),
            (None, Some(running)) => running.await.map_err(|_| lost()),
            (None, None) => Err(lost()),
        }
    }

    /// Takes bytes, and waits while more than a batch of them is not hashed yet.
    ///
    /// # Errors
    /// Internal if a thread was lost.
    pub async fn push(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len();
        self.batch.push(bytes);
        if self.size >= BATCH { self.start().await } else { Ok(()) }
    }

    async fn start(&mut self) -> Result<()> {
        let (sums, batch) = (self.sums().await?, std::mem::take(&mut self.batch));
        self.size = 0;
        self.running = Some(self.hashing.submit(sums, batch));
        Ok(())
    }

    /// # Errors
    /// As [`Hasher::push`].
    pub async fn finish(mut self) -> Result<Box<Sums>> {
        if self.size > SPOT {
            self.start().await?;
        }
        let mut sums = self.sums().await?;
        sums.update(&self.batch);
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(seed: u8, size: usize) -> Vec<Bytes> {
        let bytes: Vec<u8> = (0..size).map(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)).collect();
        bytes.chunks(10_007).map(Bytes::copy_from_slice).collect()
    }

    fn md5(pieces: &[Bytes]) -> [u8; 16] {
        use ::md5::Digest as _;
        ::md5::Md5::digest(pieces.concat()).into()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bodies_that_come_at_once_get_their_own_hashes() {
        let hashing = Hashing::new();
        let uploads = (0..20u8).map(|seed| {
            let hashing = hashing.clone();
            tokio::spawn(async move {
                let pieces = body(seed, 300_000 * usize::from(seed));
                let mut hasher = Hasher::new(&hashing, vec![Sum::new(crate::sums::Algorithm::Crc32)]);
                for piece in &pieces {
                    hasher.push(piece.clone()).await.unwrap();
                }
                let Sums { md5: found, mut sums } = *hasher.finish().await.unwrap();
                assert_eq!(found.finish(), md5(&pieces), "{seed}");
                let mut crc = Sum::new(crate::sums::Algorithm::Crc32);
                crc.update(&pieces.concat());
                assert_eq!(sums.remove(0).finish(), crc.finish());
            })
        });
        for upload in uploads.collect::<Vec<_>>() {
            upload.await.unwrap();
        }
        // No thread is counted that has ended.
        while hashing.0.queue().threads > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn an_upload_that_is_broken_off_holds_up_no_other() {
        let hashing = Hashing::new();
        let mut broken = Hasher::new(&hashing, Vec::new());
        for piece in body(1, 3 * BATCH) {
            broken.push(piece).await.unwrap();
        }
        drop(broken);
        let pieces = body(2, 3 * BATCH);
        let mut hasher = Hasher::new(&hashing, Vec::new());
        for piece in &pieces {
            hasher.push(piece.clone()).await.unwrap();
        }
        assert_eq!(hasher.finish().await.unwrap().md5.finish(), md5(&pieces));
    }
}
