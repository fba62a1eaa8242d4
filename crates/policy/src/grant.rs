//! Decisions, as values that only this crate can make.

use hanse_core::{Cx, Error, Result};

use crate::caller::{Caller, TokenScope};
use crate::verb::{Rule, Verb};

/// What an object must have for a caller to see it. Goes into the `WHERE` of every read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Project(String),
    Domain(String),
    User(String),
}

/// What a verb acts on, as far as rules ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub project_id: Option<String>,
    pub domain_id: Option<String>,
    pub user_id: Option<String>,
}

impl Target {
    pub fn new(id: impl Into<String>) -> Target {
        Target { id: id.into(), ..Target::default() }
    }

    #[must_use]
    pub fn in_project(mut self, id: impl Into<String>) -> Target {
        self.project_id = Some(id.into());
        self
    }

    #[must_use]
    pub fn in_domain(mut self, id: impl Into<String>) -> Target {
        self.domain_id = Some(id.into());
        self
    }

    #[must_use]
    pub fn of_user(mut self, id: impl Into<String>) -> Target {
        self.user_id = Some(id.into());
        self
    }
}

/// Who acts, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    User {
        user_id: String,
        project_id: Option<String>,
        audit_id: Option<String>,
    },
    /// The operator at the console of the machine: `hanse up`, `hanse admin`.
    Operator,
    /// A reconciler, by its kind.
    Reconciler(&'static str),
    /// Somebody who failed to prove to be whom they claim to be. The audit trail says so: outcome `failure`.
    Stranger,
}

/// Permission to do one verb to one target. A write without one does not compile.
#[derive(Clone, Debug)]
pub struct Grant {
    actor: Actor,
    verb: &'static str,
    target: String,
    request_id: String,
}

impl Grant {
    /// For `hanse-work` alone (`xtask tidy` checks that): the right of a reconciler to write what it watches over.
    pub fn reconciler(cx: &Cx, kind: &'static str, id: &str) -> Grant {
        Grant {
            actor: Actor::Reconciler(kind),
            verb: "reconcile",
            target: id.to_owned(),
            request_id: cx.request_id().to_owned(),
        }
    }

    /// For the binary's own commands alone, which the operating system has authorized already.
    pub fn operator(cx: &Cx, verb: Verb, target: impl Into<String>) -> Grant {
        Grant {
            actor: Actor::Operator,
            verb: verb.name,
            target: target.into(),
            request_id: cx.request_id().to_owned(),
        }
    }

    /// For identity alone: permits nothing, and puts a refused login for `account` into the audit trail.
    pub fn refused(cx: &Cx, verb: Verb, account: impl Into<String>) -> Grant {
        Grant {
            actor: Actor::Stranger,
            verb: verb.name,
            target: account.into(),
            request_id: cx.request_id().to_owned(),
        }
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The id of the object that may be written.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }
}

impl Caller {
    /// Asks for permission to write.
    ///
    /// # Errors
    /// 403. (A caller who may not even see the target has got 404 before, from reading it in a [`Scope`].)
    pub fn authorize(&self, cx: &Cx, verb: Verb, target: Target) -> Result<Grant> {
        if !verb.rule.allows(self, &target) {
            return Err(forbidden(verb));
        }
        Ok(Grant {
            actor: Actor::User {
                user_id: self.user_id.clone(),
                project_id: self.project_id().map(str::to_owned),
                audit_id: self.audit_ids.first().cloned(),
            },
            verb: verb.name,
            target: target.id,
            request_id: cx.request_id().to_owned(),
        })
    }

    /// Asks for what may be read: everything for an admin, else what the rule confines the caller to.
    ///
    /// # Errors
    /// 403 if the rule leaves the caller nothing to see.
    pub fn scope(&self, verb: Verb) -> Result<Scope> {
        if self.is_admin() {
            return Ok(Scope::All);
        }
        self.own_scope(verb)
    }

