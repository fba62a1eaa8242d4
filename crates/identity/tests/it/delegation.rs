//! Application credentials, trusts, EC2 credentials: none of them may grow or outlive what it was made from.

use std::time::Duration;

use hanse_core::Secret;
use hanse_crypto::TotpKey;
use hanse_identity::Settings;
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, PASSWORD, by_password, clouds, clouds_with, in_project, role_names};

const STRING_TO_SIGN: &str = "R0VUCgoKTW9uLCAwMSBKYW4gMjAyNCAwMDowMDowMCBHTVQKL2J1Y2tldC9rZXk=";
const SIGNATURE: &str = "zs5r03TKXNel49RzutaWC9JlSP4=";

async fn post(cloud: &Cloud, token: &str, path: &str, noun: &str, body: Value) -> Value {
    let made = cloud.call("POST", &format!("/v3/{path}"), token, json!({ noun: body })).await.expect(201);
    made[noun].clone()
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

async fn by_credential(cloud: &Cloud, credential: &Value) -> Answer {
    let proof = json!({ "id": credential["id"], "secret": credential["secret"] });
    cloud
        .issue(json!({ "methods": ["application_credential"], "application_credential": proof }), Value::Null)
        .await
}

#[tokio::test]
async fn an_application_credential_logs_in_with_its_roles_until_one_of_them_is_taken() {
    for cloud in clouds().await {
        let (demo, admin) = (cloud.demo().await, cloud.admin().await);
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let path = format!("users/{user}/application_credentials");
        let reader = post(
            &cloud,
            &demo,
            &path,
            "application_credential",
            json!({ "name": "ci", "roles": [{ "name": "reader" }] }),
        )
        .await;
        assert_eq!(reader["secret"].as_str().unwrap().len(), 86);
        assert_eq!((&reader["unrestricted"], &reader["project_id"]), (&json!(false), &json!(project)));
        let issued = by_credential(&cloud, &reader).await;
        let token = issued.token();
        assert_eq!(role_names(&issued.body), ["reader"]);
        assert_eq!(issued.body["token"]["application_credential"]["restricted"], true);
        assert_eq!(issued.body["token"]["methods"], json!(["application_credential"]));
        assert!(token.len() <= 255, "{}", token.len());
        let shown = cloud.get(&format!("/v3/{path}/{}", id(&reader)), &demo).await.expect(200);
        assert_eq!(shown["application_credential"].get("secret"), None);
        let role = cloud.id("roles", "reader").await;
        let roles = json!([{ "id": role, "name": "reader", "domain_id": null, "description": null, "options": { "immutable": true } }]);
        let listed = cloud.get(&format!("/v3/{path}"), &demo).await.expect(200);
        for shown in [&reader, &shown["application_credential"], &listed["application_credentials"][0]] {
            assert_eq!(shown["roles"], roles);
        }
        let by_name = json!({ "name": "ci", "user": { "id": user }, "secret": reader["secret"] });
        let by_name = json!({ "methods": ["application_credential"], "application_credential": by_name });
        cloud.issue(by_name.clone(), Value::Null).await.expect(201);
        cloud.issue(by_name, json!({ "project": { "id": project } })).await.expect(401);
        let mut wrong = reader.clone();
        wrong["secret"] = json!("wrong");
        by_credential(&cloud, &wrong).await.expect(401);

        let chosen = json!({ "name": "own", "secret": "chosen by me", "expires_at": "2999-01-01T00:00:00Z" });
        let chosen = post(&cloud, &demo, &path, "application_credential", chosen).await;
        by_credential(&cloud, &chosen).await.expect(201);
        for (body, status) in [
            (json!({ "name": "ci" }), 409),
            (json!({ "name": "x", "roles": [{ "name": "admin" }] }), 400),
            (json!({ "name": "x", "expires_at": "2001-01-01T00:00:00Z" }), 400),
            (json!({ "name": "x", "access_rules": [{ "service": "compute" }] }), 400),
            (json!({ "name": "x", "access_rules": [{ "id": "nothing" }] }), 404),
            (json!({ "name": "x", "colour": "red" }), 400),
            (json!({ "name": "" }), 400),
        ] {
            let body = json!({ "application_credential": body });
            let answer = cloud.call("POST", &format!("/v3/{path}"), &demo, body).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let member = cloud.id("roles", "member").await;
        cloud
            .delete(&format!("/v3/projects/{project}/users/{user}/roles/{member}"), &admin)
            .await
            .expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        by_credential(&cloud, &reader).await.expect(401);
        cloud
            .call("PUT", &format!("/v3/projects/{project}/users/{user}/roles/{member}"), &admin, Value::Null)
            .await
            .expect(204);
        let token = by_credential(&cloud, &reader).await.token();
        cloud.delete(&format!("/v3/{path}/{}", id(&reader)), &cloud.demo().await).await.expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        by_credential(&cloud, &reader).await.expect(401);
    }
}

#[tokio::test]
async fn a_restricted_credential_begets_nothing_and_no_credential_rescopes() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let path = format!("users/{user}/application_credentials");
        let make = async |name: &str, unrestricted: bool| {
            let body = json!({ "name": name, "unrestricted": unrestricted });
            let made = post(&cloud, &demo, &path, "application_credential", body).await;
            by_credential(&cloud, &made).await.token()
        };
        let (narrow, wide) = (make("narrow", false).await, make("wide", true).await);
        let trust = json!({ "trust": {
            "trustor_user_id": user, "trustee_user_id": user, "impersonation": true, "project_id": project,
            "roles": [{ "name": "member" }],
        } });
        let ec2 = json!({ "tenant_id": project });
        let own = json!({ "credential": { "type": "cert", "blob": "x", "user_id": user } });
        let list = cloud.get(&format!("/v3/{path}"), &narrow).await.expect(200);
        let other = id(&list["application_credentials"][1]);
        for token in [&narrow, &wide] {
            cloud.rescope(token, json!("unscoped")).await.expect(403);
            cloud.rescope(token, json!({ "project": { "id": project } })).await.expect(403);
            cloud.call("POST", "/v3/OS-TRUST/trusts", token, trust.clone()).await.expect(403);
            cloud
                .call("POST", &format!("/v3/users/{user}/credentials/OS-EC2"), token, ec2.clone())
                .await
                .expect(403);
            cloud.call("POST", "/v3/credentials", token, own.clone()).await.expect(403);
            cloud.get("/v3/credentials", token).await.expect(403);
        }
        let more = json!({ "application_credential": { "name": "more", "user_id": "x" } });
        cloud.call("POST", &format!("/v3/{path}"), &narrow, more).await.expect(400);
        let more = json!({ "application_credential": { "name": "more" } });
        cloud.call("POST", &format!("/v3/{path}"), &narrow, more.clone()).await.expect(403);
        cloud.delete(&format!("/v3/{path}/{other}"), &narrow).await.expect(403);
        let made = cloud.call("POST", &format!("/v3/{path}"), &wide, more).await.expect(201);
        cloud.delete(&format!("/v3/{path}/{}", id(&made["application_credential"])), &wide).await.expect(204);
        // Somebody else's user in the path opens nothing.
        let admin = cloud.id("users", "admin").await;
        cloud.get(&format!("/v3/users/{admin}/application_credentials/{other}"), &demo).await.expect(403);
        let boss = cloud.admin().await;
        cloud.get(&format!("/v3/users/{admin}/application_credentials/{other}"), &boss).await.expect(404);
        let theirs = json!({ "application_credential": { "name": "theirs" } });
        cloud.call("POST", &format!("/v3/{path}"), &boss, theirs).await.expect(403);
    }
}

