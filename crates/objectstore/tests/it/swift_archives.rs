//! Archives that become objects.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::swift::{Swift, json_of};

/// A tar archive of files, with a directory and a link among them.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for kind in [tar::EntryType::Directory, tar::EntryType::Symlink, tar::EntryType::Link] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_link_name("/etc/passwd").unwrap();
        archive.append_data(&mut header, format!("cont/{kind:?}"), &b""[..]).unwrap();
    }
    for (name, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        // Names as they are: also those that the library would not write.
        if name.len() <= 100 {
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, *body).unwrap();
        } else {
            archive.append_data(&mut header, name, *body).unwrap();
        }
    }
    archive.into_inner().unwrap()
}

async fn extract(swift: &Swift, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let headers = [&[("accept", "application/json")], headers].concat();
    json_of(&swift.send("PUT", path, &headers, body).await.expect(200))
}

#[tokio::test]
async fn each_file_becomes_an_object() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let long = format!("cont/{}", "long/".repeat(40));
    let long = long.trim_end_matches('/');
    let plain = tar(&[("cont/a", b"1"), ("./cont/dir/large", &large), ("Other/empty", b""), (long, b"22")]);
    let gzip = {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap()
    };
    let bzip2 = {
        let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap()
    };
    for (packing, body) in [("tar", &plain), ("tar.gz", &gzip), ("tar.bz2", &bzip2)] {
        let path = format!("?extract-archive={packing}");
        let done = extract(&member, &path, &[("x-object-meta-color", "red")], body).await;
        let expected = json!({
            "Number Files Created": 4, "Response Status": "201 Created", "Response Body": "", "Errors": [],
        });
        assert_eq!(done, expected, "{packing}");
        let listed = member.get("/cont").await.expect(200).text();
        assert_eq!(
            listed.lines().collect::<Vec<_>>(),
            ["a", "dir/large", &long["cont/".len()..]],
            "{packing}"
        );
        let read = member.get("/cont/dir/large").await.expect(200);
        assert!(read.body == large, "{packing}");
        assert_eq!(
            (read.header("x-object-meta-color"), read.header("content-type")),
            ("red", "application/octet-stream")
        );
        assert_eq!(member.get("/Other").await.text(), "empty\n");
        for object in ["a", "dir/large", &long["cont/".len()..]] {
            member.delete(&format!("/cont/{object}")).await.expect(204);
        }
    }
    // Below a container, or a prefix in it. The headers are those of the objects.
    let done = extract(
        &member,
        "/cont/below/?extract-archive=tar",
        &[("x-delete-after", "9")],
        &tar(&[("x/y", b"1")]),
    )
    .await;
    assert_eq!(done["Number Files Created"], 1);
    assert!(member.head("/cont/below/x/y").await.expect(200).headers.contains_key("x-delete-at"));
    let text = member.put("/cont?extract-archive=tar", &tar(&[("z", b"1")])).await.expect(200).text();
    assert!(
        text.starts_with("Number Files Created: 1\nResponse Body: \nResponse Status: 201 Created\n"),
        "{text}"
    );
    assert_eq!(member.get("/cont").await.text(), "below/x/y\nz\n");
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_one_by_one() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.send("PUT", "/cont", &[("x-container-meta-quota-bytes", "10")], b"").await.expect(201);
    let good = tar(&[("cont/a", b"1"), ("alone", b"1"), ("cont/large", &[0; 200_000]), ("cont/b", b"2")]);
    let done = extract(&member, "?extract-archive=tar", &[], &good).await;
    assert_eq!(
        done,
        json!({
            "Number Files Created": 2,
            "Response Status": "400 Bad Request",
            "Response Body": "",
            "Errors": [["alone", "412 Precondition Failed"], ["cont/large", "413 Payload Too Large"]],
        })
    );
    assert_eq!(member.get("/cont").await.text(), "a\nb\n");
    // What is no archive, is none of the kinds, or has nothing in it.
    for (packing, body) in [
        ("tar", &b"no archive, though of some length"[..]),
        ("tar.gz", &good),
        ("tar.bz2", b"x"),
        ("tar", b""),
        ("tar", &tar(&[])),
    ] {
        let done = extract(&member, &format!("?extract-archive={packing}"), &[], body).await;
        assert_eq!(done["Response Status"], "400 Bad Request", "{packing}");
        assert!(done["Response Body"].as_str().unwrap().starts_with("Invalid Tar File"), "{done}");
        assert_eq!(done["Number Files Created"], 0);
    }
    member.put("?extract-archive=zip", &good).await.expect(400);
    // One that breaks off leaves what was whole, and nothing of what was not.
    let cut = tar(&[("cont/c", b"3"), ("Cut/large", &[1; 200_000])]);
    let done = extract(&member, "?extract-archive=tar", &[], &cut[..cut.len() - 100_000]).await;
    assert_eq!(
        (&done["Number Files Created"], &done["Response Status"]),
        (&json!(1), &json!("400 Bad Request"))
    );
    member.get("/Cut/large").await.expect(404);
    // Others get what they would get one by one.
    for (token, status) in [("reader-mine", "403 Forbidden"), ("member-other", "403 Forbidden")] {
        let done = extract(&cloud.swift(token), "?extract-archive=tar", &[], &tar(&[("cont/d", b"4")])).await;
        assert_eq!(done["Errors"], json!([["cont/d", status]]), "{token}");
    }
    member.post("/cont", &[("x-container-write", "other:*")]).await.expect(204);
    let done = extract(
        &cloud.swift("member-other"),
        "?extract-archive=tar",
        &[],
        &tar(&[("cont/d", b"4"), ("New/e", b"5")]),
    )
    .await;
    assert_eq!(done["Errors"], json!([["New/e", "403 Forbidden"]]));
    cloud.swift("").put("?extract-archive=tar", &good).await.expect(401);
}
