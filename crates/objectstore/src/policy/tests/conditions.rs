//! Every operator with and without a value, as IAM has it.

use super::*;

/// Whether a statement with this condition is about a request with these values.
fn holds(effect: &str, operator: &str, key: &str, wanted: &Value, values: &[&str]) -> bool {
    let parts = json!({"Effect": effect, "Condition": {operator: {key: wanted}}});
    let policy = policy(&[statement(parts)]);
    let context = [(key, values)];
    let is_principal = matches!(Subject::parse(key), Some(Subject::Principal(_)));
    let said = decide(
        &policy,
        Some(&who(ONE, ALICE)),
        "s3:GetObject",
        Resource::Object("k"),
        if is_principal { &[] } else { &context },
    );
    said != SILENT
}

#[test]
fn operators() {
    for (operator, key, wanted, yes, no) in [
        ("StringEquals", "s3:prefix", json!("a"), &["a"][..], &["A", "ab", ""][..]),
        ("StringEquals", "s3:prefix", json!(["a", "b"]), &["a", "b"], &["c"]),
        ("StringEquals", "s3:prefix", json!("a*"), &["a*"], &["ab"]),
        ("StringEquals", "s3:prefix", json!("${aws:username}/"), &["alice/"], &["bob/", "${aws:username}/"]),
        ("StringEquals", "S3:PREFIX", json!(""), &[""], &["a"]),
        ("StringEqualsIgnoreCase", "s3:prefix", json!("aÄ"), &["aÄ", "AÄ", "aä"], &["b"]),
        ("StringLike", "s3:prefix", json!("a*c?"), &["acd", "abbcd"], &["ac", "Acd"]),
        ("StringLike", "s3:prefix", json!("${aws:username}*"), &["alice", "alice/x"], &["bob"]),
        ("StringLike", "aws:UserAgent", json!("a${*}"), &["a*"], &["ab"]),
        ("NumericEquals", "s3:max-keys", json!("10"), &["10", "10.0"], &["9", "ten"]),
        ("NumericEquals", "s3:max-keys", json!(10), &["10"], &["11"]),
        ("NumericLessThan", "s3:max-keys", json!("10"), &["9", "-1"], &["10", "11", "x"]),
        ("NumericLessThanEquals", "s3:max-keys", json!("10"), &["9", "10"], &["11"]),
        ("NumericGreaterThan", "s3:TlsVersion", json!("1.2"), &["1.3"], &["1.2", "1.1"]),
        ("NumericGreaterThanEquals", "s3:TlsVersion", json!(1.2), &["1.2", "1.3"], &["1.1"]),
        ("NumericGreaterThan", "s3:signatureAge", json!(["600000", "100"]), &["101"], &["100"]),
        (
            "DateEquals",
            "aws:CurrentTime",
            json!("2026-01-01T00:00:00Z"),
            &["2026-01-01", "1767225600"],
            &["2026-01-02"],
        ),
        (
            "DateLessThan",
            "aws:CurrentTime",
            json!("2026-01-01"),
            &["2025-12-31T23:59:59Z"],
            &["2026-01-01T00:00:00Z", "x"],
        ),
        ("DateLessThanEquals", "aws:CurrentTime", json!("2026-01-01"), &["2026-01-01"], &["2026-01-02"]),
        ("DateGreaterThan", "aws:EpochTime", json!("1767225600"), &["1767225601"], &["1767225600"]),
        ("DateGreaterThanEquals", "aws:EpochTime", json!(1_767_225_600), &["1767225600"], &["1767225599"]),
        ("Bool", "aws:SecureTransport", json!("true"), &["true"], &["false", "x"]),
        ("Bool", "aws:SecureTransport", json!(false), &["false", "False"], &["true"]),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("10.0.0.0/8"),
            &["10.1.1.1", "::ffff:10.1.1.1"],
            &["11.1.1.1", "::1", "x"],
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!(["192.0.2.1", "2001:db8::/32"]),
            &["192.0.2.1", "2001:db8:1::"],
            &["192.0.2.2"],
        ),
        ("BinaryEquals", "aws:Referer", json!("YWJj"), &["abc"], &["YWJj", "ab"]),
        (
            "ArnLike",
            "aws:UserAgent",
            json!("arn:aws:iam::*:user/a*"),
            &["arn:aws:iam::1:user/ab", "arn:aws:iam::1:user/a:b"],
            &["arn:aws:iam::1:2:user/ab", "arn:aws:s3::1:user/a", "x"],
        ),
        (
            "ArnEquals",
            "aws:UserAgent",
            json!("arn:aws:iam::1:user/?"),
            &["arn:aws:iam::1:user/a"],
            &["arn:aws:iam::1:user/ab"],
        ),
    ] {
        for value in yes {
            assert!(holds("Allow", operator, key, &wanted, &[value]), "{operator} {key} {wanted}: {value}");
            assert!(holds("Deny", operator, key, &wanted, &[value]), "{operator} {key} {wanted}: {value}");
        }
        for value in no {
            assert!(
                !holds("Allow", operator, key, &wanted, &[value]),
                "not {operator} {key} {wanted}: {value}"
            );
            assert!(
                !holds("Deny", operator, key, &wanted, &[value]),
                "not {operator} {key} {wanted}: {value}"
            );
        }
        assert!(!holds("Allow", operator, key, &wanted, &[]), "{operator} without the key");
        assert!(holds("Allow", &format!("{operator}IfExists"), key, &wanted, &[]), "{operator}IfExists");
        for value in yes {
            assert!(holds("Allow", &format!("{operator}IfExists"), key, &wanted, &[value]));
        }
        for value in no {
            assert!(!holds("Allow", &format!("{operator}IfExists"), key, &wanted, &[value]));
        }
    }
}

