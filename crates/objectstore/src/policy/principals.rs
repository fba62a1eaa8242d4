//! Who asks. An account is a project. Source: IAM User Guide, "AWS JSON policy elements: Principal".

use hanse_policy::Caller;

use super::document::Json;

/// Who signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub project_id: String,
    pub user_id: String,
    pub user_name: String,
}

impl Principal {
    /// `None` for a caller without a project.
    pub fn of(caller: &Caller) -> Option<Principal> {
        Some(Principal {
            project_id: caller.project_id()?.to_owned(),
            user_id: caller.user_id.clone(),
            user_name: caller.user_name.clone(),
        })
    }

    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.project_id, self.user_id)
    }
}

/// What conditions and variables know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    Account,
    Arn,
    Type,
    UserId,
    UserName,
}

impl Attribute {
    /// By its name, whatever its case.
    pub fn parse(name: &str) -> Option<Attribute> {
        Some(match name.to_ascii_lowercase().as_str() {
            "aws:principalaccount" => Attribute::Account,
            "aws:principalarn" => Attribute::Arn,
            "aws:principaltype" => Attribute::Type,
            "aws:userid" => Attribute::UserId,
            "aws:username" => Attribute::UserName,
            _ => return None,
        })
    }

    /// Of somebody unknown it is only known that they are. AWS gives them a `userid` of "anonymous", which would make a
    /// policy for that id look as if it were for one user.
    pub fn of(self, principal: Option<&Principal>) -> Option<String> {
        match (self, principal) {
            (Attribute::Type, None) => Some("Anonymous".to_owned()),
            (_, None) => None,
            (Attribute::Account, Some(principal)) => Some(principal.project_id.clone()),
            (Attribute::Arn, Some(principal)) => Some(principal.arn()),
            (Attribute::Type, Some(_)) => Some("User".to_owned()),
            (Attribute::UserId, Some(principal)) => Some(principal.user_id.clone()),
            (Attribute::UserName, Some(principal)) => Some(principal.user_name.clone()),
        }
    }
}

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Also those who did not sign.
    Everybody,
    Project(String),
    User {
        project_id: String,
        user_id: String,
    },
}

impl Who {
    pub fn is(&self, principal: Option<&Principal>) -> bool {
        match (self, principal) {
            (Who::Everybody, _) => true,
            (_, None) => false,
            (Who::Project(id), Some(principal)) => *id == principal.project_id,
            (Who::User { project_id, user_id }, Some(principal)) => {
                *project_id == principal.project_id && *user_id == principal.user_id
            }
        }
    }

    /// The value of `Principal` and `NotPrincipal`.
    ///
    /// # Errors
    /// Says that it is none, and which.
    pub fn parse(json: &Json) -> Result<Vec<Who>, String> {
        let invalid = |what: &str| format!("Invalid principal in policy: {what}");
        let members = match json {
            Json::Text(text) if text == "*" => return Ok(vec![Who::Everybody]),
            Json::Text(text) => return Err(invalid(text)),
            Json::Object(members) if !members.is_empty() => members,
            _ => return Err(invalid("neither \"*\" nor an object")),
        };
        let mut all = Vec::new();
        for (kind, ids) in members {
            let parse = match kind.as_str() {
                "AWS" => Who::parse_aws,
                "CanonicalUser" => |id: &str| is_id(id).then(|| Who::Project(id.to_owned())),
                other => return Err(invalid(other)),
            };
            for id in ids.texts().ok_or_else(|| invalid(kind))? {
                all.push(parse(id).ok_or_else(|| invalid(id))?);
            }
        }
        Ok(all)
    }

    fn parse_aws(text: &str) -> Option<Who> {
        if text == "*" {
            return Some(Who::Everybody);
        }
        if is_id(text) {
            return Some(Who::Project(text.to_owned()));
        }
        let (project_id, name) = text.strip_prefix("arn:aws:iam::")?.split_once(':')?;
        if !is_id(project_id) {
            return None;
        }
        let project_id = project_id.to_owned();
        if name == "root" {
            return Some(Who::Project(project_id));
        }
        let user_id = name.strip_prefix("user/").filter(|id| is_user_id(id))?.to_owned();
        Some(Who::User { project_id, user_id })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

/// Those of other directories are longer. Source: Keystone, "Domain-specific configuration": the public ids of users.
fn is_user_id(text: &str) -> bool {
    matches!(text.len(), 32 | 64) && is_hex(text)
}
