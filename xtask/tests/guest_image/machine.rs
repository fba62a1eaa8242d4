//! One QEMU under test: started with throw-away files, spoken to over QMP, the console and ssh, ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bound on every wait, far above what any step takes even on a busy machine without hardware virtualisation.
const PATIENCE: Duration = Duration::from_secs(240);

/// A running guest.
pub struct Machine {
    qemu: Child,
    directory: TempDir,
    qmp: BufReader<UnixStream>,
    /// The loopback port that leads to the guest's port 22.
    pub ssh_port: u16,
}

impl Machine {
    /// Boots `image`, which stays unchanged, with `memory` MiB and two free PCI Express ports, "port1" and "port2".
    /// `arrange` gets the command, the machine's directory and the loopback port to forward.
    pub fn boot(image: &Path, memory: u32, arrange: impl FnOnce(&mut Command, &Path, u16)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ssh_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-M", "q35", "-accel", "tcg", "-m", &memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-snapshot"])
            .args(["-serial", &format!("file:{}", path("console"))])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", path("qmp"))])
            .args(["-drive", &format!("file={},format=qcow2,if=none,id=boot", image.display())])
            .args(["-device", "virtio-blk-pci,drive=boot,bootindex=0", "-device", "virtio-rng-pci"])
            .args(["-device", "pcie-root-port,id=port1,chassis=1,slot=1"])
            .args(["-device", "pcie-root-port,id=port2,chassis=2,slot=2"])
            // Where `-snapshot` keeps what the guest writes.
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null());
        arrange(&mut command, directory.path(), ssh_port);
        let mut qemu = command.spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(path("qmp")) {
                Ok(stream) => break stream,
                Err(error) => {
                    let ended = qemu.try_wait().unwrap();
                    assert!(ended.is_none() && Instant::now() < deadline, "no QMP: {error}, QEMU {ended:?}");
                    sleep(Duration::from_millis(20));
                }
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut machine = Self { qemu, directory, qmp: BufReader::new(stream), ssh_port };
        machine.next_message();
        machine.qmp("qmp_capabilities", json!({}));
        machine
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything that the guest has written on its serial port.
    pub fn console(&self) -> String {
        fs::read(self.directory.path().join("console"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until the console shows `text` for the `times`th time.
    pub fn wait_for(&mut self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.console().matches(text).count() < times {
            let ended = self.qemu.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the console never said {text:?} {times} times (QEMU: {ended:?}):\n{}",
                self.console()
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// The processor time which this machine has taken so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.qemu.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in hundredths of a second on every Linux on amd64.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Runs a QMP command, which must succeed.
    pub fn qmp(&mut self, command: &str, arguments: Value) -> Value {
        let request = json!({ "execute": command, "arguments": arguments });
        self.qmp.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        loop {
            let mut message = self.next_message();
            if message.get("event").is_some() {
                continue;
            }
            assert!(message.get("error").is_none(), "{command}: {message}");
            return message["return"].take();
        }
    }

    /// Waits for a QMP event that has not been passed over while a command was answered.
    pub fn wait_for_event(&mut self, name: &str) -> Value {
        loop {
            let message = self.next_message();
            if message["event"] == name {
                return message;
            }
        }
    }

    fn next_message(&mut self) -> Value {
        let mut line = String::new();
        let length = self.qmp.read_line(&mut line).expect("QMP says nothing");
        assert!(length > 0, "QEMU closed its QMP socket:\n{}", self.console());
        serde_json::from_str(&line).unwrap()
    }

    /// Runs a shell command in the guest and returns what it wrote, once the ssh server can be reached.
    pub fn ssh(&self, key: &Path, script: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.try_ssh(key, "root", script);
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            let complaint = String::from_utf8_lossy(&output.stderr);
            // 255 is ssh's own failure: the forwarded port is open before the guest has its address.
            let retry = output.status.code() == Some(255) && Instant::now() < deadline;
            assert!(retry, "ssh {script:?}: {complaint}\n{}", self.console());
            sleep(Duration::from_millis(200));
        }
    }

    /// One attempt to run a command over ssh as `user`. The host key is remembered by this machine's directory.
    pub fn try_ssh(&self, key: &Path, user: &str, script: &str) -> Output {
        let known_hosts = self.directory.path().join("known_hosts");
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=none"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
            .args(["-o", "ConnectTimeout=30", "-p", &self.ssh_port.to_string(), "-i"])
            .arg(key)
            .args([&format!("{user}@127.0.0.1"), script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Waits until QEMU has ended by itself.
    pub fn wait_for_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.qemu.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "QEMU does not end:\n{}", self.console());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Makes an ed25519 key below `directory`; returns the path of its private half and the text of its public half.
pub fn make_key(directory: &Path, name: &str) -> (PathBuf, String) {
    let path = directory.join(name);
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(status.unwrap().success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public)
}
