//! Tempest, unmodified, against a cloud.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use hanse_e2e::Cloud;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{environment, finish, ours};

/// As many tests at once.
const CONCURRENCY: &str = "2";

/// A run that is longer hangs.
const SECONDS: &str = "2400";

/// No guests; and two wrong passwords lock an account for five seconds, and the last two passwords must not come again,
/// which is what `tempest.conf` is told.
pub const CONFIG: &str = "\
[hypervisor]
driver = \"sim\"

[identity]
lockout_failure_attempts = 2
lockout_duration_seconds = 5
unique_last_password_count = 2";

/// Tests of Tempest that belong together.
pub struct Suite {
    /// As Tempest calls them.
    pub name: &'static str,
    /// All of them, as a regular expression.
    pub pattern: &'static str,
    /// Where their modules are.
    modules: &'static str,
    /// A file of this package's that names the tests which do not pass, a line each: `fail` or `skip`, the test, and why.
    expected: Option<&'static str>,
    /// How many there are.
    pub listed: usize,
}

pub const IDENTITY: Suite = Suite {
    name: "tempest.api.identity",
    pattern: r"^tempest\.api\.identity\.",
    modules: "tempest/api/identity",
    expected: None,
    listed: 138,
};

pub const OBJECT_STORAGE: Suite = Suite {
    name: "tempest.api.object_storage",
    pattern: r"^tempest\.api\.object_storage\.",
    modules: "tempest/api/object_storage",
    expected: Some("tempest/object-storage-expected"),
    listed: 149,
};

/// What became of one test.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outcome {
    pub id: String,
    /// `success`, `fail` or `skip`.
    pub status: String,
    pub seconds: f64,
    /// Why it failed or was skipped.
    pub cause: String,
}

/// A run of some tests.
pub struct Run {
    /// The tests that were to be run.
    pub outcomes: Vec<Outcome>,
    /// Tests of what Hanse does not offer, with the reason.
    pub excluded: Vec<(String, String)>,
    /// `tempest.conf`, without the password.
    pub config: String,
    /// The tests that are known not to pass, each with its status.
    expected: BTreeMap<String, String>,
}

/// The names of the identity tests in the Sovereign Cloud Stack's list SCS-0128.
pub fn scs_identity() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(ours("tempest/scs-0128-identity"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

impl Run {
    pub fn count(&self, status: &str) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.status == status).count()
    }

    /// What was run of these tests.
    pub fn only(&self, ids: &[String]) -> Run {
        let outcomes = self.outcomes.iter().filter(|outcome| ids.contains(&outcome.id)).cloned().collect();
        Run { outcomes, excluded: Vec::new(), config: self.config.clone(), expected: BTreeMap::new() }
    }

    /// What became of tests otherwise than is known of them, a line each: what fails or is skipped anew, and what passes now.
    pub fn surprises(&self) -> String {
        let mut text = String::new();
        for outcome in &self.outcomes {
            let expected = self.expected.get(&outcome.id).map_or("success", String::as_str);
            if outcome.status != expected {
                let Outcome { id, status, cause, .. } = outcome;
                let _ = writeln!(text, "- {id}: {status} instead of {expected}: {cause}");
            }
        }
        text
    }

    /// One row of a Markdown table: listed, executed, passed, failed, skipped, not offered.
    pub fn row(&self, title: &str) -> String {
        let [passed, failed, skipped] = ["success", "fail", "skip"].map(|status| self.count(status));
        let listed = self.outcomes.len() + self.excluded.len();
        format!(
            "| {title} | {listed} | {} | {passed} | {failed} | {skipped} | {} |",
            passed + failed,
            self.excluded.len()
        )
    }

    /// The tests that did not pass, a line each, with the cause.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.status != "success") {
            let _ = writeln!(text, "- {}: {}: {}", outcome.status, outcome.id, outcome.cause);
        }
        for (id, reason) in &self.excluded {
            let _ = writeln!(text, "- not offered: {id}: {reason}");
        }
        text
    }
}

