//! Tests that need a server: each starts one of its own, so only the programs have to be there.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::counts::{self, Counts};
use super::debian;
use crate::lines;

/// Whether a program is in `PATH` and tells its version.
pub(super) fn runs(program: &str) -> bool {
    lines::run_quiet(Command::new(program).arg("--version")).is_ok()
}

/// The tests that need one kind of server.
pub(super) struct Server {
    /// The feature that they are behind.
    pub(super) feature: &'static str,
    /// Their name.
    pub(super) test: &'static str,
    /// The packages that have such tests.
    pub(super) packages: &'static [&'static str],
    /// What Debian calls the server.
    pub(super) debian: &'static str,
    /// What to do where it cannot be installed.
    pub(super) advice: &'static str,
    pub(super) is_installed: fn() -> bool,
}

impl Server {
    /// Installs the server if it is missing, and runs the tests.
    pub(super) fn run(&self, root: &Path) -> anyhow::Result<Counts> {
        self.set_up()?;
        let mut counts = Counts::default();
        for package in self.packages {
            let mut own = Counts::default();
            let status = lines::run_observed(
                crate::cargo().current_dir(root).args([
                    "test",
                    "--locked",
                    "--no-fail-fast",
                    "--package",
                    package,
                    "--features",
                    self.feature,
                    "--test",
                    self.test,
                ]),
                |line| own += counts::of_libtest(line),
            )?;
            counts += own.checked(status)?;
        }
        Ok(counts)
    }

    fn set_up(&self) -> anyhow::Result<()> {
        if (self.is_installed)() {
            return Ok(());
        }
        debian::install(self.debian).context(self.advice)?;
        anyhow::ensure!(
            (self.is_installed)(),
            "{} was installed, but its programs are not found",
            self.debian
        );
        Ok(())
    }
}
