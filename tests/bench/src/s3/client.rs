//! An S3 client that costs next to nothing: one thread and one connection, requests signed with the hash of their
//! payload, which is computed beforehand. What is large is neither copied into the socket nor out of it: on a machine of
//! two processors a client that copies takes from the server what it is measured by.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_core::{Cx, Secret, hex};
use hanse_crypto::sign_version_4;
use nix::libc::off_t;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, recv};
use ring::digest;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Up to so many bytes go with the head of their request.
const SMALL: usize = 64 * 1024;

/// As much of an answer is read at once.
pub const BUFFER: usize = 256 * 1024;

/// As much of a refusal is shown, in bytes.
const SAID: usize = 300;

/// Who is asked, and with which key.
#[derive(Debug)]
pub struct Target {
    /// Host and port.
    pub address: String,
    pub access: String,
    pub secret: Secret<String>,
    pub region: String,
    /// The processes that answer.
    pub processes: Vec<u32>,
}

/// What is sent, with its hash.
pub struct Payload {
    body: Body,
    size: usize,
    hash: String,
}

enum Body {
    Small(Vec<u8>),
    /// In memory too; the socket takes its pages.
    Large(File),
}

static NOTHING: LazyLock<Payload> =
    LazyLock::new(|| Payload { body: Body::Small(Vec::new()), size: 0, hash: sha256(&[]) });

impl Payload {
    pub fn new(bytes: Vec<u8>) -> Result<Payload> {
        let (hash, size) = (sha256(&bytes), bytes.len());
        let body = if size <= SMALL { Body::Small(bytes) } else { Body::Large(in_memory(&bytes)?) };
        Ok(Payload { body, size, hash })
    }

    /// Bytes that do not compress, other ones for each number.
    pub fn of(size: usize, number: u64) -> Result<Payload> {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = vec![0; size];
        for chunk in bytes.chunks_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(state.to_le_bytes().get(..chunk.len()).unwrap_or_default());
        }
        Payload::new(bytes)
    }
}

pub struct Connection<'t> {
    target: &'t Target,
    stream: BufReader<TcpStream>,
    head: Vec<u8>,
    void: Vec<u8>,
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes))
}

