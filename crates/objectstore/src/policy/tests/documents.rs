//! What is refused, and what is said of it.

use super::*;

fn refusal(text: &str) -> (String, String) {
    match Policy::parse(text.as_bytes(), BUCKET) {
        Ok(_) => panic!("not refused: {text}"),
        Err(error) => (error.code().as_str().to_owned(), error.message().unwrap_or_default().to_owned()),
    }
}

#[test]
fn documents() {
    let one = statement(json!({})).to_string();
    for (text, message) in [
        (String::new(), "Policies must be valid JSON and the first byte must be '{'"),
        ("[]".to_owned(), "Policies must be valid JSON and the first byte must be '{'"),
        (format!(" {{\"Statement\":{one}}}"), "Policies must be valid JSON and the first byte must be '{'"),
        ("{".to_owned(), "This policy contains invalid Json: EOF"),
        (format!("{{\"Statement\":{one}}} x"), "This policy contains invalid Json: trailing characters"),
        (
            format!("{{\"Statement\":{one},\"Statement\":{one}}}"),
            "This policy contains invalid Json: the member Statement stands twice",
        ),
        (
            format!("{{\"Statement\":{one},\"\\u0053tatement\":{one}}}"),
            "This policy contains invalid Json: the member Statement stands twice",
        ),
        (
            one.replacen("{", "{\"Sid\":\"a\",\"Sid\":\"a\",", 1),
            "This policy contains invalid Json: the member Sid stands twice",
        ),
        (
            "{\"Statement\":".to_owned() + &"[".repeat(10_000),
            "This policy contains invalid Json: recursion limit",
        ),
        ("{}".to_owned(), "Missing required field Statement"),
        ("{\"Statement\":[]}".to_owned(), "Could not parse the policy: Statement is empty!"),
        ("{\"Statement\":1}".to_owned(), "Invalid policy syntax: a statement is no object (statement 1)"),
        (format!("{{\"Statement\":{one},\"Foo\":1}}"), "Unknown field Foo"),
        (format!("{{\"statement\":{one}}}"), "Unknown field statement"),
        (format!("{{\"Id\":1,\"Statement\":{one}}}"), "Invalid policy syntax: Id is no text"),
        (
            format!("{{\"Version\":\"2012-10-18\",\"Statement\":{one}}}"),
            "The policy must contain a valid version string",
        ),
        (
            format!("{{\"Version\":null,\"Statement\":{one}}}"),
            "The policy must contain a valid version string",
        ),
    ] {
        let (code, said) = refusal(&text);
        assert_eq!(code, "MalformedPolicy", "{text}");
        assert!(said.starts_with(message), "{said} is not {message}");
    }
    let good = text(&[statement(json!({"Sid": "a"}))]);
    for accepted in [
        good.replace("2012", "2008"),
        good.replace("\"Version\":\"2012-10-17\",", "\"Id\":\"x\",")
            .replace(",\"Version\":\"2012-10-17\"", ""),
        format!("{{\"Statement\":{one}}}"),
    ] {
        assert!(Policy::parse(accepted.as_bytes(), BUCKET).is_ok(), "{accepted}");
    }
}

#[test]
fn size() {
    let good = text(&[statement(json!({}))]);
    let fill = |length: usize| good.clone() + &" ".repeat(length - good.len());
    assert!(Policy::parse(fill(20 << 10).as_bytes(), BUCKET).is_ok());
    assert_eq!(refusal(&fill((20 << 10) + 1)).0, "PolicyTooLarge");
}

