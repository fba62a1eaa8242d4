//! Tokens on the wire.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hanse_core::{Error, Result, Secret, Timestamp, check_text};
use hanse_policy::{AccessRule, Delegation, TokenScope};
use hanse_web::{Body, Call, Open, Params, Reply};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Identity;
use crate::auth::{DomainNamed, Issued, Named, Opened, Proof, Receipt, Want, unsupported_method};
use crate::catalog::{ListedService, Listing};
use crate::gateway;
use crate::model::{Site, unauthorized};
use crate::verbs::{AUTH_CATALOG, AUTH_SYSTEM};

pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");

const RECEIPT: HeaderName = HeaderName::from_static("openstack-auth-receipt");

/// The version of access rules that a service enforces; there is one, 1.0.
const ACCESS_RULES: HeaderName = HeaderName::from_static("openstack-identity-access-rules");

/// More methods than this at once are nobody's.
const METHODS_MAX: usize = 8;

#[derive(Deserialize)]
pub(crate) struct Request {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: IdentityBody,
    scope: Option<ScopeBody>,
}

impl Request {
    /// What the token shall be good for, and what the user shows for it.
    pub(crate) fn wanted(self) -> Result<(Want, Vec<Proof>)> {
        Ok((want(self.auth.scope)?, self.auth.identity.proofs()?))
    }
}

/// The data of methods that are not known is not looked at: naming them in `methods` is refused.
#[derive(Deserialize)]
struct IdentityBody {
    methods: Vec<String>,
    password: Option<PasswordBody>,
    token: Option<TokenBody>,
    totp: Option<TotpBody>,
    application_credential: Option<ApplicationCredentialBody>,
}

#[derive(Deserialize)]
struct TotpBody {
    user: TotpUser,
}

#[derive(Deserialize)]
struct TotpUser {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainBody>,
    passcode: Secret<String>,
}

#[derive(Deserialize)]
struct ApplicationCredentialBody {
    id: Option<String>,
    name: Option<String>,
    user: Option<ApplicationCredentialUser>,
    secret: Secret<String>,
}

#[derive(Deserialize)]
struct ApplicationCredentialUser {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainBody>,
}

impl ApplicationCredentialBody {
    fn proof(self) -> Result<Proof> {
        let (credential, user) = match (self.id, self.name, self.user) {
            (Some(id), _, _) => (checked("application_credential.id", id)?, None),
            (None, Some(name), Some(user)) => (
                checked("application_credential.name", name)?,
                Some(named("application_credential.user", user.id, user.name, user.domain)?),
            ),
            _ => {
                return Err(Error::bad_request(
                    "Expecting to find id, or name and user, in application_credential.",
                ));
            }
        };
        Ok(Proof::ApplicationCredential { credential, user, secret: self.secret })
    }
}

#[derive(Deserialize)]
struct PasswordBody {
    user: UserBody,
}

#[derive(Deserialize)]
struct UserBody {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainBody>,
    password: Secret<String>,
}

#[derive(Deserialize)]
struct TokenBody {
    id: Secret<String>,
}

