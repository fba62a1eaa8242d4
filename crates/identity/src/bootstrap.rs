//! What must be there before anybody can log in, made by the operator of the machine. Each step leaves alone what it
//! finds, so that all of it may run at every start.

use hanse_core::{Cx, Result, Secret, Timestamp};
use hanse_crypto::PasswordHasher;
use hanse_policy::{Grant, Scope, Verb};
use hanse_store::{Db, Step, Tx};
use serde_json::Value;

use crate::auth::DomainNamed;
use crate::db;
use crate::db::revision::{Revision, Touched};
use crate::db::users::NewPassword;
use crate::model::{Assignment, Attributes, Holder, Project, Role, Site, User, checked_name};
use crate::resource::Resource;
use crate::verbs::{
    CREATE_DOMAIN, CREATE_GRANT, CREATE_IMPLIED_ROLE, CREATE_PROJECT, CREATE_ROLE, CREATE_USER,
};

pub(crate) const DEFAULT_DOMAIN: &str = "default";

/// Each role implies the next one; `service` stands apart.
const ROLES: [&str; 4] = ["admin", "manager", "member", "reader"];
const SERVICE_ROLE: &str = "service";

pub struct BootstrapSpec {
    /// For the user `admin` if there is none yet; that of an existing one is left alone.
    pub admin_password: Secret<String>,
}

/// A project with a user who works in it.
pub struct ProjectUser {
    pub project: String,
    pub user: String,
    pub password: Secret<String>,
    /// By name: `member`, …
    pub role: String,
}

/// Makes the domain Default, the roles with what they imply, the project and the user `admin`, and gives that user the
/// role `admin` on the project, the domain and the system.
///
/// Returns the id of the project.
///
/// # Errors
/// If the database fails, or the password is one that nobody could use.
pub async fn bootstrap(db: &Db, cx: &Cx, hasher: &PasswordHasher, spec: BootstrapSpec) -> Result<String> {
    let seed = Seed { db, cx, hasher };
    seed.default_domain().await?;
    let mut above: Option<String> = None;
    for name in ROLES {
        let role = seed.role(name).await?;
        if let Some(prior) = above.replace(role.clone()) {
            seed.implication(&prior, &role).await?;
        }
    }
    seed.role(SERVICE_ROLE).await?;
    let admin = ProjectUser {
        project: "admin".to_owned(),
        user: "admin".to_owned(),
        password: spec.admin_password,
        role: "admin".to_owned(),
    };
    let Made { project_id, user_id, role_id } = seed.project_user(admin).await?;
    for site in [Site::Domain(DEFAULT_DOMAIN.to_owned()), Site::System] {
        let assignment = Assignment {
            holder: Holder::User(user_id.clone()),
            site,
            role_id: role_id.clone(),
            inherited: false,
        };
        seed.assignment(&assignment).await?;
    }
    Ok(project_id)
}

/// Makes a project and a user with a role in it, in the domain Default. Run [`bootstrap`] before. A process that serves
/// already sees it within a second.
///
/// # Errors
/// 404 if there is no such role; 400 if a name or the password cannot be used.
pub async fn ensure_project_user(
    db: &Db,
    cx: &Cx,
    hasher: &PasswordHasher,
    wanted: ProjectUser,
) -> Result<()> {
    Seed { db, cx, hasher }.project_user(wanted).await.map(|_| ())
}

/// Ids of what [`Seed::project_user`] made or found.
struct Made {
    project_id: String,
    user_id: String,
    role_id: String,
}

struct Seed<'s> {
    db: &'s Db,
    cx: &'s Cx,
    hasher: &'s PasswordHasher,
}

