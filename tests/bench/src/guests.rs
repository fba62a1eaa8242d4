//! From nothing to a guest that answers ssh, on the real drivers, beside the same disk under QEMU alone; and the memory
//! of a cloud that has a guest and nothing to do.

mod alone;
mod answer;
mod journey;

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use hanse_e2e::{Cloud, guests, ok};
use tempfile::TempDir;

use self::journey::Journey;
use crate::ROUNDS;
use crate::figures::{Amount, Line};
use crate::process::{Mine, cpu, pss};

/// What was asked for: from the start to ssh, what of it is not the guest's own, and the memory of all processes.
const WHOLE: Duration = Duration::from_secs(60);
const OURS: Duration = Duration::from_secs(5);
const MEMORY: u64 = 100 << 20;
const AIM: &str = "the aim, at most";

/// As it is without any configuration: whoever starts a cloud for the first time has none.
const DEFAULTS: &str = "";

pub async fn measure(idle_seconds: u64) -> Result<Vec<Line>> {
    let image = guests::image();
    if !image.exists() {
        return Ok(vec![Line::missing(
            "A guest that answers ssh",
            "there is no guest image (`cargo xtask guest-image`)",
        )]);
    }
    let key = key()?;
    let (mut journeys, mut boots) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cloud = cloud(&key)?;
        let (journey, guest) = journey::travel(&cloud).await?;
        let machine = alone::Machine::like(&cloud, guest)?;
        journeys.push(journey);
        drop(cloud);
        boots.push(machine.boot(&key).await?);
    }
    let mut lines = times(&journeys, &boots);
    let cloud = cloud(&key)?;
    journey::travel(&cloud).await?;
    lines.extend(idle(&cloud, idle_seconds).await?);
    Ok(lines)
}

/// A key pair, which a user has before there is a cloud.
fn key() -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("hanse-bench-").tempdir()?;
    ok(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(directory.path().join("key")));
    Ok(directory)
}

/// The namespace and the configuration of a cloud that does not exist yet, and the key where [`Cloud::ssh`] looks.
fn cloud(key: &TempDir) -> Result<Cloud> {
    let cloud = Cloud::new("guests", DEFAULTS);
    for name in ["key", "key.pub"] {
        std::fs::copy(key.path().join(name), cloud.file(name))?;
    }
    Ok(cloud)
}

/// When a guest answered, counted from the start.
#[derive(Clone, Copy)]
struct Answered {
    /// The ssh server has said who it is.
    banner: Duration,
    /// A command has been run in the guest.
    command: Duration,
}

fn times(journeys: &[Journey], boots: &[(Answered, Duration)]) -> Vec<Line> {
    let all = |time: fn(&Journey) -> Duration| -> Vec<Duration> { journeys.iter().map(time).collect() };
    let alone = |time: fn(&Answered) -> Duration| -> Vec<Duration> {
        boots.iter().map(|(boot, _)| time(boot)).collect()
    };
    let seconds = |times: Vec<Duration>| Amount::median_seconds(&times);
    // What belongs to one round is compared within it.
    let ours: Vec<f64> = journeys
        .iter()
        .zip(boots)
        .map(|(journey, (boot, _))| journey.answered.banner.as_secs_f64() - boot.banner.as_secs_f64())
        .collect();
    let bare = "the same disk under QEMU alone";
    let accelerator = journeys.first().map_or("", |journey| journey.accelerator.as_str());
    let mut lines = vec![
        Line::new(
            format!("Empty state directory until ssh answers at the floating IP ({accelerator})"),
            seconds(all(|journey| journey.answered.banner)),
            AIM,
            Amount::seconds(WHOLE),
        ),
        Line::new(
            "The same",
            seconds(all(|journey| journey.answered.banner)),
            bare,
            seconds(alone(|boot| boot.banner)),
        ),
        Line::new(
            "What of it is Hanse's: the difference",
            Amount::median_of_seconds(ours),
            AIM,
            Amount::seconds(OURS),
        ),
        Line::new(
            "What of it comes before QEMU starts",
            seconds(all(|journey| journey.answered.banner - journey.boot)),
            AIM,
            Amount::seconds(OURS),
        ),
        Line::new(
            "Empty state directory until a command has run in the guest",
            seconds(all(|journey| journey.answered.command)),
            bare,
            seconds(alone(|boot| boot.command)),
        ),
    ];
    for (index, name) in journey::STEPS.iter().enumerate() {
        let step: Vec<Duration> = journeys.iter().map(|journey| journey.steps[index]).collect();
        lines.push(Line::alone(format!("Of it: {name}"), Amount::median_seconds(&step)));
    }
    lines.push(Line::new(
        "Of it: from the start of QEMU until ssh answers",
        seconds(all(|journey| journey.boot)),
        bare,
        seconds(alone(|boot| boot.banner)),
    ));
    lines.push(Line::new(
        "CPU of QEMU until a command has run in the guest",
        seconds(all(|journey| journey.cpu)),
        bare,
        seconds(boots.iter().map(|(_, cpu)| *cpu).collect()),
    ));
    lines
}

/// Memory and processor time of the cloud's processes while a guest runs and nobody asks anything.
async fn idle(cloud: &Cloud, seconds: u64) -> Result<Vec<Line>> {
    let mut before = Vec::new();
    for process in Mine::of(cloud)? {
        before.push((pss(process.pid)?, cpu(process.pid)?, process));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (mut lines, mut sum) = (Vec::new(), 0);
    for (memory, time, process) in &before {
        let now = pss(process.pid)?;
        sum += now;
        lines.push(Line::new(
            format!("Of it: `hanse {}`", process.role),
            Amount::mebibytes(now),
            "before that time",
            Amount::mebibytes(*memory),
        ));
        lines.push(Line::alone(
            format!("CPU of the idle `hanse {}` with one guest in a second", process.role),
            Amount::micros(cpu(process.pid)?.saturating_sub(*time).div_f64(seconds.max(1) as f64)),
        ));
    }
    let what =
        format!("Memory (PSS) of all of Hanse's processes after {seconds} idle seconds with one guest");
    lines.insert(0, Line::new(what, Amount::mebibytes(sum), AIM, Amount::mebibytes(MEMORY)));
    Ok(lines)
}