#[tokio::test]
async fn access_rules_allow_what_they_name_and_nothing_else() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let user = cloud.id("users", "demo").await;
        let path = format!("users/{user}/application_credentials");
        let rules = json!([{ "service": "identity", "path": "/v3/auth/*", "method": "GET" }]);
        let body = json!({ "name": "ci", "access_rules": rules });
        let made = post(&cloud, &demo, &path, "application_credential", body).await;
        let rule = id(&made["access_rules"][0]);
        let token = by_credential(&cloud, &made).await.token();
        cloud.get("/v3/auth/projects", &token).await.expect(200);
        cloud.get("/v3/regions", &token).await.expect(401);
        cloud.get(&format!("/v3/users/{user}"), &token).await.expect(401);
        cloud.on_token("DELETE", &token, &token).await.expect(401);
        // A service that does not say that it knows of rules would serve whatever they forbid.
        cloud.ensure("service", "nova", "service").await;
        let service = cloud.login("nova", PASSWORD, in_project("service")).await.token();
        for (version, status) in [(None, 404), (Some("0.9"), 404), (Some("x"), 404), (Some("1.0"), 200)] {
            let mut headers = vec![("x-auth-token", service.as_str()), ("x-subject-token", token.as_str())];
            headers.extend(version.map(|version| ("openstack-identity-access-rules", version)));
            for method in ["GET", "HEAD"] {
                let answer = cloud.send(method, "/v3/auth/tokens", &headers, String::new()).await;
                assert_eq!(answer.status, status, "{method} {version:?}");
            }
        }
        let again = json!({ "name": "more", "access_rules": [{ "id": rule }] });
        let again = post(&cloud, &demo, &path, "application_credential", again).await;
        assert_eq!(again["access_rules"], made["access_rules"]);
        let listed = cloud.get(&format!("/v3/users/{user}/access_rules"), &demo).await.expect(200);
        assert_eq!(listed["access_rules"].as_array().unwrap().len(), 1);
        let one = format!("/v3/users/{user}/access_rules/{rule}");
        cloud.get(&one, &demo).await.expect(200);
        cloud.delete(&one, &demo).await.expect(403);
        for credential in [&made, &again] {
            cloud.delete(&format!("/v3/{path}/{}", id(credential)), &demo).await.expect(204);
        }
        cloud.delete(&one, &demo).await.expect(204);
        cloud.get(&one, &demo).await.expect(404);
    }
}

