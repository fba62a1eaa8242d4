//! The cloud's own certificate authority, for those who have no certificates from elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hanse_core::{Context, Cx, Error, Result, Secret, Timestamp, hex};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls_pki_types::{CertificateDer, DnsName};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{secret_file, tls};

const DAY: Duration = Duration::from_secs(86_400);
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// Clients refuse server certificates that are valid for longer than 398 days; one day is kept as a margin.
const SERVER_LIFE: Duration = DAY.saturating_mul(397);
/// For clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(300);
const NAMES_MAX: usize = 100;
/// Room for a chain with a hundred names and its key.
const PEM_MAX: usize = 64 * 1024;
/// X.520's bound of a common name.
const COMMON_NAME_MAX: usize = 64;

const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const SERVER: &str = "server.pem";

/// A certificate chain, the server's own certificate first, and the private key that belongs to it, both in PEM.
#[derive(Clone, Debug)]
pub struct ServerCert {
    pub chain_pem: String,
    pub key_pem: Secret<String>,
}

impl ServerCert {
    /// Reads a certificate that the operator got elsewhere. Both may be in one file; then give its path twice.
    ///
    /// # Errors
    /// Internal, with path and remedy, if a file is missing or too large, or others may read the key.
    pub fn read(chain: &Path, key: &Path) -> Result<ServerCert> {
        let missing = |path: &Path| Error::internal(format!("there is no file {}", path.display()));
        let key_pem = secret_file::read_checked(key, PEM_MAX)?.ok_or_else(|| missing(key))?;
        let chain_pem = secret_file::read_public(chain, PEM_MAX)?.ok_or_else(|| missing(chain))?;
        Ok(ServerCert {
            chain_pem: text(chain, &chain_pem)?,
            key_pem: Secret::new(text(key, key_pem.expose())?),
        })
    }
}

/// What [`CertificateAuthority::renew_if_needed`] found or made.
#[derive(Clone, Debug)]
pub struct Renewed {
    pub cert: ServerCert,
    /// Why a new certificate was issued, for the log; `None` if the present one is still good.
    pub because: Option<&'static str>,
}

/// An authority whose key is in the directory it was loaded from.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    expires: Timestamp,
}

impl CertificateAuthority {
    /// Reads `ca.key` (0600) and `ca.crt` (0644) in `dir`, which must exist, making what is missing.
    ///
    /// The name of the authority comes from its key. So a certificate that is lost, or removed because it has
    /// expired, is made anew from the key, and certificates issued before still belong to it. The key itself comes
    /// from the operating system's randomness, because the library takes none.
    ///
    /// # Errors
    /// Internal, with path and remedy, if others may read the key, if there is a certificate without its key, if they
    /// do not belong together, if the authority has expired, or if the disk refuses.
    pub fn load_or_create(dir: &Path, cx: &Cx) -> Result<CertificateAuthority> {
        let (key_path, cert_path) = (dir.join(CA_KEY), dir.join(CA_CERT));
        let is_there =
            |path: &Path| std::fs::exists(path).context(format_args!("cannot see {}", path.display()));
        if is_there(&cert_path)? && !is_there(&key_path)? {
            return Err(Error::internal(format!(
                "{} is there, but its key {} is not: put it back from the backup, or remove the certificate to begin \
                 with a new authority that all clients have to trust anew",
                cert_path.display(),
                key_path.display()
            )));
        }
        // The key first: a certificate without its key would be of no use, a key without certificate gets one.
        let key = secret_file::read_or_create(&key_path, secret_file::PRIVATE, PEM_MAX, || {
            let key = KeyPair::generate().context("cannot make a key for the certificate authority")?;
            Ok(Secret::new(key.serialize_pem().into_bytes()))
        })?;
        let key = Secret::new(text(&key_path, key.expose())?);
        let key = KeyPair::from_pem(key.expose())
            .context(format_args!("{} is not a private key in PEM", key_path.display()))?;
        let pem = secret_file::read_or_create(&cert_path, secret_file::PUBLIC, PEM_MAX, || {
            let certificate =
                authority_params(cx, &key)?.self_signed(&key).context("cannot sign the authority")?;
            Ok(Secret::new(certificate.pem().into_bytes()))
        })?;
        let pem = text(&cert_path, pem.expose())?;
        CertificateAuthority::new(cx, pem, key).map_err(|error| {
            let path = cert_path.display();
            Error::internal(format!("the certificate authority {path} cannot be used: {}", error.detail()))
        })
    }

