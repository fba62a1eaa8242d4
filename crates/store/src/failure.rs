//! What a failure of an engine is to us.

use std::error::Error as StdError;

use hanse_core::Error;

/// A failure in the engine's own words, kept as the cause of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

impl Failure {
    /// Whether a unique index refused a row.
    pub(crate) fn is_unique_violation(&self) -> bool {
        match self {
            Failure::Sqlite(error) => matches!(
                extended_code(error),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            ),
            Failure::Postgres(error) => {
                error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
            }
        }
    }

    /// Whether the database asks for the transaction to be run again: PostgreSQL's `serialization_failure` and
    /// `deadlock_detected`, SQLite's `SQLITE_BUSY` and its extended codes.
    pub(crate) fn is_serialization(&self) -> bool {
        match self {
            Failure::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy),
            Failure::Postgres(error) => matches!(code(error).as_str(), "40001" | "40P01"),
        }
    }

    /// Whether its disk is full.
    fn is_full(&self) -> bool {
        match self {
            Failure::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Failure::Postgres(error) => code(error) == "53100",
        }
    }

    /// PostgreSQL starts, stops, is full of connections, or has ended this one (class 57P and 08, `too_many_connections`,
    /// `idle_in_transaction_session_timeout`).
    fn is_away(&self) -> bool {
        let Failure::Postgres(error) = self else { return false };
        let code = code(error);
        matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolClosed)
            || code.starts_with("57P")
            || code.starts_with("08")
            || matches!(code.as_str(), "53300" | "25P03")
    }
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|inner| inner.extended_code)
}

/// The SQLSTATE, empty if the error is none of the server's.
fn code(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.unwrap_or_default().into_owned()
}

/// The error that the caller gets.
pub(crate) fn database(failure: impl Into<Failure>) -> Error {
    let failure = failure.into();
    let error = if failure.is_unique_violation() {
        Error::conflict("The object exists already.")
    } else if matches!(failure, Failure::Postgres(sqlx::Error::PoolTimedOut)) {
        overloaded()
    } else if failure.is_full() {
        Error::unavailable("The disk of the cloud's database is full; the operator must free space.")
    } else if failure.is_away() {
        return cannot_reach(failure);
    } else {
        Error::internal("")
    };
    error.because(failure)
}

/// It is away, or closed.
pub(crate) fn cannot_reach(cause: impl StdError + Send + Sync + 'static) -> Error {
    Error::unavailable("The database cannot be reached; try again.").because(cause)
}

/// It was not there when it should be opened.
pub(crate) fn cannot_open(cause: impl StdError + Send + Sync + 'static) -> Error {
    Error::unavailable("cannot open the database").because(cause)
}

/// Nobody gave a connection back in time.
pub(crate) fn overloaded() -> Error {
    Error::unavailable("The database is overloaded; try again.")
}

/// Whether the transaction that this came of should be run again.
pub(crate) fn is_serialization(error: &Error) -> bool {
    error.cause().and_then(|cause| cause.downcast_ref::<Failure>()).is_some_and(Failure::is_serialization)
}
