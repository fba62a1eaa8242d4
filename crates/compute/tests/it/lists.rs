use serde_json::{Value, json};

use crate::harness::{Bench, benches};
use crate::ports::{BIG_IMAGE, IMAGE, NETWORK};

async fn names(bench: &Bench, token: &str, query: &str) -> Vec<String> {
    let mut all = Vec::new();
    for kind in ["", "/detail"] {
        let path = format!("/compute/v2.1/servers{kind}?{query}");
        let list = bench.client.get(&path, token).await.expect(200).json();
        let names = list["servers"].as_array().unwrap().iter();
        all.push(names.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(all[0], all[1], "{query}");
    all.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_sorted_and_paged() {
    for bench in benches().await {
        let fixed = json!({"name": "web-Alpha", "networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.200"}]});
        let alpha = bench.active("member@p1", fixed).await;
        let big = json!({"name": "db_beta", "imageRef": BIG_IMAGE, "flavorRef": "SCS-1V-2"});
        bench.active("member@p1", big).await;
        let gamma = bench.active("member@p1", json!({"name": "web-gamma"})).await;
        bench.act("member@p1", gamma, json!({"os-stop": null})).await.expect(202);
        bench.reaches(gamma, "SHUTOFF").await;
        bench.active("member@p2", json!({"name": "other"})).await;
        for (query, mut expected) in [
            ("sort_key=display_name&sort_dir=asc".to_owned(), vec!["db_beta", "web-Alpha", "web-gamma"]),
            ("name=web".to_owned(), vec!["web-Alpha", "web-gamma"]),
            ("name=ALPHA".to_owned(), vec!["web-Alpha"]),
            ("name=^web-gamma$".to_owned(), vec!["web-gamma"]),
            ("name=^gamma".to_owned(), vec![]),
            ("name=w.*a$".to_owned(), vec!["web-Alpha", "web-gamma"]),
            ("name=b_b".to_owned(), vec!["db_beta"]),
            ("name=%25".to_owned(), vec![]),
            ("status=active".to_owned(), vec!["db_beta", "web-Alpha"]),
            ("status=SHUTOFF".to_owned(), vec!["web-gamma"]),
            ("status=SHUTOFF&status=ACTIVE".to_owned(), vec!["db_beta", "web-Alpha", "web-gamma"]),
            ("status=non_existing".to_owned(), vec![]),
            ("flavor=SCS-1V-2".to_owned(), vec!["db_beta"]),
            ("flavor=nothing".to_owned(), vec![]),
            (format!("image={IMAGE}"), vec!["web-Alpha", "web-gamma"]),
            ("image=nothing".to_owned(), vec![]),
            (format!("uuid={alpha}"), vec!["web-Alpha"]),
            ("ip=10.0.0.200".to_owned(), vec!["web-Alpha"]),
            ("ip=10.0.0.2".to_owned(), vec!["web-Alpha"]),
            ("ip=192.168".to_owned(), vec![]),
            ("changes-since=2000-01-01T00:00:00Z".to_owned(), vec!["db_beta", "web-Alpha", "web-gamma"]),
            ("changes-since=2051-01-01T12:34:00Z".to_owned(), vec![]),
            ("limit=0".to_owned(), vec![]),
        ] {
            let mut found = names(&bench, "reader@p1", &query).await;
            found.sort();
            expected.sort_unstable();
            assert_eq!(found, expected, "{query} on {}", bench.test.engine);
        }
        for wrong in
            ["limit=-1", "limit=aaa", "marker=nobody", "changes-since=2011/01/01", "sort_key=x", "sort_dir=x"]
        {
            bench.client.get(&format!("/compute/v2.1/servers?{wrong}"), "reader@p1").await.expect(400);
        }
        assert_eq!(names(&bench, "admin@ops", "").await.len(), 0);
        assert_eq!(names(&bench, "admin@ops", "all_tenants=1").await.len(), 4);
        assert_eq!(names(&bench, "admin@ops", "all_tenants=1&project_id=p2").await, ["other"]);
        bench.client.get("/compute/v2.1/servers?all_tenants=1", "reader@p1").await.expect(403);
        assert_eq!(names(&bench, "reader@p1", "tenant_id=p2").await.len(), 3, "a filter for admins alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_a_long_list_costs_no_more_reads() {
    for bench in benches().await {
        bench.try_create("member@p1", json!({"min_count": 7})).await.expect(202);
        let mut path = "/compute/v2.1/servers/detail?limit=3&sort_key=display_name&sort_dir=asc".to_owned();
        let mut seen = Vec::new();
        *bench.neighbours.reads.lock().unwrap() = 0;
        loop {
            let page = bench.client.get(&path, "reader@p1").await.expect(200).json();
            seen.extend(page["servers"].as_array().unwrap().iter().map(|one| one["name"].clone()));
            let Some(next) = page["servers_links"][0]["href"].as_str() else { break };
            path = next.strip_prefix("https://cloud.example").unwrap().to_owned();
        }
        let expected: Vec<Value> = (1..=7).map(|number| format!("web-{number}").into()).collect();
        assert_eq!(seen, expected, "{}", bench.test.engine);
        assert_eq!(*bench.neighbours.reads.lock().unwrap(), 3, "one read of ports a page");
    }
}
