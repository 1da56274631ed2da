//! A caller that was let in.

use std::sync::Arc;

use bailian_quota::Class;
use thiserror::Error;

use super::Node;
use crate::id::{KeyId, Level, ProjectId, TenantId};
use crate::key::PublicId;
use crate::settings::KeepContent;

/// Who calls: the chain from the key to the tenant, as it was when the caller was let in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Key, project, tenant.
    chain: [Arc<Node>; 3],
    ids: (KeyId, ProjectId, TenantId),
    public_id: Option<PublicId>,
}

/// The caller is known and may not use this. Safe to tell the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// Another model would be allowed.
    #[error("the {0} does not allow this model")]
    Model(Level),
    /// Another endpoint would be allowed.
    #[error("the {0} does not allow this endpoint")]
    Endpoint(Level),
}

impl Caller {
    pub(super) fn new(
        chain: [Arc<Node>; 3],
        ids: (KeyId, ProjectId, TenantId),
        public_id: Option<PublicId>,
    ) -> Self {
        Self {
            chain,
            ids,
            public_id,
        }
    }

    /// The key's id.
    pub fn key_id(&self) -> KeyId {
        self.ids.0
    }

    /// The project's id.
    pub fn project_id(&self) -> ProjectId {
        self.ids.1
    }

    /// The tenant's id.
    pub fn tenant_id(&self) -> TenantId {
        self.ids.2
    }

    /// The key.
    pub fn key(&self) -> &Node {
        &self.chain[0]
    }

    /// The project.
    pub fn project(&self) -> &Node {
        &self.chain[1]
    }

    /// The tenant.
    pub fn tenant(&self) -> &Node {
        &self.chain[2]
    }

    /// Key, project and tenant, in this order.
    pub fn chain(&self) -> &[Arc<Node>; 3] {
        &self.chain
    }

    /// The public part of the secret that was presented; `None` for keys that somebody chose.
    pub fn public_id(&self) -> Option<PublicId> {
        self.public_id
    }

    /// Whether all levels allow a model, as the client names it, on an endpoint, as the gateway
    /// names it.
    ///
    /// # Errors
    /// [`NotAllowed`] names the first level that does not.
    pub fn may_use(&self, model: &str, endpoint: &str) -> Result<(), NotAllowed> {
        self.may_call(endpoint)?;
        match self.chain.iter().find(|node| !node.allows_model(model)) {
            Some(node) => Err(NotAllowed::Model(node.id().level())),
            None => Ok(()),
        }
    }

    /// Whether all levels allow an endpoint that has no model.
    ///
    /// # Errors
    /// [`NotAllowed`] names the first level that does not.
    pub fn may_call(&self, endpoint: &str) -> Result<(), NotAllowed> {
        let mut chain = self.chain.iter();
        match chain.find(|node| !node.allows_endpoint(endpoint)) {
            Some(node) => Err(NotAllowed::Endpoint(node.id().level())),
            None => Ok(()),
        }
    }

    /// How urgent its requests are at most: the least urgent that a level says, else normal.
    pub fn priority(&self) -> Class {
        let said = self
            .chain
            .iter()
            .filter_map(|node| node.settings().priority);
        said.reduce(Class::lowered_to).unwrap_or_default()
    }

    /// Its share beside others of the same priority: what the lowest level says, else 1.
    pub fn weight(&self) -> u32 {
        let mut said = self.chain.iter().filter_map(|node| node.settings().weight);
        said.next().unwrap_or(1)
    }

    /// Whether its prompts and answers are kept, and how: what the lowest level says. `None` where
    /// nobody asked for it.
    pub fn keep_content(&self) -> Option<KeepContent> {
        KeepContent::of(self.chain.iter().map(|node| node.settings()))
    }
}
