//! The `Condition` of a statement. Source: IAM User Guide, "IAM JSON policy elements: Condition operators", "Set operators for
//! multivalued context keys".

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::S3Result;

use super::Request;
use super::document::{Effect, Json};
use super::keys::{Key, Subject};
use super::matching::{Pattern, Syntax};
use super::principals::{Attribute, Principal};
use super::values::{Network, boolean, date, number};

/// How an operator compares, before it knows with what.
#[derive(Clone, Copy, Debug)]
enum Operator {
    Text { wildcards: bool, ignores_case: bool },
    Number(Relation),
    Date(Relation),
    Bool,
    Address,
    Arn,
    Binary,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    /// By the end of an operator's name.
    fn parse(name: &str) -> Option<Relation> {
        Some(match name {
            "Equals" => Relation::Equal,
            "LessThan" => Relation::Less,
            "LessThanEquals" => Relation::LessOrEqual,
            "GreaterThan" => Relation::Greater,
            "GreaterThanEquals" => Relation::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Equal => order.is_eq(),
            Relation::Less => order.is_lt(),
            Relation::LessOrEqual => order.is_le(),
            Relation::Greater => order.is_gt(),
            Relation::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Operator {
    /// The operator, and whether its outcome is turned round.
    fn parse(name: &str) -> Option<(Operator, bool)> {
        let text = |wildcards, ignores_case| Operator::Text { wildcards, ignores_case };
        Some(match name {
            "StringEquals" => (text(false, false), false),
            "StringNotEquals" => (text(false, false), true),
            "StringEqualsIgnoreCase" => (text(false, true), false),
            "StringNotEqualsIgnoreCase" => (text(false, true), true),
            "StringLike" => (text(true, false), false),
            "StringNotLike" => (text(true, false), true),
            "NumericNotEquals" => (Operator::Number(Relation::Equal), true),
            "DateNotEquals" => (Operator::Date(Relation::Equal), true),
            "Bool" => (Operator::Bool, false),
            "IpAddress" => (Operator::Address, false),
            "NotIpAddress" => (Operator::Address, true),
            "ArnEquals" | "ArnLike" => (Operator::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Operator::Arn, true),
            "BinaryEquals" => (Operator::Binary, false),
            "Null" => (Operator::Null, false),
            _ => match (name.strip_prefix("Numeric"), name.strip_prefix("Date")) {
                (Some(relation), _) => (Operator::Number(Relation::parse(relation)?), false),
                (_, Some(relation)) => (Operator::Date(Relation::parse(relation)?), false),
                _ => return None,
            },
        })
    }
}

/// What a value of the request is compared with: it has to fit one of them.
#[derive(Clone, Debug)]
enum Test {
    Text(Vec<Pattern>),
    Number(Relation, Vec<f64>),
    Date(Relation, Vec<i128>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    /// Each in its six parts, which no wildcard crosses.
    Arn(Vec<Vec<Pattern>>),
    Binary(Vec<Vec<u8>>),
    Null(Vec<bool>),
}

const ARN_PARTS: usize = 6;

impl Test {
    fn parse(operator: Operator, values: &[&str], variables: bool) -> Result<Test, String> {
        fn all<T>(values: &[&str], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
            let one =
                |value: &&str| parse(value).ok_or_else(|| format!("Invalid condition value: '{value}'"));
            values.iter().map(one).collect()
        }
        let patterns = |wildcards: bool| -> Result<Vec<Pattern>, String> {
            values.iter().map(|value| Pattern::parse(value, Syntax { wildcards, variables })).collect()
        };
        Ok(match operator {
            Operator::Text { wildcards, ignores_case: false } => Test::Text(patterns(wildcards)?),
            Operator::Text { wildcards, ignores_case: true } => {
                Test::Text(patterns(wildcards)?.into_iter().map(Pattern::ignoring_case).collect())
            }
            Operator::Number(relation) => Test::Number(relation, all(values, number)?),
            Operator::Date(relation) => Test::Date(relation, all(values, date)?),
            Operator::Bool => Test::Bool(all(values, boolean)?),
            Operator::Address => Test::Address(all(values, Network::parse)?),
            Operator::Arn => {
                let arns: Vec<_> = patterns(true)?.iter().map(|arn| arn.split(':', ARN_PARTS)).collect();
                match arns.iter().zip(values).find(|(arn, _)| arn.len() < ARN_PARTS) {
                    Some((_, value)) => return Err(format!("Invalid condition value: '{value}'")),
                    None => Test::Arn(arns),
                }
            }
            Operator::Binary => Test::Binary(all(values, |value| BASE64.decode(value).ok())?),
            Operator::Null => Test::Null(all(values, boolean)?),
        })
    }

    /// Whether a value fits; `undecided` if the two cannot be compared.
    fn fits(&self, value: &str, principal: Option<&Principal>, undecided: bool) -> bool {
        fn any<T, V>(wanted: &[T], value: Option<V>, undecided: bool, is: impl Fn(&T, &V) -> bool) -> bool {
            value.map_or(undecided, |value| wanted.iter().any(|wanted| is(wanted, &value)))
        }
        match self {
            Test::Text(wanted) => wanted.iter().any(|pattern| pattern.matches(value, principal, undecided)),
            Test::Number(relation, wanted) => any(wanted, number(value), undecided, |wanted, value| {
                value.partial_cmp(wanted).is_some_and(|order| relation.holds(order))
            }),
            Test::Date(relation, wanted) => {
                any(wanted, date(value), undecided, |wanted, value| relation.holds(value.cmp(wanted)))
            }
            Test::Bool(wanted) => any(wanted, boolean(value), undecided, |wanted, value| wanted == value),
            Test::Address(wanted) => {
                let address = value.parse::<IpAddr>().ok();
                any(wanted, address, undecided, |network, address| network.contains(*address))
            }
            Test::Arn(wanted) => {
                let parts: Vec<&str> = value.splitn(ARN_PARTS, ':').collect();
                wanted.iter().any(|arn| {
                    arn.len() == parts.len()
                        && arn.iter().zip(&parts).all(|(own, part)| own.matches(part, principal, undecided))
                })
            }
            Test::Binary(wanted) => wanted.iter().any(|own| own.as_slice() == value.as_bytes()),
            Test::Null(_) => undecided,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    All,
    Any,
}

/// One key of one operator.
#[derive(Clone, Debug)]
pub struct Condition {
    subject: Subject,
    test: Test,
    is_negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
}

impl Condition {
    /// The value of `Condition`: all of these have to hold.
    ///
    /// # Errors
    /// Says what is not understood.
    pub fn parse_all(json: &Json, variables: bool) -> Result<Vec<Condition>, String> {
        let syntax =
            || "Invalid policy syntax: Condition is no object of operators, keys and values".to_owned();
        let mut all = Vec::new();
        for (operator, keys) in json.members().ok_or_else(syntax)? {
            let keys = keys.members().filter(|keys| !keys.is_empty()).ok_or_else(syntax)?;
            for (key, values) in keys {
                let values = values.scalars().ok_or_else(syntax)?;
                all.push(Condition::parse(operator, key, &values, variables)?);
            }
        }
        // What costs a read is asked last.
        all.sort_by_key(|condition| condition.subject.is_expensive());
        Ok(all)
    }

    fn parse(name: &str, key: &str, values: &[&str], variables: bool) -> Result<Condition, String> {
        let unknown = || format!("Invalid Condition type : {name}");
        let (quantifier, rest) = match name.split_once(':') {
            None => (None, name),
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(_) => return Err(unknown()),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let (operator, is_negated) = Operator::parse(rest).ok_or_else(unknown)?;
        let is_null = matches!(operator, Operator::Null);
        if is_null && (if_exists || quantifier.is_some()) {
            return Err(unknown());
        }
        let subject =
            Subject::parse(key).ok_or_else(|| format!("Policy has an invalid condition key: {key}"))?;
        if subject.is_multivalued() && quantifier.is_none() && !is_null {
            return Err(format!("{key} has many values: {name} needs ForAllValues: or ForAnyValue:"));
        }
        let test = Test::parse(operator, values, variables)?;
        Ok(Condition { subject, test, is_negated, if_exists, quantifier })
    }

    /// Whether it holds. What cannot be decided, such as whether a name that nobody has is another, does not help an `Allow`.
    ///
    /// # Errors
    /// What the context answers.
    pub fn holds(&self, request: &Request<'_>, effect: Effect) -> S3Result<bool> {
        let values = request.values(&self.subject)?;
        if let Test::Null(wanted) = &self.test {
            return Ok(wanted.contains(&values.is_empty()));
        }
        let undecided = self.is_negated && effect == Effect::Allow;
        let holds = |value: &String| self.test.fits(value, request.principal, undecided) != self.is_negated;
        Ok(match (self.quantifier, effect) {
            (Some(Quantifier::All), _) => values.iter().all(holds),
            (Some(Quantifier::Any), _) => values.iter().any(holds),
            (None, _) if values.is_empty() => self.is_negated || self.if_exists,
            // There is but one value; if there were more, the stricter outcome is the right one.
            (None, Effect::Allow) => values.iter().all(holds),
            (None, Effect::Deny) => values.iter().any(holds),
        })
    }

    /// Whether it lets in those only who are named. Source: S3 User Guide, "The meaning of 'public'".
    pub fn is_fixed(&self) -> bool {
        if self.is_negated || self.if_exists || self.quantifier == Some(Quantifier::All) {
            return false;
        }
        match (&self.subject, &self.test) {
            (Subject::Context(Key::SourceIp), Test::Address(wanted)) => wanted.iter().all(Network::is_narrow),
            (
                Subject::Principal(Attribute::Account | Attribute::Arn | Attribute::UserId),
                Test::Text(wanted),
            ) => wanted.iter().all(Pattern::is_fixed),
            (Subject::Principal(Attribute::Arn), Test::Arn(wanted)) => {
                wanted.iter().flatten().all(Pattern::is_fixed)
            }
            _ => false,
        }
    }
}
