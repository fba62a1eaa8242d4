//! Clients of S3, and what they need to know.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{Cloud, ok, tools};

/// Where every cloud of a test serves S3, in its own network namespace.
pub const ENDPOINT: &str = "https://127.0.0.1:8444";

/// What clients that were told of none sign for.
pub const REGION: &str = "us-east-1";

/// Debian's own, whatever else is called so on this machine.
pub const AWS: &str = "/usr/bin/aws";

/// An access key with its secret.
#[derive(Clone, Debug)]
pub struct Key {
    pub access: String,
    pub secret: String,
    pub user_id: String,
    pub project_id: String,
}

impl Key {
    /// Out of JSON.
    pub fn of(text: &str) -> Key {
        let made: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let field =
            |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {text}")).to_owned();
        Key {
            access: field("access"),
            secret: field("secret"),
            user_id: field("user_id"),
            project_id: field("project_id"),
        }
    }
}

/// Whether this machine can run these tests. Says that they are skipped if not, unless they are required.
pub fn possible() -> bool {
    if !crate::possible() {
        return false;
    }
    let is_missing = |program: &&str| !Command::new(program).arg("--version").output().is_ok_and(|_| true);
    let mut missing: Vec<&str> = [AWS, "s3cmd", "rclone", "restic"].into_iter().filter(is_missing).collect();
    let python = Command::new(tools().join("python3")).args(["-c", "import boto3, minio"]).output();
    if !python.is_ok_and(|done| done.status.success()) {
        missing.push("boto3 and minio (make tools)");
    }
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(
        !required.split(',').any(|area| area.trim() == "e2e"),
        "e2e is required, but {} is missing",
        missing.join(", ")
    );
    eprintln!("SKIPPED: {} is missing", missing.join(", "));
    false
}

impl Cloud {
    /// A key of this user for this project, both of which are made if they are missing.
    pub fn key_of(&self, user: &str, project: &str) -> Key {
        let create = ["s3", "keys", "create", "--new", "--json", "--user", user, "--project", project];
        Key::of(&self.hanse_ok(&create))
    }

    /// A client that finds the key where the field's clients look for it.
    pub fn s3(&self, program: impl AsRef<Path>, key: &Key) -> Command {
        let mut command = self.inside(program);
        command.env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.file(""));
        command.env("LC_ALL", "C.UTF-8");
        command.env("AWS_ACCESS_KEY_ID", &key.access).env("AWS_SECRET_ACCESS_KEY", &key.secret);
        command.env("AWS_DEFAULT_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_CA_BUNDLE", self.ca());
        command.current_dir(self.file(""));
        command
    }

    /// The AWS command line.
    pub fn aws(&self, key: &Key, arguments: &[&str]) -> Command {
        let mut command = self.s3(AWS, key);
        command.args(["--endpoint-url", ENDPOINT]).args(arguments);
        command
    }

    /// One of the functions of `s3_clients.py`, with what it wants to know; what it prints.
    pub fn python_s3(&self, key: &Key, what: &[&str]) -> String {
        let mut child = self.python("s3_clients.py", key, what);
        // It reads no more than the line that is in the pipe.
        drop(child.stdin.take());
        let done = child.wait_with_output().expect("python3 ends");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{what:?} failed:\n{out}{err}");
        out.into_owned()
    }

    /// A Python program of ours, which knows the endpoint, the CA's certificate and the key.
    pub fn python(&self, script: &str, key: &Key, arguments: &[&str]) -> Child {
        let mut command = self.s3(tools().join("python3"), key);
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_CA_BUNDLE");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).arg(ENDPOINT).arg(self.ca());
        command.arg(&key.access).arg(REGION).args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("python3 starts");
        let stdin = child.stdin.as_mut().expect("standard input");
        writeln!(stdin, "{}", key.secret).expect("the program reads");
        child
    }

    pub fn ca(&self) -> std::path::PathBuf {
        self.state().join("operator/ca.crt")
    }

    /// A file with so many bytes that no compression makes smaller.
    pub fn random_file(&self, name: &str, bytes: u64) -> String {
        let path = self.file(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory");
        }
        let mut random = std::fs::File::open("/dev/urandom").expect("randomness").take(bytes);
        let mut file = std::fs::File::create(&path).expect("a file");
        std::io::copy(&mut random, &mut file).expect("room on the disk");
        path.display().to_string()
    }
}

/// Fails unless two files or directories hold the same.
pub fn assert_same(one: &str, other: &str) {
    ok(Command::new("diff").args(["--recursive", "--brief", one, other]));
}