#[derive(Deserialize)]
struct DomainBody {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ScopeBody {
    Word(String),
    Scope(Box<Scope>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    project: Option<ProjectBody>,
    domain: Option<DomainBody>,
    system: Option<SystemBody>,
    unscoped: Option<Value>,
    #[serde(rename = "OS-TRUST:trust")]
    trust: Option<TrustBody>,
}

#[derive(Deserialize)]
struct TrustBody {
    id: String,
}

#[derive(Deserialize)]
struct ProjectBody {
    id: Option<String>,
    name: Option<String>,
    domain: Option<DomainBody>,
}

#[derive(Deserialize)]
struct SystemBody {
    all: bool,
}

fn checked(field: &str, text: String) -> Result<String> {
    check_text(field, &text, 255)?;
    Ok(text)
}

impl DomainBody {
    fn named(self) -> Result<DomainNamed> {
        match (self.id, self.name) {
            (Some(id), _) => Ok(DomainNamed::Id(checked("domain.id", id)?)),
            (None, Some(name)) => Ok(DomainNamed::Name(checked("domain.name", name)?)),
            (None, None) => Err(Error::bad_request("A domain is named by its id or its name.")),
        }
    }
}

fn named(what: &str, id: Option<String>, name: Option<String>, domain: Option<DomainBody>) -> Result<Named> {
    match (id, name, domain) {
        (Some(id), _, _) => Ok(Named::Id(checked(&format!("{what}.id"), id)?)),
        (None, Some(name), Some(domain)) => {
            Ok(Named::Name { name: checked(&format!("{what}.name"), name)?, domain: domain.named()? })
        }
        (None, Some(_), None) => Err(Error::bad_request(format!(
            "Expecting to find domain in {what}: a name is unique in its domain only."
        ))),
        (None, None, _) => Err(Error::bad_request(format!("Expecting to find id or name in {what}."))),
    }
}

impl IdentityBody {
    fn proofs(mut self) -> Result<Vec<Proof>> {
        if self.methods.is_empty() {
            return Err(unauthorized());
        }
        if self.methods.len() > METHODS_MAX {
            return Err(Error::bad_request("Too many authentication methods."));
        }
        self.methods.sort();
        self.methods.dedup();
        let lacks = |method: &str| Error::bad_request(format!("Expecting to find {method} in identity."));
        let mut proofs = Vec::new();
        for method in self.methods {
            proofs.push(match method.as_str() {
                "password" => {
                    let user = self.password.take().ok_or_else(|| lacks("password"))?.user;
                    let password = user.password;
                    Proof::Password { user: named("user", user.id, user.name, user.domain)?, password }
                }
                "totp" => {
                    let user = self.totp.take().ok_or_else(|| lacks("totp"))?.user;
                    let passcode = user.passcode;
                    Proof::Totp { user: named("user", user.id, user.name, user.domain)?, passcode }
                }
                "application_credential" => {
                    let body = self.application_credential.take();
                    body.ok_or_else(|| lacks("application_credential"))?.proof()?
                }
                "token" => Proof::Token(self.token.take().ok_or_else(|| lacks("token"))?.id),
                _ => return Err(unsupported_method()),
            });
        }
        Ok(proofs)
    }
}

fn want(scope: Option<ScopeBody>) -> Result<Want> {
    let scope = match scope {
        None => return Ok(Want::Default),
        Some(ScopeBody::Word(word)) if word == "unscoped" => return Ok(Want::Unscoped),
        Some(ScopeBody::Word(_)) => {
            return Err(Error::bad_request("The scope is no object, nor \"unscoped\"."));
        }
        Some(ScopeBody::Scope(scope)) => *scope,
    };
    match scope {
        Scope { trust: Some(trust), project: None, domain: None, system: None, unscoped: None } => {
            Ok(Want::Trust(checked("OS-TRUST:trust.id", trust.id)?))
        }
        Scope { trust: Some(_), .. } => Err(Error::bad_request("A trust is a scope of its own.")),
        Scope { project: Some(project), domain: None, system: None, unscoped: None, .. } => {
            Ok(Want::Project(named("project", project.id, project.name, project.domain)?))
        }
        Scope { project: None, domain: Some(domain), system: None, unscoped: None, .. } => {
            Ok(Want::Domain(domain.named()?))
        }
        Scope {
            project: None, domain: None, system: Some(SystemBody { all: true }), unscoped: None, ..
        } => Ok(Want::System),
        Scope { project: None, domain: None, system: None, unscoped: Some(_), .. } => Ok(Want::Unscoped),
        _ => Err(Error::bad_request(
            "The scope must be exactly one of project, domain, system (all) and unscoped.",
        )),
    }
}

/// A token on the wire. The catalog is most of it, so it is written as it stands.
#[derive(Serialize)]
pub(crate) struct Shown<'c> {
    token: Inside<'c>,
}

#[derive(Serialize)]
struct Inside<'c> {
    #[serde(flatten)]
    claims: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Vec<ListedService<'c>>>,
}

pub(crate) fn view<'c>(identity: &'c Identity, opened: &Opened, catalog: Option<&'c Listing>) -> Shown<'c> {
    let caller = &opened.caller;
    let catalog = catalog.filter(|_| caller.scope != TokenScope::Unscoped);
    let listed =
        |listing: &'c Listing| listing.for_token(&identity.0.catalog, caller.project_id(), &caller.user_id);
    Shown { token: Inside { claims: claims(opened), catalog: catalog.map(listed) } }
}

fn claims(opened: &Opened) -> Value {
    let (payload, caller) = (&opened.payload, &opened.caller);
    let domain = |domain: &hanse_policy::DomainRef| json!({ "id": domain.id, "name": domain.name });
    let mut token = json!({
        "methods": payload.methods.names(),
        "user": {
            "domain": domain(&caller.user_domain), "id": caller.user_id, "name": caller.user_name,
            "password_expires_at": opened.password_expires_at.map(Timestamp::iso_naive),
        },
        "audit_ids": caller.audit_ids,
        "expires_at": payload.expires_at.iso_micros(),
        "issued_at": payload.issued_at.iso_micros(),
    });
    match &caller.delegation {
        Some(Delegation::ApplicationCredential { id, name, unrestricted, access_rules }) => {
            token["application_credential"] = json!({ "id": id, "name": name, "restricted": !unrestricted });
            if let Some(rules) = access_rules {
                let rule = |rule: &AccessRule| json!({ "service": rule.service, "method": rule.method, "path": rule.path });
                token["application_credential"]["access_rules"] = rules.iter().map(rule).collect();
            }
        }
        Some(Delegation::Trust { id, trustor_user_id, trustee_user_id, impersonation }) => {
            token["OS-TRUST:trust"] = json!({
                "id": id, "impersonation": impersonation, "trustor_user": { "id": trustor_user_id },
                "trustee_user": { "id": trustee_user_id },
            });
        }
        Some(Delegation::Ec2Credential { .. }) | None => {}
    }
    match &caller.scope {
        TokenScope::Unscoped => return token,
        TokenScope::Project(project) => {
            token["project"] =
                json!({ "domain": domain(&project.domain), "id": project.id, "name": project.name });
            token["is_domain"] = json!(false);
        }
        TokenScope::Domain(own) => token["domain"] = domain(own),
        TokenScope::System => token["system"] = json!({ "all": true }),
    }
    token["roles"] = caller.roles.iter().map(|role| json!({ "id": role.id, "name": role.name })).collect();
    token
}

