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

/// One kind of request that an application credential with access rules may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The service type: `compute`.
    pub service: String,
    pub method: String,
    /// A path in which `*` and `{name}` stand for one part, and `**` for any number of them.
    pub path: String,
}

impl AccessRule {
    fn allows(&self, service: &str, method: &str, path: &str) -> bool {
        let parts = |path| str::split(path, '/').filter(|part| !part.is_empty()).collect::<Vec<&str>>();
        self.service == service && self.method == method && matches(&parts(&self.path), &parts(path))
    }
}

/// Of several `**` only the last may have to take more: what stands before it has found its place. So the time is at
/// most the product of the lengths, whatever a user has written as a pattern.
fn matches(pattern: &[&str], path: &[&str]) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut again = None;
    while part < path.len() {
        match pattern.get(at) {
            Some(&"**") => {
                again = Some((at, part));
                at += 1;
            }
            Some(&wanted) if wanted == "*" || is_name(wanted) || wanted == path[part] => {
                at += 1;
                part += 1;
            }
            _ => {
                let Some((stars, taken)) = again else { return false };
                again = Some((stars, taken + 1));
                (at, part) = (stars + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == "**")
}

fn is_name(part: &str) -> bool {
    part.starts_with('{') && part.ends_with('}')
}

/// How somebody else's power came to the caller. What it was made from decides what it may not be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegation {
    ApplicationCredential {
        id: String,
        name: String,
        /// Whether it may be used to make and delete application credentials and trusts.
        unrestricted: bool,
        /// `None` if it may make every request.
        access_rules: Option<Vec<AccessRule>>,
    },
    Trust {
        id: String,
        trustor_user_id: String,
        trustee_user_id: String,
        impersonation: bool,
    },
    /// A credential with which requests are signed, as for S3.
    Ec2Credential {
        id: String,
    },
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
    /// `None` for users who proved themselves who they are.
    pub delegation: Option<Delegation>,
}

impl Caller {
    /// The operator at the console of the machine, whom the operating system has authorized: an admin without a token.
    /// For the binary's own commands alone.
    pub fn operator() -> Caller {
        let named = |name: &str| Role { id: name.to_owned(), name: name.to_owned() };
        Caller {
            user_id: "operator".to_owned(),
            user_name: "operator".to_owned(),
            user_domain: DomainRef { id: String::new(), name: String::new() },
            scope: TokenScope::System,
            roles: ["reader", "member", "manager", "admin"].into_iter().map(named).collect(),
            expires_at: Timestamp(i64::MAX),
            audit_ids: Vec::new(),
            delegation: None,
        }
    }

    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    /// Keystone's `admin_required`: the role `admin`, in whatever scope.
    pub fn is_admin(&self) -> bool {
        self.has_role("admin")
    }

    /// Whether the caller may make such a request at all: access rules confine application credentials. `paths` are
    /// the path as it stands in the URL and as the service itself knows it; a rule may mean either.
    pub fn permits(&self, service: &str, method: &str, paths: [&str; 2]) -> bool {
        match &self.delegation {
            Some(Delegation::ApplicationCredential { access_rules: Some(rules), .. }) => {
                rules.iter().any(|rule| paths.iter().any(|path| rule.allows(service, method, path)))
            }
            _ => true,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_part_by_part() {
        for (pattern, path, expected) in [
            ("/v2.1/servers", "/v2.1/servers", true),
            ("/v2.1/servers", "/v2.1/servers/", true),
            ("/v2.1/servers", "/v2.1/servers/1", false),
            ("/v2.1/servers/*", "/v2.1/servers/1", true),
            ("/v2.1/servers/{id}", "/v2.1/servers/1", true),
            ("/v2.1/servers/*", "/v2.1/servers", false),
            ("/v2.1/servers/*", "/v2.1/servers/1/2", false),
            ("/v2.1/**", "/v2.1/servers/1/2", true),
            ("/v2.1/**/2", "/v2.1/servers/1/2", true),
            ("/**", "/", true),
            ("/v2.1/**/3", "/v2.1/servers/1/2", false),
        ] {
            let rule = AccessRule { service: "compute".into(), method: "GET".into(), path: pattern.into() };
            assert_eq!(rule.allows("compute", "GET", path), expected, "{pattern} {path}");
            assert!(!rule.allows("compute", "POST", path) && !rule.allows("image", "GET", path));
        }
    }

    #[test]
    fn a_cruel_pattern_costs_little() {
        let allows = |pattern: &str, path: &str| {
            let (service, method) = ("compute".to_owned(), "GET".to_owned());
            AccessRule { service, method, path: pattern.to_owned() }.allows("compute", "GET", path)
        };
        assert!(allows("/**/a/**/b", "/a/x/a/b/c/b"));
        assert!(!allows("/**/a/**/b", "/b/a/c"));
        let cruel = "/**/a".repeat(100) + "/b";
        assert!(!allows(&cruel, &"/a".repeat(1000)));
    }
}