#[tokio::test]
async fn a_trust_hands_over_some_roles_until_it_ends() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        cloud.ensure("other", "eve", "reader").await;
        let (demo, eve) =
            (cloud.demo().await, cloud.login("eve", PASSWORD, in_project("other")).await.token());
        let (trustor, trustee) = (cloud.id("users", "demo").await, cloud.id("users", "eve").await);
        let project = cloud.id("projects", "demo").await;
        let base = json!({
            "trustor_user_id": trustor, "trustee_user_id": trustee, "project_id": project, "impersonation": true,
            "roles": [{ "name": "reader" }], "remaining_uses": 1,
        });
        let with = |key: &str, value: Value| {
            let mut body = base.clone();
            body[key] = value;
            body
        };
        let trust = post(&cloud, &demo, "OS-TRUST/trusts", "trust", base.clone()).await;
        assert_eq!(trust["roles"][0]["name"], "reader");
        let scope = json!({ "OS-TRUST:trust": { "id": trust["id"] } });
        cloud.rescope(&demo, scope.clone()).await.expect(403);
        let issued = cloud.rescope(&eve, scope.clone()).await;
        let token = issued.token();
        assert_eq!(issued.body["token"]["user"]["id"], json!(trustor));
        assert_eq!(issued.body["token"]["OS-TRUST:trust"]["trustee_user"]["id"], json!(trustee));
        assert_eq!(role_names(&issued.body), ["reader"]);
        cloud.rescope(&eve, scope.clone()).await.expect(401);
        let both = json!({ "OS-TRUST:trust": scope["OS-TRUST:trust"], "project": { "id": project } });
        cloud.rescope(&eve, both).await.expect(400);
        cloud.rescope(&token, json!("unscoped")).await.expect(403);
        let more = json!({ "application_credential": { "name": "more" } });
        cloud
            .call("POST", &format!("/v3/users/{trustor}/application_credentials"), &token, more)
            .await
            .expect(403);
        let ec2 = json!({ "tenant_id": project });
        cloud.call("POST", &format!("/v3/users/{trustor}/credentials/OS-EC2"), &token, ec2).await.expect(403);

        for (status, body) in [
            (403, with("trustor_user_id", json!(trustee))),
            (404, with("trustee_user_id", json!("nobody"))),
            (404, with("roles", json!([{ "name": "admin" }]))),
            (403, with("roles", json!([]))),
            (400, with("remaining_uses", json!(0))),
            (400, with("allow_redelegation", json!(true))),
            (400, with("expires_at", json!("2001-01-01T00:00:00Z"))),
        ] {
            let answer = cloud.call("POST", "/v3/OS-TRUST/trusts", &demo, json!({ "trust": body })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let stranger = cloud.admin().await;
        cloud.get(&format!("/v3/OS-TRUST/trusts?trustor_user_id={trustor}"), &eve).await.expect(403);
        let list =
            cloud.get(&format!("/v3/OS-TRUST/trusts?trustee_user_id={trustee}"), &eve).await.expect(200);
        assert_eq!(list["trusts"].as_array().unwrap().len(), 1);
        cloud.get("/v3/OS-TRUST/trusts", &stranger).await.expect(200);

        // The power of a trust is the trustor's of now.
        let endless =
            post(&cloud, &demo, "OS-TRUST/trusts", "trust", with("remaining_uses", Value::Null)).await;
        let path = format!("/v3/OS-TRUST/trusts/{}", id(&endless));
        let roles = cloud.get(&format!("{path}/roles"), &eve).await.expect(200);
        assert_eq!(roles["roles"].as_array().unwrap().len(), 1);
        let scope = json!({ "OS-TRUST:trust": { "id": endless["id"] } });
        let token = cloud.rescope(&eve, scope.clone()).await.token();
        let off = json!({ "user": { "enabled": false } });
        cloud.call("PATCH", &format!("/v3/users/{trustee}"), &admin, off).await.expect(200);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        let on = json!({ "user": { "enabled": true } });
        cloud.call("PATCH", &format!("/v3/users/{trustee}"), &admin, on).await.expect(200);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        let eve = cloud.login("eve", PASSWORD, Value::Null).await.token();
        let token = cloud.rescope(&eve, scope).await.token();
        cloud.delete(&path, &eve).await.expect(403);
        cloud.delete(&path, &demo).await.expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        cloud.get(&path, &demo).await.expect(404);
    }
}