fn subject(headers: &HeaderMap) -> Option<&str> {
    headers.get(SUBJECT)?.to_str().ok()
}

pub(crate) async fn issue(
    State(identity): State<Identity>,
    open: Open,
    headers: HeaderMap,
    params: Params,
    Body(request): Body<Request>,
) -> Reply<Response> {
    let (want, proofs) = request.wanted()?;
    let receipt = headers.get(RECEIPT).and_then(|text| text.to_str().ok());
    let (token, opened) = match identity.issue(&open.cx, open.peer, proofs, receipt, want).await? {
        Issued::Token(token, opened) => (token, opened),
        Issued::Receipt { text, receipt, rules } => {
            let body = receipt_view(&identity, &open, &receipt, &rules).await?;
            return Ok((StatusCode::UNAUTHORIZED, [(RECEIPT, text)], Json(body)).into_response());
        }
    };
    let snapshot = identity.0.snapshots.current(&open.cx).await?;
    let body = view(&identity, &opened, (!params.has("nocatalog")).then_some(snapshot.catalog()));
    Ok((StatusCode::CREATED, [(SUBJECT, token)], Json(body)).into_response())
}

/// What a user who has proved a part of what it takes learns: that, and what else it may be.
async fn receipt_view(
    identity: &Identity,
    open: &Open,
    receipt: &Receipt,
    rules: &[Vec<String>],
) -> Result<Value> {
    let snapshot = identity.0.snapshots.current(&open.cx).await?;
    let person = snapshot.person(&receipt.user_id).ok_or_else(unauthorized)?;
    let domain = snapshot.domain_ref(&person.domain_id).ok_or_else(unauthorized)?;
    let user = json!({
        "id": receipt.user_id, "name": person.name, "domain": { "id": domain.id, "name": domain.name },
    });
    Ok(json!({
        "receipt": {
            "methods": receipt.methods.names(), "user": user, "expires_at": receipt.expires_at.iso_micros(),
            "issued_at": receipt.issued_at.iso_micros(),
        },
        "required_auth_methods": rules,
    }))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    headers: HeaderMap,
    params: Params,
) -> Reply<Response> {
    let subject = subject(&headers);
    let allow_expired = params.flag("allow_expired")?.unwrap_or(false);
    let version = headers.get(ACCESS_RULES).and_then(|version| version.to_str().ok()?.parse::<f32>().ok());
    let knows_access_rules = version.is_some_and(|version| version >= 1.0);
    let opened =
        identity.show_token(&call.cx, &call.caller, subject, allow_expired, knows_access_rules).await?;
    let opened = gateway::soon(&identity, &call.cx, &call.caller, opened);
    let snapshot = identity.0.snapshots.current(&call.cx).await?;
    let body = view(&identity, &opened, (!params.has("nocatalog")).then_some(snapshot.catalog()));
    let token = subject.unwrap_or_default().to_owned();
    Ok(([(SUBJECT, token)], Json(body)).into_response())
}

pub(crate) async fn revoke(
    State(identity): State<Identity>,
    call: Call,
    headers: HeaderMap,
) -> Reply<StatusCode> {
    identity.revoke_token(&call.cx, &call.caller, subject(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn catalog(State(identity): State<Identity>, call: Call) -> Reply<Json<Value>> {
    call.caller.scope(AUTH_CATALOG)?;
    if call.caller.project().is_none() {
        return Err(
            Error::forbidden("A project-scoped token is required to produce a service catalog.").into()
        );
    }
    let link = identity.0.catalog.link("auth/catalog");
    let snapshot = identity.0.snapshots.current(&call.cx).await?;
    let (caller, built_in) = (&call.caller, &identity.0.catalog);
    let catalog = snapshot.catalog().for_token(built_in, caller.project_id(), &caller.user_id);
    Ok(Json(json!({ "catalog": catalog, "links": { "self": link } })))
}

/// Whether the caller could have a token for the system.
pub(crate) async fn system(State(identity): State<Identity>, call: Call) -> Reply<Json<Value>> {
    call.caller.scope(AUTH_SYSTEM)?;
    let snapshot = identity.0.snapshots.current(&call.cx).await?;
    let person = snapshot.person(&call.caller.user_id);
    let is_there = person.is_some_and(|person| !snapshot.role_ids(person, &Site::System).is_empty());
    let system = if is_there { json!([{ "all": true }]) } else { json!([]) };
    let link = identity.0.catalog.link("auth/system");
    Ok(Json(json!({ "system": system, "links": { "self": link } })))
}