impl<'t> Connection<'t> {
    pub fn open(target: &'t Target) -> Result<Connection<'t>> {
        let stream = TcpStream::connect(&target.address)
            .with_context(|| format!("cannot connect to {}", target.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            target,
            stream: BufReader::with_capacity(BUFFER, stream),
            head: Vec::new(),
            void: vec![0; BUFFER],
        })
    }

    /// Makes a request without a body, and reads the answer; returns how long that took and how many bytes came.
    pub fn ask(&mut self, method: &str, path: &str, query: &str) -> Result<(Duration, u64)> {
        self.send(method, path, query, &NOTHING)
    }

    /// The same with a body. `path` and `query` are as they go over the wire, the query sorted by its names.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        payload: &Payload,
    ) -> Result<(Duration, u64)> {
        let started = Instant::now();
        self.write_head(method, path, query, payload)?;
        let stream = self.stream.get_mut();
        match &payload.body {
            Body::Small(bytes) => {
                self.head.extend_from_slice(bytes);
                stream.write_all(&self.head)?;
            }
            Body::Large(file) => {
                stream.write_all(&self.head)?;
                send_file(stream, file, payload.size)?;
            }
        }
        let (status, bytes, said) = self.answer(method == "HEAD")?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}?{query} was answered with {status}: {said}");
        }
        Ok((started.elapsed(), bytes))
    }

    /// Source: AWS Signature Version 4, "Signature Calculations for the Authorization Header".
    fn write_head(&mut self, method: &str, path: &str, query: &str, payload: &Payload) -> Result<()> {
        let Target { address, access, secret, region, .. } = self.target;
        let time = Cx::system().now().iso_seconds().replace(['-', ':'], "");
        let date = time.get(..8).context("a date")?;
        let names = "host;x-amz-content-sha256;x-amz-date";
        let hash = &payload.hash;
        let request = format!(
            "{method}\n{path}\n{query}\nhost:{address}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{names}\n{hash}"
        );
        let scope = format!("{date}/{region}/s3");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}/aws4_request\n{}", sha256(request.as_bytes()));
        let signature = sign_version_4(secret, &scope, &text).context("no scope")?;
        self.head.clear();
        let mark = if query.is_empty() { "" } else { "?" };
        write!(
            self.head,
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: {address}\r\nx-amz-content-sha256: {hash}\r\n\
             x-amz-date: {time}\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={access}/{scope}/aws4_request,SignedHeaders={names},Signature={signature}\r\n\r\n",
            payload.size
        )?;
        Ok(())
    }

    /// Status, length of the body, and its beginning if it is a refusal.
    fn answer(&mut self, has_no_body: bool) -> Result<(u16, u64, String)> {
        let mut line = String::new();
        let mut next = |stream: &mut BufReader<TcpStream>| -> Result<String> {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                bail!("the connection was closed");
            }
            Ok(line.trim_end().to_owned())
        };
        let status = next(&mut self.stream)?;
        let status: u16 = status.split(' ').nth(1).context("no status")?.parse()?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let header = next(&mut self.stream)?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').context("no header")?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut said = Vec::new();
        let mut total = 0;
        if has_no_body {
            return Ok((status, 0, String::new()));
        }
        if !is_chunked {
            total = length;
            drain(&mut self.stream, length, &mut said, &mut self.void)?;
        } else {
            loop {
                let size =
                    u64::from_str_radix(next(&mut self.stream)?.split(';').next().unwrap_or_default(), 16)?;
                drain(&mut self.stream, size, &mut said, &mut self.void)?;
                next(&mut self.stream)?;
                total += size;
                if size == 0 {
                    break;
                }
            }
        }
        Ok((status, total, String::from_utf8_lossy(&said).into_owned()))
    }
}

/// Reads so many bytes away, and keeps the first few.
fn drain(
    stream: &mut BufReader<TcpStream>,
    mut length: u64,
    said: &mut Vec<u8>,
    void: &mut [u8],
) -> Result<()> {
    while length > 0 {
        if said.len() >= SAID && stream.buffer().is_empty() && length >= void.len() as u64 {
            discard(stream.get_ref(), void)?;
            length -= void.len() as u64;
            continue;
        }
        let here = stream.fill_buf()?;
        if here.is_empty() {
            bail!("the connection was closed within an answer");
        }
        let take = here.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if said.len() < SAID {
            said.extend(here.iter().take(take.min(SAID)));
        }
        stream.consume(take);
        length -= take as u64;
    }
    Ok(())
}

/// A file without a disk.
pub fn in_memory(bytes: &[u8]) -> Result<File> {
    let mut file = File::from(memfd_create("payload", MFdFlags::MFD_CLOEXEC).context("no memory file")?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Sends a file from its beginning without copying it.
pub fn send_file(stream: &TcpStream, file: &File, size: usize) -> Result<()> {
    let mut sent: off_t = 0;
    while let left @ 1.. = size.saturating_sub(usize::try_from(sent)?) {
        if sendfile(stream, file, Some(&mut sent), left).context("cannot send")? == 0 {
            bail!("the payload is shorter than it was");
        }
    }
    Ok(())
}

/// Waits for as many bytes as the buffer is long, and lets the kernel throw them away. Source: tcp(7), `MSG_TRUNC`.
pub fn discard(stream: &TcpStream, void: &mut [u8]) -> Result<()> {
    let mut left = void.len();
    while left > 0 {
        let room = void.get_mut(..left).context("no room")?;
        match recv(stream.as_raw_fd(), room, MsgFlags::MSG_TRUNC).context("cannot receive")? {
            0 => bail!("the connection was closed within an answer"),
            gone => left -= gone,
        }
    }
    Ok(())
}
