//! Rules for accounts and passwords: what Keystone calls security compliance. All of it is off by default.
//!
//! Administrators are bound by the demands on a password alone; what else is here binds who changes their own.

use std::time::Duration;

use hanse_core::{Error, Result, Secret, Timestamp};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::db::users::{Login, NewPassword};
use crate::model::{Attributes, User};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Of a compiled demand, in bytes; the usual ones take some thousands.
const DEMAND_MAX: usize = 1 << 20;

/// The most that `unique_last_password_count` may be: each costs a hash whenever somebody changes their password.
pub const UNIQUE_PASSWORDS_MAX: u32 = 24;

/// Keystone's `[security_compliance]`; 0 turns a rule off.
#[derive(Clone, Debug)]
pub struct Compliance {
    /// Wrong passwords in a row that lock an account.
    pub lockout_failure_attempts: u32,
    /// How long an account stays locked after the last of them; zero: until an administrator enables it again.
    pub lockout_duration: Duration,
    pub password_expires_days: u32,
    /// How many passwords, with the one of today, the next one must differ from.
    pub unique_last_password_count: u32,
    /// Days that a password which its user chose must be kept.
    pub minimum_password_age: u32,
    pub demands: Demands,
    /// Whether a password that an administrator has set must be changed before it lets in.
    pub change_password_upon_first_use: bool,
    /// Days without a login after which an account counts as disabled.
    pub disable_user_account_days_inactive: u32,
}

impl Default for Compliance {
    fn default() -> Compliance {
        Compliance {
            lockout_failure_attempts: 0,
            lockout_duration: Duration::from_secs(1800),
            password_expires_days: 0,
            unique_last_password_count: 0,
            minimum_password_age: 0,
            demands: Demands::default(),
            change_password_upon_first_use: false,
            disable_user_account_days_inactive: 0,
        }
    }
}

/// What every new password must look like.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    all: Vec<Regex>,
    description: String,
}

impl Demands {
    /// A password must match each of the expressions from its first character on, as in Keystone. They are matched in
    /// linear time, so there is no look-around: `(?=.*\d)(?=.*[a-z])` is two expressions, `.*\d` and `.*[a-z]`.
    ///
    /// # Errors
    /// 400 if one is no regular expression, or is too large.
    pub fn new(expressions: &[String], description: String) -> Result<Demands> {
        let compile = |expression: &String| {
            let anchored = format!(r"\A(?:{expression})");
            RegexBuilder::new(&anchored).size_limit(DEMAND_MAX).build().map_err(|error| {
                // The last line says what is wrong; those above point into the expression.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim().to_owned();
                Error::bad_request(format!("'{expression}' cannot be used as a password_regex: {reason}"))
            })
        };
        Ok(Demands { all: expressions.iter().map(compile).collect::<Result<_>>()?, description })
    }

    pub(crate) fn check(&self, password: &Secret<String>) -> Result<()> {
        if self.all.iter().all(|demand| demand.is_match(password.expose())) {
            return Ok(());
        }
        let description = &self.description;
        Err(Error::bad_request(format!("The password does not match the requirements: {description}.")))
    }
}

/// Whether the user is exempt from a rule, by the name of the option.
fn is_exempt(options: &Attributes, option: &str) -> bool {
    options.get(option) == Some(&Value::Bool(true))
}

fn days(count: u32) -> Duration {
    DAY.saturating_mul(count)
}

/// The beginning of the day.
pub(crate) fn day(now: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0 - now.0.rem_euclid(day))
}

impl Compliance {
    pub(crate) fn counts_failures(&self, options: &Attributes) -> bool {
        self.lockout_failure_attempts > 0 && !is_exempt(options, "ignore_lockout_failure_attempts")
    }

    /// Whether so many failures, the last of them then, lock an account now.
    pub(crate) fn is_locked(&self, now: Timestamp, options: &Attributes, failures: Failures) -> bool {
        let Failures { count, last } = failures;
        self.counts_failures(options)
            && count >= i64::from(self.lockout_failure_attempts)
            && (self.lockout_duration.is_zero()
                || last.is_some_and(|at| now < at.plus(self.lockout_duration)))
    }

