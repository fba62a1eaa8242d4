//! The configuration: one TOML file; everything has a default.

mod keys;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanse_core::{Context, Error, Result, Secret};
use hanse_crypto::{TokenProvider, secret_file};
use hanse_identity::{Compliance, Demands, Settings, UNIQUE_PASSWORDS_MAX};
use ipnet::IpNet;
use serde::Deserialize;

use self::keys::{KEYS, Key};
use crate::webhooks::Webhook;

/// Where the file is looked for unless `--config` names another.
pub const DEFAULT_PATH: &str = "/etc/hanse/hanse.toml";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub state_dir: StateDir,
    pub user: User,
    pub api: Api,
    pub tls: Tls,
    pub database: Database,
    pub identity: Identity,
    pub audit: Audit,
    pub node: Node,
    pub hypervisor: Hypervisor,
    pub compute: Compute,
    pub network: Network,
    pub objectstore: ObjectStore,
    pub external: External,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct StateDir(pub PathBuf);

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct User(pub String);

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Api {
    pub listen: SocketAddr,
    pub public_url: String,
    pub region: String,
    pub connections: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Database {
    pub url_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Audit {
    pub keep_days: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Identity {
    pub token_minutes: u32,
    pub token_provider: Provider,
    pub lockout_failure_attempts: u32,
    pub lockout_duration_seconds: u32,
    pub password_expires_days: u32,
    pub unique_last_password_count: u32,
    pub minimum_password_age: u32,
    pub password_regex: Vec<String>,
    pub password_regex_description: String,
    pub change_password_upon_first_use: bool,
    pub disable_user_account_days_inactive: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Fernet,
    Jws,
}

impl From<Provider> for TokenProvider {
    fn from(provider: Provider) -> TokenProvider {
        match provider {
            Provider::Fernet => TokenProvider::Fernet,
            Provider::Jws => TokenProvider::Jws,
        }
    }
}

impl Identity {
    /// # Errors
    /// 400 if a rule makes no sense.
    pub fn settings(&self) -> Result<Settings> {
        let wrong = |message: &str| Err(Error::bad_request(message));
        if self.token_minutes == 0 || self.token_minutes > 60 * 24 * 30 {
            return wrong("identity.token_minutes must be between 1 and 43200 (30 days)");
        }
        if self.unique_last_password_count > UNIQUE_PASSWORDS_MAX {
            return wrong("identity.unique_last_password_count must be at most 24");
        }
        if self.password_expires_days > 0 && self.minimum_password_age >= self.password_expires_days {
            return wrong("identity.minimum_password_age must be less than identity.password_expires_days");
        }
        let inactive = self.disable_user_account_days_inactive;
        if inactive > 0 && self.token_minutes.div_ceil(60 * 24) > inactive {
            return wrong(
                "identity.token_minutes must end before identity.disable_user_account_days_inactive does",
            );
        }
        let duration = Duration::from_secs(u64::from(self.lockout_duration_seconds));
        Ok(Settings {
            token_life: Duration::from_secs(u64::from(self.token_minutes) * 60),
            compliance: Compliance {
                lockout_failure_attempts: self.lockout_failure_attempts,
                lockout_duration: duration,
                password_expires_days: self.password_expires_days,
                unique_last_password_count: self.unique_last_password_count,
                minimum_password_age: self.minimum_password_age,
                demands: Demands::new(&self.password_regex, self.password_regex_description.clone())?,
                change_password_upon_first_use: self.change_password_upon_first_use,
                disable_user_account_days_inactive: inactive,
            },
            ..Settings::default()
        })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    Qemu,
    Sim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    Auto,
    Kvm,
    Tcg,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Hypervisor {
    pub driver: Driver,
    pub accelerator: Accelerator,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Compute {
    pub cpu_allocation_ratio: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Network {
    pub public_cidr: IpNet,
}

/// What keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Embedded,
    Radosgw,
}

/// Where radosgw is, and who we are there.
#[derive(Clone, Debug, Deserialize)]
pub struct Radosgw {
    pub endpoint: String,
    pub access_key: String,
    pub secret_key_file: PathBuf,
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ObjectStore {
    pub engine: Engine,
    pub radosgw: Option<Radosgw>,
    pub listen: SocketAddr,
    pub public_url: String,
    pub domain: Option<String>,
    pub website_domain: Option<String>,
    pub webhooks: Vec<Webhook>,
    pub tls: bool,
    pub connections: usize,
    pub directory: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct External {
    pub uplink: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Log {
    pub level: String,
    pub total_mib: u64,
}

/// The defaults are those of [`KEYS`], so that the reference cannot disagree with the code.
fn default_of<T: serde::de::DeserializeOwned>(section: &str, name: &str) -> Option<T> {
    let key = KEYS.iter().find(|key| key.section == section && key.name == name)?;
    let table: toml::Table = format!("value = {}", key.default).parse().ok()?;
    table.get("value")?.clone().try_into().ok()
}

macro_rules! defaults {
    ($($type:ident $section:literal { $($field:ident),* } $([without $($none:ident),*])?)*) => {$(
        impl Default for $type {
            fn default() -> $type {
                $type {
                    $($field: default_of($section, stringify!($field)).expect("a key with a default"),)*
                    $($($none: None,)*)?
                }
            }
        }
    )*};
}

defaults! {
    Api "api" { listen, public_url, region, connections }
    Identity "identity" {
        token_minutes, token_provider, lockout_failure_attempts, lockout_duration_seconds, password_expires_days,
        unique_last_password_count, minimum_password_age, password_regex, password_regex_description,
        change_password_upon_first_use, disable_user_account_days_inactive
    }
    Audit "audit" { keep_days }
    Hypervisor "hypervisor" { driver, accelerator }
    Compute "compute" { cpu_allocation_ratio }
    Network "network" { public_cidr }
    ObjectStore "objectstore" { engine, listen, public_url, webhooks, tls, connections } [without domain, website_domain, directory, radosgw]
    Log "log" { level, total_mib }
}

impl Audit {
    /// `None`: for ever.
    pub fn keep(&self) -> Option<Duration> {
        (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 24 * 3600))
    }
}

impl ObjectStore {
    fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::bad_request(message));
        let Some(rest) = self.public_url.strip_prefix("https://").or(self.public_url.strip_prefix("http://"))
        else {
            return wrong("objectstore.public_url must start with https:// or http://");
        };
        if rest.is_empty() || rest.contains('/') {
            return wrong("objectstore.public_url must have neither a path nor a slash at its end");
        }
        match (self.engine, &self.radosgw) {
            (Engine::Embedded, None) => {}
            (Engine::Embedded, Some(_)) => {
                return wrong("[objectstore.radosgw] goes with objectstore.engine = \"radosgw\"");
            }
            (Engine::Radosgw, None) => {
                return wrong(
                    "objectstore.engine = \"radosgw\" needs endpoint, access_key and secret_key_file in [objectstore.radosgw]",
                );
            }
            // What is about a listener of ours means nothing.
            (Engine::Radosgw, Some(radosgw)) => return radosgw.check(),
        }
        if !self.tls && !self.listen.ip().is_loopback() {
            return wrong("objectstore.tls may be false only if objectstore.listen is a loopback address");
        }
        if self.tls && self.public_url.starts_with("http://") {
            return wrong("objectstore.public_url must start with https:// unless objectstore.tls is false");
        }
        if self.directory.as_ref().is_some_and(|path| !path.is_absolute()) {
            return wrong("objectstore.directory must be an absolute path");
        }
        self.webhooks.iter().try_for_each(Webhook::check)?;
        hanse_objectstore::check_domains(self.domain.as_deref(), self.website_domain.as_deref()).map_err(
            |error| {
                let names = "objectstore.domain, objectstore.website_domain";
                Error::bad_request(format!("{names}: {}", error.message()))
            },
        )
    }
}

impl Radosgw {
    fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::bad_request(message));
        if self.endpoint.starts_with("https://") && self.ca.is_none() {
            return wrong("objectstore.radosgw.endpoint with https:// needs objectstore.radosgw.ca");
        }
        if self.access_key.is_empty() || !self.access_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("objectstore.radosgw.access_key is no access key");
        }
        if !self.secret_key_file.is_absolute() {
            return wrong("objectstore.radosgw.secret_key_file must be an absolute path");
        }
        Ok(())
    }

    /// What radosgw is asked with. The secret key is read from its file, which only the user of the cloud may read.
    ///
    /// # Errors
    /// 400 with the key and what to do.
    pub fn settings(&self) -> Result<hanse_objectstore::radosgw::Settings> {
        let missing = |key: &str, file: &Path| {
            Error::bad_request(format!("objectstore.radosgw.{key}: there is no {}", file.display()))
        };
        let file = &self.secret_key_file;
        let secret =
            secret_file::read_checked(file, 4096)?.ok_or_else(|| missing("secret_key_file", file))?;
        let secret = std::str::from_utf8(secret.expose()).context("objectstore.radosgw.secret_key_file")?;
        let ca = self.ca.as_ref().map(|file| {
            let bytes = secret_file::read_public(file, 1 << 20)?.ok_or_else(|| missing("ca", file))?;
            String::from_utf8(bytes).context("objectstore.radosgw.ca")
        });
        Ok(hanse_objectstore::radosgw::Settings {
            endpoint: self.endpoint.clone(),
            access_key: self.access_key.clone(),
            secret_key: Secret::new(secret.trim().to_owned()),
            ca: ca.transpose()?,
        })
    }
}

impl Default for StateDir {
    fn default() -> StateDir {
        StateDir(default_of("", "state_dir").unwrap_or_default())
    }
}

impl Default for User {
    fn default() -> User {
        User(default_of("", "user").unwrap_or_default())
    }
}

impl Config {
    /// Reads the file. A missing one is an error only if it was asked for by name.
    ///
    /// # Errors
    /// 400 with the key and what to do.
    pub fn load(path: Option<&Path>) -> Result<Config> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Config::parse(&text)
                .map_err(|error| Error::bad_request(format!("{}: {}", file.display(), error.message()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                Ok(Config::default())
            }
            Err(error) => {
                Err(Error::bad_request(format!("cannot read the configuration {}: {error}", file.display())))
            }
        }
    }

    /// # Errors
    /// 400 for an unknown key (with the nearest known one), a wrong type or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Config> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::bad_request(error.to_string().trim_end().to_owned()))?;
        check_keys(&table)?;
        let config: Config = table
            .try_into()
            .map_err(|error: toml::de::Error| Error::bad_request(error.to_string().trim_end().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::bad_request(message));
        if !self.state_dir.0.is_absolute() {
            return wrong("state_dir must be an absolute path");
        }
        if !self.api.public_url.starts_with("https://") || self.api.public_url.ends_with('/') {
            return wrong("api.public_url must start with https:// and have no slash at its end");
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return wrong("tls.certificate and tls.key go together: set both or none");
        }
        self.identity.settings()?;
        if !matches!(self.network.public_cidr.trunc(), IpNet::V4(net) if IpNet::V4(net) == self.network.public_cidr && net.prefix_len() <= 28)
        {
            return wrong(
                "network.public_cidr must be an IPv4 network of /28 or larger, such as 172.24.4.0/24",
            );
        }
        self.objectstore.check()?;
        if self.objectstore.engine == Engine::Embedded && self.objectstore.listen == self.api.listen {
            return wrong("objectstore.listen and api.listen must differ");
        }
        if !(0.1..=64.0).contains(&self.compute.cpu_allocation_ratio) {
            return wrong("compute.cpu_allocation_ratio must be between 0.1 and 64");
        }
        if !["error", "warn", "info", "debug", "trace"].contains(&self.log.level.as_str()) {
            return wrong("log.level must be error, warn, info, debug or trace");
        }
        Ok(())
    }

    /// This host's own address in the network `public`.
    pub fn host_address(&self) -> IpAddr {
        self.network.public_cidr.hosts().next().unwrap_or(self.network.public_cidr.addr())
    }
}

fn check_keys(table: &toml::Table) -> Result<()> {
    check_section("", table)
}

/// Whether all that stands in a section is known, with the sections in it (`objectstore.radosgw`).
fn check_section(section: &str, table: &toml::Table) -> Result<()> {
    for (name, value) in table {
        let full = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        match value {
            toml::Value::Table(inner) if KEYS.iter().any(|key| key.section == full) => {
                check_section(&full, inner)?
            }
            _ if KEYS.iter().any(|key| key.section == section && key.name == name) => {}
            _ => return Err(unknown(&full)),
        }
    }
    Ok(())
}

fn unknown(name: &str) -> Error {
    let mut known: Vec<String> = KEYS.iter().map(full_name).collect();
    known.extend(KEYS.iter().map(|key| key.section.to_owned()));
    known.sort_by_key(|candidate| distance(candidate, name));
    let nearest = known.first().map(String::as_str).unwrap_or_default();
    Error::bad_request(format!(
        "unknown key `{name}`; did you mean `{nearest}`? `hanse config reference` lists all"
    ))
}

fn full_name(key: &Key) -> String {
    if key.section.is_empty() { key.name.to_owned() } else { format!("{}.{}", key.section, key.name) }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The reference: a configuration file in which everything is a comment.
pub fn reference() -> String {
    let mut text = String::from(
        "# The configuration of Hanse. Every key is optional; what stands here is the default.\n",
    );
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            text.push_str(&format!("\n[{section}]\n"));
        } else {
            text.push('\n');
        }
        let value = if key.default.is_empty() { "…" } else { key.default };
        let meaning = key.meaning.replace('\n', "\n# ");
        text.push_str(&format!("# {meaning}\n# {} = {value}\n", key.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_the_reference_is_the_default_of_the_code() {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            if key.section != section {
                section = key.section;
                text.push_str(&format!("[{section}]\n"));
            }
            text.push_str(&format!("{} = {}\n", key.name, key.default));
        }
        let written = Config::parse(&text).unwrap();
        assert_eq!(format!("{written:?}"), format!("{:?}", Config::default()));
        Config::default().check().unwrap();
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let message = |text: &str| Config::parse(text).unwrap_err().message().to_owned();
        assert!(message("[api]\nlisten_on = \"x\"").contains("`api.listen`"));
        assert!(message("statedir = \"/x\"").contains("`state_dir`"));
        assert!(message("[netwrok]\n").contains("`network`"), "{}", message("[netwrok]\n"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "state_dir = \"relative\"",
            "[api]\npublic_url = \"http://x\"",
            "[api]\nlisten = \"nowhere\"",
            "[tls]\nkey = \"/k.pem\"",
            "[network]\npublic_cidr = \"10.0.0.1/24\"",
            "[identity]\ntoken_minutes = 0",
            "[identity]\ntoken_provider = \"uuid\"",
            "[identity]\npassword_regex = ['(?=.*\\d)']",
            "[identity]\npassword_regex = ['[']",
            "[identity]\npassword_expires_days = 2\nminimum_password_age = 2",
            "[identity]\nunique_last_password_count = 25",
            "[identity]\nlockout_failure_attempts = -1",
            "[identity]\ntoken_minutes = 1441\ndisable_user_account_days_inactive = 1",
            "[log]\nlevel = \"loud\"",
            "[objectstore]\nlisten = \"127.0.0.1:8443\"",
            "[objectstore]\nlisten = \"0.0.0.0:8444\"\ntls = false",
            "[objectstore]\npublic_url = \"http://127.0.0.1:8444\"",
            "[objectstore]\npublic_url = \"https://127.0.0.1:8444/\"",
            "[objectstore]\ndirectory = \"objects\"",
            "[objectstore]\ndomain = \"Example\"",
            "[objectstore]\nwebsite_domain = \"Example\"",
            "[objectstore]\ndomain = \"s3.a.b\"\nwebsite_domain = \"web.s3.a.b\"",
            "[objectstore]\ndomain = \"a.b\"\nwebsite_domain = \"a.b\"",
            "[objectstore]\nengine = \"minio\"",
            "[objectstore]\nengine = \"radosgw\"",
            "[objectstore.radosgw]\nendpoint = \"http://127.0.0.1:8000\"",
            "[objectstore]\nengine = \"radosgw\"\nradosgw = { endpoint = \"https://rgw.example.org\", access_key = \"A\", secret_key_file = \"/s\" }",
            "[objectstore.radosgw]\nsecret_key = \"s\"",
            "[hypervisor]\ndriver = \"vmware\"",
            "= broken",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_public_address_is_the_hosts() {
        assert_eq!(Config::default().host_address().to_string(), "172.24.4.1");
    }
}
