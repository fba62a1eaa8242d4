//! What servers, volumes and images leave behind when they are deleted: nothing.

use std::path::Path;
use std::time::Duration;

use crate::{Cloud, ok};

/// Rows that belong to something, or that are being worked on.
const ROWS: &[&str] = &[
    "servers",
    "allocations",
    "server_actions",
    "attachments",
    "volumes",
    "volume_attachments",
    "ports WHERE device_owner LIKE 'compute:%'",
    "image_data WHERE state <> 'stored'",
    "node_documents WHERE kind IN ('guest', 'disk', 'port')",
    "node_reports WHERE kind IN ('guest', 'disk', 'port')",
    "work_items",
];

const COUNT: &str = "import sqlite3, sys
database = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=60)
for rows in sys.argv[2:]:
    count = database.execute(f'SELECT count(*) FROM {rows}').fetchone()[0]
    if count: print(count, rows)";

impl Cloud {
    /// What the cloud has beside its two processes, its images and its networks: guests, disks, taps, rows.
    pub fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        let directories = ["guests", "storage/disks", "started", "sim/guests", "sim/storage/disks"];
        for directory in directories {
            left.extend(entries(&self.state().join("agent").join(directory)));
        }
        let cloud = self.status()["cloud"].as_str().unwrap_or_default().to_owned();
        let namespace = format!("hanse-{cloud}");
        // The simulator has none.
        if Path::new("/run/netns").join(&namespace).exists() {
            let links = ok(self.inside("ip").args(["-netns", &namespace, "-brief", "link"]));
            left.extend(links.lines().filter(|line| line.starts_with("tap")).map(str::to_owned));
        }
        let database = self.state().join("control/state.db");
        let rows = ok(self.inside("python3").args(["-c", COUNT]).arg(database).args(ROWS));
        left.extend(rows.lines().map(str::to_owned));
        left
    }

    /// Waits until nothing is left over. The API tells that something is gone before the last work row is.
    pub fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        for _ in 0..120 {
            left = self.left_over();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        panic!("left over: {left:#?}");
    }
}

/// The files and directories in a directory; none if it is not there.
pub fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}
