//! The verbs on images.

use hanse_core::{Cx, Error, Kind, Page, Result, Uuid};
use hanse_policy::{Caller, Grant, Rule, Scope, Target, Verb};
use hanse_store::{Db, Select, SortKey};

use crate::Deps;
use crate::data::DATA_KIND;
use crate::db;
use crate::model::{Draft, Image, Status, Visibility};

const CREATE: Verb = Verb::new("image:add_image", Rule::ProjectMember);
pub(crate) const SHOW: Verb = Verb::new("image:get_image", Rule::ProjectReader);
const LIST: Verb = Verb::new("image:get_images", Rule::ProjectReader);
const UPDATE: Verb = Verb::new("image:modify_image", Rule::ProjectMember);
const PUBLICIZE: Verb = Verb::new("image:publicize_image", Rule::Admin);
const DELETE: Verb = Verb::new("image:delete_image", Rule::ProjectMember);
pub(crate) const UPLOAD: Verb = Verb::new("image:upload_image", Rule::ProjectMember);
pub(crate) const DOWNLOAD: Verb = Verb::new("image:download_image", Rule::ProjectReader);
const DEACTIVATE: Verb = Verb::new("image:deactivate", Rule::ProjectMember);
const REACTIVATE: Verb = Verb::new("image:reactivate", Rule::ProjectMember);

pub(crate) const VERBS: &[Verb] =
    &[CREATE, SHOW, LIST, UPDATE, PUBLICIZE, DELETE, UPLOAD, DOWNLOAD, DEACTIVATE, REACTIVATE];

pub(crate) fn not_found(id: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotFound, format!("No image found with ID {id}"))
}

pub(crate) async fn create(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    id: Option<Uuid>,
    draft: &Draft,
) -> Result<Image> {
    let project = caller
        .project_id()
        .ok_or_else(|| Error::forbidden("You must work in a project to create an image."))?;
    let id = id.unwrap_or_else(|| cx.uuid());
    let grant = &caller.authorize(cx, CREATE, Target::new(id).in_project(project))?;
    publicize(cx, caller, draft.visibility, id)?;
    let quota = deps.config.images_per_project;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let count = db::images::count(tx, project).await?;
                if count >= quota {
                    return Err(Error::over_quota(format!(
                        "User's project {project} has used {count} of its {quota} images; delete some, or ask for more."
                    )));
                }
                db::images::insert(tx, cx, grant, project, draft).await?;
                db::images::show(tx, &Scope::All, id).await?.ok_or_else(|| not_found(id))
            })
        })
        .await
}

fn publicize(cx: &Cx, caller: &Caller, visibility: Visibility, id: Uuid) -> Result<()> {
    match visibility {
        Visibility::Public => caller.authorize(cx, PUBLICIZE, Target::new(id)).map(drop),
        Visibility::Private => Ok(()),
    }
}

pub(crate) async fn show(deps: &Deps, caller: &Caller, verb: Verb, id: Uuid) -> Result<Image> {
    let scope = caller.scope(verb)?;
    db::images::show(&mut deps.db.read().await?, &scope, id).await?.ok_or_else(|| not_found(id))
}

/// `filter` narrows what the caller may see.
pub(crate) async fn list(
    deps: &Deps,
    caller: &Caller,
    filter: impl FnOnce(Select) -> Result<Select>,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Image>, bool)> {
    let select = filter(db::images::visible(&caller.scope(LIST)?))?;
    db::images::list(&mut deps.db.read().await?, select, keys, page).await
}

/// Reads in the caller's scope, then asks for the right to write.
pub(crate) async fn writable(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: Uuid,
) -> Result<(Image, Grant)> {
    let image = show(deps, caller, SHOW, id).await?;
    let grant = caller.authorize(cx, verb, Target::new(id).in_project(&image.project_id))?;
    Ok((image, grant))
}

/// `change` is applied to the image as the transaction finds it.
pub(crate) async fn update<C>(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid, change: C) -> Result<Image>
where
    C: Fn(&mut Draft) -> Result<()> + Send + Sync,
{
    let (_, grant) = writable(deps, cx, caller, UPDATE, id).await?;
    let (grant, change) = (&grant, &change);
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut image = db::images::show(tx, &Scope::All, id).await?.ok_or_else(|| not_found(id))?;
                let before = image.draft.clone();
                change(&mut image.draft)?;
                let draft = &image.draft;
                if draft.visibility != before.visibility {
                    publicize(cx, caller, draft.visibility, id)?;
                }
                let formats = |draft: &Draft| (draft.container_format.clone(), draft.disk_format);
                if image.status != Status::Queued && formats(draft) != formats(&before) {
                    return Err(Error::forbidden(
                        "The formats of an image can only be changed before it has data.",
                    ));
                }
                db::images::update(tx, cx, grant, draft).await?;
                db::images::show(tx, &Scope::All, id).await?.ok_or_else(|| not_found(id))
            })
        })
        .await
}

pub(crate) async fn delete(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    let (_, grant) = writable(deps, cx, caller, DELETE, id).await?;
    let grant = &grant;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let image = db::images::show(tx, &Scope::All, id).await?.ok_or_else(|| not_found(id))?;
                if image.draft.protected {
                    return Err(Error::forbidden(format!("Image {id} is protected and cannot be deleted.")));
                }
                db::images::delete(tx, grant).await?;
                if let Some(data) = image.data_id {
                    db::data::disown(tx, data).await?;
                    hanse_work::wake(tx, cx, DATA_KIND, &data.to_string()).await?;
                }
                Ok(())
            })
        })
        .await
}

pub(crate) async fn deactivate(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    turn(deps, cx, caller, id, DEACTIVATE, [Status::Active, Status::Deactivated]).await
}

pub(crate) async fn reactivate(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    turn(deps, cx, caller, id, REACTIVATE, [Status::Deactivated, Status::Active]).await
}

async fn turn(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    verb: Verb,
    [from, to]: [Status; 2],
) -> Result<()> {
    let (image, grant) = writable(deps, cx, caller, verb, id).await?;
    let grant = &grant;
    let turned = deps.db.write(cx, grant, |tx| Box::pin(db::images::turn(tx, cx, grant, from, to))).await?;
    if turned || image.status == to {
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "Not allowed to turn image {id} from {} to {}.",
        image.status.as_str(),
        to.as_str()
    )))
}

/// Those of these images that a project may use, whatever their status: for the services that boot from them.
///
/// # Errors
/// If the database fails.
pub async fn usable(db: &Db, project_id: &str, ids: &[Uuid]) -> Result<Vec<Image>> {
    let select = db::images::visible(&Scope::Project(project_id.to_owned())).any("id", ids.iter().copied());
    let page = Page { limit: Page::MAX_LIMIT, ..Page::default() };
    Ok(db::images::list(&mut db.read().await?, select, &[], &page).await?.0)
}
