//! What a large object can at best be as fast as: the disk, its MD5, and the way from the client.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow};
use md5::{Digest as _, Md5};

use super::load::LARGE;

/// MiB in a second, of one at a time.
pub struct Bounds {
    /// Written to a new file, and synced.
    pub disk: f64,
    pub hash: f64,
    /// Sent over one connection, until the other side has it all.
    pub loopback: f64,
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
        Ok(Bounds { disk, hash, loopback: rate(send(&bytes)?) })
    }

    pub fn slowest(&self) -> f64 {
        self.disk.min(self.hash).min(self.loopback)
    }
}

/// Sends bytes to another thread, and says when that began.
fn send(bytes: &[u8]) -> Result<Instant> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; 256 << 10];
            let mut left = LARGE;
            while left > 0 {
                match stream.read(&mut buffer)? {
                    0 => return Err(anyhow!("the connection was closed")),
                    read => left -= read,
                }
            }
            stream.write_all(b"!")?;
            Ok(())
        });
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let started = Instant::now();
        stream.write_all(bytes)?;
        stream.read_exact(&mut [0])?;
        receiver.join().unwrap_or_else(|_| Err(anyhow!("the receiver panicked")))?;
        Ok(started)
    })
}
