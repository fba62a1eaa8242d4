//! A few threads with a short queue, for work that burns a core: never on the threads that serve requests.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hanse_core::{Context, Error, Kind, Result};
use tokio::sync::oneshot;

/// What a caller who finds the queue full is told to wait, in seconds.
const RETRY_AFTER: u32 = 1;

/// How long a thread without work holds on to what it keeps for the next job.
const IDLE: Duration = Duration::from_secs(1);

/// The niceness of the threads: where the processors are busy, logins give way to everything that answers within a
/// millisecond, and still get a tenth of what a thread of normal priority gets.
const NICE: libc::c_int = 10;

pub(crate) struct Pool {
    shared: Arc<Shared>,
    capacity: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    closed: bool,
}

trait Job: Send {
    fn run(self: Box<Self>);
    /// Whether the future that waits for the answer was dropped.
    fn abandoned(&self) -> bool;
}

struct Task<F, T> {
    work: F,
    answer: oneshot::Sender<T>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Task<F, T> {
    fn run(self: Box<Self>) {
        // Nobody there to take the answer is nobody's error.
        let _ = self.answer.send((self.work)());
    }

    fn abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that somebody still waits for; `None` once the pool is gone. Calls `idle` if there was none for
    /// some time.
    fn next(&self, idle: fn()) -> Option<Box<dyn Job>> {
        let mut queue = self.queue();
        let mut was_idle = false;
        loop {
            if queue.closed {
                return None;
            }
            match queue.jobs.pop_front() {
                Some(job) if job.abandoned() => {}
                Some(job) => return Some(job),
                None if was_idle => queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                None => {
                    let (back, timeout) =
                        self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
                    queue = back;
                    if timeout.timed_out() && queue.jobs.is_empty() {
                        drop(queue);
                        idle();
                        was_idle = true;
                        queue = self.queue();
                    }
                }
            }
        }
    }
}

impl Pool {
    /// Starts `threads` threads; `capacity` jobs may wait while all of them are busy. A thread that had nothing to do for
    /// a second calls `idle`, once.
    pub(crate) fn start(name: &str, threads: usize, capacity: usize, idle: fn()) -> Result<Pool> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        let pool = Pool { shared: shared.clone(), capacity };
        for n in 0..threads.max(1) {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(move || {
                    give_way();
                    while let Some(job) = shared.next(idle) {
                        // A panic ends this job, whose caller sees its answer dropped, not the thread.
                        let _ = catch_unwind(AssertUnwindSafe(|| job.run()));
                    }
                })
                .context("cannot start a thread for password hashing")?;
        }
        Ok(pool)
    }

    /// Runs `work` on one of the threads. If the future is dropped while the job waits, the job never runs and its
    /// place is given away.
    ///
    /// # Errors
    /// 429 if the queue is full; internal if `work` panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        self.submit(Box::new(Task { work, answer }))?;
        receiver.await.context("a password job ended without an answer")
    }

    fn submit(&self, job: Box<dyn Job>) -> Result<()> {
        let mut queue = self.shared.queue();
        if queue.jobs.len() >= self.capacity {
            queue.jobs.retain(|job| !job.abandoned());
        }
        if queue.jobs.len() >= self.capacity {
            let kind = Kind::RateLimited { retry_after: RETRY_AFTER };
            return Err(Error::new(kind, "Too many passwords are being checked; try again in a moment."));
        }
        queue.jobs.push_back(job);
        self.shared.wake.notify_one();
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue().jobs.len()
    }
}

/// Lowers the priority of this thread. Where that is refused, passwords stay as important as everything else.
fn give_way() {
    // SAFETY: no memory is passed. To Linux process 0 is the calling thread (setpriority(2), "C library/kernel
    // differences").
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.jobs.clear();
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use super::*;

    /// Polls once, so that the job is queued.
    pub(crate) fn submit<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A job that occupies a thread until the returned sender is used or dropped, and tells when it has begun.
    pub(crate) fn gate() -> (impl FnOnce() + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, wait_begun) = mpsc::channel();
        let (open, wait_open) = mpsc::channel::<()>();
        let work = move || {
            let _ = begun.send(());
            let _ = wait_open.recv();
        };
        (work, wait_begun, open)
    }

    #[tokio::test]
    async fn its_threads_give_way_to_those_that_serve_requests() {
        let pool = Pool::start("test", 1, 1, || {}).unwrap();
        // SAFETY: no memory is passed.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        // Whatever runs the tests may have a niceness of its own.
        let here = nice();
        assert!(pool.run(nice).await.unwrap() >= NICE);
        assert_eq!(nice(), here, "this thread keeps its priority");
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_and_a_dropped_future_gives_its_place_away() {
        let pool = Pool::start("test", 1, 1, || ()).unwrap();
        let (work, begun, open) = gate();
        let mut busy = pin!(pool.run(work));
        assert!(submit(busy.as_mut()).is_pending());
        begun.recv().unwrap();

        let ran = Arc::new(AtomicUsize::new(0));
        let count = |by: usize| {
            let ran = ran.clone();
            move || ran.fetch_add(by, Ordering::SeqCst)
        };
        let mut waiting = Box::pin(pool.run(count(1)));
        assert!(submit(waiting.as_mut()).is_pending());
        let refused = pool.run(count(10)).await.unwrap_err();
        assert!(matches!(refused.kind(), Kind::RateLimited { retry_after: 1 }));

        drop(waiting);
        let mut last = pin!(pool.run(count(100)));
        assert!(submit(last.as_mut()).is_pending());
        open.send(()).unwrap();
        busy.await.unwrap();
        last.await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 100, "neither the dropped nor the refused job ran");
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn a_panicking_job_ends_itself_and_not_the_thread() {
        let pool = Pool::start("test", 1, 1, || ()).unwrap();
        let error = pool.run::<u8>(|| panic!("planned")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_thread_without_work_is_told_so_once() {
        static IDLE: AtomicUsize = AtomicUsize::new(0);
        let pool = Pool::start("test", 1, 1, || {
            IDLE.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        for times in 1..3 {
            pool.run(|| ()).await.unwrap();
            let patience = Instant::now() + Duration::from_secs(60);
            while IDLE.load(Ordering::SeqCst) < times {
                assert!(Instant::now() < patience, "the thread holds on to what it has");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(IDLE.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_threads_end_with_the_pool() {
        let pool = Pool::start("test", 2, 1, || ()).unwrap();
        let (work, begun, open) = gate();
        let mut busy = Box::pin(pool.run(work));
        assert!(submit(busy.as_mut()).is_pending());
        begun.recv().unwrap();
        drop(busy);
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        drop(open);
        let patience = Instant::now() + Duration::from_secs(60);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < patience, "the threads are still there");
            thread::yield_now();
        }
    }
}
