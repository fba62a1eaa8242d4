//! The language, as tables.

mod chance;
mod conditions;
mod documents;
mod public;

use serde_json::{Value, json};

use super::*;

const BUCKET: &str = "bucket";
const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";
const ALICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn who(project_id: &str, user_id: &str) -> Principal {
    let user_name = if user_id == ALICE { "alice" } else { "bob" };
    Principal {
        project_id: project_id.to_owned(),
        user_id: user_id.to_owned(),
        user_name: user_name.to_owned(),
    }
}

/// A statement that says what its parts do not.
fn statement(parts: Value) -> Value {
    let mut whole = json!({
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    });
    for (name, value) in parts.as_object().unwrap() {
        if let Some(opposite) = name.strip_prefix("Not") {
            whole.as_object_mut().unwrap().remove(opposite);
        }
        whole[name] = value.clone();
    }
    whole
}

fn text(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn policy(statements: &[Value]) -> Policy {
    let text = text(statements);
    Policy::parse(text.as_bytes(), BUCKET).unwrap_or_else(|error| panic!("{error:?}: {text}"))
}

fn key(name: &str) -> Key {
    match Subject::parse(name) {
        Some(Subject::Context(key)) => key,
        other => panic!("{name}: {other:?}"),
    }
}

/// What a policy says of a request with these values.
fn decide(
    policy: &Policy,
    principal: Option<&Principal>,
    action: &str,
    resource: Resource<'_>,
    context: &[(&str, &[&str])],
) -> Decision {
    let context = |wanted: &Key| {
        let found = context.iter().find(|(name, _)| key(name) == *wanted);
        Ok(found
            .map(|(_, values)| values.iter().map(|value| (*value).to_owned()).collect())
            .unwrap_or_default())
    };
    policy.decide(&Request { principal, action, resource, context: &context }).unwrap()
}

fn get(policy: &Policy, principal: Option<&Principal>, object: &str) -> Decision {
    decide(policy, principal, "s3:GetObject", Resource::Object(object), &[])
}

const ALLOW: Decision = Decision::Allow;
const DENY: Decision = Decision::Deny;
const SILENT: Decision = Decision::Silent;

#[test]
fn principals() {
    let (alice, bob, other) = (who(ONE, ALICE), who(ONE, BOB), who(TWO, ALICE));
    let user = format!("arn:aws:iam::{ONE}:user/{ALICE}");
    let root = format!("arn:aws:iam::{ONE}:root");
    for (principal, [for_alice, for_bob, for_other, for_nobody]) in [
        (json!("*"), [ALLOW, ALLOW, ALLOW, ALLOW]),
        (json!({"AWS": "*"}), [ALLOW, ALLOW, ALLOW, ALLOW]),
        (json!({"AWS": ["*"]}), [ALLOW, ALLOW, ALLOW, ALLOW]),
        (json!({"AWS": ONE}), [ALLOW, ALLOW, SILENT, SILENT]),
        (json!({"AWS": root}), [ALLOW, ALLOW, SILENT, SILENT]),
        (json!({"CanonicalUser": ONE}), [ALLOW, ALLOW, SILENT, SILENT]),
        (json!({"AWS": user}), [ALLOW, SILENT, SILENT, SILENT]),
        (json!({"AWS": [user, TWO]}), [ALLOW, SILENT, ALLOW, SILENT]),
        (json!({"AWS": user, "CanonicalUser": TWO}), [ALLOW, SILENT, ALLOW, SILENT]),
    ] {
        let policy = policy(&[statement(json!({"Principal": principal}))]);
        assert_eq!(get(&policy, Some(&alice), "k"), for_alice, "alice: {principal}");
        assert_eq!(get(&policy, Some(&bob), "k"), for_bob, "bob: {principal}");
        assert_eq!(get(&policy, Some(&other), "k"), for_other, "another project: {principal}");
        assert_eq!(get(&policy, None, "k"), for_nobody, "nobody: {principal}");
    }
}

#[test]
fn a_deny_beats_each_allow() {
    let alice = who(ONE, ALICE);
    let allow = statement(json!({}));
    let deny = statement(json!({"Effect": "Deny", "Action": "s3:DeleteObject"}));
    for statements in [[allow.clone(), deny.clone()], [deny.clone(), allow.clone()]] {
        let policy = policy(&statements);
        let delete = decide(&policy, Some(&alice), "s3:DeleteObject", Resource::Object("k"), &[]);
        assert_eq!((get(&policy, Some(&alice), "k"), delete), (ALLOW, DENY));
    }
    assert_eq!(get(&policy(&[deny]), Some(&alice), "k"), SILENT, "a deny of something else says nothing");
}

#[test]
fn everybody_but() {
    let user = format!("arn:aws:iam::{ONE}:user/{ALICE}");
    let deny = policy(&[statement(json!({"Effect": "Deny", "NotPrincipal": {"AWS": user}}))]);
    for (principal, expected) in [
        (Some(who(ONE, ALICE)), SILENT),
        (Some(who(ONE, BOB)), DENY),
        (Some(who(TWO, ALICE)), DENY),
        (None, DENY),
    ] {
        assert_eq!(get(&deny, principal.as_ref(), "k"), expected, "{principal:?}");
    }
}

#[test]
fn actions_have_no_case_and_resources_have() {
    for (action, asked, expected) in [
        ("s3:GetObject", "s3:GetObject", ALLOW),
        ("S3:getobject", "s3:GetObject", ALLOW),
        ("s3:Get*", "s3:GetObject", ALLOW),
        ("s3:Get*", "s3:GetObjectAcl", ALLOW),
        ("s3:GetObj?ct", "s3:GetObject", ALLOW),
        ("s3:GetObject?cl", "s3:GetObjectAcl", ALLOW),
        ("s3:*", "s3:PutObject", ALLOW),
        ("*", "s3:PutObject", ALLOW),
        ("s3:GetObject", "s3:GetObjectAcl", SILENT),
        ("s3:GetObject", "s3:GetObjectVersion", SILENT),
        ("s3:Get*", "s3:PutObject", SILENT),
    ] {
        let policy = policy(&[statement(json!({"Action": action}))]);
        let said = decide(&policy, None, asked, Resource::Object("k"), &[]);
        assert_eq!(said, expected, "{action} {asked}");
    }
    for (resource, asked, expected) in [
        ("bucket/k", Resource::Object("k"), ALLOW),
        ("bucket/*", Resource::Object("a/b"), ALLOW),
        ("bucket/a/*/c", Resource::Object("a/b/b/c"), ALLOW),
        ("bucket/?", Resource::Object("ä"), ALLOW),
        ("bucket*", Resource::Object("k"), ALLOW),
        ("bucket*", Resource::Bucket, ALLOW),
        ("*", Resource::Object("k"), ALLOW),
        ("*", Resource::Bucket, ALLOW),
        ("*/*", Resource::Bucket, SILENT),
        ("bucket/K", Resource::Object("k"), SILENT),
        ("bucket/*", Resource::Bucket, SILENT),
        ("bucket", Resource::Object("k"), SILENT),
        ("bucket/a/*", Resource::Object("a"), SILENT),
        ("bucket/a/*", Resource::Object("../bucket/a/"), SILENT),
    ] {
        let policy = policy(&[statement(json!({"Resource": format!("arn:aws:s3:::{resource}")}))]);
        assert_eq!(decide(&policy, None, "s3:GetObject", asked, &[]), expected, "{resource} {asked:?}");
    }
}

#[test]
fn all_actions_but_and_all_resources_but() {
    let policy = policy(&[statement(json!({"NotAction": ["s3:Delete*", "s3:PutObject"]}))]);
    for (action, expected) in [
        ("s3:GetObject", ALLOW),
        ("s3:DeleteObject", SILENT),
        ("s3:PutObject", SILENT),
        ("s3:PutObjectAcl", ALLOW),
    ] {
        assert_eq!(decide(&policy, None, action, Resource::Object("k"), &[]), expected, "{action}");
    }
    let policy = self::policy(&[statement(json!({"NotResource": "arn:aws:s3:::bucket/private/*"}))]);
    for (resource, expected) in [
        (Resource::Object("k"), ALLOW),
        (Resource::Bucket, ALLOW),
        (Resource::Object("private/k"), SILENT),
        (Resource::Object("Private/k"), ALLOW),
    ] {
        assert_eq!(decide(&policy, None, "s3:GetObject", resource, &[]), expected, "{resource:?}");
    }
}

#[test]
fn variables_stand_for_who_asks() {
    let alice = who(ONE, ALICE);
    let home = |version: &str, variable: &str| {
        let resource = format!("arn:aws:s3:::bucket/{variable}/*");
        let text =
            json!({"Version": version, "Statement": statement(json!({"Resource": resource}))}).to_string();
        Policy::parse(text.as_bytes(), BUCKET).unwrap()
    };
    for (variable, object, expected) in [
        ("${aws:username}", "alice/k", ALLOW),
        ("${AWS:UserName}", "alice/k", ALLOW),
        ("${aws:userid}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/k", ALLOW),
        ("${aws:PrincipalAccount}", "11111111111111111111111111111111/k", ALLOW),
        ("${*}", "*/k", ALLOW),
        ("${?}${$}", "?$/k", ALLOW),
        ("${aws:username}", "bob/k", SILENT),
        ("${aws:username}", "${aws:username}/k", SILENT),
        ("${*}", "a/k", SILENT),
    ] {
        let policy = home("2012-10-17", variable);
        assert_eq!(get(&policy, Some(&alice), object), expected, "{variable} {object}");
    }
    let old = home("2008-10-17", "${aws:username}");
    assert_eq!(get(&old, Some(&alice), "alice/k"), SILENT);
    assert_eq!(get(&old, Some(&alice), "${aws:username}/k"), ALLOW, "the old version knows no variables");
}

#[test]
fn who_has_no_name_is_not_let_in_by_one() {
    let resource = "arn:aws:s3:::bucket/${aws:username}/*";
    for (parts, expected) in [
        (json!({"Resource": resource}), SILENT),
        (json!({"NotResource": resource}), SILENT),
        (json!({"Effect": "Deny", "NotResource": resource}), DENY),
        (json!({"Effect": "Deny", "Resource": resource}), SILENT),
        (json!({"Condition": {"StringNotEquals": {"s3:prefix": "${aws:username}"}}}), SILENT),
        (json!({"Condition": {"StringEquals": {"s3:prefix": "${aws:username}"}}}), SILENT),
        (json!({"Effect": "Deny", "Condition": {"StringNotEquals": {"s3:prefix": "${aws:username}"}}}), DENY),
    ] {
        let policy = policy(&[statement(parts.clone())]);
        let said =
            decide(&policy, None, "s3:GetObject", Resource::Object("bob/k"), &[("s3:prefix", &["bob"])]);
        assert_eq!(said, expected, "{parts}");
    }
}

#[test]
fn what_is_expensive_is_asked_last_and_only_if_it_matters() {
    use std::cell::Cell;
    let asked = Cell::new(0);
    let context = |wanted: &Key| match wanted {
        Key::ExistingObjectTag(_) => {
            asked.set(asked.get() + 1);
            Ok(vec!["open".to_owned()])
        }
        _ => Ok(vec!["true".to_owned()]),
    };
    let tagged = |secure: &str| {
        policy(&[statement(json!({
            "Action": "s3:GetObject",
            "Condition": {
                "StringEquals": {"s3:ExistingObjectTag/state": "open"},
                "Bool": {"aws:SecureTransport": secure},
            },
        }))])
    };
    let mut request = Request {
        principal: None,
        action: "s3:PutObject",
        resource: Resource::Object("k"),
        context: &context,
    };
    assert_eq!((tagged("true").decide(&request).unwrap(), asked.get()), (SILENT, 0), "of another action");
    request.action = "s3:GetObject";
    assert_eq!((tagged("false").decide(&request).unwrap(), asked.get()), (SILENT, 0), "already false");
    assert_eq!((tagged("true").decide(&request).unwrap(), asked.get()), (ALLOW, 1));
    let fails = |_: &Key| Err(malformed("cannot be read"));
    request.context = &fails;
    assert!(tagged("true").decide(&request).is_err(), "not the same as an object without tags");
}

#[test]
fn the_text_stays_as_it_was() {
    let text = "{ \"Statement\" :\n[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::bucket/*\"}]}\n";
    let policy = Policy::parse(text.as_bytes(), BUCKET).unwrap();
    assert_eq!(policy.text(), text);
    assert_eq!(Policy::parse(policy.text().as_bytes(), BUCKET).unwrap().text(), text);
}