    fn new(cx: &Cx, pem: String, key: KeyPair) -> Result<CertificateAuthority> {
        let der = tls::certificates(&pem)?.swap_remove(0);
        let (public_key, expires) = {
            let certificate = parse(&der)?;
            (certificate.public_key().raw.to_vec(), certificate.validity().not_after.timestamp())
        };
        if public_key != key.subject_public_key_info() {
            return Err(Error::internal(format!(
                "it does not belong to {CA_KEY} beside it; put the right one back"
            )));
        }
        let expires = Timestamp::from_seconds(expires);
        if cx.now() >= expires {
            return Err(Error::internal(format!(
                "it expired on {}: remove it to have it issued anew for the same key, then give it to the clients",
                expires.iso_seconds()
            )));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).context("it cannot issue certificates")?;
        Ok(CertificateAuthority { issuer, pem, der, expires })
    }

    /// The certificate that clients have to trust, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// When clients stop trusting all that this authority has issued; watch it.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// A new key and a certificate for a server that is reached by these names: DNS names, also with `*.` in front,
    /// and IP addresses. Valid from five minutes ago for 397 days, but not beyond the authority's own life.
    ///
    /// # Errors
    /// Internal, naming it, if a name is none, if there is no name, or if there are more than 100.
    pub fn issue_server(&self, cx: &Cx, names: &[String]) -> Result<ServerCert> {
        let names = checked_names(names)?;
        let not_before = cx.now().seconds().saturating_sub(seconds(BACKDATED));
        let not_after = not_before.saturating_add(seconds(SERVER_LIFE)).min(self.expires.seconds());
        let common_name = names.iter().find(|name| name.len() <= COMMON_NAME_MAX).cloned();

        let mut params =
            CertificateParams::new(names.into_iter().collect::<Vec<_>>()).context("cannot name a server")?;
        params.not_before = moment(not_before)?;
        params.not_after = moment(not_after)?;
        params.serial_number = Some(serial(cx));
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let key = KeyPair::generate().context("cannot make a key for a server")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a server certificate")?;
        Ok(ServerCert { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
    }

    /// The certificate in `server.pem` in `dir`, or a new one in its place if there is none, if less than a third
    /// of its life is left, or if names or authority are others.
    ///
    /// Key and chain are in one file (0600), so that no crash leaves the key of one and the chain of another.
    ///
    /// # Errors
    /// As for [`CertificateAuthority::issue_server`]; internal, with path and remedy, if others may read the file or
    /// the disk refuses.
    pub fn renew_if_needed(&self, cx: &Cx, dir: &Path, names: &[String]) -> Result<Renewed> {
        let path = dir.join(SERVER);
        let because = match secret_file::read_checked(&path, PEM_MAX)? {
            None => "there was none",
            Some(pem) => match self.reason_to_renew(cx, pem.expose(), &checked_names(names)?) {
                Some(reason) => reason,
                None => return Ok(Renewed { cert: split(pem.expose())?, because: None }),
            },
        };
        let cert = self.issue_server(cx, names)?;
        let both = Secret::new([cert.key_pem.expose().as_bytes(), cert.chain_pem.as_bytes()].concat());
        secret_file::write(&path, secret_file::PRIVATE, both.expose())?;
        Ok(Renewed { cert, because: Some(because) })
    }

    fn reason_to_renew(&self, cx: &Cx, pem: &[u8], names: &BTreeSet<String>) -> Option<&'static str> {
        const BROKEN: &str = "the present one cannot be read";
        let Some(chain) = std::str::from_utf8(pem).ok().and_then(|pem| tls::certificates(pem).ok()) else {
            return Some(BROKEN);
        };
        let (Ok(certificate), Ok(authority)) = (parse(&chain[0]), parse(&self.der)) else {
            return Some(BROKEN);
        };
        if certificate.verify_signature(Some(authority.public_key())).is_err()
            || certificate.issuer().as_raw() != authority.subject().as_raw()
        {
            return Some("the authority is another");
        }
        if subject_names(&certificate).as_ref() != Some(names) {
            return Some("the names have changed");
        }
        let (begin, end) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let now = cx.now().seconds();
        if now < begin {
            return Some("it was not valid yet");
        }
        if end.saturating_sub(now) < end.saturating_sub(begin) / 3 {
            return Some("less than a third of its life was left");
        }
        match split(pem).and_then(|cert| tls::ReloadableCert::new(&cert.chain_pem, &cert.key_pem)) {
            Ok(_) => None,
            Err(_) => Some(BROKEN),
        }
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("expires", &self.expires).finish_non_exhaustive()
    }
}

fn authority_params(cx: &Cx, key: &KeyPair) -> Result<CertificateParams> {
    let not_before = cx.now().seconds().saturating_sub(seconds(BACKDATED));
    let fingerprint = Sha256::digest(key.subject_public_key_info());
    let short = hex(&fingerprint[..8]);
    let mut params = CertificateParams::default();
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_before.saturating_add(seconds(CA_LIFE)))?;
    params.serial_number = Some(serial(cx));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Hanse");
    params.distinguished_name.push(DnType::CommonName, format!("Hanse CA {short}"));
    // Signs servers and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// 127 random bits: positive, never zero, and of one length (RFC 5280, 4.1.2.2).
fn serial(cx: &Cx) -> SerialNumber {
    let mut bytes = cx.bytes::<16>();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// The names as certificates have them: lower case, addresses in canonical form, each once.
fn checked_names(names: &[String]) -> Result<BTreeSet<String>> {
    if names.is_empty() || names.len() > NAMES_MAX {
        let count = names.len();
        return Err(Error::internal(format!(
            "a server certificate needs between one and {NAMES_MAX} names, not {count}"
        )));
    }
    names.iter().map(|name| checked_name(name)).collect()
}

fn checked_name(name: &str) -> Result<String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(&name))
        .map_err(|_| Error::internal(format!("'{name}' is neither a DNS name nor an IP address")))?;
    Ok(name)
}

