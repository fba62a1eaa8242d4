//! TLS as Hanse speaks it: 1.2 and 1.3 over ring, HTTP/2 before HTTP/1.1, time from the context.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hanse_core::{Context, Cx, Error, Result, Secret};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The configuration of a listener that presents one certificate for its life; for one that can be swapped see
/// [`ReloadableCert`]. It offers `h2` and `http/1.1`, in that order.
///
/// # Errors
/// Internal if either text is not what it should be or the key does not belong to the first certificate.
pub fn server_config(cx: &Cx, chain_pem: &str, key_pem: &Secret<String>) -> Result<Arc<ServerConfig>> {
    Arc::new(ReloadableCert::new(chain_pem, key_pem)?).server_config(cx)
}

/// The configuration of a client that trusts the authorities in `ca_pem` and nobody else. It offers no ALPN protocol:
/// HTTP clients add their own.
///
/// # Errors
/// Internal if there is no certificate in `ca_pem` or one that cannot be an authority.
pub fn client_config(cx: &Cx, ca_pem: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate).context("a certificate to trust cannot be used")?;
    }
    let config = ClientConfig::builder_with_details(provider(), Arc::new(CxTime(cx.clone())))
        .with_protocol_versions(VERSIONS)
        .context("cannot configure a TLS client")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A server certificate with its key that can be swapped while connections are served: new handshakes get the new
/// one, open connections go on.
pub struct ReloadableCert {
    current: RwLock<Arc<CertifiedKey>>,
}

impl ReloadableCert {
    /// # Errors
    /// As for [`server_config`].
    pub fn new(chain_pem: &str, key_pem: &Secret<String>) -> Result<ReloadableCert> {
        Ok(ReloadableCert { current: RwLock::new(certified(chain_pem, key_pem)?) })
    }

    /// Presents another certificate from now on; on SIGHUP, after a renewal.
    ///
    /// # Errors
    /// As for [`server_config`]; the present certificate then stays in use.
    pub fn replace(&self, chain_pem: &str, key_pem: &Secret<String>) -> Result<()> {
        let next = certified(chain_pem, key_pem)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The configuration of a listener that presents whatever certificate is current.
    ///
    /// # Errors
    /// Internal if the library refuses (it does not for these versions).
    pub fn server_config(self: Arc<Self>, cx: &Cx) -> Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(CxTime(cx.clone())))
            .with_protocol_versions(VERSIONS)
            .context("cannot configure a TLS server")?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ReloadableCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for ReloadableCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadableCert").finish_non_exhaustive()
    }
}

/// Named explicitly, so that no other crate's choice of a process-wide default changes it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates in a PEM text; what else is in it is passed over.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::internal(format!("not a certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(Error::internal("there is no certificate in the PEM text"));
    }
    Ok(chain)
}

fn certified(chain_pem: &str, key_pem: &Secret<String>) -> Result<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes()).map_err(|error| {
        Error::internal(format!("there is no usable private key in the PEM text: {error}"))
    })?;
    CertifiedKey::from_der(certificates(chain_pem)?, key, &provider())
        .map(Arc::new)
        .context("the private key does not fit the certificate")
}

#[derive(Debug)]
struct CxTime(Cx);