/// They hold where their opposites do not, and also where there is no value.
#[test]
fn negated_operators() {
    for (operator, key, wanted, yes, no) in [
        ("StringNotEquals", "s3:prefix", json!("a"), "b", "a"),
        ("StringNotEquals", "s3:prefix", json!(["a", "b"]), "c", "b"),
        ("StringNotEqualsIgnoreCase", "s3:prefix", json!("a"), "b", "A"),
        ("StringNotLike", "s3:prefix", json!("a*"), "b", "ab"),
        ("NumericNotEquals", "s3:max-keys", json!("1"), "2", "1.0"),
        ("DateNotEquals", "aws:CurrentTime", json!("2026-01-01"), "2026-01-02", "1767225600"),
        ("NotIpAddress", "aws:SourceIp", json!("10.0.0.0/8"), "11.0.0.1", "::ffff:10.0.0.1"),
        (
            "ArnNotEquals",
            "aws:UserAgent",
            json!("arn:aws:iam::1:user/a"),
            "arn:aws:iam::1:user/b",
            "arn:aws:iam::1:user/a",
        ),
        (
            "ArnNotLike",
            "aws:UserAgent",
            json!("arn:aws:iam::1:user/*"),
            "arn:aws:iam::2:user/a",
            "arn:aws:iam::1:user/a",
        ),
    ] {
        for effect in ["Allow", "Deny"] {
            for operator in [operator, &format!("{operator}IfExists")] {
                assert!(holds(effect, operator, key, &wanted, &[yes]), "{effect} {operator}: {yes}");
                assert!(!holds(effect, operator, key, &wanted, &[no]), "{effect} {operator}: {no}");
                assert!(holds(effect, operator, key, &wanted, &[]), "{effect} {operator} without the key");
            }
        }
    }
}

#[test]
fn what_cannot_be_compared_helps_nobody() {
    for (operator, key, wanted) in [
        ("NumericNotEquals", "s3:max-keys", json!("1")),
        ("DateNotEquals", "aws:CurrentTime", json!("2026-01-01")),
        ("NotIpAddress", "aws:SourceIp", json!("10.0.0.0/8")),
    ] {
        assert!(!holds("Allow", operator, key, &wanted, &["nonsense"]), "{operator}");
        assert!(holds("Deny", operator, key, &wanted, &["nonsense"]), "{operator}");
    }
}

#[test]
fn null_asks_whether_there_is_a_value() {
    for (wanted, values, expected) in [
        (json!("true"), &[][..], true),
        (json!("true"), &["a"][..], false),
        (json!("false"), &[], false),
        (json!(false), &["a"], true),
        (json!(["true", "false"]), &[], true),
        (json!("false"), &[""], true),
    ] {
        assert_eq!(holds("Allow", "Null", "s3:prefix", &wanted, values), expected, "{wanted} {values:?}");
    }
    assert!(holds("Allow", "Null", "s3:RequestObjectTagKeys", &json!("false"), &["a", "b"]));
}

