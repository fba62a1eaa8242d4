//! Who may do what: by a token of the project, by a container's access control lists, or by a temporary URL.

use std::sync::Arc;

use hanse_core::Kind;
use hanse_policy::{Caller, Target, Verb};
use http::{StatusCode, header};

use super::tempurl::Signed;
use super::{Call, acl, bucket_name};
use crate::ObjectStore;
use crate::access::{Asker, Decided};
use crate::record::Bucket;
use crate::verbs::{DELETE_OBJECT, GET_OBJECT, LIMIT_ACCOUNT, PUT_OBJECT, SHOW_BUCKET, UPDATE_BUCKET};

use super::reply::{Done, Refused, refused};

/// No token is longer.
const TOKEN_MAX: usize = 4096;
/// As access rules of application credentials call it.
const SERVICE: &str = "object-store";

/// How the request proves that it may.
pub enum Proof {
    Nobody,
    Token(Arc<Caller>),
    Url(Signed),
}

/// A request, and who makes it.
pub struct Session<'s> {
    pub store: &'s ObjectStore,
    pub call: &'s Call,
    pub proof: Proof,
}

impl<'s> Session<'s> {
    /// # Errors
    /// 401 if the token or the signature of a temporary URL is good for nothing.
    pub async fn open(store: &'s ObjectStore, call: &'s Call) -> Done<Session<'s>> {
        let mut session = Session { store, call, proof: Proof::Nobody };
        if let Some(signed) = session.url_proof()? {
            session.proof = Proof::Url(signed);
            return Ok(session);
        }
        let Some(token) = call.header("x-auth-token")?.or(call.header("x-storage-token")?) else {
            return Ok(session);
        };
        if token.is_empty() || token.len() > TOKEN_MAX {
            return Err(session.unauthorized());
        }
        let caller = match store.0.tokens.authenticate(&call.cx, token).await {
            Ok(caller) => caller,
            Err(error) if error.kind() == Kind::Unauthorized => return Err(session.unauthorized()),
            Err(error) => return Err(error.into()),
        };
        let path = call.path.as_str();
        if !caller.permits(SERVICE, call.method.as_str(), [path, path]) {
            return Err(session.unauthorized());
        }
        session.proof = Proof::Token(caller);
        Ok(session)
    }

    pub fn unauthorized(&self) -> Refused {
        Refused::from(StatusCode::UNAUTHORIZED)
            .with(header::WWW_AUTHENTICATE, format!("Swift realm=\"AUTH_{}\"", self.call.account))
    }

    /// What whoever may not gets: nobody may try again with a token.
    fn denied(&self) -> Refused {
        match self.proof {
            Proof::Token(_) => StatusCode::FORBIDDEN.into(),
            Proof::Nobody | Proof::Url(_) => self.unauthorized(),
        }
    }

    /// Whether the caller has a role in the account's project that allows this.
    fn is_own(&self, verb: Verb, account: &str) -> bool {
        let Proof::Token(caller) = &self.proof else { return false };
        let target = Target::new("").in_project(account);
        // Not even an administrator of another project.
        caller.project_id() == Some(account) && caller.authorize(&self.call.cx, verb, target).is_ok()
    }

    /// Whether the request may do this, in a bucket of the account. Swift knows no policies: a bucket whose policy denies
    /// something is for S3 alone.
    fn may(&self, verb: Verb, account: &str, bucket: Option<&Bucket>) -> bool {
        if bucket.is_some_and(|bucket| self.store.denies_something(bucket)) {
            return false;
        }
        if let Proof::Url(signed) = &self.proof {
            // The key is one of this account's, whatever links lead to.
            return account == self.call.account && signed.allows(verb, bucket);
        }
        if self.is_own(verb, account) {
            return true;
        }
        let Some(bucket) = bucket else { return false };
        let caller = match &self.proof {
            Proof::Token(caller) => caller.project_id().map(|project| (project, caller.user_id.as_str())),
            _ => None,
        };
        let referer = self.call.headers.get(header::REFERER).and_then(|value| value.to_str().ok());
        let read = bucket.swift.read.as_deref().unwrap_or_default();
        let write = bucket.swift.write.as_deref().unwrap_or_default();
        let is_blocked = bucket.public_access_block.is_some_and(|block| block.ignore_public_acls);
        let refers = !is_blocked && acl::refers(read, referer);
        match verb {
            GET_OBJECT => acl::names(read, caller, is_blocked) || refers,
            SHOW_BUCKET => acl::names(read, caller, is_blocked) || acl::lists(read) && refers,
            PUT_OBJECT | DELETE_OBJECT => acl::names(write, caller, is_blocked),
            _ => false,
        }
    }

    /// The decision that every operation begins with.
    ///
    /// # Errors
    /// 401 for nobody, 403 for somebody.
    pub fn decide(&self, verb: Verb, bucket: Option<Arc<Bucket>>) -> Done<Decided> {
        self.decide_in(&self.call.account, verb, bucket)
    }

    fn decide_in(&self, account: &str, verb: Verb, bucket: Option<Arc<Bucket>>) -> Done<Decided> {
        if !self.may(verb, account, bucket.as_deref()) {
            return Err(self.denied());
        }
        Ok(self.decided(account, verb, bucket))
    }

    fn decided(&self, account: &str, verb: Verb, bucket: Option<Arc<Bucket>>) -> Decided {
        let cx = self.call.cx.clone();
        let caller = match &self.proof {
            Proof::Token(caller) => Some(caller.clone()),
            _ => None,
        };
        Decided {
            asker: Asker { cx, caller, is_tls: self.call.is_tls, facts: None },
            project_id: account.to_owned(),
            verb,
            bucket,
            hides_missing: false,
        }
    }

    /// The decision about what an account may hold: that is the operator's, of whichever project they are.
    ///
    /// # Errors
    /// 401 for nobody, 403 for somebody.
    pub fn decide_quota(&self) -> Done<Decided> {
        let Proof::Token(caller) = &self.proof else { return Err(self.denied()) };
        let target = Target::new(&self.call.account).in_project(&self.call.account);
        if caller.authorize(&self.call.cx, LIMIT_ACCOUNT, target).is_err() {
            return Err(self.denied());
        }
        Ok(self.decided(&self.call.account, LIMIT_ACCOUNT, None))
    }

    /// A container of the account, if there is one of that name.
    ///
    /// # Errors
    /// If it does not read.
    pub fn container(&self, name: &str) -> Done<Option<Arc<Bucket>>> {
        self.container_of(&self.call.account, name)
    }

    fn container_of(&self, account: &str, name: &str) -> Done<Option<Arc<Bucket>>> {
        let found = self.store.find_bucket(&bucket_name(account, name))?;
        Ok(found.filter(|bucket| bucket.project_id == account))
    }

    /// The decision about what is in a container.
    ///
    /// # Errors
    /// 401, 403; 404 for those who may know that there is no such container.
    pub fn within(&self, verb: Verb, container: &str) -> Done<(Decided, Arc<Bucket>)> {
        self.within_account(&self.call.account, verb, container)
    }

    /// As [`Session::within`], in a container of any account.
    ///
    /// # Errors
    /// As there.
    pub fn within_account(&self, account: &str, verb: Verb, container: &str) -> Done<(Decided, Arc<Bucket>)> {
        let bucket = self.container_of(account, container)?;
        let decided = self.decide_in(account, verb, bucket.clone())?;
        let bucket = bucket.ok_or_else(|| Refused::from(StatusCode::NOT_FOUND))?;
        // The tag of an object is its MD5 in Swift; under a managed key it is not.
        if verb == PUT_OBJECT && bucket.encryption.is_some() {
            let message = "The container's objects are encrypted under a key that the project manages: write them by S3.";
            return Err(refused(StatusCode::NOT_IMPLEMENTED, message));
        }
        Ok((decided, bucket))
    }

    /// Whether the caller sees access control lists and keys.
    pub fn is_owner(&self) -> bool {
        self.is_own(UPDATE_BUCKET, &self.call.account)
    }
}
