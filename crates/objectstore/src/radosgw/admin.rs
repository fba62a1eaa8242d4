//! The Admin Ops API of radosgw, as far as it is needed. Source: Ceph Object Gateway, "Admin Operations"; tried on 18.2.7.
//!
//! Requests are signed as those of S3 are (AWS, "Signature Version 4"), with keys of a user of radosgw who has the capability
//! `users=*`.

use hanse_core::{Context, Cx, Error, Result, Secret, hex};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::fetch::{Answer, Fetcher};
use crate::ports::Quota;
use crate::query::{UNRESERVED, encode};

/// radosgw takes any region.
const REGION: &str = "us-east-1";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const USERS: &str = "/admin/user";
/// Users in one answer; more is never sent.
const PAGE: &str = "1000";
/// What a project may have if nothing is said: the default of radosgw (`rgw_user_max_buckets`), and ours.
const BUCKETS: i64 = 1000;

/// Where radosgw is, and who we are there.
pub struct Settings {
    /// `https://rgw.example.org:8443`, without a path.
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: Secret<String>,
    /// Of the endpoint's certificate, in PEM.
    pub ca: Option<String>,
}

/// Asks radosgw.
pub struct Admin {
    cx: Cx,
    fetcher: Fetcher,
    access_key: String,
    secret_key: Secret<String>,
}

/// What radosgw says of a user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    suspended: u8,
    /// Negative: none. Zero: any number.
    max_buckets: i64,
    user_quota: UserQuota,
    #[serde(default)]
    stats: Option<Used>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct UserQuota {
    enabled: bool,
    max_size: i64,
    max_objects: i64,
}

/// What a project uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Used {
    /// Bytes, as they were sent.
    pub size: u64,
    pub num_objects: u64,
}

/// What shall be so with a project's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub is_suspended: bool,
    pub quota: Quota,
}

impl Wanted {
    fn max_buckets(&self) -> i64 {
        match self.quota.buckets {
            None => BUCKETS,
            Some(0) => -1,
            Some(buckets) => i64::from(i32::try_from(buckets).unwrap_or(i32::MAX)),
        }
    }

    fn user_quota(&self) -> UserQuota {
        let limit = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        UserQuota {
            enabled: self.quota.bytes.is_some() || self.quota.objects.is_some(),
            max_size: limit(self.quota.bytes),
            max_objects: limit(self.quota.objects),
        }
    }
}

impl Account {
    pub fn is_suspended(&self) -> bool {
        self.suspended != 0
    }

    /// `None` is without limit.
    pub fn max_bytes(&self) -> Option<u64> {
        u64::try_from(self.user_quota.max_size).ok().filter(|_| self.user_quota.enabled)
    }

    /// `None` is without limit.
    pub fn max_objects(&self) -> Option<u64> {
        u64::try_from(self.user_quota.max_objects).ok().filter(|_| self.user_quota.enabled)
    }

    pub fn used(&self) -> Used {
        self.stats.unwrap_or_default()
    }

    /// A quota that is off may have any figures.
    fn has_quota(&self, wanted: &UserQuota) -> bool {
        self.user_quota == *wanted || !(self.user_quota.enabled || wanted.enabled)
    }
}

/// The id of a project's user.
fn uid(project_id: &str) -> String {
    format!("{project_id}${project_id}")
}

/// The project whose user this is, if it is one's.
fn project_of(uid: &str) -> Option<&str> {
    let (tenant, user) = uid.split_once('$')?;
    (tenant == user && !user.is_empty()).then_some(user)
}

#[derive(Deserialize)]
struct Listed {
    keys: Vec<String>,
    truncated: bool,
    #[serde(default)]
    marker: String,
}

impl Admin {
    /// # Errors
    /// 400 if the settings make no sense.
    pub fn new(cx: &Cx, settings: Settings) -> Result<Admin> {
        let fetcher = Fetcher::new(cx, &settings.endpoint, settings.ca.as_deref())?;
        let Settings { access_key, secret_key, .. } = settings;
        Ok(Admin { cx: cx.clone(), fetcher, access_key, secret_key })
    }

    /// Whether it is there and takes our keys.
    ///
    /// # Errors
    /// 503 with what is wrong.
    pub async fn check(&self) -> Result<()> {
        self.ask_for::<Listed>(Method::GET, &[("list", ""), ("max-entries", "1")]).await.map(drop)
    }

    /// The projects that have a user.
    ///
    /// # Errors
    /// 503 if that cannot be told now.
    pub async fn projects(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut marker = String::new();
        loop {
            let mut query = vec![("list", ""), ("max-entries", PAGE)];
            if !marker.is_empty() {
                query.push(("marker", &marker));
            }
            let page: Listed = self.ask_for(Method::GET, &query).await?;
            found.extend(page.keys.iter().filter_map(|uid| project_of(uid)).map(str::to_owned));
            if !page.truncated || page.marker.is_empty() || page.marker == marker {
                return Ok(found);
            }
            marker = page.marker;
        }
    }

    /// The user of a project, if there is one, with what it uses.
    ///
    /// # Errors
    /// 503 if that cannot be told now.
    pub async fn usage(&self, project_id: &str) -> Result<Option<Account>> {
        // Without `sync` the figures are those of the last time that somebody asked so.
        self.find(&[("uid", &uid(project_id)), ("stats", "true"), ("sync", "true")]).await
    }

    /// The same without what it uses, which takes radosgw longer.
    async fn account(&self, project_id: &str) -> Result<Option<Account>> {
        self.find(&[("uid", &uid(project_id))]).await
    }