/// `None` if the certificate has names that we never give.
fn subject_names(certificate: &X509Certificate<'_>) -> Option<BTreeSet<String>> {
    let names = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().map(name).collect()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    let (_, certificate) = X509Certificate::from_der(der).context("not an X.509 certificate")?;
    Ok(certificate)
}

/// Takes a file with the key in front of the chain apart.
fn split(pem: &[u8]) -> Result<ServerCert> {
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
    let pem = std::str::from_utf8(pem).context("not a PEM text")?;
    let at =
        pem.find(CERTIFICATE).ok_or_else(|| Error::internal("there is no certificate in the PEM text"))?;
    let (key, chain) = pem.split_at(at);
    Ok(ServerCert { chain_pem: chain.to_owned(), key_pem: Secret::new(key.to_owned()) })
}

fn text(path: &Path, content: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(content).context(format_args!("{} is not a PEM file", path.display()))?;
    Ok(text.to_owned())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).context("a certificate cannot be dated; is the clock right?")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::sync::Arc;

    use hanse_core::{ManualClock, OsRandom};

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        clock: Arc<ManualClock>,
        cx: Cx,
    }

    impl World {
        fn new() -> World {
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
            let cx = Cx::new(clock.clone(), Arc::new(OsRandom));
            World { dir: tempfile::tempdir().unwrap(), clock, cx }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn authority(&self) -> CertificateAuthority {
            CertificateAuthority::load_or_create(self.dir.path(), &self.cx).unwrap()
        }

        fn refusal(&self) -> String {
            CertificateAuthority::load_or_create(self.dir.path(), &self.cx).unwrap_err().detail()
        }

        fn renew(&self, authority: &CertificateAuthority, names: &[String]) -> Renewed {
            authority.renew_if_needed(&self.cx, self.dir.path(), names).unwrap()
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn der(cert: &ServerCert) -> CertificateDer<'static> {
        tls::certificates(&cert.chain_pem).unwrap().swap_remove(0)
    }

    #[test]
    fn an_authority_is_made_once_and_found_again() {
        let world = World::new();
        let made = world.authority();
        assert_eq!(world.authority().ca_pem(), made.ca_pem());
        let mode = |name| fs::metadata(world.path(name)).unwrap().mode() & 0o777;
        assert_eq!((mode(CA_CERT), mode(CA_KEY)), (0o644, 0o600));
        let certificate = parse(&made.der).unwrap();
        assert!(certificate.is_ca());
        assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000 - 300);
        certificate.verify_signature(None).unwrap();
    }

    #[test]
    fn a_lost_certificate_is_made_anew_and_what_was_issued_stays_good() {
        let world = World::new();
        let before = world.authority();
        let issued = world.renew(&before, &names(&["cloud.example"]));
        // What a crash between key and certificate leaves.
        fs::remove_file(world.path(CA_CERT)).unwrap();
        fs::write(world.path(".ca.crt.tmp"), "-----BEGIN CERT").unwrap();
        let after = world.authority();
        assert_ne!(before.ca_pem(), after.ca_pem());
        let again = world.renew(&after, &names(&["cloud.example"]));
        assert_eq!(again.because, None);
        assert_eq!(again.cert.chain_pem, issued.cert.chain_pem);
    }

    #[test]
    fn a_certificate_without_its_key_or_with_another_is_refused() {
        let (world, other) = (World::new(), World::new());
        world.authority();
        other.authority();
        fs::copy(other.path(CA_KEY), world.path(CA_KEY)).unwrap();
        assert!(world.refusal().contains("does not belong to ca.key"));
        fs::remove_file(world.path(CA_KEY)).unwrap();
        assert!(world.refusal().contains("put it back from the backup"));
        assert!(!world.path(CA_KEY).exists(), "no new key takes the place of a lost one");
    }

    #[test]
    fn an_authority_whose_key_others_may_read_is_refused() {
        let world = World::new();
        world.authority();
        fs::set_permissions(world.path(CA_KEY), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(world.refusal().contains("chmod 600"));
    }

    #[test]
    fn an_expired_authority_says_what_to_do() {
        let world = World::new();
        let expires = world.authority().expires();
        world.clock.advance(expires.since(world.cx.now()));
        assert!(world.refusal().contains("remove it to have it issued anew"));
        fs::remove_file(world.path(CA_CERT)).unwrap();
        assert!(world.authority().expires() > expires);
    }

    #[test]
    fn a_server_certificate_lives_397_days_from_five_minutes_ago_and_not_longer_than_its_authority() {
        let world = World::new();
        let authority = world.authority();
        let validity = || {
            let cert =
                der(&authority.issue_server(&world.cx, &names(&["cloud.example", "10.0.0.1"])).unwrap());
            let certificate = parse(&cert).unwrap();
            assert!(!certificate.is_ca());
            certificate.verify_signature(Some(parse(&authority.der).unwrap().public_key())).unwrap();
            let validity = certificate.validity();
            (validity.not_before.timestamp(), validity.not_after.timestamp())
        };
        let begin = 1_800_000_000 - 300;
        assert_eq!(validity(), (begin, begin + 397 * 86_400));
        world.clock.advance(DAY * 3600);
        assert_eq!(validity().1, authority.expires().seconds());
    }

    #[test]
    fn a_server_certificate_is_kept_until_two_thirds_of_its_life_are_over() {
        let world = World::new();
        let authority = world.authority();
        let cloud = names(&["cloud.example", "10.0.0.1", "2001:DB8::1"]);
        let first = world.renew(&authority, &cloud);
        assert_eq!(first.because, Some("there was none"));
        assert_eq!(fs::metadata(world.path(SERVER)).unwrap().mode() & 0o777, 0o600);

        world.clock.advance(DAY * 264);
        let kept = world.renew(&authority, &cloud);
        assert_eq!(kept.because, None);
        assert_eq!(kept.cert.chain_pem, first.cert.chain_pem);
        assert!(kept.cert.key_pem == first.cert.key_pem);

        world.clock.advance(DAY);
        let second = world.renew(&authority, &cloud);
        assert_eq!(second.because, Some("less than a third of its life was left"));
        assert_ne!(second.cert.chain_pem, first.cert.chain_pem);
        assert_eq!(world.renew(&authority, &cloud).because, None);
    }

    #[test]
    fn other_names_another_authority_and_a_broken_file_each_bring_a_new_certificate() {
        let (world, other) = (World::new(), World::new());
        let (authority, successor) = (world.authority(), other.authority());
        world.renew(&authority, &names(&["a.example", "b.example"]));
        assert_eq!(world.renew(&authority, &names(&["B.example", "a.example"])).because, None);
        let renamed = names(&["a.example"]);
        assert_eq!(world.renew(&authority, &renamed).because, Some("the names have changed"));
        assert_eq!(world.renew(&successor, &renamed).because, Some("the authority is another"));

        let one = world.renew(&successor, &renamed).cert;
        let two = successor.issue_server(&world.cx, &renamed).unwrap();
        let mixed = format!("{}{}", two.key_pem.expose(), one.chain_pem);
        for broken in ["", "garbage", &one.chain_pem, &mixed] as [&str; 4] {
            secret_file::write(&world.path(SERVER), secret_file::PRIVATE, broken.as_bytes()).unwrap();
            let renewed = world.renew(&successor, &renamed);
            assert_eq!(renewed.because, Some("the present one cannot be read"), "{broken}");
        }
        assert_eq!(world.renew(&successor, &renamed).because, None);
    }

    #[test]
    fn a_clock_that_was_ahead_brings_a_new_certificate() {
        let world = World::new();
        let authority = world.authority();
        let cloud = names(&["cloud.example"]);
        let earlier = world.cx.clone();
        world.renew(&authority, &cloud);
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(earlier.now().seconds() - 86_400)));
        let corrected = Cx::new(clock, Arc::new(OsRandom));
        let renewed = authority.renew_if_needed(&corrected, world.dir.path(), &cloud).unwrap();
        assert_eq!(renewed.because, Some("it was not valid yet"));
    }

    #[test]
    fn what_is_no_name_gets_no_certificate() {
        let world = World::new();
        let authority = world.authority();
        let too_many = vec!["a.example".to_owned(); NAMES_MAX + 1];
        let long = "a".repeat(64) + ".example";
        for refused in
            [names(&[]), too_many, names(&["a b"]), names(&["*"]), names(&["a.*.b"]), names(&[&long])]
        {
            assert!(authority.issue_server(&world.cx, &refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_certificate_from_elsewhere_is_read_if_its_key_is_private() {
        let world = World::new();
        let cert = world.authority().issue_server(&world.cx, &names(&["cloud.example"])).unwrap();
        let (chain, key) = (world.path("given.crt"), world.path("given.key"));
        assert!(ServerCert::read(&chain, &key).unwrap_err().detail().contains("there is no file"));
        secret_file::write(&chain, secret_file::PUBLIC, cert.chain_pem.as_bytes()).unwrap();
        secret_file::write(&key, secret_file::PRIVATE, cert.key_pem.expose().as_bytes()).unwrap();
        assert!(ServerCert::read(&chain, &key).unwrap().key_pem == cert.key_pem);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ServerCert::read(&chain, &key).is_err());
    }
}
