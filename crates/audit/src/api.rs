//! Wire types and handlers: parse, call the verb, shape the answer.

mod events;
mod versions;

use axum::Router;
use axum::routing::get;

use crate::Audit;

pub(crate) fn routes(audit: Audit) -> Router {
    Router::new()
        .route("/", get(versions::list))
        .route("/v1", get(versions::show))
        .route("/v1/", get(versions::show))
        .route("/v1/events", get(events::list))
        .route("/v1/events/{id}", get(events::show))
        .with_state(audit)
}
