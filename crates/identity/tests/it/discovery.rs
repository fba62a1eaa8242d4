use serde_json::json;

use crate::cloud::clouds;

#[tokio::test]
async fn the_version_documents_name_the_public_address() {
    for cloud in clouds().await {
        let versions = cloud.send("GET", "", &[], String::new()).await;
        assert_eq!(versions.headers["location"], "https://cloud.test/identity/v3/");
        let versions = versions.expect(300);
        assert_eq!(cloud.send("GET", "/", &[], String::new()).await.expect(300), versions);
        let version = &versions["versions"]["values"][0];
        assert_eq!(version["id"], "v3.14");
        assert_eq!(version["links"][0]["href"], "https://cloud.test/identity/v3/");
        for path in ["/v3", "/v3/"] {
            let one = cloud.send("GET", path, &[], String::new()).await.expect(200);
            assert_eq!(&one["version"], version);
        }
    }
}

#[tokio::test]
async fn regions_services_and_endpoints_are_those_of_the_catalog() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let catalog = cloud.get("/v3/auth/catalog", &admin).await.expect(200);
        assert_eq!(catalog["links"], json!({ "self": "https://cloud.test/identity/v3/auth/catalog" }));
        let entry = &catalog["catalog"][1];
        assert_eq!(entry["type"], "block-storage");
        let project = cloud.id("projects", "admin").await;
        let url = entry["endpoints"][0]["url"].as_str().unwrap();
        assert_eq!(url, format!("https://cloud.test/volume/v3/{project}"));

        let regions = cloud.get("/v3/regions", &admin).await.expect(200);
        assert_eq!(regions["regions"][0]["id"], "RegionOne");
        cloud.get("/v3/regions/RegionOne", &admin).await.expect(200);
        cloud.get("/v3/regions/Atlantis", &admin).await.expect(404);

        let services = cloud.get("/v3/services?type=block-storage", &admin).await.expect(200);
        assert_eq!(services["services"].as_array().unwrap().len(), 1);
        assert_eq!(services["services"][0]["id"], entry["id"]);
        let endpoints = cloud.get("/v3/endpoints?interface=public", &admin).await.expect(200);
        assert_eq!(endpoints["endpoints"].as_array().unwrap().len(), 3);
        assert_eq!(endpoints["endpoints"][2]["url"], "https://s3.cloud.test", "a listener of its own");
        let id = endpoints["endpoints"][1]["id"].as_str().unwrap();
        let one = cloud.get(&format!("/v3/endpoints/{id}"), &admin).await.expect(200);
        assert_eq!(one["endpoint"]["service_id"], entry["id"]);
    }
}
