//! What a large object can at best be as fast as: the disk, its MD5, and the way from the client.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow};
use md5::{Digest as _, Md5};

use super::client::{BUFFER, discard, in_memory, send_file};
use super::load::LARGE;

/// MiB in a second, of one at a time.
pub struct Bounds {
    /// Written to a new file, and synced.
    pub disk: f64,
    pub hash: f64,
    /// Sent over one connection as the client sends it, until the other side has read it all.
    pub up: f64,
    /// Written to one connection, until the other side has it all and has thrown it away as the client does.
    pub down: f64,
}

impl Bounds {
    pub fn measure(path: &Path) -> Result<Bounds> {
        let bytes = vec![7; LARGE];
        let rate = |started: Instant| LARGE as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut file = File::create(path)?;
        bytes.chunks(1 << 20).try_for_each(|piece| file.write_all(piece))?;
        file.sync_data()?;
        let disk = rate(started);
        std::fs::remove_file(path)?;
        let started = Instant::now();
        std::hint::black_box(Md5::digest(&bytes));
        let hash = rate(started);
        let payload = in_memory(&bytes)?;
        let up = transfer(
            |stream| send_file(stream, &payload, LARGE),
            |stream, buffer| Ok(stream.read_exact(buffer)?),
        )?;
        let down =
            transfer(|stream| Ok(stream.write_all(&bytes)?), |stream, buffer| discard(stream, buffer))?;
        Ok(Bounds { disk, hash, up: rate(up), down: rate(down) })
    }

    /// The slowest of what an upload needs.
    pub fn slowest(&self) -> f64 {
        self.disk.min(self.hash).min(self.up)
    }
}

/// Sends 64 MiB to another thread, which reads them a buffer at a time, and says when that began.
fn transfer(
    send: impl FnOnce(&mut TcpStream) -> Result<()>,
    read: impl Fn(&mut TcpStream, &mut [u8]) -> Result<()> + Send,
) -> Result<Instant> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; BUFFER];
            for _ in 0..LARGE / BUFFER {
                read(&mut stream, &mut buffer)?;
            }
            Ok(stream.write_all(b"!")?)
        });
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let started = Instant::now();
        send(&mut stream)?;
        stream.read_exact(&mut [0])?;
        receiver.join().unwrap_or_else(|_| Err(anyhow!("the receiver panicked")))?;
        Ok(started)
    })
}
