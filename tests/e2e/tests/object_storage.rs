//! Object storage through the stock clients of S3.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use hanse_e2e::objects::{ENDPOINT, Key, REGION, assert_same, possible};
use hanse_e2e::plane::Plane;
use hanse_e2e::postgres::Database;
use hanse_e2e::{Cloud, fails, ok};
use serde_json::{Value, json};

const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

/// For as long may the control plane believe what it was told last, and a little more.
const TRUSTED: Duration = Duration::from_millis(1200);

const MIB: u64 = 1 << 20;

fn start(name: &str, extra: &str) -> Option<Cloud> {
    if !possible() {
        return None;
    }
    let cloud = Cloud::new(name, &format!("{SIM}\n{extra}"));
    cloud.hanse_ok(&["up"]);
    Some(cloud)
}

#[test]
fn the_aws_command_line_keeps_files_small_and_large() {
    let Some(cloud) = start("s3-aws", "") else { return };
    let key = cloud.key_of("ada", "blue");
    let aws = |arguments: &[&str]| ok(&mut cloud.aws(&key, arguments));
    aws(&["s3", "mb", "s3://files"]);
    assert!(aws(&["s3", "ls"]).contains("files"));
    // Eight MiB and more go up in parts.
    let large = cloud.random_file("tree/large", 13 * MIB + 5);
    cloud.random_file("tree/deep/er/small", 5);
    cloud.random_file("tree/empty", 0);
    let (tree, back) = (cloud.file("tree").display().to_string(), cloud.file("back").display().to_string());
    aws(&["s3", "sync", &tree, "s3://files/tree"]);
    let head: Value =
        serde_json::from_str(&aws(&["s3api", "head-object", "--bucket", "files", "--key", "tree/large"]))
            .unwrap();
    assert_eq!(head["ContentLength"], 13 * MIB + 5, "{head}");
    assert!(head["ETag"].as_str().is_some_and(|etag| etag.ends_with("-2\"")), "{head}");
    aws(&["s3", "sync", "s3://files/tree", &back]);
    assert_same(&tree, &back);
    assert_eq!(aws(&["s3", "sync", &tree, "s3://files/tree", "--size-only"]).trim(), "", "nothing is new");
    aws(&["s3", "cp", "s3://files/tree/large", "s3://files/copy"]);
    let copy = cloud.file("copy").display().to_string();
    aws(&["s3", "cp", "s3://files/copy", &copy]);
    assert_same(&large, &copy);
    let listed = aws(&["s3", "ls", "--recursive", "s3://files"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let url = aws(&["s3", "presign", "s3://files/tree/deep/er/small"]);
    let mut get = cloud.s3("/usr/bin/python3", &key);
    let get = get.args(["-c", READ, url.trim()]).env("SSL_CERT_FILE", cloud.ca()).output().unwrap();
    assert_eq!(get.stdout, std::fs::read(cloud.file("tree/deep/er/small")).unwrap(), "{get:?}");
    assert!(fails(&mut cloud.aws(&key, &["s3", "rb", "s3://files"])).contains("BucketNotEmpty"));
    aws(&["s3", "rb", "--force", "s3://files"]);
    assert_eq!(aws(&["s3", "ls"]).trim(), "");
}

#[test]
fn boto3_and_minio_do_what_they_do_elsewhere() {
    let domain = "[objectstore]\ndomain = \"s3.example.org\"";
    let Some(cloud) = start("s3-py", domain) else { return };
    let key = cloud.key_of("ada", "blue");
    for what in ["objects", "versions", "uploads", "presigned", "minio", "virtual_host", "rules", "managed"] {
        cloud.python_s3(&key, &[what]);
    }
}

#[test]
fn websites_are_shown_webhooks_told_and_requests_written_down() {
    let around = "[objectstore]\nwebsite_domain = \"web.example.org\"\n[[objectstore.webhooks]]\nname = \"hook\"\n\
                  url = \"http://127.0.0.1:9009/hook\"";
    let Some(cloud) = start("s3-around", around) else { return };
    let key = cloud.key_of("ada", "blue");
    cloud.python_s3(&key, &["around"]);
    // Logs are delivered every few minutes, and at the end.
    cloud.hanse_ok(&["down"]);
    cloud.hanse_ok(&["up"]);
    cloud.python_s3(&key, &["logged"]);
}

#[test]
fn a_policy_opens_a_bucket_to_others_and_a_limit_closes_a_project() {
    let Some(cloud) = start("s3-policy", "") else { return };
    let [ada, eve] = [("ada", "blue"), ("eve", "green")].map(|(user, project)| cloud.key_of(user, project));
    let shown = |kind: &str, name: &str| cloud.openstack_json("hanse-admin", &[kind, "show", name]);
    let green = shown("project", "green")["id"].as_str().unwrap().to_owned();
    cloud.python_s3(&ada, &["policy", &green]);
    cloud.python_s3(&eve, &["opened"]);
    let admin = |arguments: &[&str]| ok(cloud.openstack("hanse-admin").args(arguments));
    admin(&["registered", "limit", "create", "--service", "s3", "--default-limit", "-1", "bytes"]);
    admin(&["limit", "create", "--service", "s3", "--project", "green", "--resource-limit", "1000", "bytes"]);
    std::thread::sleep(TRUSTED);
    cloud.python_s3(&eve, &["full"]);
}

#[test]
fn s3cmd_rclone_and_restic_bring_back_what_they_were_given() {
    let Some(cloud) = start("s3-tools", "") else { return };
    let key = cloud.key_of("ada", "blue");
    for (name, bytes) in [("large", 17 * MIB), ("dir/with space & more", 70_000), ("dir/ü", 5), ("empty", 0)]
    {
        cloud.random_file(&format!("tree/{name}"), bytes);
    }
    let at = |name: &str| cloud.file(name).display().to_string();
    let tree = at("tree");

    let s3cmd = |arguments: &[&str]| {
        let mut command = cloud.s3("s3cmd", &key);
        command.args([
            "--host=127.0.0.1:8444",
            "--host-bucket=127.0.0.1:8444",
            "--region=us-east-1",
            "--no-progress",
        ]);
        command.arg(format!("--ca-certs={}", cloud.ca().display()));
        ok(command.args(arguments))
    };
    s3cmd(&["mb", "s3://cmd"]);
    s3cmd(&["sync", &format!("{tree}/"), "s3://cmd/tree/"]);
    let back = at("s3cmd");
    std::fs::create_dir(&back).unwrap();
    s3cmd(&["sync", "s3://cmd/tree/", &format!("{back}/")]);
    assert_same(&tree, &back);
    assert!(s3cmd(&["ls", "s3://cmd/tree/"]).contains("s3://cmd/tree/large"));
    assert!(s3cmd(&["info", "s3://cmd/tree/dir/ü"]).contains("File size: 5"));
    s3cmd(&["rb", "--recursive", "--force", "s3://cmd"]);

    let rclone = |arguments: &[&str]| {
        let mut command = cloud.s3("rclone", &key);
        command.env("RCLONE_CONFIG_HANSE_TYPE", "s3").env("RCLONE_CONFIG_HANSE_PROVIDER", "Other");
        command.env("RCLONE_CONFIG_HANSE_ENV_AUTH", "true").env("RCLONE_CONFIG_HANSE_ENDPOINT", ENDPOINT);
        command.env("RCLONE_CONFIG_HANSE_REGION", REGION).env_remove("AWS_CA_BUNDLE");
        command.args(["--ca-cert", &cloud.ca().display().to_string(), "--retries", "1"]);
        ok(command.args(arguments))
    };
    rclone(&["mkdir", "hanse:clone"]);
    rclone(&[
        "sync",
        "--checksum",
        "--s3-upload-cutoff=5Mi",
        "--s3-chunk-size=5Mi",
        &tree,
        "hanse:clone/tree",
    ]);
    rclone(&["check", &tree, "hanse:clone/tree"]);
    rclone(&["sync", "--checksum", "hanse:clone/tree", &at("rclone")]);
    assert_same(&tree, &at("rclone"));
    std::fs::remove_file(cloud.file("tree/dir/ü")).unwrap();
    rclone(&["sync", "--checksum", &tree, "hanse:clone/tree"]);
    assert!(!rclone(&["lsf", "-R", "hanse:clone/tree"]).contains('ü'));
    rclone(&["purge", "hanse:clone"]);

    let restic = |arguments: &[&str]| {
        let mut command = cloud.s3("restic", &key);
        command
            .env("RESTIC_REPOSITORY", format!("s3:{ENDPOINT}/restic"))
            .env("RESTIC_PASSWORD", "correct horse");
        command.args(["--cacert", &cloud.ca().display().to_string(), "--no-cache"]);
        ok(command.args(arguments))
    };
    restic(&["init"]);
    restic(&["backup", &tree]);
    cloud.random_file("tree/later", 100_000);
    restic(&["backup", &tree]);
    restic(&["check", "--read-data"]);
    restic(&["restore", "latest", "--target", &at("restic")]);
    assert_same(&tree, &format!("{}{tree}", at("restic")));
    restic(&["forget", "--keep-last", "1", "--prune"]);
    restic(&["check", "--read-data"]);
}

#[test]
fn keys_are_made_listed_and_ended_by_the_operator() {
    let Some(cloud) = start("s3-keys", "") else { return };
    let create = ["s3", "keys", "create", "--user", "ada", "--project", "blue"];
    assert!(cloud.hanse_fails(&create).contains("ada"), "there is no such user");
    let key = cloud.key_of("ada", "blue");
    let list = |more: &[&str]| -> Value {
        let arguments = [&["s3", "keys", "list", "--json"], more].concat();
        serde_json::from_str(&cloud.hanse_ok(&arguments)).unwrap()
    };
    let listed = list(&[]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!((&listed[0]["access"], &listed[0]["live"]), (&json!(key.access), &json!(true)), "{listed}");
    assert_eq!((&listed[0]["user"], &listed[0]["project"]), (&json!("ada"), &json!("blue")), "{listed}");
    assert!(!listed.to_string().contains(&key.secret));
    assert_eq!(list(&["--project", "demo"]), json!([]));

    // One that the operator brings along.
    let brought = "AKIAIOSFODNN7EXAMPLE";
    let mut create = cloud.hanse();
    create.args([
        "s3",
        "keys",
        "create",
        "--user",
        "ada",
        "--project",
        "blue",
        "--access-key",
        brought,
        "--json",
    ]);
    let mut create = create.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    create.stdin.take().unwrap().write_all(b"a-secret-of-40-characters/and+then=some0\nmore\n").unwrap();
    let mut text = String::new();
    create.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(create.wait().unwrap().success());
    let own = Key::of(&text);
    assert_eq!((own.access.as_str(), own.secret.len()), (brought, 40));
    assert_eq!(own.project_id, key.project_id);
    let taken = ["s3", "keys", "create", "--user", "ada", "--project", "blue", "--access-key", brought];
    assert!(cloud.hanse_fails(&taken).contains("standard input holds no secret key"));
    ok(&mut cloud.aws(&own, &["s3", "mb", "s3://own"]));
    assert!(ok(&mut cloud.aws(&key, &["s3", "ls"])).contains("own"), "the project has the bucket");
    cloud.hanse_ok(&["s3", "keys", "delete", brought]);
    std::thread::sleep(TRUSTED);
    assert!(fails(&mut cloud.aws(&own, &["s3", "ls"])).contains("InvalidAccessKeyId"));
    assert!(cloud.hanse_fails(&["s3", "keys", "delete", brought]).contains(brought));
    let user = ["s3", "keys", "create", "--new", "--user", &key.user_id, "--project", "blue"];
    assert!(cloud.hanse_fails(&user).contains("names, not ids"));

    // Each change is an event, and secrets stand nowhere.
    let events = cloud.hanse_ok(&["admin", "audit", "export"]);
    let made = events.lines().filter(|line| line.contains("identity:ec2_create_credential")).count();
    let ended = events.lines().filter(|line| line.contains("identity:delete_credential")).count();
    assert_eq!((made, ended), (2, 1), "{events}");
    assert!(events.contains("objectstore:bucket:create"), "{events}");
    cloud.assert_hidden(&[key.secret, own.secret]);
}

#[test]
fn a_key_is_worth_what_its_user_may_do_now_and_in_its_project() {
    let Some(cloud) = start("s3-may", "") else { return };
    let admin = |arguments: &[&str]| ok(cloud.openstack("hanse-admin").args(arguments));
    let [ada, eve] = [("ada", "blue"), ("eve", "green")].map(|(user, project)| cloud.key_of(user, project));
    let what = |key: &Key| -> Value { serde_json::from_str(&cloud.python_s3(key, &["code"])).unwrap() };
    let all = |code: &str| json!({"list": code, "get": code, "put": code, "keys": code, "take": code, "delete": code});
    ok(&mut cloud.aws(&ada, &["s3", "mb", "s3://shared"]));
    ok(&mut cloud.aws(&ada, &["s3", "cp", &cloud.random_file("k", 5), "s3://shared/k"]));

    // Another project: the bucket is there, and not theirs.
    let mut expected = all("AccessDenied");
    expected["list"] = json!("ok");
    expected["take"] = json!("BucketAlreadyExists");
    assert_eq!(what(&eve), expected);

    // A key that nobody has, as the Sovereign Cloud Stack's check asks for it; and a wrong secret.
    let nobody = Key { access: "0".repeat(32), ..ada.clone() };
    assert_eq!(what(&nobody), all("InvalidAccessKeyId"));
    let forger = Key { secret: "1".repeat(32), ..ada.clone() };
    assert_eq!(what(&forger), all("SignatureDoesNotMatch"));

    // The client's own way to a key, found by the catalog.
    let made = cloud.openstack_json("hanse", &["ec2", "credentials", "create"]);
    let own = Key::of(&made.to_string());
    let catalog = cloud.openstack_json("hanse", &["catalog", "list"]).to_string();
    for kind in ["\"s3\"", "object-store-s3"] {
        assert!(catalog.contains(kind) && catalog.contains(ENDPOINT), "{catalog}");
    }
    ok(&mut cloud.aws(&own, &["s3", "mb", "s3://demos"]));
    assert!(ok(&mut cloud.aws(&own, &["s3", "ls"])).contains("demos"));

    // A reader reads.
    admin(&["role", "add", "--project", "blue", "--user", "ada", "reader"]);
    admin(&["role", "remove", "--project", "blue", "--user", "ada", "member"]);
    let mut expected = all("AccessDenied");
    for reading in ["list", "get", "keys"] {
        expected[reading] = json!("ok");
    }
    assert_eq!(what(&ada), expected);
    // Without any role the key is none, at once: the process that took the role away is the one that is asked.
    admin(&["role", "remove", "--project", "blue", "--user", "ada", "reader"]);
    assert_eq!(what(&ada), all("InvalidAccessKeyId"));
    admin(&["role", "add", "--project", "blue", "--user", "ada", "member"]);
    assert_eq!(what(&ada)["get"], "ok");
    admin(&["user", "set", "--disable", "ada"]);
    assert_eq!(what(&ada), all("InvalidAccessKeyId"));

    let verbs = cloud.hanse_ok(&["admin", "explain", "--user", "demo", "--verb", "list"]);
    assert!(verbs.contains("objectstore:object:put"), "{verbs}");
}

#[test]
fn what_was_acknowledged_is_there_whenever_the_control_plane_is_killed() {
    let Some(cloud) = start("s3-kill", "") else { return };
    let key = cloud.key_of("ada", "blue");
    let mut uploader = cloud.python("s3_uploader.py", &key, &[]);
    let mut out = BufReader::new(uploader.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    for round in 0..6 {
        std::thread::sleep(Duration::from_millis(2500 + 370 * round));
        cloud.kill("control_plane");
        cloud.hanse_ok(&["up"]);
    }
    std::thread::sleep(Duration::from_secs(2));
    writeln!(uploader.stdin.take().unwrap(), "enough").unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let mut said = String::new();
    uploader.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(uploader.wait().unwrap().success(), "{text}{said}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["wrong"], json!([]), "{found:#}");
    assert_eq!(found["refusals"], json!([]), "{found:#}");
    for kind in ["put", "overwrite", "delete", "upload"] {
        assert!(found["counts"][kind].as_u64().is_some_and(|count| count > 0), "{found:#}");
    }
    eprintln!("acknowledged and found: {}", found["counts"]);
}

#[test]
fn objects_on_a_disk_of_their_own_are_the_users_and_go_with_a_reset() {
    if !possible() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    ok(std::process::Command::new("chmod").arg("711").arg(place.path()));
    let objects = place.path().join("mounted/objects");
    let plain = format!(
        "{SIM}\n[objectstore]\ntls = false\npublic_url = \"http://127.0.0.1:8444\"\ndirectory = \"{}\"",
        objects.display()
    );
    let cloud = Cloud::new("s3-disk", &plain);
    std::fs::create_dir_all(&objects).unwrap();
    std::fs::write(objects.join("thesis.tex"), "x").unwrap();
    assert!(cloud.hanse_fails(&["up"]).contains("no objects of ours"));
    std::fs::remove_file(objects.join("thesis.tex")).unwrap();
    let said = cloud.hanse_ok(&["up"]);
    assert!(said.contains("http://127.0.0.1:8444"), "{said}");
    let status = cloud.status();
    assert_eq!(status["endpoints"]["s3"], "http://127.0.0.1:8444", "{status}");
    let mode = ok(std::process::Command::new("stat").args(["--format", "%a %U"]).arg(&objects));
    assert_eq!(mode, "700 nobody\n");
    let key = cloud.key_of("ada", "blue");
    let aws = |arguments: &[&str]| {
        let mut command = cloud.s3(hanse_e2e::objects::AWS, &key);
        ok(command.args(["--endpoint-url", "http://127.0.0.1:8444"]).args(arguments))
    };
    aws(&["s3", "mb", "s3://plain"]);
    let line = "a line that stands in no program of this machine\n";
    std::fs::write(cloud.file("file"), line.repeat(10_000)).unwrap();
    let file = cloud.file("file").display().to_string();
    aws(&["s3", "cp", &file, "s3://plain/file"]);
    cloud.hanse_ok(&["down"]);
    cloud.hanse_ok(&["up"]);
    let back = cloud.file("back").display().to_string();
    aws(&["s3", "cp", "s3://plain/file", &back]);
    assert_same(&file, &back);
    let mut grep = std::process::Command::new("grep");
    grep.args(["--recursive", "--text", "--fixed-strings", "--quiet", line.trim()]).arg(&objects);
    assert!(!grep.status().unwrap().success(), "an object lies on the disk as it was sent");
    cloud.hanse_ok(&["reset", "--yes"]);
    assert!(!objects.exists());
}

#[test]
fn a_copy_taken_while_clients_write_brings_everything_back_and_damage_is_found() {
    let Some(cloud) = start("s3-copy", "") else { return };
    let key = cloud.key_of("ada", "blue");
    let aws = |arguments: &[&str]| ok(&mut cloud.aws(&key, arguments));
    let at = |name: &str| cloud.file(name).display().to_string();
    let (tree, back, copy) = (at("tree"), at("back"), at("copy"));
    for (name, bytes) in [("large", 9 * MIB), ("middle", 300_000), ("small", 5)] {
        cloud.random_file(&format!("tree/{name}"), bytes);
    }
    aws(&["s3", "mb", "s3://kept"]);
    aws(&["s3", "sync", &tree, "s3://kept"]);
    let more = cloud.random_file("more", 20 * MIB);
    let mut writer =
        cloud.aws(&key, &["s3", "cp", &more, "s3://kept/more"]).stdout(Stdio::null()).spawn().unwrap();
    let said = cloud.hanse_ok(&["s3", "backup", &copy]);
    assert!(said.contains("Copied"), "{said}");
    assert!(writer.wait().unwrap().success());
    assert!(cloud.hanse_fails(&["s3", "backup", &copy]).contains("not empty"));
    for arguments in [&["s3", "fsck"] as &[&str], &["s3", "restore", &copy]] {
        assert!(cloud.hanse_fails(arguments).contains("`hanse down`"), "{arguments:?}");
    }

    cloud.hanse_ok(&["down"]);
    assert!(cloud.hanse_ok(&["s3", "fsck"]).contains("All of it is sound"));
    assert!(cloud.hanse_fails(&["s3", "restore", &copy]).contains("move them away"));
    let objects = cloud.state().join("objects");
    std::fs::rename(&objects, cloud.state().join("objects.old")).unwrap();
    assert!(cloud.hanse_ok(&["s3", "restore", &copy]).contains("All of it is sound"));
    cloud.hanse_ok(&["up"]);
    aws(&["s3", "sync", "s3://kept", &back]);
    let _ = std::fs::remove_file(cloud.file("back/more"));
    assert_same(&tree, &back);

    // And one while it is down.
    cloud.hanse_ok(&["down"]);
    cloud.hanse_ok(&["s3", "backup", &at("second")]);

    // A bit turns over on the disk.
    let find = ["-path", "*/extents/*", "-type", "f", "-size", "+4000k"];
    let files = ok(std::process::Command::new("find").arg(&objects).args(find));
    let victim = files.lines().next().unwrap_or_else(|| unreachable!("no file of a large payload"));
    let mut bytes = std::fs::read(victim).unwrap();
    bytes[2_000_000] ^= 1;
    std::fs::write(victim, bytes).unwrap();
    let found = cloud.hanse().args(["s3", "fsck", "--json"]).output().unwrap();
    assert!(!found.status.success());
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(
        (report["sound"].as_bool(), report["damages"].as_array().map(Vec::len)),
        (Some(false), Some(1)),
        "{report}"
    );
    cloud.hanse_ok(&["up"]);
    fails(&mut cloud.aws(&key, &["s3", "cp", "s3://kept/large", &at("damaged")]));
    assert!(!cloud.file("damaged").exists(), "no damaged bytes are kept by a client");
    aws(&["s3", "cp", "s3://kept/middle", &at("middle")]);
    assert_same(&at("tree/middle"), &at("middle"));
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let Some(cloud) = start("s3-port", "") else { return };
    cloud.hanse_ok(&["down"]);
    let listener = cloud.inside("python3").args(["-c", LISTEN]).stdout(Stdio::piped()).spawn();
    let mut listener = listener.unwrap();
    let mut ready = String::new();
    BufReader::new(listener.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let said = cloud.hanse_fails(&["up"]);
    let _ = listener.kill();
    let _ = listener.wait();
    assert!(said.contains("127.0.0.1:8444 is in use") && said.contains("objectstore.listen"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    cloud.hanse_ok(&["up"]);
}

#[test]
fn one_of_two_control_planes_has_the_objects_and_the_other_takes_them_over() {
    let Some(database) = Database::new().filter(|_| possible()) else { return };
    let config = format!("{SIM}\n[database]\nurl_file = \"{}\"", database.url_file().display());
    let cloud = Cloud::new("s3-two", &config);
    cloud.hanse_ok(&["up"]);
    let key = cloud.key_of("ada", "blue");
    ok(&mut cloud.aws(&key, &["s3", "mb", "s3://kept"]));
    let second = Plane::start(&cloud, &config);
    let log = std::fs::read_to_string(cloud.file("second/logs/serve.log")).unwrap();
    assert!(log.contains("another control plane has the objects open"), "{log}");
    cloud.kill("control_plane");
    let is_there = || {
        let done = cloud.aws(&key, &["s3", "ls"]).output().unwrap();
        String::from_utf8_lossy(&done.stdout).contains("kept")
    };
    assert!((0..30).any(|_| is_there()), "the second takes over");
    // The first serves the rest without them, and has them again when the second has ended.
    cloud.hanse_ok(&["up"]);
    assert!(is_there());
    drop(second);
    assert!((0..30).any(|_| is_there()), "the first takes over");
}

/// As curl reads a page.
const READ: &str = "import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())";

const LISTEN: &str = "import socket,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('127.0.0.1',8444)); s.listen(); print('ready', flush=True); time.sleep(60)";
