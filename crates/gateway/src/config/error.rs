//! What is wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a setting is unknown or of the wrong kind.
    #[error("{place}: {problem}{}", with_line(*line))]
    Syntax {
        /// The file, and the setting's path where there is one.
        place: String,
        /// What is wrong, with the line.
        problem: String,
        /// The line, from 1.
        line: Option<usize>,
    },
    /// Settings that were read but cannot be used.
    #[error("the configuration cannot be used:\n{}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The setting's path, or the environment variable's name.
    pub place: String,
    /// What is wrong, and what to write instead. Never holds a secret.
    pub problem: String,
    /// The line of the file, from 1; `None` where it is about none.
    pub line: Option<usize>,
    /// Whether the place is an environment variable, and not a setting of the file.
    pub of_variable: bool,
}

impl ConfigError {
    /// Everything that is wrong, one by one.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Read { path, source } => {
                let problem = format!("cannot be read: {source}");
                vec![Problem::new(path.display().to_string(), problem)]
            }
            Self::Syntax {
                place,
                problem,
                line,
            } => {
                let mut problem = Problem::new(place, problem);
                problem.line = *line;
                vec![problem]
            }
            Self::Invalid(problems) => problems.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            line: None,
            of_variable: false,
        }
    }

    /// What is wrong with an environment variable.
    pub(super) fn of_variable(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            of_variable: true,
            ..Self::new(name, problem)
        }
    }
}

fn with_line(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect();
    lines.join("\n")
}
