//! What a request costs Hanse and Keystone, in turns.

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hanse_core::Cx;
use hanse_e2e::{Cloud, crowd};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use crate::client::{Call, Connection};
use crate::keystone::{ADDRESS, Keystone, Settings};
use crate::{environment, finish};

/// What is compared is done in turns, so that a noisy neighbour disturbs both alike.
const ROUNDS: usize = 5;

/// How many requests are under way at once: as many as Keystone has processes.
const CONNECTIONS: usize = 2;

/// One of the two servers.
struct Server {
    address: &'static str,
    tls: Option<TlsConnector>,
    processes: Vec<u32>,
}

/// What many requests of one kind took.
#[derive(Default)]
struct Cost {
    cpu: Vec<Duration>,
    latencies: Vec<Duration>,
}

/// What is measured, and how many of it in a round: of Hanse, and of Keystone, which is slower.
#[derive(Clone, Copy)]
struct Kind {
    title: &'static str,
    hanse: usize,
    keystone: usize,
}

const VALIDATION: Kind = Kind { title: "validation of a token", hanse: 5_000, keystone: 200 };
const RESCOPE: Kind = Kind { title: "token for a token (rescope)", hanse: 1_000, keystone: 200 };
const CREDENTIAL: Kind = Kind { title: "login with an application credential", hanse: 1_000, keystone: 10 };
const PASSWORD: Kind = Kind { title: "login with a password", hanse: 40, keystone: 10 };

/// Lists of a hundred users, which is all that Keystone is configured to show of them, and of what one user holds and
/// what is held on one project, of so many users.
const USERS: usize = 10_000;
const LISTS: [(Kind, &str); 4] = [
    (Kind { title: "100 of 10,000 users", hanse: 200, keystone: 10 }, "/users?limit=100"),
    (Kind { title: "one of 10,000 users, by name", hanse: 1_000, keystone: 40 }, "/users?name=user-7"),
    (
        Kind { title: "effective assignments of one user, of 100,000", hanse: 1_000, keystone: 10 },
        "/role_assignments?effective&user.id=00000000000000000000000000000007",
    ),
    (
        Kind { title: "effective assignments on one project, of 100,000", hanse: 100, keystone: 4 },
        "/role_assignments?effective&scope.project.id=000000000000000000000000000f4244",
    ),
];

/// Measures both and returns a Markdown table.
pub fn run(cloud: &Cloud) -> Result<String> {
    let keystone = Keystone::start(cloud, &Settings::USUAL)?;
    sql(&keystone.database(), &crowd::keystone(USERS))?;
    cloud.hanse_ok(&["down"]);
    sql(&cloud.state().join("control/state.db"), &crowd::hanse(USERS))?;
    cloud.hanse_ok(&["up"]);
    let ca = std::fs::read_to_string(cloud.state().join("operator/ca.crt"))?;
    let password = std::fs::read_to_string(cloud.state().join("operator/admin-password"))?;
    let hanse = Server {
        address: "127.0.0.1:8443",
        tls: Some(TlsConnector::from(hanse_crypto::client_config(&Cx::system(), &ca)?)),
        processes: vec![control_plane(cloud)?],
    };
    let keystone_server = Server { address: ADDRESS, tls: None, processes: keystone.workers()? };
    let file = std::fs::File::open(cloud.namespace()).context("cannot open the network namespace")?;
    // On one thread: others would not follow into the namespace.
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ours = Calls::prepare(&hanse, password.trim()).await.context("Hanse")?;
        let theirs = Calls::prepare(&keystone_server, password.trim()).await.context("Keystone")?;
        let mut table = String::from(
            "| what | Hanse CPU | Keystone CPU | ratio | Hanse p50 / p99 | Keystone p50 / p99 |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        let mut pairs = vec![
            (VALIDATION, Ok(&ours.validation), Ok(&theirs.validation)),
            (RESCOPE, Ok(&ours.rescope), Ok(&theirs.rescope)),
            (CREDENTIAL, ours.credential.as_ref(), theirs.credential.as_ref()),
            (PASSWORD, Ok(&ours.password), Ok(&theirs.password)),
        ];
        let lists = LISTS.map(|(kind, path)| (kind, ours.list(path), theirs.list(path)));
        pairs.extend(lists.iter().map(|(kind, ours, theirs)| (*kind, Ok(ours), Ok(theirs))));
        for (kind, ours, theirs) in pairs {
            let (ours, theirs) = match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => (ours, theirs),
                (Err(error), _) | (_, Err(error)) => {
                    writeln!(table, "| {} | not measured: {error:#} | | | | |", kind.title)?;
                    continue;
                }
            };
            let (mut a, mut b) = (Cost::default(), Cost::default());
            // Not counted: what is only slow the first time.
            hanse.load(ours, kind.hanse / 10, &mut Cost::default()).await?;
            keystone_server.load(theirs, CONNECTIONS, &mut Cost::default()).await?;
            for _ in 0..ROUNDS {
                hanse.load(ours, kind.hanse, &mut a).await?;
                keystone_server.load(theirs, kind.keystone, &mut b).await?;
            }
            writeln!(table, "{}", row(kind.title, &a, &b))?;
        }
        Ok(table)
    })
}