    /// The failures with one more; those of a lock that is over do not count.
    pub(crate) fn failed_again(&self, now: Timestamp, failures: Failures) -> Failures {
        let was_locked = failures.count >= i64::from(self.lockout_failure_attempts);
        Failures { count: if was_locked { 1 } else { failures.count + 1 }, last: Some(now) }
    }

    /// Whether the user, though not disabled, counts as it since so long nobody has logged in.
    pub(crate) fn is_inactive(&self, now: Timestamp, user: &User) -> bool {
        let limit = self.disable_user_account_days_inactive;
        let last = user.last_active_at.unwrap_or_else(|| day(user.created_at));
        limit > 0 && now >= last.plus(days(limit)) && !is_exempt(&user.options, "ignore_user_inactivity")
    }

    pub(crate) fn is_expired(&self, now: Timestamp, user: &User) -> bool {
        user.password_expires_at.is_some_and(|at| now >= at)
            && !is_exempt(&user.options, "ignore_password_expiry")
    }

    fn expires_at(&self, now: Timestamp, options: &Attributes) -> Option<Timestamp> {
        let is_due = self.password_expires_days > 0 && !is_exempt(options, "ignore_password_expiry");
        // Whole seconds, as in Keystone.
        is_due.then(|| Timestamp::from_seconds(now.plus(days(self.password_expires_days)).seconds()))
    }

    /// A password that the user has chosen.
    pub(crate) fn own_password<'h>(&self, now: Timestamp, user: &User, hash: &'h str) -> NewPassword<'h> {
        let expires_at = self.expires_at(now, &user.options);
        NewPassword { hash: Some(hash), expires_at, is_own: true, kept: self.kept() }
    }

    /// One that an administrator has set, or taken away.
    pub(crate) fn given_password<'h>(
        &self,
        now: Timestamp,
        options: &Attributes,
        hash: Option<&'h str>,
    ) -> NewPassword<'h> {
        let must_change = self.change_password_upon_first_use
            && !is_exempt(options, "ignore_change_password_upon_first_use");
        let expires_at = if must_change { Some(now) } else { self.expires_at(now, options) };
        NewPassword {
            hash,
            expires_at: expires_at.filter(|_| hash.is_some()),
            is_own: false,
            kept: self.kept(),
        }
    }

    /// How many former passwords are remembered beside the one of today.
    fn kept(&self) -> u32 {
        self.unique_last_password_count.saturating_sub(1)
    }

    /// Whether users may change their own password now.
    ///
    /// # Errors
    /// 400 in Keystone's words.
    pub(crate) fn check_own_change(&self, now: Timestamp, login: &Login) -> Result<()> {
        if is_exempt(&login.user.options, "lock_password") {
            return Err(Error::bad_request(
                "You cannot change your password at this time due to password policy disallowing password \
                 changes. Please contact your administrator to reset your password.",
            ));
        }
        let minimum = self.minimum_password_age;
        let until =
            login.password_changed_at.filter(|_| login.password_is_own).map(|at| at.plus(days(minimum)));
        match until {
            Some(until) if now < until => {
                let left = until.since(now).as_secs() / DAY.as_secs();
                Err(Error::bad_request(format!(
                    "You cannot change your password at this time due to the minimum password age. Once you \
                     change your password, it must be used for {minimum} day(s) before it can be changed. Please \
                     try again in {left} day(s) or contact your administrator to reset your password."
                )))
            }
            _ => Ok(()),
        }
    }

    /// The answer to a password that was there before.
    pub(crate) fn not_unique(&self) -> Error {
        Error::bad_request(format!(
            "The new password cannot be identical to a previous password. The total number which includes the new \
             password must be unique is {}.",
            self.unique_last_password_count
        ))
    }
}

/// Wrong passwords in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: i64,
    pub(crate) last: Option<Timestamp>,
}

impl Failures {
    pub(crate) const NONE: Failures = Failures { count: 0, last: None };
}
