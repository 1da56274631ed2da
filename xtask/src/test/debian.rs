//! Packages of Debian that tests need.

use std::process::Command;

use crate::lines;

/// Installs a package, as root or by `sudo` that asks for no password.
pub(super) fn install(package: &str) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        let is_root = lines::run_quiet(Command::new("id").arg("-u"))?.trim() == "0";
        let mut command = if is_root {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["--non-interactive", "apt-get"]);
            sudo
        };
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        lines::run_quiet(&mut command)
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    if apt(&install).is_err() {
        // The lists of a fresh machine are empty.
        apt(&["update"])?;
        apt(&install)?;
    }
    Ok(())
}