#[tokio::test]
async fn a_trust_is_handed_on_as_deep_as_it_says_and_ends_with_its_first() {
    for cloud in clouds().await {
        cloud.ensure("other", "eve", "reader").await;
        cloud.ensure("other", "max", "reader").await;
        let demo = cloud.demo().await;
        let user = async |name: &'static str| cloud.id("users", name).await;
        let (demo_id, eve_id, max_id) = (user("demo").await, user("eve").await, user("max").await);
        let project = cloud.id("projects", "demo").await;
        let trust = |to: &str| {
            json!({
                "trustor_user_id": demo_id, "trustee_user_id": to, "project_id": project, "impersonation": true,
                "roles": [{ "name": "reader" }],
            })
        };
        let mut first = trust(&eve_id);
        first["allow_redelegation"] = json!(true);
        first["redelegation_count"] = json!(1);
        let first = post(&cloud, &demo, "OS-TRUST/trusts", "trust", first).await;
        let eve = cloud.login("eve", PASSWORD, Value::Null).await.token();
        let on = cloud.rescope(&eve, json!({ "OS-TRUST:trust": { "id": first["id"] } })).await.token();
        let mut wide = trust(&max_id);
        wide["roles"] = json!([{ "name": "member" }]);
        cloud.call("POST", "/v3/OS-TRUST/trusts", &on, json!({ "trust": wide })).await.expect(404);
        let mut deep = trust(&max_id);
        deep["allow_redelegation"] = json!(true);
        deep["redelegation_count"] = json!(3);
        cloud.call("POST", "/v3/OS-TRUST/trusts", &on, json!({ "trust": deep })).await.expect(403);
        let second = post(&cloud, &on, "OS-TRUST/trusts", "trust", trust(&max_id)).await;
        assert_eq!(second["redelegated_trust_id"], first["id"]);
        assert_eq!(second["redelegation_count"], 0);
        let max = cloud.login("max", PASSWORD, Value::Null).await.token();
        let last = cloud.rescope(&max, json!({ "OS-TRUST:trust": { "id": second["id"] } })).await.token();
        cloud.get("/v3/auth/projects", &last).await.expect(200);
        cloud
            .call("POST", "/v3/OS-TRUST/trusts", &last, json!({ "trust": trust(&eve_id) }))
            .await
            .expect(403);
        cloud.delete(&format!("/v3/OS-TRUST/trusts/{}", id(&first)), &demo).await.expect(204);
        cloud.get("/v3/auth/projects", &last).await.expect(401);
        cloud.get(&format!("/v3/OS-TRUST/trusts/{}", id(&second)), &demo).await.expect(404);
    }
}

