//! Verbs and the compiled default rules.

use crate::caller::Caller;
use crate::grant::Target;

/// What a caller must be. The roles include each other: admin ⊃ manager ⊃ member ⊃ reader, which identity
/// expands before a caller gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Any valid token.
    Authenticated,
    Admin,
    /// Role `reader` in the project of the target, or admin.
    ProjectReader,
    /// Role `member` in the project of the target, or admin.
    ProjectMember,
    /// Role `manager` in the project of the target, or admin.
    ProjectManager,
    /// The user that the target belongs to, or admin.
    Owner,
    /// Role `reader` in the domain of the target (or admin): Keystone's domain reader.
    DomainReader,
    /// The owner, a domain reader, or admin.
    OwnerOrDomainReader,
}

impl Rule {
    pub(crate) fn allows(self, caller: &Caller, target: &Target) -> bool {
        let in_project = |role| {
            caller.has_role(role)
                && target.project_id.is_some()
                && caller.project_id() == target.project_id.as_deref()
        };
        let in_domain = |role| {
            caller.has_role(role)
                && target.domain_id.is_some()
                && caller.domain_id() == target.domain_id.as_deref()
        };
        let owner = || target.user_id.as_deref() == Some(caller.user_id.as_str());
        caller.is_admin()
            || match self {
                Rule::Authenticated => true,
                Rule::Admin => false,
                Rule::ProjectReader => in_project("reader"),
                Rule::ProjectMember => in_project("member"),
                Rule::ProjectManager => in_project("manager"),
                Rule::Owner => owner(),
                Rule::DomainReader => in_domain("reader"),
                Rule::OwnerOrDomainReader => owner() || in_domain("reader"),
            }
    }
}

/// One thing that can be done, under the name that upstream's policy gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    pub name: &'static str,
    pub rule: Rule,
}

impl Verb {
    pub const fn new(name: &'static str, rule: Rule) -> Verb {
        Verb { name, rule }
    }
}
