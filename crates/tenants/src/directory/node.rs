//! One place in the tree.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::id::NodeId;
use crate::pattern::{Pattern, is_within};
use crate::settings::Settings;

/// A tenant, a project or a key with what it is set to.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    id: NodeId,
    settings: Settings,
}

impl Node {
    pub(crate) fn new(id: NodeId, settings: Settings) -> Self {
        Self { id, settings }
    }

    /// Which place.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.settings.expires_at.is_some_and(|end| end <= now)
    }

    pub(super) fn allows_address(&self, address: IpAddr) -> bool {
        let ranges = self.settings.ip_ranges.as_ref();
        ranges.is_none_or(|ranges| is_within(ranges, address))
    }

    pub(super) fn allows_model(&self, model: &str) -> bool {
        allows(self.settings.models.as_ref(), model)
    }

    pub(super) fn allows_endpoint(&self, endpoint: &str) -> bool {
        allows(self.settings.endpoints.as_ref(), endpoint)
    }
}

fn allows(patterns: Option<&Vec<Pattern>>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
}