impl Seed<'_> {
    async fn write<'a, F>(&self, verb: Verb, target: String, work: F) -> Result<()>
    where
        F: for<'t> Fn(&'t mut Tx<'a>, Grant) -> Step<'t, Revision>,
    {
        let grant = Grant::operator(self.cx, verb, target);
        let again = grant.clone();
        self.db.write(self.cx, &grant, |tx| work(tx, again.clone())).await.map(|_| ())
    }

    async fn default_domain(&self) -> Result<()> {
        let mut conn = self.db.read().await?;
        if db::projects::show(&mut conn, &Scope::All, true, DEFAULT_DOMAIN).await?.is_some() {
            return Ok(());
        }
        drop(conn);
        let mut domain = self.place("Default", true);
        domain.description = "The default domain".to_owned();
        let domain = &domain;
        self.write(CREATE_DOMAIN, DEFAULT_DOMAIN.to_owned(), |tx, grant| {
            Box::pin(async move {
                db::rows::insert(tx, &grant, domain, &db::projects::conflict(domain)).await?;
                db::revision::bump(tx, [Touched::Place(grant.target().to_owned())]).await
            })
        })
        .await
    }

    fn place(&self, name: &str, is_domain: bool) -> Project {
        let home = if is_domain { "" } else { DEFAULT_DOMAIN };
        Project {
            id: String::new(),
            domain_id: home.to_owned(),
            parent_id: home.to_owned(),
            is_domain,
            name: name.to_owned(),
            description: String::new(),
            enabled: true,
            tags: Vec::new(),
            options: Attributes::new(),
            extra: Attributes::new(),
            token_epoch: 0,
            created_at: self.cx.now(),
        }
    }

    async fn find_role(&self, name: &str) -> Result<Option<String>> {
        let mut conn = self.db.read().await?;
        let all = db::roles::all(&mut conn).await?;
        Ok(all.into_iter().find(|role| role.domain_id.is_empty() && role.name == name).map(|role| role.id))
    }

    /// The id of the role.
    async fn role(&self, name: &str) -> Result<String> {
        if let Some(id) = self.find_role(name).await? {
            return Ok(id);
        }
        let id = self.cx.hex_id();
        let role = Role {
            id: id.clone(),
            domain_id: String::new(),
            name: name.to_owned(),
            description: None,
            // As Keystone's own bootstrap does: too much hangs on these.
            options: Attributes::from_iter([("immutable".to_owned(), Value::Bool(true))]),
            extra: Attributes::new(),
            created_at: self.cx.now(),
        };
        let role = &role;
        self.write(CREATE_ROLE, id.clone(), |tx, grant| {
            Box::pin(async move {
                db::rows::insert(tx, &grant, role, &role.conflict()).await?;
                db::revision::bump(tx, [Touched::Roles]).await
            })
        })
        .await?;
        Ok(id)
    }

    async fn implication(&self, prior: &str, implied: &str) -> Result<()> {
        let mut conn = self.db.read().await?;
        let known = db::roles::implications(&mut conn).await?;
        drop(conn);
        if known.iter().any(|(a, b)| a == prior && b == implied) {
            return Ok(());
        }
        self.write(CREATE_IMPLIED_ROLE, prior.to_owned(), |tx, grant| {
            Box::pin(async move {
                db::roles::imply(tx, &grant, implied).await?;
                db::revision::bump(tx, [Touched::Roles]).await
            })
        })
        .await
    }

    /// The ids of the user and of the role.
    async fn project_user(&self, wanted: ProjectUser) -> Result<Made> {
        let role_id =
            self.find_role(&wanted.role).await?.ok_or_else(|| crate::model::missing("role", &wanted.role))?;
        let project_id = self.project(&checked_name(&wanted.project)?).await?;
        let user_id = self.user(&checked_name(&wanted.user)?, wanted.password, &project_id).await?;
        let site = Site::Project(project_id.clone());
        let assignment = Assignment {
            holder: Holder::User(user_id.clone()),
            site,
            role_id: role_id.clone(),
            inherited: false,
        };
        self.assignment(&assignment).await?;
        Ok(Made { project_id, user_id, role_id })
    }

    async fn project(&self, name: &str) -> Result<String> {
        let mut conn = self.db.read().await?;
        if let Some(id) =
            db::projects::named(&mut conn, &DomainNamed::Id(DEFAULT_DOMAIN.to_owned()), name).await?
        {
            return Ok(id);
        }
        drop(conn);
        let (id, project) = (self.cx.hex_id(), self.place(name, false));
        let project = &project;
        self.write(CREATE_PROJECT, id.clone(), |tx, grant| {
            Box::pin(async move {
                db::rows::insert(tx, &grant, project, &db::projects::conflict(project)).await?;
                db::revision::bump(tx, [Touched::Place(grant.target().to_owned())]).await
            })
        })
        .await?;
        Ok(id)
    }

    async fn user(&self, name: &str, password: Secret<String>, project_id: &str) -> Result<String> {
        let mut conn = self.db.read().await?;
        if let Some(id) = db::users::named(&mut conn, DEFAULT_DOMAIN, name).await? {
            return Ok(id);
        }
        drop(conn);
        crate::users::check_password(&password)?;
        let hash = self.hasher.hash(self.cx, password).await?;
        let user = User {
            id: self.cx.hex_id(),
            domain_id: DEFAULT_DOMAIN.to_owned(),
            name: name.to_owned(),
            enabled: true,
            default_project_id: Some(project_id.to_owned()),
            token_epoch: 0,
            password_expires_at: None,
            last_active_at: None,
            options: Attributes::new(),
            extra: Attributes::new(),
            created_at: self.cx.now(),
        };
        let (new, password) = (&user, &NewPassword::of_operator(&hash));
        self.write(CREATE_USER, user.id.clone(), |tx, grant| {
            Box::pin(async move {
                db::users::insert(tx, &grant, new, password).await?;
                db::revision::bump(tx, [Touched::User(grant.target().to_owned())]).await
            })
        })
        .await?;
        Ok(user.id)
    }

    async fn assignment(&self, assignment: &Assignment) -> Result<()> {
        let mut conn = self.db.read().await?;
        if db::assignments::exists(&mut conn, assignment).await? {
            return Ok(());
        }
        drop(conn);
        let now: Timestamp = self.cx.now();
        self.write(CREATE_GRANT, assignment.id(), |tx, grant| {
            Box::pin(async move {
                db::assignments::insert(tx, &grant, assignment, now).await?;
                db::revision::bump(tx, [assignment.holder.touched()]).await
            })
        })
        .await
    }
}
