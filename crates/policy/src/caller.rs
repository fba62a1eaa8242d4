//! Who is calling: what a validated token says.

use hanse_core::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRef {
    pub id: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRef {
    pub id: String,
    pub name: String,
    pub domain: DomainRef,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    Unscoped,
    Project(ProjectRef),
    Domain(DomainRef),
    System,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub id: String,
    pub name: String,
}

/// A validated caller. Only the authenticator of the identity service makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    pub user_id: String,
    pub user_name: String,
    pub user_domain: DomainRef,
    pub scope: TokenScope,
    /// Effective roles in that scope, implied ones included.
    pub roles: Vec<Role>,
    pub expires_at: Timestamp,
    /// First the id of this token, then the id that its chain began with.
    pub audit_ids: Vec<String>,
}

impl Caller {
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    /// Keystone's `admin_required`: the role `admin`, in whatever scope.
    pub fn is_admin(&self) -> bool {
        self.has_role("admin")
    }

    /// Keystone's system reader: may look at everything, and change nothing.
    pub fn is_system_reader(&self) -> bool {
        self.scope == TokenScope::System && self.has_role("reader")
    }

    pub fn project(&self) -> Option<&ProjectRef> {
        match &self.scope {
            TokenScope::Project(project) => Some(project),
            _ => None,
        }
    }

    pub fn project_id(&self) -> Option<&str> {
        self.project().map(|project| project.id.as_str())
    }

    /// The domain of a domain-scoped token.
    pub fn domain_id(&self) -> Option<&str> {
        match &self.scope {
            TokenScope::Domain(domain) => Some(&domain.id),
            _ => None,
        }
    }
}