fn row(title: &str, hanse: &Cost, keystone: &Cost) -> String {
    let (ours, theirs) = (median(&hanse.cpu), median(&keystone.cpu));
    format!(
        "| {title} | {} | {} | 1 : {:.1} | {} / {} | {} / {} |",
        shown(ours),
        shown(theirs),
        theirs.as_secs_f64() / ours.as_secs_f64().max(1e-9),
        shown(quantile(&hanse.latencies, 0.5)),
        shown(quantile(&hanse.latencies, 0.99)),
        shown(quantile(&keystone.latencies, 0.5)),
        shown(quantile(&keystone.latencies, 0.99)),
    )
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn median(times: &[Duration]) -> Duration {
    quantile(times, 0.5)
}

fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let index = ((times.len().saturating_sub(1)) as f64 * share).round() as usize;
    times.get(index).copied().unwrap_or_default()
}

/// The requests that are measured.
struct Calls {
    validation: Call,
    rescope: Call,
    credential: Result<Call>,
    password: Call,
    token: String,
}

impl Calls {
    fn list(&self, path: &str) -> Call {
        Call::get(path).token(&self.token)
    }

    async fn prepare(server: &Server, password: &str) -> Result<Calls> {
        let mut connection = server.connection();
        let user = json!({ "name": "admin", "domain": { "id": "default" }, "password": password });
        let scope = json!({ "project": { "name": "admin", "domain": { "id": "default" } } });
        let login =
            authenticate(&json!({ "methods": ["password"], "password": { "user": user } }), Some(&scope));
        let answer = connection.send(&login).await?;
        let token = answer.headers().get("x-subject-token").context("no token")?.to_str()?.to_owned();
        let body: Value = serde_json::from_slice(answer.body())?;
        let user = body["token"]["user"]["id"].as_str().context("no user")?;
        Ok(Calls {
            validation: Call::validation(&token),
            rescope: authenticate(&json!({ "methods": ["token"], "token": { "id": token } }), Some(&scope)),
            credential: credential(&mut connection, user, &token).await,
            password: login,
            token,
        })
    }
}

/// Runs statements on a database of SQLite's, with what Keystone brings along.
fn sql(database: &Path, statements: &[String]) -> Result<()> {
    let program = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n for one in sys.argv[2:]: db.execute(one)";
    finish(
        Command::new(environment("keystone").join("python"))
            .args(["-c", program])
            .arg(database)
            .args(statements),
    )?;
    Ok(())
}

/// Makes an application credential; returns the login with it.
async fn credential(connection: &mut Connection, user: &str, token: &str) -> Result<Call> {
    let path = format!("/users/{user}/application_credentials");
    let create = Call::post(&path, json!({ "application_credential": { "name": "measured" } })).token(token);
    let made: Value = serde_json::from_slice(connection.send(&create).await?.body())?;
    let made = &made["application_credential"];
    let secret = json!({ "id": made["id"], "secret": made["secret"] });
    Ok(authenticate(
        &json!({ "methods": ["application_credential"], "application_credential": secret }),
        None,
    ))
}

fn authenticate(identity: &Value, scope: Option<&Value>) -> Call {
    let mut body = json!({ "auth": { "identity": identity } });
    if let Some(scope) = scope {
        body["auth"]["scope"] = scope.clone();
    }
    Call::post("/auth/tokens", body)
}

impl Server {
    fn connection(&self) -> Connection {
        Connection::new(self.address, self.tls.clone())
    }

    fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(|pid| cpu(*pid)).sum()
    }

    /// Makes `times` requests and adds what they took to `cost`.
    async fn load(&self, call: &Call, times: usize, cost: &mut Cost) -> Result<()> {
        let left = Cell::new(times);
        let before = self.cpu()?;
        let latencies = try_join_all((0..CONNECTIONS).map(async |_| {
            let mut connection = self.connection();
            let mut latencies = Vec::new();
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                latencies.push(connection.timed(call).await?);
            }
            anyhow::Ok(latencies)
        }))
        .await?;
        cost.cpu.push((self.cpu()? - before).div_f64(times.max(1) as f64));
        cost.latencies.extend(latencies.into_iter().flatten());
        Ok(())
    }
}

fn control_plane(cloud: &Cloud) -> Result<u32> {
    let pid = cloud.status()["control_plane"]["pid"].as_u64().context("the control plane does not run")?;
    Ok(u32::try_from(pid)?)
}

/// Processor time of all threads of a process so far, in user and kernel mode. Source: `proc_pid_stat(5)`, fields 14
/// and 15.
fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} does not run"))?;
    // The name in parentheses may hold anything; the fields behind it do not.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields.get(index).context("/proc/<pid>/stat is too short")?.parse()?)
    };
    let a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")? as f64;
    Ok(Duration::from_secs_f64((ticks(11)? + ticks(12)?) / a_second))
}