#[tokio::test]
async fn credentials_are_sealed_and_those_of_others_are_not_seen() {
    for cloud in clouds().await {
        let (demo, admin) = (cloud.demo().await, cloud.admin().await);
        let made = post(
            &cloud,
            &demo,
            "credentials",
            "credential",
            json!({ "type": "cert", "blob": "very private", "user_id": cloud.id("users", "demo").await }),
        )
        .await;
        let path = format!("/v3/credentials/{}", id(&made));
        let mut conn = cloud.db.read().await.unwrap();
        let (blob,): (Vec<u8>,) =
            hanse_store::query("SELECT blob FROM credentials").one(&mut conn).await.unwrap();
        drop(conn);
        assert!(!blob.windows(7).any(|part| part == b"private"));
        cloud.ensure("other", "eve", "member").await;
        let eve = cloud.login("eve", PASSWORD, in_project("other")).await.token();
        cloud.get(&path, &eve).await.expect(404);
        cloud.delete(&path, &eve).await.expect(404);
        assert_eq!(cloud.get("/v3/credentials", &eve).await.expect(200)["credentials"], json!([]));
        assert_eq!(
            cloud.get("/v3/credentials?type=cert", &admin).await.expect(200)["credentials"][0]["blob"],
            "very private"
        );
        let user = cloud.id("users", "eve").await;
        for (body, status) in [
            (json!({}), 400),
            (json!({ "user_id": user }), 400),
            (json!({ "type": "ec2" }), 400),
            (json!({ "blob": "new", "project_id": null }), 400),
            (json!({ "blob": "" }), 400),
            (json!({ "blob": "new" }), 200),
        ] {
            let answer = cloud.call("PATCH", &path, &demo, json!({ "credential": body })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        assert_eq!(cloud.get(&path, &demo).await.expect(200)["credential"]["blob"], "new");
        let theirs = json!({ "credential": { "type": "cert", "blob": "x", "user_id": user } });
        cloud.call("POST", "/v3/credentials", &demo, theirs).await.expect(403);
        let nobodys = json!({ "credential": { "type": "cert", "blob": "x" } });
        cloud.call("POST", "/v3/credentials", &demo, nobodys).await.expect(400);
        cloud.delete(&path, &demo).await.expect(204);
    }
}

#[tokio::test]
async fn whoever_signed_a_request_is_told_to_services_alone() {
    for cloud in clouds().await {
        let (demo, admin) = (cloud.demo().await, cloud.admin().await);
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let ec2 = format!("/v3/users/{user}/credentials/OS-EC2");
        let made = cloud.call("POST", &ec2, &demo, json!({ "tenant_id": project })).await.expect(201);
        let access = made["credential"]["access"].as_str().unwrap();
        cloud.get(&format!("{ec2}/{access}"), &demo).await.expect(200);
        assert_eq!(cloud.get(&ec2, &demo).await.expect(200)["credentials"].as_array().unwrap().len(), 1);
        let foreign = json!({ "tenant_id": cloud.id("projects", "admin").await });
        cloud.call("POST", &ec2, &demo, foreign).await.expect(403);
        cloud.delete(&format!("{ec2}/{access}"), &demo).await.expect(204);
        cloud.get(&format!("{ec2}/{access}"), &demo).await.expect(404);

        let blob = json!({ "access": "AK", "secret": "topsecret" }).to_string();
        let key = json!({ "type": "ec2", "blob": blob, "project_id": project, "user_id": user });
        let key = post(&cloud, &demo, "credentials", "credential", key).await;
        let signed =
            json!({ "credentials": { "access": "AK", "signature": SIGNATURE, "token": STRING_TO_SIGN } });
        cloud.send("POST", "/v3/s3tokens", &[], signed.to_string()).await.expect(401);
        cloud.call("POST", "/v3/s3tokens", &demo, signed.clone()).await.expect(403);
        cloud.ensure("service", "swift", "service").await;
        let service = cloud.login("swift", PASSWORD, in_project("service")).await.token();
        let mut forged = signed.clone();
        forged["credentials"]["token"] = json!("R0VUCg==");
        cloud.call("POST", "/v3/s3tokens", &service, forged).await.expect(401);
        let answer = cloud.call("POST", "/v3/s3tokens", &service, signed).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["token"]["user"]["id"], json!(user));
        assert_eq!(answer.body["token"]["project"]["id"], json!(project));
        assert!(
            answer.headers.get("x-subject-token").is_none(),
            "whoever sees a signature does not become its user"
        );

        let answer = cloud.call("POST", "/v3/ec2tokens", &service, signed_request("AK")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.headers["x-subject-token"].to_str().unwrap();
        assert!(token.len() <= 255, "{}", token.len());
        cloud.rescope(token, json!("unscoped")).await.expect(403);
        cloud.get("/v3/credentials", token).await.expect(403);
        let more = json!({ "application_credential": { "name": "more" } });
        cloud
            .call("POST", &format!("/v3/users/{user}/application_credentials"), token, more)
            .await
            .expect(403);
        cloud.delete(&format!("/v3/users/{user}/tokens"), token).await.expect(403);
        cloud.delete(&format!("/v3/credentials/{}", id(&key)), &admin).await.expect(204);
        cloud.get("/v3/auth/projects", token).await.expect(401);
    }
}

#[tokio::test]
async fn a_gateway_may_read_the_secret_of_a_key_and_believe_what_it_is_told_for_a_minute() {
    let gateway = Settings { gateway: Some(Duration::from_secs(60)), ..Settings::default() };
    for cloud in clouds_with(&gateway).await {
        let demo = cloud.demo().await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let blob = json!({ "access": "AK", "secret": "topsecret" }).to_string();
        let key = json!({ "type": "ec2", "blob": blob, "project_id": project, "user_id": user });
        let key = post(&cloud, &demo, "credentials", "credential", key).await;
        cloud.ensure("service", "radosgw", "service").await;
        let service = cloud.login("radosgw", PASSWORD, in_project("service")).await.token();
        // The clock of a new cloud stands at 11:06:40.
        let in_a_minute = "2026-11-18T11:07:40.000000Z";
        let signed = |access: &str, token: &str| json!({ "credentials": { "access": access, "signature": SIGNATURE, "token": token } });
        let ask = async |access: &str, token: &str| {
            cloud.call("POST", "/v3/s3tokens", &service, signed(access, token)).await
        };
        let told = ask("AK", STRING_TO_SIGN).await.expect(200);
        assert_eq!(told["token"]["expires_at"], in_a_minute);
        assert_eq!(told["token"]["project"]["id"], json!(project));
        assert!(told["token"]["roles"].to_string().contains("member"), "{told}");
        // S3 tells an unknown key from a wrong signature, however often it is asked.
        for _ in 0..15 {
            ask("nobody's", STRING_TO_SIGN).await.expect(404);
            ask("AK", "R0VUCg==").await.expect(401);
        }
        cloud.send("POST", "/v3/s3tokens", &[], signed("AK", STRING_TO_SIGN).to_string()).await.expect(401);
        cloud.call("POST", "/v3/s3tokens", &demo, signed("AK", STRING_TO_SIGN)).await.expect(403);

        // The secret of a key that it can name, and nothing else: it neither lists nor ends any.
        let ec2 = format!("/v3/users/{user}/credentials/OS-EC2");
        assert_eq!(
            cloud.get(&format!("{ec2}/AK"), &service).await.expect(200)["credential"]["secret"],
            "topsecret"
        );
        cloud.get(&format!("/v3/users/{project}/credentials/OS-EC2/AK"), &service).await.expect(404);
        cloud.get(&ec2, &service).await.expect(403);
        cloud.get(&format!("/v3/credentials/{}", id(&key)), &service).await.expect(404);
        cloud.delete(&format!("{ec2}/AK"), &service).await.expect(404);
        cloud.get(&format!("{ec2}/AK"), &demo).await.expect(200);

        // The token of a user is told to end soon as well, to the gateway alone.
        let show = async |by: &str| {
            let headers = [("x-auth-token", by), ("x-subject-token", demo.as_str())];
            cloud.send("GET", "/v3/auth/tokens", &headers, String::new()).await.expect(200)["token"].clone()
        };
        assert_eq!(show(&service).await["expires_at"], in_a_minute);
        assert_ne!(show(&demo).await["expires_at"], in_a_minute);
    }
}

/// A request of the time at which the clock of a new cloud stands, signed with `topsecret`.
fn signed_request(access: &str) -> Value {
    json!({ "credentials": {
        "access": access, "signature": "2fLXdcYq1v7rxjGat3ZznDWK/takowsw4yFyx2RHfUI=",
        "host": "ec2.test", "verb": "GET", "path": "/", "params": {
            "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": "2026-11-18T11:06:40Z",
        },
    } })
}

#[tokio::test]
async fn an_access_key_may_change_and_what_the_old_one_signed_ends() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        cloud.ensure("service", "swift", "service").await;
        let service = cloud.login("swift", PASSWORD, in_project("service")).await.token();
        let blob = |access: &str| json!({ "access": access, "secret": "topsecret" }).to_string();
        let key = |access: &str| json!({ "type": "ec2", "blob": blob(access), "project_id": project, "user_id": user });
        let made = post(&cloud, &demo, "credentials", "credential", key("old")).await;
        post(&cloud, &demo, "credentials", "credential", key("taken")).await;
        let sign =
            async |access: &str| cloud.call("POST", "/v3/ec2tokens", &service, signed_request(access)).await;
        let token = sign("old").await.headers["x-subject-token"].to_str().unwrap().to_owned();
        cloud.get("/v3/auth/projects", &token).await.expect(200);

        let path = format!("/v3/credentials/{}", id(&made));
        let change = async |access: &str| {
            let body = json!({ "credential": { "blob": blob(access) } });
            cloud.call("PATCH", &path, &demo, body).await
        };
        change("taken").await.expect(409);
        cloud.get("/v3/auth/projects", &token).await.expect(200);
        let changed = change("new").await.expect(200);
        assert_eq!(changed["credential"]["id"], made["id"]);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        sign("old").await.expect(401);
        let token = sign("new").await.headers["x-subject-token"].to_str().unwrap().to_owned();
        let ec2 = format!("/v3/users/{user}/credentials/OS-EC2");
        cloud.get(&format!("{ec2}/old"), &demo).await.expect(404);
        cloud.get(&format!("{ec2}/new"), &demo).await.expect(200);
        let other = cloud.second_process();
        other.get("/v3/auth/projects", &token).await.expect(200);
        cloud.delete(&format!("{ec2}/new"), &demo).await.expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
    }
}

