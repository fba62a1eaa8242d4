//! What stands in for a guest: a namespace with one interface, and small servers and clients inside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hanse_node::documents::MacAddress;

use crate::host::{run, try_run, within};

/// How long something may take that ought to work.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for what must not happen.
pub const DENIAL: Duration = Duration::from_millis(700);

pub struct Workload {
    pub namespace: String,
}

impl Workload {
    pub fn plug(cloud: &str, into: &str, tap: &str, mac: MacAddress, address: Option<IpAddr>) -> Workload {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("wl-{cloud}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {namespace}"));
        run(&format!("ip -n {into} link add {tap} type veth peer name eth0 address {mac} netns {namespace}"));
        run(&format!("ip -n {namespace} link set lo up"));
        run(&format!("ip -n {namespace} link set eth0 up"));
        let workload = Workload { namespace };
        if let Some(address) = address {
            workload.ip(&format!("addr add {address}/24 dev eth0"));
        }
        workload
    }

    /// Does what DHCP would, for tests of something else.
    pub fn routes(&self, gateway: &str, service: &str) {
        self.ip(&format!("route add default via {gateway}"));
        self.ip(&format!("route add 169.254.169.254/32 via {service}"));
    }

    pub fn ip(&self, arguments: &str) -> String {
        run(&format!("ip -n {} {arguments}", self.namespace))
    }

    pub fn exec(&self, line: &str) -> (bool, String) {
        try_run(&format!("ip netns exec {} {line}", self.namespace))
    }

    pub fn pings(&self, address: &str) -> bool {
        (0..5).any(|_| self.exec(&format!("ping -c1 -W1 {address}")).0)
    }

    pub fn ping_fails(&self, address: &str) -> bool {
        !self.exec(&format!("ping -c1 -W1 {address}")).0
    }

    pub fn serve(&self, port: u16) -> Server {
        within(&self.namespace, || Server::start(port))
    }

    /// Connects and returns the address that the server sees.
    pub fn reaches(&self, address: &str, port: u16) -> Option<IpAddr> {
        within(&self.namespace, || reach(address, port, PATIENCE)).map(|connection| connection.seen_as)
    }

    pub fn connects(&self, address: &str, port: u16) -> Connection {
        within(&self.namespace, || reach(address, port, PATIENCE)).expect("no connection")
    }

    pub fn is_denied(&self, address: &str, port: u16) -> bool {
        within(&self.namespace, || reach(address, port, DENIAL)).is_none()
    }

    pub fn udp(&self, port: u16) -> UdpSocket {
        within(&self.namespace, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }

    /// Fetches a page of the metadata service: status code and body.
    pub fn metadata(&self, path: &str) -> Option<(u16, String)> {
        let request = format!("GET {path} HTTP/1.0\r\nX-Forwarded-For: 10.0.0.99\r\n\r\n");
        let response = within(&self.namespace, || {
            let address = SocketAddr::from(([169, 254, 169, 254], 80));
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            stream.write_all(request.as_bytes()).ok()?;
            let mut response = String::new();
            stream.read_to_string(&mut response).ok()?;
            Some(response)
        })?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// The same from the host itself.
pub fn host_reaches(address: &str, port: u16) -> Option<IpAddr> {
    reach(address, port, PATIENCE).map(|connection| connection.seen_as)
}

pub fn host_connects(address: &str, port: u16) -> Connection {
    reach(address, port, PATIENCE).expect("no connection")
}

pub fn host_is_denied(address: &str, port: u16) -> bool {
    reach(address, port, DENIAL).is_none()
}

/// A connection that was answered.
pub struct Connection {
    pub seen_as: IpAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Whether a line comes back.
    pub fn echoes(&mut self) -> bool {
        self.stream.get_ref().set_read_timeout(Some(DENIAL)).unwrap();
        let mut line = String::new();
        self.stream.get_mut().write_all(b"hello\n").is_ok()
            && self.stream.read_line(&mut line).is_ok_and(|length| length > 0)
    }
}

fn reach(address: &str, port: u16, limit: Duration) -> Option<Connection> {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    let stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    Some(Connection { seen_as: line.trim().parse().ok()?, stream })
}

/// Tells each client its address, then echoes lines; ends when dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// In the calling thread's namespace.
    pub fn start(port: u16) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut clients: Vec<TcpStream> = Vec::new();
            let mut buffer = [0; 256];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((mut client, peer)) = listener.accept() {
                    client.set_nonblocking(true).unwrap();
                    let _ = writeln!(client, "{}", peer.ip());
                    clients.push(client);
                }
                for client in &mut clients {
                    if let Ok(length) = client.read(&mut buffer) {
                        let _ = client.write_all(&buffer[..length]);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Server { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