#[test]
fn keys_with_many_values() {
    let key = "s3:RequestObjectTagKeys";
    let wanted = json!(["a", "b"]);
    for (operator, values, expected) in [
        ("ForAllValues:StringEquals", &["a", "b"][..], true),
        ("ForAllValues:StringEquals", &["a"], true),
        ("ForAllValues:StringEquals", &["a", "c"], false),
        ("ForAllValues:StringEquals", &[], true),
        ("ForAllValues:StringNotEquals", &["c", "d"], true),
        ("ForAllValues:StringNotEquals", &["a", "c"], false),
        ("ForAllValues:StringNotEquals", &[], true),
        ("ForAllValues:StringLikeIfExists", &[], true),
        ("ForAnyValue:StringEquals", &["a", "c"], true),
        ("ForAnyValue:StringEquals", &["c"], false),
        ("ForAnyValue:StringEquals", &[], false),
        ("ForAnyValue:StringEqualsIfExists", &[], false),
        ("ForAnyValue:StringNotEquals", &["a", "c"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], false),
        ("ForAnyValue:StringNotEquals", &[], false),
    ] {
        assert_eq!(holds("Allow", operator, key, &wanted, values), expected, "{operator} {values:?}");
        assert_eq!(holds("Deny", operator, key, &wanted, values), expected, "{operator} {values:?}");
    }
}

/// A key that has one value by its nature gets the stricter outcome if it has more.
#[test]
fn more_values_than_there_can_be() {
    let wanted = json!("a");
    for (operator, values) in [("StringEquals", ["a", "b"]), ("StringNotEquals", ["a", "b"])] {
        assert!(!holds("Allow", operator, "s3:prefix", &wanted, &values), "{operator}");
        assert!(holds("Deny", operator, "s3:prefix", &wanted, &values), "{operator}");
    }
}

#[test]
fn keys_of_the_principal() {
    let arn = format!("arn:aws:iam::{ONE}:user/{ALICE}");
    for (operator, key, wanted, expected) in [
        ("StringEquals", "aws:username", json!("alice"), true),
        ("StringEquals", "aws:username", json!("bob"), false),
        ("StringEquals", "aws:UserId", json!(ALICE), true),
        ("StringEquals", "aws:PrincipalAccount", json!(ONE), true),
        ("StringEquals", "aws:PrincipalAccount", json!(TWO), false),
        ("StringEquals", "aws:PrincipalType", json!("User"), true),
        ("ArnEquals", "aws:PrincipalArn", json!(arn), true),
        ("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam::*:user/b*"), false),
        ("Null", "aws:username", json!("false"), true),
    ] {
        assert_eq!(holds("Allow", operator, key, &wanted, &[]), expected, "{operator} {key} {wanted}");
    }
    for (operator, key, wanted, expected) in [
        ("StringNotEquals", "aws:PrincipalAccount", json!(TWO), ALLOW),
        ("StringEquals", "aws:PrincipalType", json!("Anonymous"), ALLOW),
        ("StringLike", "aws:userid", json!("*"), SILENT),
        ("Null", "aws:PrincipalAccount", json!("true"), ALLOW),
    ] {
        let policy = policy(&[statement(json!({"Condition": {operator: {key: wanted}}}))]);
        assert_eq!(get(&policy, None, "k"), expected, "nobody: {operator} {key}");
    }
}

#[test]
fn all_conditions_have_to_hold() {
    let policy = policy(&[statement(json!({"Condition": {
        "StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"},
        "Bool": {"aws:SecureTransport": "true"},
    }}))]);
    let full: [(&str, &[&str]); 3] =
        [("s3:prefix", &["a"]), ("s3:delimiter", &["/"]), ("aws:SecureTransport", &["true"])];
    let ask = |context: &[(&str, &[&str])]| decide(&policy, None, "s3:ListBucket", Resource::Bucket, context);
    assert_eq!(ask(&full), ALLOW);
    for left_out in 0..full.len() {
        let mut fewer = full.to_vec();
        fewer.remove(left_out);
        assert_eq!(ask(&fewer), SILENT, "without {:?}", full[left_out]);
    }
}

#[test]
fn tags_have_case_and_keys_have_not() {
    let policy =
        policy(&[statement(json!({"Condition": {"StringEquals": {"S3:existingobjecttag/State/x": "a"}}}))]);
    let ask = |name: &str, value: &str| {
        decide(&policy, None, "s3:GetObject", Resource::Object("k"), &[(name, &[value])])
    };
    assert_eq!(ask("s3:ExistingObjectTag/State/x", "a"), ALLOW);
    assert_eq!(ask("s3:ExistingObjectTag/state/x", "a"), SILENT);
    assert_eq!(ask("s3:ExistingObjectTag/State/x", "A"), SILENT);
    assert_eq!(ask("s3:RequestObjectTag/State/x", "a"), SILENT);
}
