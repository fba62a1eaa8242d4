//! The routes of the Image API.

mod data;
mod images;
mod patch;
mod schemas;
mod versions;

use axum::Router;
use axum::routing::{get, post, put};

use crate::Deps;

pub(crate) fn routes(deps: Deps) -> Router {
    Router::new()
        .route("/", get(versions::choices))
        .route("/versions", get(versions::list))
        .route("/v2", get(versions::choices))
        .route("/v2/images", get(images::list).post(images::create))
        .route("/v2/images/{id}", get(images::show).patch(images::update).delete(images::delete))
        .route("/v2/images/{id}/file", put(data::upload).get(data::download))
        .route("/v2/images/{id}/tags/{tag}", put(images::add_tag).delete(images::remove_tag))
        .route("/v2/images/{id}/actions/deactivate", post(images::deactivate))
        .route("/v2/images/{id}/actions/reactivate", post(images::reactivate))
        .route("/v2/info/import", get(schemas::import_methods))
        .route("/v2/schemas/image", get(schemas::image))
        .route("/v2/schemas/images", get(schemas::images))
        .with_state(deps)
}
