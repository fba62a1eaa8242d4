//! An event as DMTF's Cloud Auditing Data Federation writes it (DSP0262 1.0.0), with the field names of OpenStack's
//! own CADF library.

use hanse_store::audit::{OPERATOR, STRANGER};
use serde_json::{Value, json};

use crate::events::Event;

const EVENT: &str = "http://schemas.dmtf.org/cloud/audit/1.0/event";

/// Words of our verbs, and the action of CADF's taxonomy (DSP0262, A.2) that each stands for. The first word of a verb
/// that is here decides.
const ACTIONS: &[(&str, &str)] = &[
    ("authenticate", "authenticate"),
    ("revoke", "revoke"),
    ("create", "create"),
    ("delete", "delete"),
    ("update", "update"),
    ("start", "start"),
    ("stop", "stop"),
    ("upload", "update"),
    ("download", "read"),
    ("deactivate", "disable"),
    ("reactivate", "enable"),
    ("get", "read"),
    ("show", "read"),
    ("list", "read/list"),
    ("index", "read/list"),
    ("check", "read"),
    ("validate", "evaluate"),
    // Added to something or taken from it: that is what changes.
    ("add", "update"),
    ("remove", "update"),
    ("change", "update"),
    ("reset", "update"),
    ("modify", "update"),
    ("extend", "update"),
    ("reboot", "update"),
    ("publicize", "update"),
    ("force", "delete"),
    ("seed", "create"),
    ("bootstrap", "create"),
];

fn word(word: &str) -> Option<&'static str> {
    ACTIONS.iter().find(|(known, _)| *known == word).map(|(_, action)| *action)
}

fn action(verb: &str) -> &'static str {
    // Adding an image makes one.
    if verb == "image:add_image" {
        return "create";
    }
    verb.split([':', '_', '-']).find_map(word).unwrap_or("unknown")
}

/// The service that a verb belongs to, and its place in CADF's taxonomy of resources (DSP0262, A.3).
fn service(verb: &str) -> (&'static str, &'static str) {
    match verb.split(':').next().unwrap_or_default() {
        "identity" => ("identity", "service/security"),
        "os_compute_api" => ("compute", "service/compute"),
        "image" => ("image", "service/storage/image"),
        "volume" | "volume_extension" => ("volume", "service/storage/block"),
        // Neutron's policies name no service.
        _ => ("network", "service/network"),
    }
}

/// What a verb acts on, as far as its name tells: `identity:create_user` on a `user`, `os_compute_api:servers:create`
/// on `servers`.
fn thing(verb: &str) -> String {
    const SERVICES: &[&str] = &["identity", "os_compute_api", "image", "volume", "volume_extension", "hanse"];
    let mut parts = verb.split(':');
    let first = parts.next().unwrap_or_default();
    let name = if SERVICES.contains(&first) { parts.next().unwrap_or_default() } else { first };
    let words: Vec<&str> = name.split('_').filter(|part| word(part).is_none()).collect();
    match (words.join("_").as_str(), first) {
        ("" | "password", "identity") => "user".to_owned(),
        ("", service) => service.to_owned(),
        (thing, _) => thing.to_owned(),
    }
}

pub(crate) fn cadf(event: &Event) -> Value {
    let (name, service_uri) = service(&event.action);
    let kind = match event.initiator.as_str() {
        STRANGER => "unknown",
        OPERATOR => "service/security/account/operator",
        _ => "service/security/account/user",
    };
    let mut initiator = json!({ "typeURI": kind, "id": event.initiator });
    if let Some(project) = &event.project_id {
        initiator["project_id"] = json!(project);
    }
    if let Some(audit_id) = &event.audit_id {
        initiator["audit_id"] = json!(audit_id);
    }
    if let Some(address) = &event.source {
        initiator["host"] = json!({ "address": address });
    }
    let mut attachments =
        vec![json!({ "name": "verb", "typeURI": "mime:text/plain", "content": event.action })];
    if event.times > 1 {
        let last = event.last_at.unwrap_or(event.at);
        let content =
            json!({ "count": event.times, "first": event.at.iso_micros(), "last": last.iso_micros() });
        attachments.push(json!({ "name": "times", "typeURI": "mime:application/json", "content": content }));
    }
    json!({
        "typeURI": EVENT,
        "id": event.id,
        "eventType": "activity",
        "eventTime": event.at.iso_micros(),
        "action": action(&event.action),
        "outcome": event.outcome,
        "initiator": initiator,
        "target": { "typeURI": format!("{service_uri}/{}", thing(&event.action)), "id": event.target },
        "observer": { "typeURI": service_uri, "id": format!("hanse-{name}") },
        "requestId": event.request_id,
        "attachments": attachments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_actions_on_things_of_a_service() {
        for (verb, expected, target) in [
            ("identity:authenticate", "authenticate", "user"),
            ("identity:create_user", "create", "user"),
            ("identity:delete_application_credential", "delete", "application_credential"),
            ("identity:revoke_grant", "revoke", "grant"),
            ("identity:add_user_to_group", "update", "user_to_group"),
            ("identity:change_password", "update", "user"),
            ("os_compute_api:servers:create", "create", "servers"),
            ("os_compute_api:os-flavor-manage:delete", "delete", "os-flavor-manage"),
            ("os_compute_api:servers:reboot", "update", "servers"),
            ("os_compute_api:servers:stop", "stop", "servers"),
            ("image:add_image", "create", "image"),
            ("image:upload_image", "update", "image"),
            ("image:deactivate", "disable", "image"),
            ("create_security_group_rule", "create", "security_group_rule"),
            ("add_router_interface", "update", "router_interface"),
            ("create_port:fixed_ips:ip_address", "create", "port"),
            ("volume:create", "create", "volume"),
            ("volume:create_volume_metadata", "create", "volume_metadata"),
            ("volume:attachment_create", "create", "attachment"),
            ("volume_extension:volume_admin_actions:force_delete", "delete", "volume_admin_actions"),
            ("dance", "unknown", "dance"),
        ] {
            assert_eq!((action(verb), thing(verb).as_str()), (expected, target), "{verb}");
        }
    }
}