/// Runs the tests of a suite whose names match this regular expression, with credentials that Tempest makes itself.
pub fn run(cloud: &Cloud, suite: &Suite, pattern: &str) -> Result<Run> {
    let workspace = Workspace::make(cloud, suite)?;
    let wanted = workspace.list(pattern)?;
    let mut excluded = Vec::new();
    for line in std::fs::read_to_string(ours("tempest/excluded"))?.lines() {
        if let Some((pattern, reason)) = line.split_once(' ').filter(|_| !line.starts_with('#')) {
            let without = workspace.list(pattern)?;
            excluded.extend(
                wanted.iter().filter(|id| without.contains(*id)).map(|id| (id.clone(), reason.to_owned())),
            );
        }
    }
    let wanted: Vec<String> =
        wanted.into_iter().filter(|id| excluded.iter().all(|(out, _)| out != id)).collect();
    if wanted.is_empty() {
        bail!("no test matches {pattern}");
    }
    let results = workspace.run(&wanted)?;
    let outcomes = wanted.iter().map(|id| outcome_of(id, &results)).collect();
    let expected = expected_of(suite)?;
    if let Some(unknown) = expected.keys().find(|id| pattern == suite.pattern && !wanted.contains(id)) {
        bail!("{unknown} is expected not to pass, and is no test");
    }
    Ok(Run { outcomes, excluded, config: workspace.shown, expected })
}

/// What the suite's file says of its tests.
fn expected_of(suite: &Suite) -> Result<BTreeMap<String, String>> {
    let Some(file) = suite.expected else { return Ok(BTreeMap::new()) };
    let text = std::fs::read_to_string(ours(file))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some(status @ ("fail" | "skip")), Some(id), Some(_)) => {
                    Ok((id.to_owned(), status.to_owned()))
                }
                _ => bail!("{file} has a line that is no status, test and reason: {line}"),
            }
        })
        .collect()
}

/// The result of a test. If the set-up of its class failed there is one for all of them.
fn outcome_of(id: &str, results: &[Outcome]) -> Outcome {
    let class = id.rsplit_once('.').map_or(id, |(class, _)| class);
    let set_up = format!("setUpClass ({class})");
    let found = |name: &str| results.iter().find(|result| result.id == name);
    match found(id).or_else(|| found(&set_up)) {
        Some(result) => Outcome { id: id.to_owned(), ..result.clone() },
        None => Outcome {
            id: id.to_owned(),
            status: "fail".to_owned(),
            seconds: 0.0,
            cause: "Tempest has not run it".to_owned(),
        },
    }
}

/// A directory with Tempest's configuration, which lasts as long as the cloud.
struct Workspace<'a> {
    cloud: &'a Cloud,
    directory: PathBuf,
    shown: String,
}

