//! Who may do what.
//!
//! Every verb of a service is a constant that names its rule as upstream's policy names it. A read asks for a
//! [`Scope`], which becomes part of the SQL; a write asks for a [`Grant`], which the store demands and from which
//! `db::` functions take the id. Both are made here only, so that nobody can forget to ask (DESIGN I1).

mod caller;
mod grant;
mod verb;

pub use caller::{AccessRule, Caller, Delegation, DomainRef, ProjectRef, Role, TokenScope};
pub use grant::{Actor, Grant, Scope, Target};
pub use verb::{Rule, Verb};
