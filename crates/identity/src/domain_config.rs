//! Options of a domain's own. They are kept for what will read them, and sealed: some of them are passwords.

mod options;

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result};
use hanse_policy::{Caller, Scope, Target, Verb};
use serde_json::{Map, Value};

use crate::Identity;
use crate::db;
use crate::model::missing;
use crate::projects::require_domain;
use crate::verbs::{
    CREATE_DOMAIN_CONFIG, DELETE_DOMAIN_CONFIG, SHOW_DOMAIN_CONFIG, SHOW_DOMAIN_CONFIG_DEFAULT,
    UPDATE_DOMAIN_CONFIG,
};
use options::{OPTIONS, SECRETS};

/// Groups of options.
pub(crate) type Config = BTreeMap<String, Map<String, Value>>;

const VALUE_MAX: usize = 4096;

/// A part of the configuration: all, a group, or one option of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) group: Option<String>,
    pub(crate) option: Option<String>,
}

impl Part {
    fn has(&self, group: &str, option: &str) -> bool {
        self.group.as_deref().is_none_or(|own| own == group)
            && self.option.as_deref().is_none_or(|own| own == option)
    }

    /// # Errors
    /// 403 for a group or an option that domains cannot have, as Keystone answers.
    fn check(&self) -> Result<()> {
        let known = OPTIONS.iter().map(|known| (known.0, known.1)).chain(SECRETS.iter().copied());
        if known.into_iter().any(|(group, option)| self.has(group, option)) {
            return Ok(());
        }
        let (group, option) =
            (self.group.clone().unwrap_or_default(), self.option.clone().unwrap_or_default());
        Err(Error::forbidden(format!(
            "Invalid domain specific configuration: group {group} option {option} is not supported."
        )))
    }
}

fn purpose(domain: &str, group: &str, option: &str) -> String {
    format!("domain_options.value:{domain}/{group}/{option}")
}

/// What the body of a write holds, as single options.
fn flat(config: Config, part: &Part) -> Result<Vec<(String, String, Value)>> {
    let mut all = Vec::new();
    for (group, options) in config {
        for (option, value) in options {
            Part { group: Some(group.clone()), option: Some(option.clone()) }.check()?;
            if !part.has(&group, &option) {
                return Err(Error::forbidden(
                    "Invalid domain specific configuration: the body names another group or option than the address.",
                ));
            }
            if value.to_string().len() > VALUE_MAX {
                return Err(Error::bad_request(format!(
                    "The option {option} is longer than {VALUE_MAX} bytes."
                )));
            }
            all.push((group.clone(), option, value));
        }
    }
    if all.is_empty() {
        return Err(Error::bad_request("No options specified."));
    }
    Ok(all)
}

/// What the domain has of its own, without what is secret.
async fn read(identity: &Identity, domain: &str, part: &Part) -> Result<Config> {
    let mut conn = identity.0.db.read().await?;
    db::domain_options::require_domain(&mut conn, domain).await?;
    let mut config = Config::new();
    for (group, option, value) in db::domain_options::list(&mut conn, domain).await? {
        let is_secret = SECRETS.iter().any(|secret| *secret == (group.as_str(), option.as_str()));
        if is_secret || !part.has(&group, &option) {
            continue;
        }
        let plain = identity.0.master.open(&purpose(domain, &group, &option), &value)?;
        let value = serde_json::from_slice(plain.expose())
            .map_err(|_| Error::internal(format!("the option {option} of domain {domain} is no JSON")))?;
        config.entry(group).or_default().insert(option, value);
    }
    Ok(config)
}

/// # Errors
/// 404 if the domain has none of it.
pub(crate) async fn show(identity: &Identity, caller: &Caller, domain: &str, part: &Part) -> Result<Config> {
    caller.scope(SHOW_DOMAIN_CONFIG)?;
    part.check()?;
    let config = read(identity, domain, part).await?;
    if config.is_empty() {
        let what = part.option.clone().or_else(|| part.group.clone()).unwrap_or_else(|| "any".to_owned());
        return Err(missing("domain configuration", format!("{what} for domain {domain}")));
    }
    Ok(config)
}

pub(crate) fn show_default(caller: &Caller, part: &Part) -> Result<Config> {
    let scope = caller.scope(SHOW_DOMAIN_CONFIG_DEFAULT)?;
    debug_assert!(scope == Scope::All, "the rule is for admins and system readers");
    part.check()?;
    let mut config = Config::new();
    for (group, option, value) in OPTIONS.iter().filter(|known| part.has(known.0, known.1)) {
        let value = serde_json::from_str(value).unwrap_or(Value::Null);
        config.entry((*group).to_owned()).or_default().insert((*option).to_owned(), value);
    }
    Ok(config)
}

/// Writes options. With `replace` all others of the domain go; says whether there were any before.
async fn write(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    domain: &str,
    options: Vec<(String, String, Value)>,
    replace: bool,
) -> Result<bool> {
    let grant = caller.authorize(cx, verb, Target::new(domain).in_domain(domain))?;
    let sealed: Vec<(String, String, Vec<u8>)> = options
        .into_iter()
        .map(|(group, option, value)| {
            let text = value.to_string();
            let sealed = identity.0.master.seal(cx, &purpose(domain, &group, &option), text.as_bytes())?;
            Ok((group, option, sealed))
        })
        .collect::<Result<_>>()?;
    let (grant, sealed) = (&grant, &sealed);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                require_domain(tx, domain).await?;
                let before = !db::domain_options::list(tx, domain).await?.is_empty();
                if replace {
                    db::domain_options::delete(tx, grant, None, None).await?;
                }
                for (group, option, value) in sealed {
                    db::domain_options::put(tx, grant, group, option, value).await?;
                }
                Ok((before, db::revision::bump(tx, []).await?))
            })
        })
        .await
}

/// Puts a configuration in the place of what there was; says whether there was one.
pub(crate) async fn create(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    domain: &str,
    config: Config,
) -> Result<(bool, Config)> {
    caller.scope(CREATE_DOMAIN_CONFIG)?;
    let options = flat(config, &Part::default())?;
    let before = write(identity, cx, caller, CREATE_DOMAIN_CONFIG, domain, options, true).await?;
    Ok((before, read(identity, domain, &Part::default()).await?))
}

/// Changes options; a group or an option in the address must be there.
pub(crate) async fn update(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    domain: &str,
    part: &Part,
    config: Config,
) -> Result<Config> {
    caller.scope(UPDATE_DOMAIN_CONFIG)?;
    part.check()?;
    let options = flat(config, part)?;
    if part.group.is_some() {
        show(identity, caller, domain, part).await?;
    }
    write(identity, cx, caller, UPDATE_DOMAIN_CONFIG, domain, options, false).await?;
    read(identity, domain, &Part::default()).await
}

pub(crate) async fn delete(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    domain: &str,
    part: &Part,
) -> Result<()> {
    caller.scope(DELETE_DOMAIN_CONFIG)?;
    part.check()?;
    if part.group.is_some() {
        show(identity, caller, domain, part).await?;
    }
    let grant = caller.authorize(cx, DELETE_DOMAIN_CONFIG, Target::new(domain).in_domain(domain))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                require_domain(tx, domain).await?;
                db::domain_options::delete(tx, grant, part.group.as_deref(), part.option.as_deref()).await?;
                Ok(((), db::revision::bump(tx, []).await?))
            })
        })
        .await
}
