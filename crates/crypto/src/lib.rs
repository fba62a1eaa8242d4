//! Password hashes, tokens, encryption at rest, the internal certificate authority and TLS.
//!
//! Everything that must stay secret in memory is a [`hanse_core::Secret`], which prints nothing and compares in
//! constant time; everything that must stay secret on disk goes through [`secret_file`].

mod authority;
mod either;
pub mod jws;
mod key_directory;
mod master_key;
mod passwords;
mod pool;
pub mod request_signature;
mod scratch;
pub mod secret_file;
pub mod secret_hash;
mod stored_hash;
mod tls;
pub mod tokens;
pub mod totp;

pub use authority::{CertificateAuthority, Renewed, ServerCert};
pub use either::{Content, TokenProvider, Tokens};
pub use jws::{JwsTokens, Signed, SigningKeys};
pub use key_directory::KeyDirectory;
pub use master_key::{KeyId, MasterKey};
pub use passwords::{PASSWORD_MAX, PasswordConfig, PasswordHasher, Verdict};
pub use request_signature::{Ec2Credentials, S3Credentials, sign_version_4};
pub use tls::{ReloadableCert, client_config, server_config};
pub use tokens::{FernetKeys, FernetTokens};
pub use totp::TotpKey;
