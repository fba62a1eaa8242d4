//! Figures, and the table that they are printed in.

use std::fmt;
use std::process::Command;
use std::time::Duration;

/// One line of the table.
pub enum Line {
    Figure { what: String, here: Amount, beside: Option<Beside> },
    Missing { what: String, why: String },
}

/// What a figure is compared with.
pub struct Beside {
    what: String,
    amount: Amount,
    ratio: Amount,
}

impl Line {
    pub fn new(what: impl Into<String>, here: Amount, beside: impl Into<String>, other: Amount) -> Line {
        let ratio = Amount::one(here.value / other.value, "");
        Line::Figure {
            what: what.into(),
            here,
            beside: Some(Beside { what: beside.into(), amount: other, ratio }),
        }
    }

    /// Of rounds in which both took turns, with the ratio within each round.
    pub fn in_turns(
        what: impl Into<String>,
        here: Vec<f64>,
        beside: impl Into<String>,
        other: Vec<f64>,
        unit: &'static str,
    ) -> Line {
        let ratios = here.iter().zip(&other).map(|(here, other)| here / other).collect();
        let beside = Beside {
            what: beside.into(),
            amount: Amount::median(other, unit),
            ratio: Amount::median(ratios, ""),
        };
        Line::Figure { what: what.into(), here: Amount::median(here, unit), beside: Some(beside) }
    }

    pub fn alone(what: impl Into<String>, here: Amount) -> Line {
        Line::Figure { what: what.into(), here, beside: None }
    }

    pub fn missing(what: impl Into<String>, why: impl Into<String>) -> Line {
        Line::Missing { what: what.into(), why: why.into() }
    }
}

/// A number with its unit and, if it was measured more than once, the least and the greatest that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    value: f64,
    unit: &'static str,
    range: Option<(f64, f64)>,
}

impl Amount {
    fn one(value: f64, unit: &'static str) -> Amount {
        Amount { value, unit, range: None }
    }

    /// The median, with the range.
    fn median(mut values: Vec<f64>, unit: &'static str) -> Amount {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let range = (at(0), at(values.len().saturating_sub(1)));
        Amount { value: at(values.len() / 2), unit, range: Some(range) }
    }

    pub fn seconds(time: Duration) -> Amount {
        Amount::one(time.as_secs_f64(), "s")
    }

    pub fn median_seconds(times: &[Duration]) -> Amount {
        Amount::median_of_seconds(times.iter().map(Duration::as_secs_f64).collect())
    }

    /// Of differences, which may be negative.
    pub fn median_of_seconds(times: Vec<f64>) -> Amount {
        Amount::median(times, "s")
    }

    pub fn millis(time: Duration) -> Amount {
        Amount::one(time.as_secs_f64() * 1e3, "ms")
    }

    pub fn median_millis(times: &[Duration]) -> Amount {
        Amount::median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect(), "ms")
    }

    pub fn micros(time: Duration) -> Amount {
        Amount::one(time.as_secs_f64() * 1e6, "µs")
    }

    pub fn median_micros(times: &[Duration]) -> Amount {
        Amount::median(times.iter().map(|time| time.as_secs_f64() * 1e6).collect(), "µs")
    }

    /// Events in a second.
    pub fn median_rate(rates: Vec<f64>) -> Amount {
        Amount::median(rates, "/s")
    }

    pub fn mebibytes(bytes: u64) -> Amount {
        Amount::one(bytes as f64 / f64::from(1 << 20), "MiB")
    }
}

/// With three digits at least.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digits(self.value))?;
        if !self.unit.is_empty() {
            write!(f, " {}", self.unit)?;
        }
        match self.range {
            Some((least, most)) => write!(f, " ({}–{})", digits(least), digits(most)),
            None => Ok(()),
        }
    }
}

/// The latency that the given share of requests did not exceed.
pub fn quantile(latencies: &[Duration], share: f64) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

/// The table in Markdown.
pub fn table(lines: &[Line]) -> String {
    let mut text =
        String::from("| figure | measured | compared with | that is | ratio |\n|---|---|---|---|---|");
    for line in lines {
        text.push('\n');
        text.push_str(&match line {
            Line::Missing { what, why } => format!("| {what} | not measured: {why} | | | |"),
            Line::Figure { what, here, beside: None } => format!("| {what} | {here} | | | |"),
            Line::Figure { what, here, beside: Some(Beside { what: other, amount, ratio }) } => {
                format!("| {what} | {here} | {other} | {amount} | {ratio} |")
            }
        });
    }
    text
}

/// What a reader needs in order to compare the table with another one.
pub fn circumstances() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let says = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let temporary = std::env::temp_dir().display().to_string();
    format!(
        "{}; {model}, {cores} cores; Linux {}; {} below {temporary}; load of the machine at the end (1, 5, 15 minutes): {}",
        says("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        read("/proc/sys/kernel/osrelease").trim(),
        says("stat", &["--file-system", "--format=%T", &temporary]),
        read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
    )
}
