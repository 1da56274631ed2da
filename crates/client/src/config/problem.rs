//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting came from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A call on the builder, named by the setting.
    Argument(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A variable in a `.env` file.
    DotEnv(&'static str, PathBuf),
    /// A key in the configuration file.
    ConfigFile(&'static str, PathBuf),
    /// The file that holds only the key.
    KeyFile(PathBuf),
    /// Built in.
    Default,
}

/// One problem: where, what, and what to do about it. Never contains an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigProblem {
    /// Where the value came from; `None` for files that could not be read at all.
    pub source: Option<Source>,
    /// What is wrong, as the end of a sentence that begins with the source.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => write!(f, "argument {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::DotEnv(name, path) => write!(f, "{name} in {}", path.display()),
            Self::ConfigFile(key, path) => write!(f, "{key} in {}", path.display()),
            Self::KeyFile(path) => write!(f, "key file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

// === impl ConfigProblem ===

impl ConfigProblem {
    pub(crate) fn new(
        source: Option<Source>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            source,
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source} ")?;
        }
        write!(f, "{}; {}", self.problem, self.fix)
    }
}

// === impl ConfigError ===

impl ConfigError {
    /// An error with these problems; `None` if there are none.
    pub fn from_problems(problems: Vec<ConfigProblem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self { problems })
    }

    pub(crate) fn one(problem: ConfigProblem) -> Self {
        Self {
            problems: vec![problem],
        }
    }

    /// The problems, in the order of the settings.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "configuration: {only}"),
            all => {
                write!(f, "{} problems in the configuration:", all.len())?;
                for problem in all {
                    write!(f, "\n  - {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}
