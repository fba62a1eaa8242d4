//! Identity: who there is, what they may do where, and the tokens that say so. Keystone's API, v3.14.
//!
//! The database is the truth. Each process keeps all of it that deciding about a token takes in a snapshot in memory,
//! at most a second old, so that checking a token asks nobody ([`snapshot`](self)).

mod access_keys;
mod api;
mod application_credentials;
mod assignments;
mod auth;
mod bootstrap;
mod brake;
mod catalog;
mod compliance;
mod credentials;
mod db;
mod delegation;
mod domain_config;
mod existing;
mod filters;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod groups;
mod hierarchy;
mod limits;
mod model;
mod operator;
mod policies;
mod projects;
mod resource;
mod roles;
mod row;
mod snapshot;
mod tags;
mod token;
mod trusts;
mod users;
mod verbs;

use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Cx, Result};
use hanse_crypto::{MasterKey, PasswordHasher, Tokens};
use hanse_policy::Grant;
use hanse_store::{Db, Migration, Migrations, Step, Tx};
use hanse_web::{Authenticator, CatalogEntry, FaultStyle, Service};

pub use access_keys::{GivenKey, MadeKey, ShownKey, create_access_key, delete_access_key, list_access_keys};
pub use auth::AccessKey;
pub use bootstrap::{BootstrapSpec, ProjectUser, bootstrap, ensure_project_user};
pub use compliance::{Compliance, Demands, UNIQUE_PASSWORDS_MAX};
pub use existing::{existing_projects, existing_users};
pub use operator::{Question, Way, explain, reset_password};

use brake::Brake;
use catalog::BuiltIn;
use db::revision::Revision;
use snapshot::Snapshots;

pub const MIGRATIONS: Migrations = Migrations {
    service: "identity",
    steps: &[
        Migration { version: 1, name: "identity", sql: include_str!("../migrations/0001_identity.sql") },
        Migration { version: 2, name: "groups", sql: include_str!("../migrations/0002_groups.sql") },
        Migration { version: 3, name: "catalog", sql: include_str!("../migrations/0003_catalog.sql") },
        Migration { version: 4, name: "delegation", sql: include_str!("../migrations/0004_delegation.sql") },
        Migration { version: 5, name: "limits", sql: include_str!("../migrations/0005_limits.sql") },
        Migration {
            version: 6,
            name: "security_compliance",
            sql: include_str!("../migrations/0006_security_compliance.sql"),
        },
        Migration {
            version: 7,
            name: "access_keys",
            sql: include_str!("../migrations/0007_access_keys.sql"),
        },
        Migration { version: 8, name: "lookups", sql: include_str!("../migrations/0008_lookups.sql") },
    ],
};

/// The catalog's line for this service.
pub const CATALOG: CatalogEntry = CatalogEntry { kind: "identity", name: "keystone", path: "/identity" };

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a token is good for. Keystone's default is an hour; four let a long `terraform apply` end, and cost
    /// little since a token dies at once when it is revoked, or when user, roles or password change.
    pub token_life: Duration,
    /// Failed logins in a minute for one account from one source, after which further ones get 429.
    pub failures_per_minute: u32,
    pub compliance: Compliance,
    /// For a gateway beside this cloud that asks as a user with the role `service` and remembers what it was told
    /// (radosgw): how long it may. It may also read the secret of an EC2 credential that it can name, which it needs to
    /// check uploads in signed chunks. `None` where there is no such gateway: then an answer is good as long as its token,
    /// and secrets are for their owners.
    pub gateway: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token_life: Duration::from_secs(4 * 3600),
            failures_per_minute: 10,
            compliance: Compliance::default(),
            gateway: None,
        }
    }
}

/// What the wiring hands in.
pub struct Deps {
    pub db: Db,
    pub hasher: Arc<PasswordHasher>,
    pub tokens: Arc<Tokens>,
    /// What secrets in the database are sealed under.
    pub master: Arc<MasterKey>,
    /// The whole cloud's catalog; `{project_id}` in a path stands for the project of the token.
    pub catalog: Vec<CatalogEntry>,
    /// Services with a listener of their own, each with its public address.
    pub elsewhere: Vec<(CatalogEntry, String)>,
    /// Scheme, host and port of the public address, without a path: `https://cloud.example:8443`.
    pub public_url: String,
    pub region: String,
    pub settings: Settings,
}

/// The identity service. Cheap to clone; one a process.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    db: Db,
    hasher: Arc<PasswordHasher>,
    tokens: Arc<Tokens>,
    master: Arc<MasterKey>,
    catalog: BuiltIn,
    settings: Settings,
    snapshots: Snapshots,
    brake: Brake,
}

impl Identity {
    pub fn new(deps: Deps) -> Identity {
        Identity(Arc::new(Inner {
            snapshots: Snapshots::new(deps.db.clone()),
            brake: Brake::new(deps.settings.failures_per_minute),
            catalog: BuiltIn::new(deps.catalog, deps.elsewhere, deps.region, &deps.public_url),
            db: deps.db,
            hasher: deps.hasher,
            tokens: deps.tokens,
            master: deps.master,
            settings: deps.settings,
        }))
    }

    pub fn service(&self) -> Service {
        Service {
            name: "identity",
            path: "/identity",
            routes: api::routes(self.clone()),
            faults: FaultStyle::Keystone,
            microversions: None,
            reconcilers: Vec::new(),
            verbs: verbs::VERBS,
            catalog: vec![CATALOG],
        }
    }

    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(self.clone())
    }

    /// The only way that identity writes: each write raises the revision, and this process sees it before it answers.
    async fn write<'a, T, F>(&self, cx: &Cx, grant: &Grant, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> Step<'t, (T, Revision)>,
    {
        let (value, Revision(revision)) = self.0.db.write(cx, grant, work).await?;
        self.0.snapshots.catch_up(cx, revision).await;
        Ok(value)
    }
}
