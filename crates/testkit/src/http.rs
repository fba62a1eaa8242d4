//! Calls to a service's real router, as somebody.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_policy::{Caller, DomainRef, ProjectRef, Role, TokenScope};
use hanse_web::{Api, Authenticator, Metrics, Service};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// Takes tokens as [`persona`] reads them.
struct Personas;

#[async_trait]
impl Authenticator for Personas {
    async fn authenticate(&self, _: &Cx, token: &str) -> Result<Arc<Caller>> {
        let unknown = || Error::unauthorized("The request you have made requires authentication.");
        persona(token).map(Arc::new).ok_or_else(unknown)
    }
}

/// The caller with a token of the form `role@project`: `member@p1`. The user is `user-` and the token; `none` has no
/// project, `system` and `domain` are the system and the domain `default`.
pub fn persona(token: &str) -> Option<Caller> {
    let (role, project) = token.split_once('@')?;
    let ladder = ["reader", "member", "manager", "admin"];
    let rank = ladder.iter().position(|known| *known == role)?;
    let named = |name: &str| Role { id: name.to_owned(), name: name.to_owned() };
    let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    let scope = match project {
        "none" => TokenScope::Unscoped,
        "system" => TokenScope::System,
        "domain" => TokenScope::Domain(domain.clone()),
        id => {
            TokenScope::Project(ProjectRef { id: id.to_owned(), name: id.to_owned(), domain: domain.clone() })
        }
    };
    Some(Caller {
        user_id: format!("user-{token}"),
        user_name: role.to_owned(),
        user_domain: domain,
        scope,
        roles: ladder[..=rank].iter().map(|name| named(name)).collect(),
        expires_at: Timestamp(i64::MAX),
        audit_ids: vec!["audit".to_owned()],
        delegation: None,
    })
}

/// One service, mounted as in the binary, without a network.
#[derive(Clone)]
pub struct Client(Router);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// # Panics
    /// If the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// If the status is another one; says what the body says.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

impl Client {
    pub fn new(cx: &Cx, service: &Service) -> Client {
        let api = Api {
            cx: cx.clone(),
            authenticator: Arc::new(Personas),
            metrics: Metrics::default(),
            identity_url: "https://cloud.example/identity".into(),
        };
        Client(hanse_web::mount(Router::new(), service, &api))
    }

    /// A call with a JSON body (`Value::Null` for none). An empty token sends none.
    pub async fn call(&self, method: Method, path: &str, token: &str, body: Value) -> Answer {
        let (kind, body) = match body {
            Value::Null => (None, Body::empty()),
            body => (Some("application/json"), Body::from(body.to_string())),
        };
        let headers: Vec<(&str, &str)> = kind.into_iter().map(|kind| ("content-type", kind)).collect();
        self.send(method, path, token, &headers, body).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token, Value::Null).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call(Method::POST, path, token, body).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.call(Method::DELETE, path, token, Value::Null).await
    }

    /// Any call.
    ///
    /// # Panics
    /// If the request is not one, or the body of the answer breaks off.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "cloud.example");
        if !token.is_empty() {
            request = request.header("x-auth-token", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let Ok(response) = self.0.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
