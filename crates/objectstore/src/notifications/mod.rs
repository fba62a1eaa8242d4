//! Notifications of what happens to objects, to webhooks: how a bucket's configuration is put and shown. `events` writes them down
//! together with the change that they tell of, `sender` brings them to the webhook, and `post` speaks HTTP.
//!
//! The API knows topics, and a topic names a webhook that the operator has configured: no client can make the cloud send requests
//! to a place of their own choice.
//!
//! Source: S3 API Reference, PutBucketNotificationConfiguration; S3 User Guide, "Amazon S3 Event Notifications".

mod events;
mod post;
mod sender;

use hanse_core::{Cx, Error, Result};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use crate::ObjectStore;
use crate::access::Decided;
use crate::fault::error;

pub(crate) use events::{Cause, Notifications, Origin, changed, forget, removed};
use post::Poster;
pub use post::Webhook;

/// Source: S3 User Guide, "Amazon Simple Storage Service endpoints and quotas": event notifications of a bucket.
const RULES_MAX: usize = 100;
const ID_MAX: usize = 255;
/// Of a prefix or a suffix, in bytes.
const VALUE_MAX: usize = 1024;

/// What a configuration may ask for: all that can happen here.
const EVENTS: [&str; 14] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
];

/// Which events of a bucket go to which webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    /// The topic, as it was put.
    pub arn: String,
    /// The webhook that it names.
    pub webhook: String,
    pub events: Vec<String>,
    #[serde(default)]
    pub prefix: Option<String>,
    #[serde(default)]
    pub suffix: Option<String>,
}

fn invalid(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

/// Whether an event is one of those that a pattern names.
fn matches(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => event.starts_with(start),
        None => pattern == event,
    }
}

impl Rule {
    /// `event` is without `s3:`, as the events themselves have it.
    fn is_about(&self, event: &str, key: &str) -> bool {
        self.events.iter().any(|own| own.strip_prefix("s3:").is_some_and(|own| matches(own, event)))
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.as_deref().is_none_or(|suffix| key.ends_with(suffix))
    }

    /// Whether an event may be one of both: AWS allows that for no two, whatever their targets.
    fn overlaps(&self, other: &Rule) -> bool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (own, its) =
            ((text(&self.prefix), text(&self.suffix)), (text(&other.prefix), text(&other.suffix)));
        let event = |own: &String| other.events.iter().any(|its| matches(own, its) || matches(its, own));
        self.events.iter().any(event)
            && (own.0.starts_with(&its.0) || its.0.starts_with(&own.0))
            && (own.1.ends_with(&its.1) || its.1.ends_with(&own.1))
    }
}

/// The prefix and the suffix of a filter.
fn read_filter(
    filter: Option<dto::NotificationConfigurationFilter>,
) -> S3Result<(Option<String>, Option<String>)> {
    let (mut prefix, mut suffix) = (None, None);
    let rules = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules).unwrap_or_default();
    for rule in rules {
        let name = rule.name.as_ref().map(|name| name.as_str().to_ascii_lowercase());
        let place = match name.as_deref() {
            Some("prefix") => &mut prefix,
            Some("suffix") => &mut suffix,
            _ => return Err(invalid("filter rule name must be either prefix or suffix")),
        };
        let value = rule.value.unwrap_or_default();
        if value.len() > VALUE_MAX {
            return Err(invalid(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
            ));
        }
        if place.replace(value).is_some() {
            return Err(invalid(
                "Cannot specify more than one prefix rule in a filter, nor more than one suffix rule.",
            ));
        }
    }
    Ok((prefix, suffix))
}

fn show(rule: &Rule) -> dto::TopicConfiguration {
    let filter_rule = |name: &'static str, value: &Option<String>| {
        value.clone().map(|value| dto::FilterRule {
            name: Some(dto::FilterRuleName::from_static(name)),
            value: Some(value),
        })
    };
    let rules: Vec<_> = [filter_rule("prefix", &rule.prefix), filter_rule("suffix", &rule.suffix)]
        .into_iter()
        .flatten()
        .collect();
    let filter = (!rules.is_empty()).then_some(dto::NotificationConfigurationFilter {
        key: Some(dto::S3KeyFilter { filter_rules: Some(rules) }),
    });
    dto::TopicConfiguration {
        events: rule.events.iter().map(|event| dto::Event::from(event.clone())).collect(),
        filter,
        id: Some(rule.id.clone()),
        topic_arn: rule.arn.clone(),
    }
}

/// Whether webhooks can be used, each by its own name.
///
/// # Errors
/// 400 that says what is wrong; internal if authorities are none.
pub fn check_webhooks(cx: &Cx, webhooks: &[Webhook]) -> Result<()> {
    for (index, webhook) in webhooks.iter().enumerate() {
        Poster::new(cx, webhook)?;
        if webhooks.iter().take(index).any(|other| other.name == webhook.name) {
            return Err(Error::bad_request(format!("there are two webhooks '{}'", webhook.name)));
        }
    }
    Ok(())
}

