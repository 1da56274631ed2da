//! How a command fails: what is printed, and the exit status.

use std::io;
use std::process::ExitCode;

/// A command that did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong; exit status 2, as for clap's own errors.
    Usage(anyhow::Error),
    /// A call or a server failed; exit status 1.
    Run(anyhow::Error),
    /// Everything was said already; exit status 1.
    Reported,
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    pub(crate) fn run(error: impl Into<anyhow::Error>) -> Self {
        Self::Run(error.into())
    }

    /// Prints the error with its causes to standard error.
    pub(crate) fn report(&self) {
        match self {
            Self::Usage(error) | Self::Run(error) => eprintln!("error: {}", told(error)),
            Self::Reported => {}
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Run(_) | Self::Reported => ExitCode::from(1),
        }
    }
}

/// The error and its causes, without those that were quoted already.
pub(crate) fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut told, cause| {
        let cause = cause.to_string();
        if !told.contains(&cause) {
            let colon = if told.is_empty() { "" } else { ": " };
            told.push_str(colon);
            told.push_str(&cause);
        }
        told
    })
}

impl From<bailian::Error> for Failure {
    fn from(error: bailian::Error) -> Self {
        match error {
            bailian::Error::Config(_) => Self::usage(error),
            bailian::Error::Validation(refused) => {
                let problems: Vec<String> = refused
                    .violations
                    .iter()
                    .map(|problem| format!("\n  - {problem}"))
                    .collect();
                Self::usage(anyhow::anyhow!(
                    "{} cannot take this request:{}\nchange it, or send it all the same with \
                     --no-validate",
                    refused.model,
                    problems.concat()
                ))
            }
            error => {
                let request_id = error.request_id().map(str::to_owned);
                let error = anyhow::Error::new(error);
                match request_id {
                    Some(id) if !told(&error).contains(&id) => {
                        Self::run(anyhow::anyhow!("{} (request id {id})", told(&error)))
                    }
                    _ => Self::run(error),
                }
            }
        }
    }
}

/// What writing to standard output came to: a reader that went away, as `head` does, wants no more
/// and no complaint.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(
            anyhow::Error::new(error).context("cannot write the output"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_quoted_is_not_said_again() {
        let error = anyhow::anyhow!("refused")
            .context("no connection")
            .context("no connection; go");
        assert_eq!(told(&error), "no connection; go: refused");
    }
}
