//! Where object storage may send notifications: what the configuration says, and the files that it names.

use std::path::{Path, PathBuf};

use hanse_core::{Context, Error, Result, Secret};
use hanse_crypto::secret_file;
use serde::Deserialize;

const SECRET_MAX: usize = 4096;
/// Of certificates: those of a whole system have some 220 KiB.
const AUTHORITIES_MAX: usize = 4 << 20;

/// Where systems keep the authorities that they trust: Debian, Alpine and Arch; Fedora and Red Hat; SUSE.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// `[[objectstore.webhooks]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub name: String,
    pub url: String,
    #[serde(default)]
    pub projects: Vec<String>,
    pub secret_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

fn missing(path: &Path) -> Error {
    Error::bad_request(format!("there is no file {}", path.display()))
}

/// The first line of a file that nobody else may read.
fn secret(path: &Path) -> Result<Secret<String>> {
    let bytes = secret_file::read_checked(path, SECRET_MAX)?.ok_or_else(|| missing(path))?;
    let text = std::str::from_utf8(bytes.expose());
    let text = text.map_err(|_| Error::bad_request(format!("{} is no text", path.display())))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Authorities in PEM, those of the system unless others are named.
fn authorities(own: Option<&Path>) -> Result<String> {
    let system = || SYSTEM.iter().map(Path::new).find(|path| path.exists());
    let path = own.or_else(system).ok_or_else(|| {
        Error::bad_request("this system has no file of authorities where we know one: set `ca_file`")
    })?;
    let bytes = secret_file::read_public(path, AUTHORITIES_MAX)?.ok_or_else(|| missing(path))?;
    String::from_utf8(bytes).context(format!("cannot read {}", path.display()))
}

impl Webhook {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// 400 or internal that says which webhook, and what is wrong with it.
    pub fn open(&self) -> Result<hanse_objectstore::Webhook> {
        let open = || -> Result<hanse_objectstore::Webhook> {
            let authorities = if self.url.starts_with("https://") {
                Some(authorities(self.ca_file.as_deref())?)
            } else {
                None
            };
            Ok(hanse_objectstore::Webhook {
                name: self.name.clone(),
                url: self.url.clone(),
                projects: self.projects.clone(),
                secret: self.secret_file.as_deref().map(secret).transpose()?,
                token: self.token_file.as_deref().map(secret).transpose()?,
                authorities,
            })
        };
        open().map_err(|error| {
            Error::bad_request(format!("objectstore.webhooks, '{}': {}", self.name, error.detail()))
        })
    }

    /// # Errors
    /// 400 if a path is relative.
    pub fn check(&self) -> Result<()> {
        let paths = [&self.secret_file, &self.token_file, &self.ca_file];
        if paths.into_iter().flatten().any(|path| !path.is_absolute()) {
            let message = format!("objectstore.webhooks, '{}': files have absolute paths", self.name);
            return Err(Error::bad_request(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::config::Config;

    #[test]
    fn the_authorities_of_the_system_can_be_used() {
        let cx = hanse_core::Cx::system();
        let text = "[[objectstore.webhooks]]\nname = \"a\"\nurl = \"https://h/\"";
        let configured = Config::parse(text).unwrap().objectstore.webhooks.remove(0);
        match configured.open() {
            Ok(opened) => hanse_objectstore::check_webhooks(&cx, &[opened]).unwrap(),
            Err(error) => assert!(error.message().contains("ca_file"), "{error}"),
        }
    }

    #[test]
    fn webhooks_are_read_with_their_files() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let write = |name: &str, mode: u32| {
            std::fs::write(path(name), format!("{name} of sixteen characters\nrest")).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("secret", 0o600);
        write("open", 0o644);
        let config = |secret: &str, url: &str| {
            let text = format!(
                "[[objectstore.webhooks]]\nname = \"a\"\nurl = \"{url}\"\nsecret_file = \"{}\"\nca_file = \"{}\"",
                path(secret).display(),
                path("open").display()
            );
            Config::parse(&text).unwrap().objectstore.webhooks.remove(0)
        };
        let opened = config("secret", "https://h/").open().unwrap();
        assert_eq!(opened.secret.unwrap().expose(), "secret of sixteen characters");
        assert!(opened.authorities.unwrap().starts_with("open of"));
        assert!(config("secret", "http://h/").open().unwrap().authorities.is_none());
        for wrong in ["open", "nothing"] {
            let message = config(wrong, "http://h/").open().unwrap_err().message().to_owned();
            assert!(message.contains("'a'") && message.contains(wrong), "{message}");
        }
        for wrong in ["secret_file = \"relative\"", "nonsense = 1", "projects = 1"] {
            let text = format!("[[objectstore.webhooks]]\nname = \"a\"\nurl = \"http://h/\"\n{wrong}");
            assert!(Config::parse(&text).is_err(), "{wrong}");
        }
    }
}