#[tokio::test]
async fn two_factors_are_asked_for_one_after_the_other_and_a_passcode_counts_once() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let user = cloud.id("users", "demo").await;
        let seed = Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned());
        let body = json!({ "type": "totp", "blob": seed.expose(), "user_id": user });
        post(&cloud, &admin, "credentials", "credential", body).await;
        let rules = json!({ "user": { "options": {
            "multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "totp"]],
        } } });
        cloud.call("PATCH", &format!("/v3/users/{user}"), &admin, rules).await.expect(200);
        let first = cloud.login("demo", PASSWORD, in_project("demo")).await;
        assert_eq!(first.status, 401);
        assert_eq!(first.body["required_auth_methods"], json!([["password", "totp"]]));
        assert_eq!(first.body["receipt"]["methods"], json!(["password"]));
        let receipt = first.headers["openstack-auth-receipt"].to_str().unwrap().to_owned();
        let code = || TotpKey::parse(&seed).unwrap().passcode(cloud.cx.now()).expose().clone();
        let totp = |code: &str| json!({ "user": { "id": user, "passcode": code } });
        let auth = |identity: Value| {
            json!({ "auth": { "identity": identity, "scope": in_project("demo") } }).to_string()
        };
        let second = auth(json!({ "methods": ["totp"], "totp": totp(&code()) }));
        let with = [("openstack-auth-receipt", receipt.as_str())];
        let wrong = auth(json!({ "methods": ["totp"], "totp": totp("000000") }));
        cloud.send("POST", "/v3/auth/tokens", &with, wrong).await.expect(401);
        let issued = cloud.send("POST", "/v3/auth/tokens", &with, second.clone()).await;
        assert_eq!(issued.status, 201, "{}", issued.body);
        assert_eq!(issued.body["token"]["methods"], json!(["password", "totp"]));
        cloud.send("POST", "/v3/auth/tokens", &with, second).await.expect(401);
        cloud.get("/v3/auth/projects", &receipt).await.expect(401);

        cloud.clock.advance(Duration::from_secs(60));
        let mut both = by_password("demo", PASSWORD);
        both["methods"] = json!(["password", "totp"]);
        both["totp"] = totp(&code());
        let token = cloud.issue(both, in_project("demo")).await.token();
        cloud.rescope(&token, in_project("demo")).await.expect(201);
        cloud.clock.advance(Duration::from_secs(300));
        let late = auth(json!({ "methods": ["totp"], "totp": totp(&code()) }));
        cloud.send("POST", "/v3/auth/tokens", &with, late).await.expect(401);
    }
}
