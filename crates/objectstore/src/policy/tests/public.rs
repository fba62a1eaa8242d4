//! What S3 calls public.

use super::*;

#[test]
fn public_or_not() {
    let condition =
        |operator: &str, key: &str, wanted: Value| json!({"Condition": {operator: {key: wanted}}});
    let arn = format!("arn:aws:iam::{ONE}:user/{ALICE}");
    for (parts, expected) in [
        (json!({}), true),
        (json!({"Principal": {"AWS": "*"}}), true),
        (json!({"Principal": {"AWS": [ONE, "*"]}}), true),
        (json!({"Principal": {"AWS": ONE}}), false),
        (json!({"Principal": {"CanonicalUser": ONE}}), false),
        (json!({"Principal": {"AWS": arn}}), false),
        (json!({"Effect": "Deny"}), false),
        (json!({"Effect": "Deny", "NotPrincipal": {"AWS": ONE}}), false),
        (json!({"NotAction": "s3:GetObject"}), true),
        (condition("IpAddress", "aws:SourceIp", json!("192.0.2.0/24")), false),
        (condition("IpAddress", "aws:SourceIp", json!("192.0.2.1")), false),
        (condition("IpAddress", "aws:SourceIp", json!("10.0.0.0/8")), false),
        (condition("IpAddress", "aws:SourceIp", json!("2001:db8::/32")), false),
        (condition("IpAddress", "aws:SourceIp", json!("0.0.0.0/0")), true),
        (condition("IpAddress", "aws:SourceIp", json!("0.0.0.0/1")), true),
        (condition("IpAddress", "aws:SourceIp", json!("10.0.0.0/7")), true),
        (condition("IpAddress", "aws:SourceIp", json!("2001::/31")), true),
        (condition("IpAddress", "aws:SourceIp", json!("::ffff:0.0.0.0/97")), true),
        (condition("IpAddress", "aws:SourceIp", json!(["192.0.2.0/24", "0.0.0.0/1"])), true),
        (condition("IpAddressIfExists", "aws:SourceIp", json!("192.0.2.0/24")), true),
        (condition("NotIpAddress", "aws:SourceIp", json!("192.0.2.0/24")), true),
        (condition("ForAllValues:IpAddress", "aws:SourceIp", json!("192.0.2.0/24")), true),
        (condition("StringEquals", "aws:PrincipalAccount", json!(ONE)), false),
        (condition("StringEquals", "aws:PrincipalAccount", json!([ONE, TWO])), false),
        (condition("StringLike", "aws:PrincipalAccount", json!(ONE)), false),
        (condition("ForAnyValue:StringEquals", "aws:PrincipalAccount", json!(ONE)), false),
        (condition("StringLike", "aws:PrincipalAccount", json!("1*")), true),
        (condition("StringEquals", "aws:PrincipalAccount", json!([ONE, "${aws:PrincipalAccount}"])), true),
        (condition("StringEqualsIfExists", "aws:PrincipalAccount", json!(ONE)), true),
        (condition("ForAllValues:StringEquals", "aws:PrincipalAccount", json!(ONE)), true),
        (condition("StringNotEquals", "aws:PrincipalAccount", json!(ONE)), true),
        (condition("Null", "aws:PrincipalAccount", json!("false")), true),
        (condition("StringEquals", "aws:userid", json!(ALICE)), false),
        (condition("StringLike", "aws:userid", json!("*")), true),
        (condition("ArnEquals", "aws:PrincipalArn", json!(arn)), false),
        (condition("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam::*:user/a")), true),
        // Anybody can call themselves so.
        (condition("StringEquals", "aws:username", json!("alice")), true),
        (condition("StringEquals", "aws:Referer", json!("https://example.org")), true),
        (condition("StringEquals", "aws:UserAgent", json!("a")), true),
        (condition("StringEquals", "aws:PrincipalType", json!("User")), true),
        (condition("Bool", "aws:SecureTransport", json!("true")), true),
        (condition("StringEquals", "s3:ExistingObjectTag/public", json!("yes")), true),
    ] {
        assert_eq!(policy(&[statement(parts.clone())]).is_public(), expected, "{parts}");
    }
}

#[test]
fn one_public_statement_suffices_and_one_condition_that_fixes() {
    let narrow = json!({"Condition": {
        "StringEquals": {"aws:Referer": "x"},
        "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
    }});
    let narrow = statement(narrow);
    assert!(!policy(std::slice::from_ref(&narrow)).is_public());
    assert!(policy(&[narrow, statement(json!({"Action": "s3:GetObject"}))]).is_public());
}