impl<'a> Workspace<'a> {
    fn make(cloud: &'a Cloud, suite: &Suite) -> Result<Workspace<'a>> {
        let directory = cloud.file("tempest");
        for name in ["logs", "locks"] {
            std::fs::create_dir_all(directory.join(name))?;
        }
        let config = configuration(cloud, &directory)?;
        write_private(&directory.join("tempest.conf"), &config)?;
        let packages =
            finish(python().args([
                "-c",
                "import pathlib, tempest; print(pathlib.Path(tempest.__file__).parent.parent)",
            ]))?;
        let packages = PathBuf::from(String::from_utf8(packages.stdout)?.trim());
        // Only the suite's modules are read: Tempest takes half a minute to look through all of them.
        let stestr = format!(
            "[DEFAULT]\ntest_path={}\ntop_dir={}\ngroup_regex=([^\\.]*\\.)*\n",
            packages.join(suite.modules).display(),
            packages.display()
        );
        std::fs::write(directory.join(".stestr.conf"), stestr)?;
        let shown = config
            .lines()
            .filter(|line| !line.starts_with("admin_password"))
            .map(|line| line.replace(&directory.display().to_string(), "…"))
            .map(|line| line.replace(&cloud.state().display().to_string(), "…"))
            .collect::<Vec<_>>()
            .join("\n");
        let workspace = Workspace { cloud, directory, shown };
        finish(workspace.stestr().arg("init"))?;
        Ok(workspace)
    }

    fn stestr(&self) -> Command {
        let mut command = self.cloud.inside("timeout");
        command.args(["--kill-after=30", SECONDS]).arg(environment("tempest").join("stestr"));
        command.env_clear();
        // stestr calls itself by name.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", environment("tempest").display()));
        command.env("HOME", &self.directory).env("TEMPEST_CONFIG_DIR", &self.directory);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        // A client of Tempest's that is made without its configuration looks for the CA here.
        command.env("SSL_CERT_FILE", self.cloud.state().join("operator/ca.crt"));
        command.current_dir(&self.directory);
        command
    }

    /// The names of tests, without their tags.
    fn list(&self, pattern: &str) -> Result<BTreeSet<String>> {
        let output = finish(self.stestr().arg("list").arg(pattern))?;
        let text = String::from_utf8(output.stdout)?;
        let names = text.lines().filter(|line| line.starts_with("tempest."));
        Ok(names.map(|line| line.split('[').next().unwrap_or(line).to_owned()).collect())
    }

    fn run(&self, ids: &[String]) -> Result<Vec<Outcome>> {
        let list = self.directory.join("list");
        let names: Vec<String> = ids.iter().map(|id| format!("^{}($|\\[)", id.replace('.', "\\."))).collect();
        std::fs::write(&list, names.join("\n"))?;
        let status = self
            .stestr()
            .args(["run", "--concurrency", CONCURRENCY, "--include-list"])
            .arg(&list)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        // 1 tells of tests that failed, which the results tell better.
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("stestr ended with {status}");
        }
        let stream = finish(self.stestr().args(["last", "--subunit"]).stdin(Stdio::null()))
            .context("no results of the run")?;
        let file = self.directory.join("subunit");
        std::fs::write(&file, stream.stdout)?;
        let results = finish(python().arg(ours("tempest/results.py")).stdin(std::fs::File::open(&file)?))?;
        Ok(serde_json::from_slice(&results.stdout)?)
    }
}

fn python() -> Command {
    Command::new(environment("tempest").join("python"))
}

/// What Tempest is told about a cloud: what `clouds.yaml` says, and what Hanse offers.
fn configuration(cloud: &Cloud, directory: &Path) -> Result<String> {
    let clouds: Value =
        serde_json::from_str(&std::fs::read_to_string(cloud.state().join("operator/clouds.yaml"))?)?;
    let admin = &clouds["clouds"]["hanse-admin"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("clouds.yaml lacks something");
    let mut config = std::fs::read_to_string(ours("tempest/tempest.conf"))?;
    for (name, value) in [
        ("@directory@", directory.display().to_string()),
        ("@username@", text(&admin["auth"]["username"])?),
        ("@password@", text(&admin["auth"]["password"])?),
        ("@project@", text(&admin["auth"]["project_name"])?),
        ("@auth_url@", text(&admin["auth"]["auth_url"])?),
        ("@cacert@", text(&admin["cacert"])?),
        ("@region@", text(&admin["region_name"])?),
    ] {
        config = config.replace(name, &value);
    }
    Ok(config)
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_test_otherwise_than_expected_is_told() {
        let outcome = |id: &str, status: &str| Outcome {
            id: id.to_owned(),
            status: status.to_owned(),
            seconds: 1.0,
            cause: "why".to_owned(),
        };
        let statuses = ["success", "fail", "skip"];
        for (expected, is) in statuses.into_iter().flat_map(|one| statuses.map(|other| (one, other))) {
            let known = (expected != "success").then(|| ("a.B.c".to_owned(), expected.to_owned()));
            let run = Run {
                outcomes: vec![outcome("a.B.c", is)],
                excluded: Vec::new(),
                config: String::new(),
                expected: known.into_iter().collect(),
            };
            let told = match expected == is {
                true => String::new(),
                false => format!("- a.B.c: {is} instead of {expected}: why\n"),
            };
            assert_eq!(run.surprises(), told);
        }
    }

    #[test]
    fn each_line_of_what_is_expected_has_a_status_a_test_and_a_reason() {
        let expected = expected_of(&OBJECT_STORAGE).unwrap();
        assert!(expected.keys().all(|id| id.starts_with("tempest.api.object_storage.")), "{expected:?}");
    }
}
