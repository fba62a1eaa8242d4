//! The configuration: one TOML file; everything has a default.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanse_core::{Error, Result};
use hanse_crypto::TokenProvider;
use hanse_identity::{Compliance, Demands, Settings, UNIQUE_PASSWORDS_MAX};
use ipnet::IpNet;
use serde::Deserialize;

/// Where the file is looked for unless `--config` names another.
pub const DEFAULT_PATH: &str = "/etc/hanse/hanse.toml";

/// One key, as it stands in the reference.
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// As it would be written in the file; empty if there is no default.
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn key(section: &'static str, name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { section, name, default, meaning }
}

/// Every key there is, in the order of the reference.
pub const KEYS: &[Key] = &[
    key(
        "",
        "state_dir",
        "\"/var/lib/hanse\"",
        "Directory of everything that the cloud keeps: state, keys, images, disks, logs.",
    ),
    key(
        "",
        "user",
        "\"hanse\"",
        "System user that the control plane and the guests run as; made by `hanse up` if it is missing.",
    ),
    key("api", "listen", "\"127.0.0.1:8443\"", "Address and port of the APIs (TLS)."),
    key(
        "api",
        "public_url",
        "\"https://127.0.0.1:8443\"",
        "Address of the APIs as clients reach it; it stands in the catalog and in links.",
    ),
    key("api", "region", "\"RegionOne\"", "Name of the region in the catalog."),
    key("api", "connections", "4096", "Client connections open at once; further ones are refused."),
    key(
        "tls",
        "certificate",
        "",
        "PEM file with a certificate chain of your own; without it, the cloud's own CA issues one.",
    ),
    key("tls", "key", "", "PEM file with the private key of that certificate."),
    key(
        "database",
        "url_file",
        "",
        "File (mode 0600) that holds a postgres:// address. Without it, state is kept in SQLite.",
    ),
    key("identity", "token_minutes", "240", "How long a token is valid."),
    key(
        "identity",
        "token_provider",
        "\"fernet\"",
        "Kind of new tokens: \"fernet\" (sealed, short) or \"jws\" (signed, readable). Those of the other kind stay valid.",
    ),
    key(
        "identity",
        "lockout_failure_attempts",
        "0",
        "Wrong passwords in a row that lock an account; 0: none. Off, since whoever knows a name could lock its owner out, and\n\
         guessing is slowed down anyway: after ten failures a minute for one account from one address come 429s.",
    ),
    key(
        "identity",
        "lockout_duration_seconds",
        "1800",
        "How long such an account is locked; 0: until an administrator enables it again (`enabled: true`).",
    ),
    key(
        "identity",
        "password_expires_days",
        "0",
        "Days after which a new password must be changed; 0: never, as NIST SP 800-63B advises.",
    ),
    key(
        "identity",
        "unique_last_password_count",
        "0",
        "From how many of a user's passwords, with the one of today, the next must differ: at most 24; 0: from none.",
    ),
    key(
        "identity",
        "minimum_password_age",
        "0",
        "Days that users must keep a password which they chose, less than password_expires_days.",
    ),
    key(
        "identity",
        "password_regex",
        "[]",
        "Regular expressions, each of which a new password must match from its first character. There is no look-around: in the\n\
         place of Keystone's '(?=.*\\d)(?=.*[a-z]).{7,}$' stand three, ['.*\\d', '.*[a-z]', '.{7,}$'].",
    ),
    key(
        "identity",
        "password_regex_description",
        "\"\"",
        "The same in words, for those whose password does not match.",
    ),
    key(
        "identity",
        "change_password_upon_first_use",
        "false",
        "Whether a password that an administrator has set must be changed before it lets in. Service users are exempted by the\n\
         option ignore_change_password_upon_first_use.",
    ),
    key(
        "identity",
        "disable_user_account_days_inactive",
        "0",
        "Days without any login after which an account counts as disabled; 0: never.",
    ),
    key("audit", "keep_days", "400", "How long audit events are kept; 0 is for ever."),
    key("node", "name", "", "Name of this machine in the cloud; without it, its host name."),
    key(
        "hypervisor",
        "driver",
        "\"qemu\"",
        "What runs guests: \"qemu\", or \"sim\" to try the APIs without any guest.",
    ),
    key(
        "hypervisor",
        "accelerator",
        "\"auto\"",
        "\"kvm\", \"tcg\" (software, slow), or \"auto\": KVM if a trial guest really runs on it.",
    ),
    key("compute", "cpu_allocation_ratio", "4.0", "How many virtual CPUs are given out for each real one."),
    key(
        "network",
        "public_cidr",
        "\"172.24.4.0/24\"",
        "Addresses of the network `public`: gateways and floating IPs. Its first address is this host's.",
    ),
    key("external", "uplink", "", "Interface through which guests reach the outside. Off unless set."),
    key("log", "level", "\"info\"", "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"."),
    key("log", "total_mib", "64", "Size of all logs of one process together; the oldest are dropped."),
];

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
    ($($type:ident $section:literal { $($field:ident),* })*) => {$(
        impl Default for $type {
            fn default() -> $type {
                $type { $($field: default_of($section, stringify!($field)).expect("a key with a default")),* }
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
    Log "log" { level, total_mib }
}

impl Audit {
    /// `None`: for ever.
    pub fn keep(&self) -> Option<Duration> {
        (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 24 * 3600))
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
    for (name, value) in table {
        match value {
            toml::Value::Table(section) if KEYS.iter().any(|key| key.section == name) => {
                for inner in section.keys() {
                    if !KEYS.iter().any(|key| key.section == name && key.name == inner) {
                        return Err(unknown(&format!("{name}.{inner}")));
                    }
                }
            }
            _ if KEYS.iter().any(|key| key.section.is_empty() && key.name == name) => {}
            _ => return Err(unknown(name)),
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
