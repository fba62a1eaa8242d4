//! What holds for all policies.

use super::*;

/// SplitMix64: the same numbers in each run.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const SEEDS: [&str; 2] = [
    r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*","11111111111111111111111111111111"]},"Action":["s3:Get*","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/${aws:username}/*","Condition":{"StringLike":{"s3:prefix":["a*","${*}?"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["ä"]}}}]}"#,
    r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::11111111111111111111111111111111:root"},"NotAction":"s3:*Object","NotResource":"arn:aws:s3:::bucket*","Condition":{"NumericLessThanIfExists":{"s3:max-keys":1.5},"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"Null":{"s3:ExistingObjectTag/a":true},"BinaryEquals":{"aws:Referer":"YWJj"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/*"}}}}"#,
];

#[test]
fn no_bytes_make_it_panic() {
    const BYTES: &[u8] = b"{}[]\",:*?$/\\ \x00\xff\xc3u0159.eE-+sA";
    let mut chance = Chance(1);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..40_000 {
        let mut text = chance.of(&SEEDS).as_bytes().to_vec();
        for _ in 0..=chance.below(3) {
            let at = chance.below(text.len() + 1);
            match chance.below(5) {
                0 => text.insert(at, *chance.of(BYTES)),
                1 => text.truncate(at),
                2 => {
                    let end = (at + chance.below(20)).min(text.len());
                    text.drain(at..end);
                }
                3 => {
                    let end = (at + chance.below(20)).min(text.len());
                    let again = text[at..end].to_vec();
                    text.splice(at..at, again);
                }
                _ => {
                    if let Some(byte) = text.get_mut(at) {
                        *byte = *chance.of(BYTES);
                    }
                }
            }
        }
        let Ok(policy) = Policy::parse(&text, BUCKET) else {
            refused += 1;
            continue;
        };
        read += 1;
        assert_eq!(policy.text().as_bytes(), text);
        policy.is_public();
        let context = |_: &Key| Ok(vec!["a".to_owned(), "10.0.0.1".to_owned(), "ä\u{0}".to_owned()]);
        for principal in [None, Some(&who(ONE, ALICE))] {
            for resource in [Resource::Bucket, Resource::Object("alice/k")] {
                let request = Request { principal, action: "s3:GetObject", resource, context: &context };
                policy.decide(&request).unwrap();
            }
        }
    }
    assert!(read > 300 && refused > 1000, "{read} {refused}");
    for _ in 0..20_000 {
        let mut text: Vec<u8> = (0..chance.below(60)).map(|_| chance.draw() as u8).collect();
        text.insert(0, b'{');
        assert!(Policy::parse(&text, BUCKET).is_err());
    }
}

/// Random statements, decided a second time by their parts.
#[test]
fn nobody_is_allowed_what_another_is() {
    let users = [who(ONE, ALICE), who(ONE, BOB), who(TWO, ALICE), who(TWO, BOB)];
    let arn = |of: &Principal| format!("arn:aws:iam::{}:user/{}", of.project_id, of.user_id);
    let mut names: Vec<(String, Vec<usize>)> =
        users.iter().enumerate().map(|(index, user)| (arn(user), vec![index])).collect();
    names.extend([(ONE.to_owned(), vec![0, 1]), (format!("arn:aws:iam::{TWO}:root"), vec![2, 3])]);
    let actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
    let objects = ["a", "b", "c/d"];
    let mut chance = Chance(2);
    for _ in 0..2000 {
        let parts: Vec<_> = (0..=chance.below(4))
            .map(|_| {
                let of = chance.of(&names).clone();
                (chance.below(3) == 0, of, *chance.of(&actions), *chance.of(&objects))
            })
            .collect();
        let statements: Vec<Value> = parts
            .iter()
            .map(|(denies, (name, _), action, object)| {
                statement(json!({
                    "Effect": if *denies { "Deny" } else { "Allow" },
                    "Principal": {"AWS": name},
                    "Action": action,
                    "Resource": format!("arn:aws:s3:::bucket/{object}"),
                }))
            })
            .collect();
        let policy = policy(&statements);
        assert!(!policy.is_public());
        for action in actions {
            for object in objects {
                let ask = |principal| decide(&policy, principal, action, Resource::Object(object), &[]);
                assert_eq!(ask(None), SILENT, "nobody is named");
                for (index, user) in users.iter().enumerate() {
                    let said = |denies: bool| {
                        parts.iter().any(|(own, (_, members), of, on)| {
                            *own == denies && members.contains(&index) && *of == action && *on == object
                        })
                    };
                    let expected = if said(true) {
                        DENY
                    } else if said(false) {
                        ALLOW
                    } else {
                        SILENT
                    };
                    assert_eq!(ask(Some(user)), expected, "{user:?} {action} {object}: {}", policy.text());
                }
            }
        }
    }
}
