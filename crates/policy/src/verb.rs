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
    /// Role `reader` for the whole system, or admin: Keystone's system reader.
    SystemReader,
    /// Role `reader` in the domain of the target, a system reader, or admin: Keystone's domain reader.
    DomainReader,
    /// Role `manager` in the domain of the target, or admin: the domain manager of SCS-0302.
    DomainManager,
    /// What a domain manager must see to do its work: role `manager` in any domain, a system reader, or admin.
    SystemReaderOrDomainManager,
    /// The owner, a domain reader, a system reader, or admin.
    OwnerOrDomainReader,
    /// The owner, a system reader, or admin.
    OwnerOrSystemReader,
    /// Role `service`, or admin.
    Service,
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
                Rule::SystemReader => caller.is_system_reader(),
                Rule::DomainReader => in_domain("reader") || caller.is_system_reader(),
                Rule::DomainManager => in_domain("manager"),
                Rule::SystemReaderOrDomainManager => caller.is_system_reader() || in_domain("manager"),
                Rule::OwnerOrDomainReader => owner() || in_domain("reader") || caller.is_system_reader(),
                Rule::OwnerOrSystemReader => owner() || caller.is_system_reader(),
                Rule::Service => caller.has_role("service"),
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

/// Names all that can be asked for of a service: a constant for each, and one for all. The first line may say how all of them
/// begin.
#[macro_export]
macro_rules! verbs {
    ($first:ident = $($rest:tt)*) => { $crate::verbs! { ""; $first = $($rest)* } };
    ($prefix:literal; $($constant:ident = $name:literal, $rule:ident;)*) => {
        $(pub(crate) const $constant: $crate::Verb =
            $crate::Verb::new(concat!($prefix, $name), $crate::Rule::$rule);)*
        /// Every one of them.
        pub const VERBS: &[$crate::Verb] = &[$($constant),*];
    };
}
