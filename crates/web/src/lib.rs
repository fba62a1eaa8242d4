//! The HTTP kit that every API shares: authentication, fault bodies, microversions, request ids, limits and TLS.
//!
//! A handler is `async fn(Call, …) -> Reply<…>`: it parses, calls a verb, and shapes the answer. It never builds an
//! error response: an [`Error`](hanse_core::Error) becomes the fault body of the API that was called.

mod api;
mod body;
mod call;
mod fault;
mod linger;
mod metrics;
mod params;
mod server;
mod service;

pub use api::{Api, mount};
pub use body::Body;
pub use call::{Authenticator, Call, Open};
pub use fault::{Failure, FaultStyle, Reply};
pub use linger::Lingering;
pub use metrics::Metrics;
pub use params::Params;
pub use server::{Limits, Listener, Peer};
pub use service::{CatalogEntry, Service};
