//! How a policy is written. Source: IAM User Guide, "Grammar of the IAM JSON policy language"; S3 User Guide, "Policies and
//! permissions in Amazon S3".

use std::fmt;

use s3s::S3Result;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Request;
use super::actions::{self, Scope};
use super::conditions::Condition;
use super::matching::{Pattern, Syntax};
use super::principals::Who;

/// JSON in which no member stands twice, so that nobody reads it otherwise than we.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(&'static str),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn members(&self) -> Option<&[(String, Json)]> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    fn scalar(&self) -> Option<&str> {
        match self {
            Json::Bool(text) => Some(text),
            Json::Number(text) | Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// One or a list, which is not empty.
    fn several(&self) -> &[Json] {
        if let Json::List(list) = self { list } else { std::slice::from_ref(self) }
    }

    /// One text or more.
    pub fn texts(&self) -> Option<Vec<&str>> {
        self.several().iter().map(Json::text).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
    }

    /// One text, number or truth value, or more.
    pub fn scalars(&self) -> Option<Vec<&str>> {
        self.several().iter().map(Json::scalar).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(if value { "true" } else { "false" }))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut names = std::collections::HashSet::new();
        let mut members = Vec::new();
        while let Some((name, value)) = access.next_entry::<String, Json>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the member {name} stands twice")));
            }
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// Those of a list, or all others.
#[derive(Clone, Debug)]
struct Clause<T> {
    is_negated: bool,
    of: Vec<T>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Statement {
    pub effect: Effect,
    principals: Clause<Who>,
    actions: Clause<Pattern>,
    resources: Clause<Pattern>,
    conditions: Vec<Condition>,
}

/// All statements of a policy for this bucket.
///
/// # Errors
/// Says what is wrong, and in which statement.
pub fn parse(text: &[u8], bucket: &str) -> Result<Vec<Statement>, String> {
    if text.first() != Some(&b'{') {
        return Err("Policies must be valid JSON and the first byte must be '{'".to_owned());
    }
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| format!("This policy contains invalid Json: {error}"))?;
    let mut version = None;
    let mut statements = None;
    for (name, value) in json.members().unwrap_or_default() {
        match (name.as_str(), value) {
            ("Version", value) => version = Some(value.text().unwrap_or_default()),
            ("Id", Json::Text(_)) => {}
            ("Id", _) => return Err("Invalid policy syntax: Id is no text".to_owned()),
            ("Statement", value) => statements = Some(value.several()),
            _ => return Err(format!("Unknown field {name}")),
        }
    }
    let variables = match version {
        Some("2012-10-17") => true,
        None | Some("2008-10-17") => false,
        Some(_) => {
            return Err("The policy must contain a valid version string: 2012-10-17 or 2008-10-17".to_owned());
        }
    };
    let statements = statements.ok_or("Missing required field Statement")?;
    if statements.is_empty() {
        return Err("Could not parse the policy: Statement is empty!".to_owned());
    }
    let numbered = statements.iter().zip(1..);
    let parsed = numbered.map(|(json, number): (&Json, usize)| {
        Statement::parse(json, bucket, variables).map_err(|message| format!("{message} (statement {number})"))
    });
    parsed.collect()
}

/// The member of this name or the one of its opposite.
fn clause<'j>(members: &'j [(String, Json)], name: &str, not_name: &str) -> Result<(bool, &'j Json), String> {
    let find = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    match (find(name), find(not_name)) {
        (Some(value), None) => Ok((false, value)),
        (None, Some(value)) => Ok((true, value)),
        (None, None) => Err(format!("Missing required field {name}")),
        (Some(_), Some(_)) => Err(format!("Invalid policy syntax: both {name} and {not_name}")),
    }
}

