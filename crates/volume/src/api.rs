//! Wire types and handlers: parse, call the verb, shape the answer.

mod actions;
mod create;
mod discovery;
mod here;
mod list;
mod metadata;
mod quotas;
mod types;
mod view;
mod volumes;

use axum::Router;
use axum::routing::{get, post};

use crate::Volume;

pub(crate) fn routes(volume: &Volume) -> Router {
    Router::new()
        .route("/", get(discovery::versions))
        .route("/v3", get(discovery::version))
        // Clients of old write the project of their token into each path, newer ones need not.
        .nest("/v3/{project_id}", resources())
        .nest("/v3", resources())
        .with_state(volume.clone())
}

fn resources() -> Router<Volume> {
    Router::new()
        .route("/volumes", get(volumes::list).post(create::create))
        .route("/volumes/detail", get(volumes::list_detail))
        .route("/volumes/{id}", get(volumes::show).put(volumes::update).delete(volumes::delete))
        .route("/volumes/{id}/action", post(actions::act))
        .route("/volumes/{id}/metadata", get(metadata::list).post(metadata::create).put(metadata::update))
        .route(
            "/volumes/{id}/metadata/{key}",
            get(metadata::show).put(metadata::update_item).delete(metadata::delete),
        )
        .route("/types", get(types::list).post(types::create))
        .route("/types/{id}", get(types::show))
        .route("/types/{id}/extra_specs", get(types::list_extra_specs))
        .route("/limits", get(quotas::limits))
        .route("/os-quota-sets/{id}", get(quotas::show).put(quotas::update).delete(quotas::delete))
        .route("/os-quota-sets/{id}/defaults", get(quotas::defaults))
        .route("/os-availability-zone", get(discovery::zones))
        .route("/os-services", get(discovery::services))
        .route("/extensions", get(discovery::extensions))
        .route("/snapshots", get(discovery::absent).post(discovery::absent))
        .route("/snapshots/detail", get(discovery::absent))
        .route("/backups", get(discovery::absent).post(discovery::absent))
        .route("/backups/detail", get(discovery::absent))
        .route("/groups", get(discovery::absent).post(discovery::absent))
        .route("/groups/detail", get(discovery::absent))
        .route("/os-volume-transfer", get(discovery::absent).post(discovery::absent))
        .route("/os-volume-transfer/detail", get(discovery::absent))
}