    /// The same without an admin's wider view: what belongs to the scope of the token. Lists use it unless the
    /// admin asked for all tenants.
    ///
    /// # Errors
    /// 403 as [`Caller::scope`].
    pub fn own_scope(&self, verb: Verb) -> Result<Scope> {
        let project = |role: &str| match &self.scope {
            TokenScope::Project(project) if self.has_role(role) || self.is_admin() => {
                Some(Scope::Project(project.id.clone()))
            }
            _ => None,
        };
        let domain = |role: &str| match &self.scope {
            TokenScope::Domain(domain) if self.has_role(role) => Some(Scope::Domain(domain.id.clone())),
            _ => None,
        };
        let system = || self.is_system_reader().then_some(Scope::All);
        let user = || Some(Scope::User(self.user_id.clone()));
        match verb.rule {
            Rule::Authenticated => Some(Scope::All),
            Rule::Admin => self.is_admin().then_some(Scope::All),
            Rule::ProjectReader => project("reader"),
            Rule::ProjectMember => project("member"),
            Rule::ProjectManager => project("manager"),
            Rule::Owner => user(),
            Rule::SystemReader => system(),
            Rule::DomainReader => system().or_else(|| domain("reader")),
            Rule::DomainManager => domain("manager"),
            Rule::SystemReaderOrDomainManager => system().or_else(|| domain("manager")),
            Rule::OwnerOrDomainReader => system().or_else(|| domain("reader")).or_else(user),
            Rule::OwnerOrSystemReader => system().or_else(user),
            Rule::Service => self.has_role("service").then_some(Scope::All),
        }
        .ok_or_else(|| forbidden(verb))
    }
}

fn forbidden(verb: Verb) -> Error {
    Error::forbidden(format!("You are not authorized to perform the requested action: {}.", verb.name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hanse_core::{Kind, ManualClock, SeededRandom, Timestamp};

    use super::*;
    use crate::caller::{DomainRef, ProjectRef, Role};

    fn caller(scope: TokenScope, roles: &[&str]) -> Caller {
        Caller {
            user_id: "u1".to_owned(),
            user_name: "ada".to_owned(),
            user_domain: DomainRef { id: "default".to_owned(), name: "Default".to_owned() },
            scope,
            roles: roles.iter().map(|name| Role { id: name.to_string(), name: name.to_string() }).collect(),
            expires_at: Timestamp(0),
            audit_ids: vec!["a".to_owned()],
            delegation: None,
        }
    }

    fn project(id: &str) -> TokenScope {
        let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
        TokenScope::Project(ProjectRef { id: id.to_owned(), name: id.to_owned(), domain })
    }

    fn cx() -> Cx {
        Cx::new(Arc::new(ManualClock::at(Timestamp(0))), Arc::new(SeededRandom::new(1)))
    }

    const CREATE: Verb = Verb::new("os_compute_api:servers:create", Rule::ProjectMember);
    const LIST: Verb = Verb::new("os_compute_api:servers:index", Rule::ProjectReader);
    const ROLES: Verb = Verb::new("identity:create_role", Rule::Admin);

    #[test]
    fn a_member_writes_in_its_own_project_only() {
        let member = caller(project("p1"), &["member", "reader"]);
        let grant = member.authorize(&cx(), CREATE, Target::new("s1").in_project("p1")).unwrap();
        assert_eq!((grant.verb(), grant.target()), ("os_compute_api:servers:create", "s1"));
        let elsewhere = member.authorize(&cx(), CREATE, Target::new("s1").in_project("p2")).unwrap_err();
        assert_eq!(elsewhere.kind(), Kind::Forbidden);
    }

    #[test]
    fn a_reader_sees_its_project_and_writes_nothing() {
        let reader = caller(project("p1"), &["reader"]);
        assert_eq!(reader.scope(LIST).unwrap(), Scope::Project("p1".to_owned()));
        assert!(reader.authorize(&cx(), CREATE, Target::new("s1").in_project("p1")).is_err());
    }

    #[test]
    fn a_token_without_a_project_gives_no_project_scope() {
        for scope in [TokenScope::Unscoped, TokenScope::System] {
            let nobody = caller(scope, &["member", "reader"]);
            assert!(nobody.scope(LIST).is_err());
            assert!(
                nobody.authorize(&cx(), CREATE, Target::new("s1")).is_err(),
                "no project must not equal none"
            );
        }
    }

    #[test]
    fn an_admin_sees_all_and_a_member_creates_no_roles() {
        let admin = caller(project("p1"), &["admin", "manager", "member", "reader"]);
        assert_eq!(admin.scope(LIST).unwrap(), Scope::All);
        assert_eq!(admin.own_scope(LIST).unwrap(), Scope::Project("p1".to_owned()));
        admin.authorize(&cx(), ROLES, Target::new("r1")).unwrap();
        assert!(caller(project("p1"), &["member"]).authorize(&cx(), ROLES, Target::new("r1")).is_err());
    }
}
