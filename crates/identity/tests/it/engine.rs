//! The assignment engine against a slow, obvious model: implied × inherited × group × system.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloud::{Cloud, clouds};

/// What there is: names are indexes, ids are what the cloud gave.
struct World {
    users: Vec<String>,
    groups: Vec<String>,
    /// Path below `/v3/` and, for a project, the index of what is above it.
    sites: Vec<(String, Option<usize>)>,
    roles: Vec<String>,
    /// The last role belongs to the domain of the first site.
    domain_role: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Member { group: usize, user: usize },
    Given { group: bool, holder: usize, site: usize, role: usize, inherited: bool },
    Implies { above: usize, below: usize },
}

impl World {
    /// As anybody would explain it, with no thought for speed.
    fn roles(&self, facts: &BTreeSet<Fact>, user: usize, site: usize) -> BTreeSet<usize> {
        let mut above = Vec::new();
        let mut at = self.sites[site].1;
        while let Some(place) = at {
            above.push(place);
            at = self.sites[place].1;
        }
        let mut held = BTreeSet::new();
        for fact in facts {
            if let Fact::Given { group, holder, site: place, role, inherited } = *fact {
                let is_theirs = if group {
                    facts.contains(&Fact::Member { group: holder, user })
                } else {
                    holder == user
                };
                let counts = if inherited { above.contains(&place) } else { place == site };
                if is_theirs && counts {
                    held.insert(role);
                }
            }
        }
        loop {
            let more: Vec<usize> = facts
                .iter()
                .filter_map(|fact| match *fact {
                    Fact::Implies { above, below } if held.contains(&above) => Some(below),
                    _ => None,
                })
                .filter(|below| !held.contains(below))
                .collect();
            if more.is_empty() {
                break;
            }
            held.extend(more);
        }
        held.remove(&self.domain_role);
        held
    }

    /// `None` for what the API has no way to say.
    fn path(&self, fact: Fact) -> Option<String> {
        match fact {
            Fact::Member { group, user } => {
                Some(format!("groups/{}/users/{}", self.groups[group], self.users[user]))
            }
            Fact::Implies { above, below } if above < below => {
                Some(format!("roles/{}/implies/{}", self.roles[above], self.roles[below]))
            }
            Fact::Implies { .. } => None,
            Fact::Given { group, holder, site, role, inherited } => {
                let place = &self.sites[site].0;
                let who = if group {
                    format!("groups/{}", self.groups[holder])
                } else {
                    format!("users/{}", self.users[holder])
                };
                let path = format!("{place}/{who}/roles/{}", self.roles[role]);
                match (inherited, place.as_str()) {
                    (true, "system") => None,
                    (true, _) => Some(format!("OS-INHERIT/{path}/inherited_to_projects")),
                    // A role of one domain is given in that domain only.
                    _ => Some(path),
                }
            }
        }
    }
}

async fn create(cloud: &Cloud, admin: &str, noun: &str, body: Value) -> String {
    let made = cloud.call("POST", &format!("/v3/{noun}s"), admin, json!({ noun: body })).await.expect(201);
    made[noun]["id"].as_str().unwrap().to_owned()
}

async fn world(cloud: &Cloud, admin: &str) -> World {
    let mut world =
        World { users: Vec::new(), groups: Vec::new(), sites: Vec::new(), roles: Vec::new(), domain_role: 4 };
    let home = create(cloud, admin, "domain", json!({ "name": "home" })).await;
    let away = create(cloud, admin, "domain", json!({ "name": "away" })).await;
    world.sites.push((format!("domains/{home}"), None));
    world.sites.push((format!("domains/{away}"), None));
    world.sites.push(("system".to_owned(), None));
    // A tree and a lone project: 3 < 4 < 5, 3 < 6 at home, 7 away.
    for (name, above) in [(3, 0), (4, 3), (5, 4), (6, 3), (7, 1)] {
        let above_id = world.sites[above].0.split_once('/').unwrap().1.to_owned();
        let body = json!({ "name": format!("p{name}"), "parent_id": above_id });
        let id = create(cloud, admin, "project", body).await;
        world.sites.push((format!("projects/{id}"), Some(above)));
    }
    for name in ["ada", "ben"] {
        let user = json!({ "name": name, "domain_id": home, "password": "correct horse" });
        world.users.push(create(cloud, admin, "user", user).await);
    }
    for name in ["one", "two"] {
        world.groups.push(create(cloud, admin, "group", json!({ "name": name, "domain_id": home })).await);
    }
    for name in ["r0", "r1", "r2", "r3"] {
        world.roles.push(create(cloud, admin, "role", json!({ "name": name })).await);
    }
    world.roles.push(create(cloud, admin, "role", json!({ "name": "r4", "domain_id": home })).await);
    world
}

