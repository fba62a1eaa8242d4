//! The one error type of the house.
//!
//! A kind decides the status code, a public message goes to the client, and the private source chain goes to
//! the log. `hanse-web` renders an error as the fault body of the API that was called; handlers never do.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms that every API can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 400: the request is malformed or breaks a rule of the API.
    BadRequest,
    /// 401: no valid credentials.
    Unauthorized,
    /// 403: known caller, known object, not allowed.
    Forbidden,
    /// 404: it does not exist, or the caller may not know that it does.
    NotFound,
    /// 405: the resource exists, the method does not.
    MethodNotAllowed,
    /// 406: a microversion or media type that is not served.
    NotAcceptable,
    /// 408: the client took too long.
    Timeout,
    /// 409: the request does not fit the state of the object, or a name is taken.
    Conflict,
    /// 413: the body is over the limit.
    TooLarge,
    /// 415: the body has the wrong media type.
    UnsupportedMedia,
    /// 403 or 413, as the API has it: a quota or a limit is used up.
    OverQuota,
    /// 429: slow down; the seconds go into `Retry-After`.
    RateLimited { retry_after: u32 },
    /// 500: our fault. The public message never says more than that.
    Internal,
    /// 501: this build cannot do it yet.
    NotImplemented,
    /// 503: cannot be done now, try again.
    Unavailable,
}

impl Kind {
    /// The HTTP status code that belongs to this kind unless an API's own table says otherwise.
    pub fn status(self) -> u16 {
        match self {
            Kind::BadRequest => 400,
            Kind::Unauthorized => 401,
            Kind::Forbidden | Kind::OverQuota => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::NotAcceptable => 406,
            Kind::Timeout => 408,
            Kind::Conflict => 409,
            Kind::TooLarge => 413,
            Kind::UnsupportedMedia => 415,
            Kind::RateLimited { .. } => 429,
            Kind::Internal => 500,
            Kind::NotImplemented => 501,
            Kind::Unavailable => 503,
        }
    }
}

/// An error with a public message and, behind it, what the operator should see.
pub struct Error {
    kind: Kind,
    name: Option<&'static str>,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Error { Error::new(Kind::$kind, message) })*
        }
    };
}

constructors! {
    bad_request => BadRequest,
    unauthorized => Unauthorized,
    forbidden => Forbidden,
    method_not_allowed => MethodNotAllowed,
    not_acceptable => NotAcceptable,
    conflict => Conflict,
    too_large => TooLarge,
    unsupported_media => UnsupportedMedia,
    over_quota => OverQuota,
    not_implemented => NotImplemented,
    unavailable => Unavailable,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, name: None, message: message.into(), source: None }
    }

    /// `what` is the noun as the API names it, `id` what the client asked for.
    pub fn not_found(what: &str, id: impl fmt::Display) -> Error {
        Error::new(Kind::NotFound, format!("{what} {id} could not be found."))
    }

    /// Our own fault: `context` and `source` go to the log, the client learns nothing.
    pub fn internal(context: impl Into<String>) -> Error {
        Error {
            kind: Kind::Internal,
            name: None,
            message: "An unexpected error occurred; the operator finds it under the request id.".to_owned(),
            source: Some(context.into().into()),
        }
    }

    /// Keeps what caused this error for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// Gives the error the name that an API's clients tell it by, beside its status (`SecurityGroupRuleExists`).
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Error {
        self.name = Some(name);
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// See [`Error::named`].
    pub fn name(&self) -> Option<&'static str> {
        self.name
    }

    /// What the client may read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What caused this error, if it was kept; for code that must tell causes apart.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    /// The whole chain, for logs and for the operator's own tools.
    pub fn detail(&self) -> String {
        let mut text = match (self.kind, &self.source) {
            (Kind::Internal, Some(source)) => return chain(source.as_ref()),
            _ => self.message.clone(),
        };
        if let Some(source) = &self.source {
            text.push_str(": ");
            text.push_str(&chain(source.as_ref()));
        }
        text
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Many libraries already print their source; saying it twice helps nobody.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail())
    }
}

impl StdError for Error {}

/// Turns any library error into an internal one that says what we were doing.
pub trait Context<T> {
    /// # Errors
    /// An [`Error`] of kind [`Kind::Internal`] whose detail starts with `what`.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::internal(format!("{what}: {}", chain(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_tells_the_client_nothing_and_the_log_everything() {
        let io = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(io).context("cannot write the index").unwrap_err();
        assert!(!error.message().contains("disk on fire"));
        assert_eq!(error.detail(), "cannot write the index: disk on fire");
        assert_eq!(error.kind().status(), 500);
    }

    #[test]
    fn a_cause_is_kept_behind_a_public_message() {
        let error = Error::conflict("the name is taken").because("unique index users_name");
        assert_eq!(error.message(), "the name is taken");
        assert_eq!(error.detail(), "the name is taken: unique index users_name");
    }
}