impl TimeProvider for CxTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use hanse_core::{ManualClock, OsRandom, Timestamp};
    use rustls_pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::CertificateAuthority;

    fn authority(cx: &Cx) -> CertificateAuthority {
        let dir = tempfile::tempdir().unwrap();
        CertificateAuthority::load_or_create(dir.path(), cx).unwrap()
    }

    /// What the client reads, and the certificate it was shown.
    async fn talk(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<(Vec<u8>, CertificateDer<'static>)> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let serve = async {
            let mut stream = TlsAcceptor::from(server).accept(far).await?;
            stream.write_all(b"moin").await?;
            stream.shutdown().await
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let ask = async {
            let mut stream = TlsConnector::from(client).connect(name, near).await?;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await?;
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
            Ok::<_, std::io::Error>((heard, shown))
        };
        let (_, asked) = tokio::join!(serve, ask);
        asked
    }

    fn names() -> Vec<String> {
        ["cloud.example", "*.apps.example", "192.0.2.7", "2001:db8::7"].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn who_trusts_the_authority_reaches_the_server_by_each_of_its_names() {
        let cx = Cx::system();
        let authority = authority(&cx);
        let cert = authority.issue_server(&cx, &names()).unwrap();
        let server = server_config(&cx, &cert.chain_pem, &cert.key_pem).unwrap();
        let client = client_config(&cx, authority.ca_pem()).unwrap();
        for name in ["cloud.example", "shop.apps.example", "192.0.2.7", "2001:db8::7"] {
            assert_eq!(talk(server.clone(), client.clone(), name).await.unwrap().0, b"moin", "{name}");
        }
        let error = talk(server, client, "other.example").await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }

    #[tokio::test]
    async fn who_does_not_trust_the_authority_refuses_the_server() {
        let cx = Cx::system();
        let cert = authority(&cx).issue_server(&cx, &names()).unwrap();
        let server = server_config(&cx, &cert.chain_pem, &cert.key_pem).unwrap();
        let client = client_config(&cx, authority(&cx).ca_pem()).unwrap();
        let error = talk(server, client, "cloud.example").await.unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    }

    #[tokio::test]
    async fn the_clock_of_the_context_decides_whether_a_certificate_is_valid() {
        const DAY: Duration = Duration::from_secs(86_400);
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
        let cx = Cx::new(clock.clone(), Arc::new(OsRandom));
        let authority = authority(&cx);
        let cert = authority.issue_server(&cx, &names()).unwrap();
        let server = server_config(&cx, &cert.chain_pem, &cert.key_pem).unwrap();
        let client = || client_config(&cx, authority.ca_pem()).unwrap();
        clock.advance(396 * DAY);
        talk(server.clone(), client(), "cloud.example").await.unwrap();
        clock.advance(DAY);
        let error = talk(server, client(), "cloud.example").await.unwrap_err();
        assert!(error.to_string().contains("expired"), "{error}");
    }

    #[tokio::test]
    async fn a_swapped_certificate_is_shown_to_the_next_client_and_a_bad_one_changes_nothing() {
        let cx = Cx::system();
        let authority = authority(&cx);
        let [one, two] = [0, 1].map(|_| authority.issue_server(&cx, &names()).unwrap());
        let current = Arc::new(ReloadableCert::new(&one.chain_pem, &one.key_pem).unwrap());
        let server = current.clone().server_config(&cx).unwrap();
        let shown = async || {
            let client = client_config(&cx, authority.ca_pem()).unwrap();
            talk(server.clone(), client, "cloud.example").await.unwrap().1
        };
        let der = |pem: &str| certificates(pem).unwrap()[0].clone();
        assert_eq!(shown().await, der(&one.chain_pem));

        assert!(current.replace(&two.chain_pem, &one.key_pem).is_err(), "the key of another certificate");
        assert!(current.replace("", &one.key_pem).is_err());
        assert_eq!(shown().await, der(&one.chain_pem));

        current.replace(&two.chain_pem, &two.key_pem).unwrap();
        assert_eq!(shown().await, der(&two.chain_pem));
    }

    #[tokio::test]
    async fn http_2_is_preferred_and_an_old_client_still_gets_through() {
        let cx = Cx::system();
        let authority = authority(&cx);
        let cert = authority.issue_server(&cx, &names()).unwrap();
        let server = server_config(&cx, &cert.chain_pem, &cert.key_pem).unwrap();
        for (offered, versions, expected) in [
            (vec!["http/1.1", "h2"], VERSIONS, &b"h2"[..]),
            (vec!["http/1.1"], &VERSIONS[1..], &b"http/1.1"[..]),
        ] {
            let mut roots = RootCertStore::empty();
            roots.add(certificates(authority.ca_pem()).unwrap()[0].clone()).unwrap();
            let mut client = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            client.alpn_protocols = offered.into_iter().map(|name| name.as_bytes().to_vec()).collect();
            let (near, far) = tokio::io::duplex(16 * 1024);
            let name = ServerName::try_from("cloud.example").unwrap();
            let (server, client) = tokio::join!(
                TlsAcceptor::from(server.clone()).accept(far),
                TlsConnector::from(Arc::new(client)).connect(name, near),
            );
            client.unwrap();
            assert_eq!(server.unwrap().get_ref().1.alpn_protocol().unwrap(), expected);
        }
    }
}
