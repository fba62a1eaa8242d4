//! Hands rulesets to `nft`, one atomic batch per namespace.

use std::process::Stdio;
use std::time::Duration;

use hanse_core::{Context, Error, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::netns::Namespace;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Loads the whole batch or nothing of it.
pub async fn load(namespace: &Namespace, batch: String) -> Result<()> {
    let spawn = || {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().context("cannot run nft (is nftables installed?)")
    };
    // The child is born inside because the thread that starts it is.
    let mut child = namespace.run(spawn).await?;
    let run = async {
        if let Some(mut stdin) = child.stdin.take() {
            // nft may complain and leave before it has read everything; its complaint is what counts.
            let _ = stdin.write_all(batch.as_bytes()).await;
        }
        child.wait_with_output().await.context("cannot wait for nft")
    };
    let output = timeout(TIME_LIMIT, run).await.context("nft does not come to an end")??;
    if output.status.success() {
        return Ok(());
    }
    let complaint: String = String::from_utf8_lossy(&output.stderr).chars().take(2000).collect();
    Err(Error::internal(format!("nft refuses the rules: {complaint}")))
}
