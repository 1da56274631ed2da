//! What people call tenants, projects and keys, beside the ids that the ledger has.

use std::collections::BTreeMap;

use bailian_tenants::Directory;

/// Names by id, of all that is there still.
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn of(directory: &Directory) -> Self {
        let named = directory.nodes().map(|(_, node)| {
            let (id, name) = (node.id().to_string(), node.name().to_owned());
            (id, name)
        });
        Self(named.collect())
    }

    pub(super) fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}
