//! Priority classes.

/// How urgent a request is. Higher classes go first; each lower one keeps a small share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Class {
    /// Somebody is looking at the screen.
    High,
    /// The default.
    #[default]
    Normal,
    /// Batch work that can wait.
    Low,
}

/// How many classes there are.
pub(crate) const CLASSES: usize = 3;

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; CLASSES] = [Self::High, Self::Normal, Self::Low];

    /// The word for headers, configuration, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Reads `high`, `normal` or `low`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|class| text.eq_ignore_ascii_case(class.as_str()))
    }

    /// This class or the other, whichever is less urgent.
    pub fn lowered_to(self, other: Self) -> Self {
        self.max(other)
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}
