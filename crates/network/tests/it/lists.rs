use serde_json::{Value, json};

use crate::world::{ADA, World};

fn names(body: &Value) -> Vec<&str> {
    body["networks"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

async fn five(world: &World) {
    for name in ["e", "a", "d", "b", "c"] {
        world.make(ADA, "networks", json!({"name": name, "admin_state_up": name != "d"})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_by_any_field_and_cut_to_the_fields_asked_for() {
    for world in World::all().await {
        five(&world).await;
        let query = "/networks?name=a&name=b&sort_key=name&fields=name&fields=id";
        let both = world.get(ADA, query).await;
        assert_eq!(names(&both), ["a", "b"]);
        assert_eq!(both["networks"][0].as_object().unwrap().len(), 2);
        assert_eq!(names(&world.get(ADA, "/networks?admin_state_up=False").await), ["d"]);
        assert_eq!(names(&world.get(ADA, "/networks?tenant_id=p1&name=c").await), ["c"]);
        assert!(names(&world.get(ADA, "/networks?project_id=p2").await).is_empty());
        let id = both["networks"][0]["id"].as_str().unwrap();
        let shown = world.get(ADA, &format!("/networks/{id}?fields=status")).await;
        assert_eq!(shown, json!({"network": {"status": "ACTIVE"}}));
        for wrong in ["colour=red", "limit=x", "marker=nothing", "sort_key=colour", "admin_state_up=perhaps"]
        {
            let answer = world.call(ADA, "GET", &format!("/networks?{wrong}"), Value::Null).await;
            assert_eq!(answer.status, 400, "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_on_and_back_by_their_links() {
    for world in World::all().await {
        five(&world).await;
        for (sort, expected) in [
            ("sort_key=name&sort_dir=asc", ["a", "b", "c", "d", "e"]),
            ("sort_key=name&sort_dir=desc", ["e", "d", "c", "b", "a"]),
            ("sort_key=admin_state_up&sort_dir=asc&sort_key=name&sort_dir=desc", ["d", "e", "c", "b", "a"]),
        ] {
            let mut path = format!("/networks?limit=2&{sort}");
            let mut seen: Vec<String> = Vec::new();
            let mut back = None;
            loop {
                let page = world.get(ADA, &path).await;
                seen.extend(names(&page).into_iter().map(str::to_owned));
                let link = |rel: &str| {
                    let links = page["networks_links"].as_array()?;
                    let href = links.iter().find(|link| link["rel"] == rel)?["href"].as_str()?;
                    Some(href.strip_prefix("https://cloud/network/v2.0").unwrap().to_owned())
                };
                match link("next") {
                    Some(next) => path = next,
                    None => {
                        back = link("previous").or(back);
                        break;
                    }
                }
            }
            assert_eq!(seen, expected, "{sort} on {}", world.test.engine);
            let before = world.get(ADA, &back.unwrap()).await;
            assert_eq!(names(&before), expected[2..4], "the page before the last");
        }
        let all = world.get(ADA, "/networks").await;
        assert_eq!(names(&all).len(), 5);
        assert!(all.get("networks_links").is_none());
        assert!(names(&world.get(ADA, "/networks?limit=0").await).is_empty());
    }
}