/// All that the effective list says, as indexes.
async fn listed(cloud: &Cloud, admin: &str, world: &World, query: &str) -> BTreeSet<(usize, usize, usize)> {
    let path = format!("/v3/role_assignments?effective{query}");
    let list = cloud.get(&path, admin).await.expect(200);
    let find = |all: &[String], id: &Value| all.iter().position(|known| known == id.as_str().unwrap());
    let mut lines = BTreeSet::new();
    for line in list["role_assignments"].as_array().unwrap() {
        let scope = &line["scope"];
        let place = if scope["system"].is_object() {
            "system".to_owned()
        } else if let Some(id) = scope["project"]["id"].as_str() {
            format!("projects/{id}")
        } else {
            format!("domains/{}", scope["domain"]["id"].as_str().unwrap())
        };
        let site = world.sites.iter().position(|known| known.0 == place);
        let user = find(&world.users, &line["user"]["id"]);
        if let (Some(user), Some(site)) = (user, site) {
            lines.insert((user, site, find(&world.roles, &line["role"]["id"]).unwrap()));
        }
    }
    lines
}

fn random(cloud: &Cloud, below: usize) -> usize {
    usize::from(u16::from_be_bytes(cloud.cx.bytes())) % below
}

fn fact(cloud: &Cloud, world: &World) -> Fact {
    match random(cloud, 6) {
        0 => Fact::Member { group: random(cloud, 2), user: random(cloud, 2) },
        1 => Fact::Implies { above: random(cloud, 5), below: random(cloud, 5) },
        _ => Fact::Given {
            group: random(cloud, 2) == 0,
            holder: random(cloud, 2),
            site: random(cloud, world.sites.len()),
            role: random(cloud, 5),
            inherited: random(cloud, 2) == 0,
        },
    }
}

#[tokio::test]
async fn effective_rights_are_what_a_slow_and_obvious_model_says() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let world = world(&cloud, &admin).await;
        let mut facts: BTreeSet<Fact> = BTreeSet::new();
        let mut held = 0;
        for step in 0..140 {
            let fact = fact(&cloud, &world);
            let Some(path) = world.path(fact) else { continue };
            let path = format!("/v3/{path}");
            if facts.contains(&fact) {
                cloud.delete(&path, &admin).await.expect(204);
                facts.remove(&fact);
            } else {
                let answer = cloud.call("PUT", &path, &admin, Value::Null).await;
                // A role of one domain is refused where it does not belong.
                if answer.status == 403 {
                    continue;
                }
                assert!(matches!(answer.status, 201 | 204), "{fact:?}: {}", answer.body);
                facts.insert(fact);
            }
            let mut expected = BTreeSet::new();
            for user in 0..world.users.len() {
                for site in 0..world.sites.len() {
                    let roles = world.roles(&facts, user, site);
                    expected.extend(roles.into_iter().map(|role| (user, site, role)));
                }
            }
            held = held.max(expected.len());
            assert_eq!(listed(&cloud, &admin, &world, "").await, expected, "step {step}: {facts:?}");

            // The same through filters, through a token, and in a process that has not seen the writes.
            let (user, site) = (random(&cloud, 2), random(&cloud, world.sites.len()));
            let here: BTreeSet<_> =
                expected.iter().copied().filter(|line| line.0 == user && line.1 == site).collect();
            let (place, id) = world.sites[site].0.split_once('/').unwrap_or(("systems", "all"));
            let noun = place.trim_end_matches('s');
            let scope = if noun == "system" {
                "scope.system=all".to_owned()
            } else {
                format!("scope.{noun}.id={id}")
            };
            let query = format!("&user.id={}&{scope}", world.users[user]);
            assert_eq!(listed(&cloud, &admin, &world, &query).await, here, "step {step}: {query}");
            if step % 10 == 0 {
                let scope = if noun == "system" {
                    json!({ noun: { "all": true } })
                } else {
                    json!({ noun: { "id": id } })
                };
                let user = json!({ "id": world.users[user], "password": "correct horse" });
                let who = json!({ "methods": ["password"], "password": { "user": user } });
                let issued = cloud.second_process().issue(who, scope).await;
                let mut ids: Vec<&str> = issued.body["token"]["roles"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|role| role["id"].as_str().unwrap())
                    .collect();
                let mut wanted: Vec<&str> = here.iter().map(|line| world.roles[line.2].as_str()).collect();
                ids.sort_unstable();
                wanted.sort_unstable();
                assert_eq!(ids, wanted, "step {step}: {}", issued.body);
            }
        }
        assert!(held > 20, "the walk must get somewhere: {held}");
    }
}
