//! An S3 client that costs next to nothing: one thread and one connection, requests signed with the hash of their
//! payload, which is computed beforehand.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_core::{Cx, Secret, hex};
use hanse_crypto::sign_version_4;
use ring::digest;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

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
    bytes: Vec<u8>,
    hash: String,
}

impl Payload {
    pub fn new(bytes: Vec<u8>) -> Payload {
        let hash = sha256(&bytes);
        Payload { bytes, hash }
    }

    /// Bytes that do not compress, other ones for each number.
    pub fn of(size: usize, number: u64) -> Payload {
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
    nothing: Payload,
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
            stream: BufReader::with_capacity(256 * 1024, stream),
            head: Vec::new(),
            nothing: Payload::new(Vec::new()),
        })
    }

    /// Makes a request without a body, and reads the answer; returns how long that took and how many bytes came.
    pub fn ask(&mut self, method: &str, path: &str, query: &str) -> Result<(Duration, u64)> {
        let nothing =
            std::mem::replace(&mut self.nothing, Payload { bytes: Vec::new(), hash: String::new() });
        let answer = self.send(method, path, query, &nothing);
        self.nothing = nothing;
        answer
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
        if payload.bytes.len() <= 64 * 1024 {
            self.head.extend_from_slice(&payload.bytes);
            stream.write_all(&self.head)?;
        } else {
            stream.write_all(&self.head)?;
            stream.write_all(&payload.bytes)?;
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
            payload.bytes.len()
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
            drain(&mut self.stream, length, &mut said)?;
        } else {
            loop {
                let size =
                    u64::from_str_radix(next(&mut self.stream)?.split(';').next().unwrap_or_default(), 16)?;
                drain(&mut self.stream, size, &mut said)?;
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
fn drain(stream: &mut BufReader<TcpStream>, mut length: u64, said: &mut Vec<u8>) -> Result<()> {
    while length > 0 {
        let here = stream.fill_buf()?;
        if here.is_empty() {
            bail!("the connection was closed within an answer");
        }
        let take = here.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if said.len() < 300 {
            said.extend(here.iter().take(take.min(300)));
        }
        stream.consume(take);
        length -= take as u64;
    }
    Ok(())
}
