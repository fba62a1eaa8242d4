//! A throw-away PostgreSQL for the tests: a cluster in a temporary directory, on a unix socket only.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// The user that the server runs as: it refuses to run as root.
const USER: &str = "nobody";

/// What `cargo run` tells this program of its package. Source: The Cargo Book, "Environment variables Cargo sets for crates".
const OF_THE_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Runs a command with `HANSE_TEST_POSTGRES` naming the server, and takes the server down after it.
/// Unless it is `durable`, the server leaves it to the kernel when to write to the disk.
pub fn run(command: &[String], durable: bool) -> Result<ExitStatus> {
    let [program, arguments @ ..] = command else { bail!("with-postgres needs a command to run") };
    let server = Server::start(durable)?;
    let mut command = Command::new(program);
    command.args(arguments).env("HANSE_TEST_POSTGRES", server.address());
    // A cargo that is run would build again whatever asks for the package that it seems to be in.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_THE_PACKAGE.iter().any(|own| name.starts_with(own))) {
            command.env_remove(name);
        }
    }
    command.status().with_context(|| format!("cannot run {program}"))
}

struct Server {
    programs: PathBuf,
    directory: PathBuf,
}

impl Server {
    fn start(durable: bool) -> Result<Server> {
        let programs = programs()?;
        let directory = std::env::temp_dir().join(format!("hanse-postgres-{}", std::process::id()));
        std::fs::create_dir(&directory).context("cannot make a directory for PostgreSQL")?;
        // From here on dropping it cleans up.
        let server = Server { programs, directory };
        let (uid, gid) = ids()?;
        chown(&server.directory, Some(uid), Some(gid))?;
        std::fs::set_permissions(&server.directory, std::fs::Permissions::from_mode(0o711))?;
        server.program(
            "initdb",
            &["--auth=trust", "--username=postgres", "--no-sync", "--locale=C", "--encoding=UTF8"],
        )?;
        // What a test writes need not survive a power cut.
        let speed = if durable { "" } else { "-c fsync=off -c full_page_writes=off" };
        let options = format!(
            "-k {} -c listen_addresses='' -c max_connections=300 {speed}",
            server.directory.display()
        );
        let log = server.directory.join("log");
        server.program("pg_ctl", &["-o", &options, "-l", &log.display().to_string(), "-w", "start"])?;
        Ok(server)
    }

    /// With `{database}` where a test puts the name of its own.
    fn address(&self) -> String {
        format!("postgres://postgres@localhost/{{database}}?host={}", self.directory.display())
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let data = self.directory.join("data");
        let mut command = as_user(&self.programs.join(name));
        let done = command
            .arg("-D")
            .arg(&data)
            .args(arguments)
            .current_dir(&self.directory)
            .stdout(std::fs::File::create(self.directory.join(format!("{name}.out")))?)
            .output()
            .with_context(|| format!("cannot run {name}"))?;
        if !done.status.success() {
            bail!("{name} failed: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.program("pg_ctl", &["-m", "immediate", "stop"]) {
            eprintln!("PostgreSQL may still run: {error:#}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{} is left over: {error}", self.directory.display());
        }
    }
}

/// Runs as an ordinary user if we are root.
fn as_user(program: &Path) -> Command {
    if current_uid() != Some(0) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
    command
}

fn current_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|data| data.uid())
}

fn ids() -> Result<(u32, u32)> {
    if current_uid() != Some(0) {
        let uid = current_uid().context("/proc does not tell who we are")?;
        return Ok((uid, uid));
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&USER))
        .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
        .with_context(|| format!("there is no user {USER}"))
}

/// Debian keeps the server's programs by version.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is not installed: apt-get install postgresql-common postgresql-15")?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().context("PostgreSQL is not installed: apt-get install postgresql-15")
}