impl ObjectStore {
    /// The webhook that a topic names, if the project may use it.
    fn webhook_of(&self, arn: &str, project_id: &str) -> S3Result<String> {
        let unknown = || {
            invalid(format!(
                "Unable to validate the following destination configurations: {arn} names no webhook of this cloud"
            ))
        };
        let parts: Vec<&str> = arn.split(':').collect();
        let &["arn", "aws", "sns", region, account, name] = &parts[..] else { return Err(unknown()) };
        let is_here = (region.is_empty() || region == self.0.settings.region)
            && (account.is_empty() || account == project_id);
        let known = self.0.settings.webhooks.iter().filter(|_| is_here);
        let known = known.filter(|webhook| webhook.name == name && webhook.is_for(project_id));
        known.map(|webhook| webhook.name.clone()).next().ok_or_else(unknown)
    }

    fn read_rule(&self, given: dto::TopicConfiguration, decided: &Decided) -> S3Result<Rule> {
        let (prefix, suffix) = read_filter(given.filter)?;
        let events: Vec<String> = given.events.iter().map(|event| event.as_ref().to_owned()).collect();
        if events.is_empty() || events.len() > EVENTS.len() {
            return Err(error(S3ErrorCode::MalformedXML, "A configuration names events."));
        }
        if let Some(event) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
            return Err(invalid(format!("The event '{event}' is not supported for notifications")));
        }
        let id = given.id.filter(|id| !id.is_empty()).unwrap_or_else(|| decided.asker.cx.hex_id());
        if id.len() > ID_MAX {
            return Err(invalid("The ID of a configuration has at most 255 characters."));
        }
        let webhook = self.webhook_of(&given.topic_arn, &decided.project_id)?;
        Ok(Rule { id, arn: given.topic_arn, webhook, events, prefix, suffix })
    }

    pub(crate) fn show_notifications(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketNotificationConfigurationOutput>> {
        let rules: Vec<_> = decided.bucket()?.notifications.iter().map(show).collect();
        Ok(S3Response::new(dto::GetBucketNotificationConfigurationOutput {
            topic_configurations: (!rules.is_empty()).then_some(rules),
            ..Default::default()
        }))
    }

    pub(crate) async fn put_notifications(
        &self,
        input: dto::PutBucketNotificationConfigurationInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketNotificationConfigurationOutput>> {
        let given = input.notification_configuration;
        if given.queue_configurations.is_some_and(|all| !all.is_empty())
            || given.lambda_function_configurations.is_some_and(|all| !all.is_empty())
        {
            return Err(invalid(
                "Unable to validate the following destination configurations: there are neither queues nor functions, only topics",
            ));
        }
        if given.event_bridge_configuration.is_some() {
            return Err(error(S3ErrorCode::NotImplemented, "EventBridge is not offered."));
        }
        let topics = given.topic_configurations.unwrap_or_default();
        if topics.len() > RULES_MAX {
            return Err(invalid(format!("A bucket has at most {RULES_MAX} configurations.")));
        }
        let rules: Vec<Rule> =
            topics.into_iter().map(|topic| self.read_rule(topic, &decided)).collect::<S3Result<_>>()?;
        for (index, rule) in rules.iter().enumerate() {
            for other in rules.iter().take(index) {
                if other.id == rule.id {
                    return Err(invalid("Same ID used for multiple configurations. IDs must be unique"));
                }
                if rule.overlaps(other) {
                    return Err(invalid(
                        "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
                    ));
                }
            }
        }
        self.configure(&decided, move |bucket| bucket.notifications.clone_from(&rules)).await?;
        Ok(S3Response::new(dto::PutBucketNotificationConfigurationOutput {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: &str, suffix: &str) -> Rule {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Rule {
            id: String::new(),
            arn: String::new(),
            webhook: String::new(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: text(prefix),
            suffix: text(suffix),
        }
    }

    #[test]
    fn rules_overlap_where_one_event_would_be_of_both() {
        let (put, all) = ("s3:ObjectCreated:Put", "s3:ObjectCreated:*");
        for (one, other, expected) in [
            (rule(&[put], "", ""), rule(&[all], "", ""), true),
            (rule(&[put], "a/", ""), rule(&[all], "a/b", ""), true),
            (rule(&[put], "a/", ""), rule(&[all], "b/", ""), false),
            (rule(&[put], "a/", ".jpg"), rule(&[all], "a/b", ".png"), false),
            (rule(&[put], "a/", ".jpg"), rule(&[all], "", "jpg"), true),
            (rule(&[put], "", ""), rule(&["s3:ObjectRemoved:*"], "", ""), false),
        ] {
            assert_eq!(
                (one.overlaps(&other), other.overlaps(&one)),
                (expected, expected),
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn a_rule_is_about_its_events_and_keys() {
        let own = rule(&["s3:ObjectCreated:*"], "a/", ".jpg");
        assert!(own.is_about("ObjectCreated:Put", "a/b.jpg"));
        for (event, key) in [
            ("ObjectRemoved:Delete", "a/b.jpg"),
            ("ObjectCreated:Put", "b.jpg"),
            ("ObjectCreated:Put", "a/b"),
            ("ObjectCreate", "a/b.jpg"),
        ] {
            assert!(!own.is_about(event, key), "{event} {key}");
        }
    }
}