impl Statement {
    fn parse(json: &Json, bucket: &str, variables: bool) -> Result<Statement, String> {
        let members = json.members().ok_or("Invalid policy syntax: a statement is no object")?;
        let mut effect = None;
        let mut conditions = Vec::new();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Sid", Json::Text(_)) => {}
                ("Sid", _) => return Err("Invalid policy syntax: Sid is no text".to_owned()),
                ("Effect", Json::Text(text)) if text == "Allow" => effect = Some(Effect::Allow),
                ("Effect", Json::Text(text)) if text == "Deny" => effect = Some(Effect::Deny),
                ("Effect", _) => return Err("Invalid effect: neither Allow nor Deny".to_owned()),
                ("Condition", value) => conditions = Condition::parse_all(value, variables)?,
                ("Principal" | "NotPrincipal" | "Action" | "NotAction" | "Resource" | "NotResource", _) => {}
                _ => return Err(format!("Unknown field {name}")),
            }
        }
        let effect = effect.ok_or("Missing required field Effect")?;
        let (is_negated, value) = clause(members, "Principal", "NotPrincipal")?;
        if is_negated && effect == Effect::Allow {
            return Err("Allow with NotPrincipal is not allowed.".to_owned());
        }
        let principals = Clause { is_negated, of: Who::parse(value)? };
        let (is_negated, value) = clause(members, "Resource", "NotResource")?;
        let resources = Clause { is_negated, of: parse_resources(value, bucket, variables)? };
        let (is_negated, value) = clause(members, "Action", "NotAction")?;
        let actions = Clause { is_negated, of: parse_actions(value)? };
        let statement = Statement { effect, principals, actions, resources, conditions };
        statement.check_scopes(bucket)?;
        Ok(statement)
    }

    /// Refuses an action that can never be asked of one of the resources.
    fn check_scopes(&self, bucket: &str) -> Result<(), String> {
        if self.actions.is_negated || self.resources.is_negated {
            return Ok(());
        }
        let resources = &self.resources.of;
        let has_bucket = resources.iter().any(|resource| resource.may_be(bucket));
        let has_objects = resources.iter().any(|resource| resource.may_begin(&format!("{bucket}/")));
        let applies = |action: &Pattern| {
            actions::matching(action).any(|scope| match scope {
                Scope::Account => false,
                Scope::Bucket => has_bucket,
                Scope::Object => has_objects,
            })
        };
        if self.actions.of.iter().all(applies) {
            return Ok(());
        }
        Err("Action does not apply to any resource(s) in statement".to_owned())
    }

    /// Whether it is about this request.
    ///
    /// # Errors
    /// What the context answers.
    pub fn applies(&self, request: &Request<'_>, resource: &str) -> S3Result<bool> {
        let principal = request.principal;
        let in_action = self.actions.of.iter().any(|action| action.matches(request.action, None, false));
        if in_action == self.actions.is_negated
            || self.principals.of.iter().any(|who| who.is(principal)) == self.principals.is_negated
        {
            return Ok(false);
        }
        // What cannot be decided does not help an `Allow`.
        let undecided = self.resources.is_negated && self.effect == Effect::Allow;
        let in_resource =
            self.resources.of.iter().any(|pattern| pattern.matches(resource, principal, undecided));
        if in_resource == self.resources.is_negated {
            return Ok(false);
        }
        for condition in &self.conditions {
            if !condition.holds(request, self.effect)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it lets in anybody whom it does not name. Source: S3 User Guide, "The meaning of 'public'".
    pub fn is_public(&self) -> bool {
        self.effect == Effect::Allow
            && self.principals.of.contains(&Who::Everybody)
            && !self.conditions.iter().any(Condition::is_fixed)
    }
}

fn parse_actions(json: &Json) -> Result<Vec<Pattern>, String> {
    let names = json.texts().ok_or("Policy has invalid action: neither text nor list of texts")?;
    let syntax = Syntax { wildcards: true, variables: false };
    let parse = |name: &str| {
        let pattern = Pattern::parse(name, syntax)?.ignoring_case();
        let is_known = actions::matching(&pattern).next().is_some();
        if is_known { Ok(pattern) } else { Err(format!("Policy has invalid action: {name}")) }
    };
    names.into_iter().map(parse).collect()
}

fn parse_resources(json: &Json, bucket: &str, variables: bool) -> Result<Vec<Pattern>, String> {
    let names = json.texts().ok_or("Policy has invalid resource: neither text nor list of texts")?;
    let invalid = |name: &str| format!("Policy has invalid resource: {name}");
    let parse = |name: &str| {
        let path = name.strip_prefix("arn:aws:s3:::").ok_or_else(|| invalid(name))?;
        let pattern = Pattern::parse(path, Syntax { wildcards: true, variables })?;
        let is_ours = pattern.may_be(bucket) || pattern.may_begin(&format!("{bucket}/"));
        if is_ours { Ok(pattern) } else { Err(invalid(name)) }
    };
    names.into_iter().map(parse).collect()
}
