//! Keystone from PyPI, in the network namespace of a cloud: on SQLite, with Fernet tokens, under uWSGI.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hanse_e2e::Cloud;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{environment, finish, ours, tail};

/// Where it listens inside the namespace. It is mounted below `/identity`, as Hanse's is.
pub const ADDRESS: &str = "127.0.0.1:5000";

/// How a Keystone is set up.
pub struct Settings {
    /// Cost of bcrypt; Keystone's own default is 12.
    pub hash_rounds: u32,
    pub processes: u32,
    /// No list of users is longer, if it is set: Keystone has no pages.
    pub list_limit: Option<u32>,
}

impl Settings {
    /// To compare answers: the cheapest hash, and one process, whose cache in memory is never out of date.
    pub const QUICK: Settings = Settings { hash_rounds: 4, processes: 1, list_limit: None };
    /// As it is usually run, with short lists.
    pub const USUAL: Settings = Settings { hash_rounds: 12, processes: 2, list_limit: Some(100) };
}

/// A Keystone that runs until this is dropped.
pub struct Keystone {
    server: Child,
    directory: PathBuf,
}

impl Keystone {
    /// Makes the database, the keys and the administrator, and waits until it answers.
    pub fn start(cloud: &Cloud, settings: &Settings) -> Result<Keystone> {
        let directory = cloud.file("keystone");
        std::fs::create_dir_all(&directory)?;
        let password = read(&cloud.state().join("operator/admin-password"))?;
        std::fs::write(directory.join("keystone.conf"), configuration(&directory, settings))?;
        let manage = |arguments: &[&str]| {
            let mut command = cloud.inside(environment("keystone").join("keystone-manage"));
            command.arg("--config-file").arg(directory.join("keystone.conf")).args(arguments);
            // In the environment, not in the arguments, which everybody can read.
            command.env("OS_BOOTSTRAP_PASSWORD", password.trim()).env("PYTHONWARNINGS", "ignore");
            finish(&mut command).context("keystone-manage")
        };
        manage(&["db_sync"])?;
        for what in ["fernet_setup", "credential_setup"] {
            manage(&[what, "--keystone-user", "root", "--keystone-group", "root"])?;
        }
        let url = format!("http://{ADDRESS}/identity");
        manage(&["bootstrap", "--bootstrap-region-id", "RegionOne", "--bootstrap-public-url", &url])?;
        let keystone = Keystone { server: serve(cloud, &directory, settings)?, directory };
        keystone.wait(cloud, &format!("{url}/v3"))?;
        Ok(keystone)
    }

    /// The processes that answer requests.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let master = self.server.id();
        let children = read(Path::new(&format!("/proc/{master}/task/{master}/children")))?;
        let workers: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if workers.is_empty() { bail!("Keystone has no worker") } else { Ok(workers) }
    }

    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.directory.join("keystone.db")
    }

    fn wait(&self, cloud: &Cloud, url: &str) -> Result<()> {
        let ask = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=30)";
        for _ in 0..240 {
            let asked = cloud
                .inside(environment("keystone").join("python"))
                .args(["-c", ask, url])
                .stderr(Stdio::null())
                .status()?;
            if asked.success() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        bail!("Keystone does not answer:\n{}", tail(&read(&self.directory.join("uwsgi.out"))?))
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.server.id()) {
            // The server leads a group of its own, with the workers in it.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.server.wait();
    }
}

fn serve(cloud: &Cloud, directory: &Path, settings: &Settings) -> Result<Child> {
    let uwsgi = directory.join("uwsgi.ini");
    let module = finish(Command::new(environment("keystone").join("python")).args([
        "-c",
        "import importlib.util as u; print(u.find_spec('keystone').submodule_search_locations[0])",
    ]))?;
    let module = Path::new(String::from_utf8(module.stdout)?.trim()).join("wsgi/api.py");
    let home = std::fs::canonicalize(environment("keystone").join(".."))?;
    let config = format!(
        "[uwsgi]\nhttp-socket = {ADDRESS}\nmount = /identity={}\nmanage-script-name = true\nvirtualenv = {}\n\
         processes = {}\nmaster = true\nlazy-apps = true\nneed-app = true\nno-orphans = true\n\
         buffer-size = 65535\npost-buffering = 65536\ndisable-logging = true\n",
        module.display(),
        home.display(),
        settings.processes
    );
    std::fs::write(&uwsgi, config)?;
    let log = File::create(directory.join("uwsgi.out"))?;
    // It dies with this process, whatever ends it.
    let mut command = cloud.inside("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(environment("keystone").join("uwsgi")).arg("--ini").arg(uwsgi);
    command.env("OS_KEYSTONE_CONFIG_DIR", directory).env("PYTHONWARNINGS", "ignore");
    command.stdout(log.try_clone()?).stderr(log).process_group(0);
    command.spawn().context("cannot start uwsgi")
}

fn configuration(directory: &Path, settings: &Settings) -> String {
    let directory = directory.display();
    let list_limit = settings.list_limit.map(|most| format!("list_limit = {most}\n")).unwrap_or_default();
    format!(
        "[DEFAULT]\nlog_file = {directory}/keystone.log\n\
         [database]\nconnection = sqlite:///{directory}/keystone.db\nsqlite_synchronous = false\n\
         [fernet_tokens]\nkey_repository = {directory}/fernet\n\
         [credential]\nkey_repository = {directory}/credential\n\
         [identity]\npassword_hash_rounds = {}\n{list_limit}\
         [cache]\nenabled = true\nbackend = dogpile.cache.memory\n\
         [auth]\nmethods = password,token,application_credential,totp,ec2credential\n\
         [api]\nresponse_validation = ignore\n",
        settings.hash_rounds
    )
}

/// Makes the calls of `keystone/calls` of both and tells the differences; an error if there is one that is not intended.
pub fn compare(cloud: &Cloud, report: Option<&Path>, only: &[String]) -> Result<String> {
    let _keystone = Keystone::start(cloud, &Settings::QUICK)?;
    let mut command = cloud.inside(environment("").join("python3"));
    command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1").arg(ours("keystone/replay.py"));
    let operator = cloud.state().join("operator");
    command.arg("--keystone").arg(format!("http://{ADDRESS}/identity"));
    command.args(["--hanse", "https://127.0.0.1:8443/identity"]);
    command.arg("--hanse-ca").arg(operator.join("ca.crt"));
    command.arg("--password-file").arg(operator.join("admin-password"));
    only.iter().for_each(|area| {
        command.args(["--only", area]);
    });
    if let Some(report) = report {
        command.arg("--report").arg(report);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