#[test]
fn statements() {
    let arn = |rest: &str| format!("arn:aws:iam::{rest}");
    let condition =
        |operator: &str, key: &str, wanted: Value| json!({"Condition": {operator: {key: wanted}}});
    for (parts, message) in [
        (json!({"Sid": 1}), "Invalid policy syntax: Sid is no text"),
        (json!({"Foo": 1}), "Unknown field Foo"),
        (json!({"effect": "Allow"}), "Unknown field effect"),
        (json!({"Effect": "allow"}), "Invalid effect"),
        (json!({"Effect": ["Allow"]}), "Invalid effect"),
        (json!({"NotPrincipal": {"AWS": ONE}}), "Allow with NotPrincipal is not allowed."),
        (json!({"Principal": ONE}), "Invalid principal in policy"),
        (json!({"Principal": ["*"]}), "Invalid principal in policy"),
        (json!({"Principal": {}}), "Invalid principal in policy"),
        (json!({"Principal": null}), "Invalid principal in policy"),
        (json!({"Principal": {"AWS": []}}), "Invalid principal in policy: AWS"),
        (json!({"Principal": {"AWS": [1]}}), "Invalid principal in policy: AWS"),
        (json!({"Principal": {"Service": "s3.amazonaws.com"}}), "Invalid principal in policy: Service"),
        (json!({"Principal": {"Federated": "x"}}), "Invalid principal in policy: Federated"),
        (json!({"Principal": {"CanonicalUser": "*"}}), "Invalid principal in policy: *"),
        (json!({"Principal": {"AWS": ""}}), "Invalid principal in policy: "),
        (json!({"Principal": {"AWS": "123456789012"}}), "Invalid principal in policy: 123456789012"),
        (json!({"Principal": {"AWS": "1*"}}), "Invalid principal in policy: 1*"),
        (json!({"Principal": {"AWS": "A".repeat(32)}}), "Invalid principal in policy: AAAA"),
        (
            json!({"Principal": {"AWS": [ONE, arn("*:root")]}}),
            "Invalid principal in policy: arn:aws:iam::*:root",
        ),
        (json!({"Principal": {"AWS": arn(&format!("{ONE}:user/*"))}}), "Invalid principal in policy: arn"),
        (
            json!({"Principal": {"AWS": arn(&format!("{ONE}:user/alice"))}}),
            "Invalid principal in policy: arn",
        ),
        (json!({"Principal": {"AWS": arn(&format!("{ONE}:role/x"))}}), "Invalid principal in policy: arn"),
        (json!({"Principal": {"AWS": arn(&format!("{ONE}:root/"))}}), "Invalid principal in policy: arn"),
        (json!({"Action": []}), "Policy has invalid action"),
        (json!({"Action": 1}), "Policy has invalid action"),
        (json!({"Action": "s3:GetObjects"}), "Policy has invalid action: s3:GetObjects"),
        (json!({"Action": ["s3:GetObject", "s3:Foo*"]}), "Policy has invalid action: s3:Foo*"),
        (json!({"Action": "GetObject"}), "Policy has invalid action: GetObject"),
        (json!({"Action": "ec2:*"}), "Policy has invalid action: ec2:*"),
        (json!({"Action": ""}), "Policy has invalid action: "),
        (json!({"NotAction": "s3:Foo"}), "Policy has invalid action: s3:Foo"),
        (json!({"Action": "s3:ListAllMyBuckets"}), "Action does not apply to any resource(s) in statement"),
        (
            json!({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket"}),
            "Action does not apply to any resource(s) in statement",
        ),
        (
            json!({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket/*"}),
            "Action does not apply to any resource(s) in statement",
        ),
        (
            json!({"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::bucket/*"}),
            "Action does not apply to any resource(s) in statement",
        ),
        (json!({"Resource": []}), "Policy has invalid resource"),
        (json!({"Resource": {}}), "Policy has invalid resource"),
        (json!({"Resource": ""}), "Policy has invalid resource: "),
        (json!({"Resource": "*"}), "Policy has invalid resource: *"),
        (json!({"Resource": "bucket/*"}), "Policy has invalid resource: bucket/*"),
        (json!({"Resource": "arn:aws:s3:::other/*"}), "Policy has invalid resource: arn:aws:s3:::other/*"),
        (
            json!({"Resource": ["arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket2/*"]}),
            "Policy has invalid resource: arn:aws:s3:::bucket2/*",
        ),
        (json!({"Resource": "arn:aws:s3:::Bucket/*"}), "Policy has invalid resource: arn:aws:s3:::Bucket/*"),
        (
            json!({"Resource": "arn:aws:s3:eu:1:bucket/*"}),
            "Policy has invalid resource: arn:aws:s3:eu:1:bucket/*",
        ),
        (json!({"NotResource": "arn:aws:s3:::other/*"}), "Policy has invalid resource: arn:aws:s3:::other/*"),
        (json!({"Resource": "arn:aws:s3:::bucket/${aws:foo}"}), "Unknown policy variable: ${aws:foo}"),
        (json!({"Resource": "arn:aws:s3:::bucket/${s3:prefix}"}), "Unknown policy variable: ${s3:prefix}"),
        (json!({"Resource": "arn:aws:s3:::bucket/${aws:username"}), "Invalid policy variable"),
        (json!({"Condition": []}), "Invalid policy syntax: Condition"),
        (json!({"Condition": {"StringEquals": {}}}), "Invalid policy syntax: Condition"),
        (json!({"Condition": {"StringEquals": "x"}}), "Invalid policy syntax: Condition"),
        (condition("StringEquals", "s3:prefix", json!([])), "Invalid policy syntax: Condition"),
        (condition("StringEquals", "s3:prefix", json!(null)), "Invalid policy syntax: Condition"),
        (condition("StringEquals", "s3:prefix", json!([["a"]])), "Invalid policy syntax: Condition"),
        (condition("StringMatches", "s3:prefix", json!("a")), "Invalid Condition type : StringMatches"),
        (condition("stringequals", "s3:prefix", json!("a")), "Invalid Condition type : stringequals"),
        (
            condition("ForSomeValues:StringEquals", "s3:prefix", json!("a")),
            "Invalid Condition type : ForSome",
        ),
        (condition("StringEqualsIfExistsIfExists", "s3:prefix", json!("a")), "Invalid Condition type : "),
        (condition("NullIfExists", "s3:prefix", json!("true")), "Invalid Condition type : NullIfExists"),
        (
            condition("ForAllValues:Null", "s3:prefix", json!("true")),
            "Invalid Condition type : ForAllValues:Null",
        ),
        (condition("NumericLike", "s3:max-keys", json!("1")), "Invalid Condition type : NumericLike"),
        (condition("StringEquals", "s3:foo", json!("a")), "Policy has an invalid condition key: s3:foo"),
        (condition("StringEquals", "prefix", json!("a")), "Policy has an invalid condition key: prefix"),
        (
            condition("StringEquals", "x-amz-acl", json!("a")),
            "Policy has an invalid condition key: x-amz-acl",
        ),
        (
            condition("StringEquals", "s3:prefix/a", json!("a")),
            "Policy has an invalid condition key: s3:prefix/a",
        ),
        (
            condition("StringEquals", "s3:ExistingObjectTag/", json!("a")),
            "Policy has an invalid condition key",
        ),
        (
            condition("StringEquals", "s3:ExistingObjectTag", json!("a")),
            "Policy has an invalid condition key",
        ),
        (
            condition("StringEquals", "s3:RequestObjectTagKeys", json!("a")),
            "s3:RequestObjectTagKeys has many values",
        ),
        (condition("NumericEquals", "s3:max-keys", json!("ten")), "Invalid condition value: 'ten'"),
        (
            condition("NumericEquals", "s3:max-keys", json!("${aws:userid}")),
            "Invalid condition value: '${aws:userid}'",
        ),
        (condition("DateLessThan", "aws:CurrentTime", json!("soon")), "Invalid condition value: 'soon'"),
        (condition("Bool", "aws:SecureTransport", json!("yes")), "Invalid condition value: 'yes'"),
        (condition("Null", "s3:prefix", json!("")), "Invalid condition value: ''"),
        (
            condition("IpAddress", "aws:SourceIp", json!("10.0.0.0/40")),
            "Invalid condition value: '10.0.0.0/40'",
        ),
        (
            condition("IpAddress", "aws:SourceIp", json!(["10.0.0.1", "10.*"])),
            "Invalid condition value: '10.*'",
        ),
        (
            condition("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam")),
            "Invalid condition value: 'arn:aws:iam'",
        ),
        (condition("BinaryEquals", "aws:Referer", json!("%")), "Invalid condition value: '%'"),
        (condition("StringLike", "s3:prefix", json!("${aws:foo}")), "Unknown policy variable: ${aws:foo}"),
    ] {
        let (code, said) = refusal(&text(&[statement(json!({})), statement(parts.clone())]));
        assert_eq!(code, "MalformedPolicy", "{parts}");
        assert!(said.starts_with(message), "{said:?} is not {message:?}");
        assert!(said.ends_with(" (statement 2)"), "{said}");
    }
}

#[test]
fn members_that_are_missing_or_exclude_each_other() {
    for name in ["Effect", "Principal", "Action", "Resource"] {
        let mut less = statement(json!({}));
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(&text(&[less])).1, format!("Missing required field {name} (statement 1)"));
    }
    for name in ["Principal", "Action", "Resource"] {
        let mut more = statement(json!({"Effect": "Deny"}));
        more[format!("Not{name}")] = more[name].clone();
        let expected = format!("Invalid policy syntax: both {name} and Not{name} (statement 1)");
        assert_eq!(refusal(&text(&[more])).1, expected);
    }
}

#[test]
fn what_people_write() {
    for parts in [
        json!({"Sid": "Public read", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket/*"]}),
        json!({"Action": "s3:*", "Resource": "arn:aws:s3:::bucket"}),
        json!({"Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*"}),
        json!({"Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket"}),
        json!({"Action": ["s3:ListBucket", "s3:GetObject"]}),
        json!({"Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}),
        json!({"Condition": {}}),
        json!({"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
        json!({"Effect": "Deny", "Action": "s3:PutObject", "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}),
    ] {
        policy(&[statement(parts)]);
    }
}

/// As many and as bad patterns as there is room for are read, and decided by, in the time of an ordinary request.
#[test]
fn hostile_policies_take_no_longer_than_others() {
    let started = std::time::Instant::now();
    let object = "a".repeat(1024);
    for pattern in ["*a", "*?", "a*", "?", "*aaaaaaaa"] {
        for (count, length) in [(1, 18_000), (30, 500), (400, 18)] {
            let resource = format!("arn:aws:s3:::bucket/{}b", pattern.repeat(length / pattern.len()));
            let policy = policy(&[statement(json!({"Resource": vec![resource; count]}))]);
            assert_eq!(get(&policy, None, &object), SILENT);
        }
    }
    let actions = statement(json!({"Action": vec!["*:*?*?*?*?*?*?*t"; 1000]}));
    assert_eq!(get(&policy(&[actions]), None, &object), ALLOW);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
