//! What a translation between dialects cannot carry, and bodies that cannot be translated.

use std::borrow::Cow;
use std::fmt;

use crate::chat::ChatRequest;

/// A member of a request or an answer that the other dialect has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Its path, such as `logprobs` or `messages[2].content[0]`.
    pub member: Cow<'static, str>,
    /// Whether the answer would mean something else without it. Such a request should be refused
    /// unless the operator chose otherwise (compat.md §8, "reject").
    pub matters: bool,
}

/// Everything that a translation could not carry, in the order in which it was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Nothing was lost.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes something that the answer hardly depends on.
    pub fn dropped(&mut self, member: impl Into<Cow<'static, str>>) {
        self.push(member.into(), false);
    }

    /// Notes something without which the answer would mean something else.
    pub fn changed(&mut self, member: impl Into<Cow<'static, str>>) {
        self.push(member.into(), true);
    }

    fn push(&mut self, member: Cow<'static, str>, matters: bool) {
        match self.0.iter_mut().find(|loss| loss.member == member) {
            Some(known) => known.matters |= matters,
            None => self.0.push(Loss { member, matters }),
        }
    }

    /// Adds those of another step.
    pub fn extend(&mut self, others: Self) {
        for loss in others.0 {
            self.push(loss.member, loss.matters);
        }
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All losses.
    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        self.0.iter()
    }

    /// Those that change what the answer means.
    pub fn that_matter(&self) -> impl Iterator<Item = &Loss> {
        self.0.iter().filter(|loss| loss.matters)
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, loss) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&loss.member)?;
        }
        Ok(())
    }
}

/// A request in the canonical form, and what of it the form has no place for.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The request.
    pub request: ChatRequest,
    /// What is not in it.
    pub losses: Losses,
}

/// A body that does not have the form of its dialect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A member has a value of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A member is missing or has a value that cannot be understood.
    #[error("{place}: {problem}")]
    Member {
        /// The member's path.
        place: String,
        /// What is wrong, and what to send instead.
        problem: &'static str,
    },
}

impl DecodeError {
    pub(crate) fn at(place: impl Into<String>, problem: &'static str) -> Self {
        Self::Member {
            place: place.into(),
            problem,
        }
    }
}

/// Who an answer is, in whichever dialect it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The id of the request; dialects put a prefix of their own before it.
    pub id: String,
    /// The model, as the caller named it.
    pub model: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
}

impl Identity {
    /// An answer's identity.
    pub fn new(id: impl Into<String>, model: impl Into<String>, created: u64) -> Self {
        Self {
            id: id.into(),
            model: model.into(),
            created,
        }
    }

    /// The id of a chat completion.
    pub(crate) fn openai_id(&self) -> String {
        self.prefixed("chatcmpl-")
    }

    /// The id of an Anthropic message.
    pub(crate) fn anthropic_id(&self) -> String {
        self.prefixed("msg_")
    }

    fn prefixed(&self, prefix: &str) -> String {
        if self.id.starts_with(prefix) {
            self.id.clone()
        } else {
            format!("{prefix}{}", self.id)
        }
    }
}
