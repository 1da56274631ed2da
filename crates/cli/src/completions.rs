//! `bailian completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::failure::{self, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell; for bash: `source <(bailian completions bash)`.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "bailian", &mut script);
    failure::written(std::io::Write::write_all(&mut std::io::stdout(), &script))
}
