//! Groups of users.

use async_trait::async_trait;
use hanse_core::{Cx, Page, Result, check_text};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Identity;
use crate::assignments::check_within_reach;
use crate::db;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{
    Attributes, Group, Holder, User, check_same_domain, checked_extra, checked_name, duplicate, missing,
    nullable,
};
use crate::projects::require_domain;
use crate::resource::{Resource, Verbs};
use crate::users::{as_seen, home_domain};
use crate::verbs::{
    ADD_USER_TO_GROUP, CHECK_USER_IN_GROUP, CREATE_GROUP, DELETE_GROUP, LIST_GROUPS, LIST_GROUPS_FOR_USER,
    LIST_USERS_IN_GROUP, REMOVE_USER_FROM_GROUP, SHOW_GROUP, UPDATE_GROUP,
};

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    domain_id: Option<String>,
    description: Option<String>,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    domain_id: Option<String>,
    #[serde(flatten)]
    extra: Attributes,
}

#[async_trait]
impl Resource for Group {
    const NOUN: &'static str = "group";
    const PLURAL: &'static str = "groups";
    const VERBS: Verbs = Verbs {
        create: CREATE_GROUP,
        show: SHOW_GROUP,
        list: LIST_GROUPS,
        update: UPDATE_GROUP,
        delete: DELETE_GROUP,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, caller: &Caller, id: String, body: Create) -> Result<Group> {
        let description = body.description.unwrap_or_default();
        check_text("description", &description, 4096)?;
        Ok(Group {
            id,
            domain_id: body.domain_id.unwrap_or_else(|| home_domain(caller)),
            name: checked_name(&body.name)?,
            description,
            extra: checked_extra(body.extra)?,
            created_at: cx.now(),
        })
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        check_same_domain(change.domain_id.as_deref(), &self.domain_id)?;
        if let Some(name) = &change.name {
            self.name = checked_name(name)?;
        }
        if let Some(description) = &change.description {
            self.description = description.clone().unwrap_or_default();
            check_text("description", &self.description, 4096)?;
        }
        self.extra.extend(change.extra.clone());
        self.extra = checked_extra(std::mem::take(&mut self.extra))?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "domain_id": self.domain_id, "description": self.description,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(by_text(select, params, &["name", "domain_id"]))
    }

    fn visible(select: Select, scope: &Scope) -> Select {
        match scope {
            Scope::All => select,
            Scope::Domain(id) => select.eq("domain_id", id),
            _ => select.and("1 = 0"),
        }
    }

    fn target(&self) -> Target {
        Target::new(&self.id).in_domain(&self.domain_id)
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Group(self.id.clone())]
    }

    fn conflict(&self) -> String {
        duplicate("group", &self.name, &self.domain_id)
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    async fn check(&mut self, _: &Identity, tx: &mut Tx<'_>, old: Option<&Group>) -> Result<()> {
        if old.is_none() {
            require_domain(tx, &self.domain_id).await?;
        }
        Ok(())
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        db::groups::clear(tx, grant).await?;
        Ok(Vec::new())
    }

    fn may_empty_the_bridge() -> bool {
        true
    }
}

/// Both, as far as the caller sees them, and what a change of the membership needs: for a domain manager the domain
/// must be the same.
async fn both(
    identity: &Identity,
    caller: &Caller,
    verb: hanse_policy::Verb,
    group_id: &str,
    user_id: &str,
) -> Result<Target> {
    let scope = caller.scope(verb)?;
    let mut conn = identity.0.db.read().await?;
    let group: Group =
        db::rows::show(&mut conn, &scope, group_id).await?.ok_or_else(|| missing("group", group_id))?;
    let user = db::users::show(&mut conn, &scope, user_id).await?.ok_or_else(|| missing("user", user_id))?;
    let target = Target::new(group_id);
    Ok(if group.domain_id == user.domain_id { target.in_domain(group.domain_id) } else { target })
}

/// # Errors
/// 404 if the user is not in the group.
pub(crate) async fn check_member(
    identity: &Identity,
    caller: &Caller,
    group_id: &str,
    user_id: &str,
) -> Result<()> {
    both(identity, caller, CHECK_USER_IN_GROUP, group_id, user_id).await?;
    let mut conn = identity.0.db.read().await?;
    if db::groups::is_member(&mut conn, group_id, user_id).await? {
        return Ok(());
    }
    Err(missing("user", format!("{user_id} in group {group_id}")))
}

pub(crate) async fn add_member(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    group_id: &str,
    user_id: &str,
) -> Result<()> {
    let target = both(identity, caller, ADD_USER_TO_GROUP, group_id, user_id).await?;
    let grant = caller.authorize(cx, ADD_USER_TO_GROUP, target)?;
    check_within_reach(identity, cx, caller, &Holder::Group(group_id.to_owned())).await?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::rows::find::<Group>(tx, group_id).await?.ok_or_else(|| missing("group", group_id))?;
                db::rows::find::<User>(tx, user_id).await?.ok_or_else(|| missing("user", user_id))?;
                db::groups::add(tx, grant, user_id).await?;
                Ok(((), db::revision::bump(tx, [Touched::User(user_id.to_owned())]).await?))
            })
        })
        .await
}

pub(crate) async fn remove_member(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    group_id: &str,
    user_id: &str,
) -> Result<()> {
    let target = both(identity, caller, REMOVE_USER_FROM_GROUP, group_id, user_id).await?;
    let grant = caller.authorize(cx, REMOVE_USER_FROM_GROUP, target)?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::groups::remove(tx, grant, user_id).await? == 0 {
                    return Err(missing("user", format!("{user_id} in group {group_id}")));
                }
                let touched = [Touched::User(user_id.to_owned())];
                Ok(((), db::revision::bump_keeping_an_admin(tx, touched).await?))
            })
        })
        .await
}

pub(crate) async fn list_members(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    group_id: &str,
    params: &Params,
    page: &Page,
) -> Result<(Vec<User>, bool)> {
    let scope = caller.scope(LIST_USERS_IN_GROUP)?;
    let mut conn = identity.0.db.read().await?;
    db::rows::show::<Group>(&mut conn, &scope, group_id).await?.ok_or_else(|| missing("group", group_id))?;
    let (users, more) = db::groups::users(&mut conn, group_id, params, page).await?;
    Ok((users.into_iter().map(|user| as_seen(identity, cx, user)).collect(), more))
}

pub(crate) async fn list_of_user(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    params: &Params,
    page: &Page,
) -> Result<(Vec<Group>, bool)> {
    let scope = caller.scope(LIST_GROUPS_FOR_USER)?;
    let mut conn = identity.0.db.read().await?;
    db::users::show(&mut conn, &scope, user_id).await?.ok_or_else(|| missing("user", user_id))?;
    db::groups::of_user(&mut conn, user_id, params, page).await
}
