//! `/healthz` and `/metrics`, and asking for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use hanse_core::{Context, Cx, Error, Result};
use hanse_node::desired::{self, Node};
use hanse_objectstore::radosgw::Admin;
use hanse_store::{Coalesced, Db, within};
use hanse_web::{Metrics, Peer};
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long the database may take to say that it is there. Whoever balances load gives up soon after.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);

/// What `/healthz` says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    pub release: String,
    pub nodes: Vec<NodeHealth>,
    /// If another program keeps the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radosgw: Option<RadosgwHealth>,
}

/// Everything else goes on without it, and what projects may have there is set when it is back.
#[derive(Debug, Serialize, Deserialize)]
pub struct RadosgwHealth {
    pub answers: bool,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct NodeHealth {
    pub name: String,
    pub connected: bool,
    pub accelerator: String,
}

/// Who is asked how they are.
#[derive(Clone)]
struct Asked {
    db: Db,
    asking: Coalesced<Vec<Node>>,
    radosgw: Option<Arc<Admin>>,
}

/// The routes. The names of nodes and the metrics are for this machine alone.
pub fn routes(db: Db, metrics: Metrics, radosgw: Option<Arc<Admin>>) -> Router {
    let healthz = get(healthz).with_state(Asked { db: db.clone(), asking: Coalesced::default(), radosgw });
    Router::new().route("/healthz", healthz).route("/metrics", get(show_metrics).with_state((db, metrics)))
}

/// However many ask, the database is asked once at a time, and all have the answer within its limit, or twice that
/// if they came while it was asked.
async fn healthz(
    State(Asked { db, asking, radosgw }): State<Asked>,
    peer: Option<Extension<Peer>>,
) -> Response {
    let nodes = within(ANSWER_LIMIT, async move { desired::nodes(&mut db.read().await?).await });
    match asking.ask(nodes).await {
        Err(error) => {
            tracing::error!(%error, "not healthy");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
        Ok(_) if !is_local(peer) => "ok\n".into_response(),
        Ok(nodes) => {
            let nodes = nodes.into_iter().map(|node| NodeHealth {
                name: node.name,
                connected: node.connected,
                accelerator: node.hello.accelerator,
            });
            let nodes = nodes.collect();
            let radosgw = match radosgw {
                Some(admin) => Some(ask_radosgw(&admin).await),
                None => None,
            };
            Json(Health { release: env!("CARGO_PKG_VERSION").to_owned(), nodes, radosgw }).into_response()
        }
    }
}

async fn ask_radosgw(admin: &Admin) -> RadosgwHealth {
    let checked = tokio::time::timeout(ANSWER_LIMIT, admin.check()).await;
    let checked = checked.unwrap_or_else(|_| Err(Error::unavailable("radosgw does not answer in time")));
    RadosgwHealth { answers: checked.is_ok(), message: checked.err().map(|error| error.detail()) }
}

async fn show_metrics(State((db, metrics)): State<(Db, Metrics)>, peer: Option<Extension<Peer>>) -> Response {
    if !is_local(peer) {
        return StatusCode::NOT_FOUND.into_response();
    }
    // Without the database there are still the figures of this process.
    let backlog = within(ANSWER_LIMIT, async { hanse_work::backlog(&mut db.read().await?).await });
    for waiting in backlog.await.unwrap_or_default() {
        metrics.work(&waiting.kind, waiting.items);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(http::header::CONTENT_TYPE, kind)], metrics.render()).into_response()
}

fn is_local(peer: Option<Extension<Peer>>) -> bool {
    peer.is_some_and(|Extension(peer)| peer.0.to_canonical().is_loopback())
}

/// Asks the control plane of this machine how it is.
///
/// # Errors
/// 503 if it does not answer within five seconds.
pub async fn ask(cx: &Cx, address: SocketAddr, ca: &str, name: &str) -> Result<Health> {
    let answer = async {
        let tls = TlsConnector::from(hanse_crypto::client_config(cx, ca)?);
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).context("the name of the API")?;
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        let stream = tls.connect(name, stream).await.context("TLS")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context("HTTP")?;
        tokio::spawn(connection);
        let request = http::Request::get("/healthz")
            .header(http::header::HOST, address.to_string())
            .body(Empty::<axum::body::Bytes>::new())
            .context("cannot make a request")?;
        let response = sender.send_request(request).await.context("no answer")?;
        let body = Limited::new(response.into_body(), 1 << 20)
            .collect()
            .await
            .map_err(|error| Error::internal(error.to_string()))?;
        serde_json::from_slice(&body.to_bytes()).context("the answer does not read")
    };
    tokio::time::timeout(Duration::from_secs(5), answer)
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("the control plane does not answer within five seconds")))
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use hanse_policy::{Grant, Rule, Verb};
    use hanse_store::{Engine, query};
    use hanse_testkit::{context, databases};
    use tokio::sync::oneshot;

    use super::*;
    use crate::wiring::MIGRATIONS;

    const HOLD: Verb = Verb::new("test:hold", Rule::Admin);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_database_is_said_soon_to_any_number_of_probes_and_they_use_up_nothing() {
        let (cx, _) = context();
        for test in databases(&cx, MIGRATIONS).await {
            let asking = Coalesced::default();
            let probe =
                || healthz(State(Asked { db: test.db.clone(), asking: asking.clone(), radosgw: None }), None);
            assert_eq!(probe().await.status(), StatusCode::OK, "{}", test.engine);
            if test.db.engine() != Engine::Postgres {
                continue;
            }
            let (held, is_held) = oneshot::channel();
            let (release, released) = oneshot::channel::<()>();
            let once = std::sync::Mutex::new(Some((held, released)));
            let grant = Grant::operator(&cx, HOLD, "x");
            let hold = test.db.write(&cx, &grant, |tx| {
                let (held, released) = once.lock().unwrap().take().unwrap();
                Box::pin(async move {
                    query("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE").execute(tx).await?;
                    held.send(()).unwrap();
                    let _ = released.await;
                    Ok(())
                })
            });
            let ask = async {
                is_held.await.unwrap();
                // More than the database has connections for.
                let probes = join_all((0..40).map(|_| probe()));
                let answers = tokio::time::timeout(Duration::from_secs(30), probes).await.unwrap();
                for answer in answers {
                    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                }
                let mut conn = test.db.read().await.unwrap();
                assert_eq!(hanse_work::backlog(&mut conn).await.unwrap().len(), 0, "others get through");
                release.send(()).unwrap();
            };
            let (held, ()) = tokio::join!(hold, ask);
            held.unwrap();
            assert_eq!(probe().await.status(), StatusCode::OK);
        }
    }
}