    async fn find(&self, query: &[(&str, &str)]) -> Result<Option<Account>> {
        let answer = self.ask(Method::GET, query).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(answer).map(Some)
    }

    /// Makes the user of a project what it shall be, and makes it first if it is not there. Returns whether anything was to be
    /// done.
    ///
    /// # Errors
    /// 503 if radosgw does not answer or refuses.
    pub async fn settle(&self, project_id: &str, name: &str, wanted: &Wanted) -> Result<bool> {
        let uid = uid(project_id);
        let (suspended, buckets) = (wanted.is_suspended.to_string(), wanted.max_buckets().to_string());
        let state = [("uid", uid.as_str()), ("suspended", &suspended), ("max-buckets", &buckets)];
        let mut is_changed = false;
        let there = match self.account(project_id).await? {
            Some(account) => account,
            None => {
                is_changed = true;
                let new = [("display-name", name), ("generate-key", "false")];
                self.ask_for(Method::PUT, &[&state[..], &new].concat()).await?
            }
        };
        // A quota first: whoever is let in again is within it.
        let quota = wanted.user_quota();
        if !there.has_quota(&quota) {
            let (size, objects) = (quota.max_size.to_string(), quota.max_objects.to_string());
            let enabled = quota.enabled.to_string();
            let query = [
                ("quota", ""),
                ("quota-type", "user"),
                ("uid", &uid),
                ("enabled", &enabled),
                ("max-size", &size),
                ("max-objects", &objects),
            ];
            self.ask(Method::PUT, &query).await.and_then(accepted)?;
            is_changed = true;
        }
        if there.is_suspended() != wanted.is_suspended || there.max_buckets != wanted.max_buckets() {
            self.ask(Method::POST, &state).await.and_then(accepted)?;
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// Lets nobody in any more, and gives out nothing of the project's buckets; keeps all.
    ///
    /// # Errors
    /// As for [`Admin::settle`].
    pub async fn suspend(&self, project_id: &str) -> Result<()> {
        match self.account(project_id).await? {
            Some(account) if !account.is_suspended() => {
                let query = [("uid", &*uid(project_id)), ("suspended", "true")];
                self.ask(Method::POST, &query).await.and_then(accepted).map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn ask_for<T: DeserializeOwned>(&self, method: Method, query: &[(&str, &str)]) -> Result<T> {
        self.ask(method, query).await.and_then(read)
    }

    async fn ask(&self, method: Method, query: &[(&str, &str)]) -> Result<Answer> {
        let encoded = |text: &str| encode(text, UNRESERVED);
        let mut pairs: Vec<(String, String)> =
            query.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
        // By the name, of which `quota=` and `quota-type=` would be the other way round.
        pairs.sort_unstable();
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = pairs.join("&");
        let host = self.fetcher.authority();
        let date = self.cx.now().iso_seconds().replace(['-', ':'], "");
        let (day, _) = date.split_once('T').unwrap_or((&date, ""));
        let nothing = hex(Sha256::digest(b""));
        let headers = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{USERS}\n{query}\nhost:{host}\nx-amz-content-sha256:{nothing}\nx-amz-date:{date}\n\n{headers}\n{nothing}"
        );
        let scope = format!("{day}/{REGION}/s3");
        let text = format!(
            "{ALGORITHM}\n{date}\n{scope}/aws4_request\n{}",
            hex(Sha256::digest(canonical.as_bytes()))
        );
        let signature = hanse_crypto::sign_version_4(&self.secret_key, &scope, &text)
            .ok_or_else(|| Error::internal("a request to radosgw cannot be signed"))?;
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}/aws4_request, SignedHeaders={headers}, Signature={signature}",
            self.access_key
        );
        let request = Request::builder()
            .method(method)
            .uri(format!("{USERS}?{query}"))
            .header("host", host)
            .header("x-amz-content-sha256", nothing)
            .header("x-amz-date", date)
            .header("authorization", authorization)
            .body(Full::default())
            .context("a request to radosgw cannot be made")?;
        self.fetcher.ask(request).await
    }
}

/// What radosgw says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Code")]
    code: String,
}

/// # Errors
/// 503 with radosgw's own code if the request was refused.
fn accepted(answer: Answer) -> Result<Answer> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let code =
        serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.code).unwrap_or_default();
    let hint = match code.as_str() {
        "AccessDenied" => ": the user of the access key needs the capability users=*",
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            ": it does not know the access key, or has another secret for it"
        }
        _ => "",
    };
    Err(Error::unavailable(format!("radosgw refuses: {} {code}{hint}", answer.status.as_u16())))
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T> {
    let answer = accepted(answer)?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::unavailable(format!("the answer of radosgw does not read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_of_projects_are_ours() {
        assert_eq!(project_of(&uid("58b1")), Some("58b1"));
        for foreign in ["hanse", "a$b", "$", "", "a$a$a"] {
            assert_eq!(project_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn limits_are_said_as_radosgw_understands_them() {
        let quota = Quota { buckets: Some(0), objects: Some(3), bytes: None };
        let wanted = Wanted { is_suspended: false, quota };
        assert_eq!(wanted.max_buckets(), -1);
        assert_eq!(wanted.user_quota(), UserQuota { enabled: true, max_size: -1, max_objects: 3 });
        let free = Wanted { is_suspended: false, quota: Quota::default() };
        assert_eq!((free.max_buckets(), free.user_quota().enabled), (BUCKETS, false));
    }
}
