//! Tenants and keys that stand in the configuration, as rows beside those of the store.

use std::collections::BTreeMap;

use bailian_tenants::key::Pepper;
use bailian_tenants::model::{Credential, Project, Row, Tenant, VirtualKey};
use bailian_tenants::settings::Settings;
use bailian_tenants::{KeyId, ProjectId, TenantId};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use crate::config::{KeyConfig, KeySecret};

/// The rows: each key with its tenant, which has one project of its own name.
pub(super) fn rows(pepper: &Pepper, keys: &[KeyConfig], tenants: &[Settings]) -> Vec<Row> {
    let mut all: BTreeMap<String, Settings> = tenants
        .iter()
        .map(|settings| (settings.name.clone(), settings.clone()))
        .collect();
    for key in keys {
        let name = &*key.owner.tenant;
        all.entry(name.to_owned())
            .or_insert_with(|| Settings::named(name));
    }
    let since = Timestamp::UNIX_EPOCH;
    let mut rows = Vec::new();
    for (name, settings) in all {
        let (tenant, project) = (TenantId::of_name(&name), ProjectId::of_name(&name));
        rows.push(Row::Tenant(Tenant::new(tenant, settings, since)));
        let of_project = Settings::named(&*name);
        rows.push(Row::Project(Project::new(
            project, tenant, of_project, since,
        )));
    }
    for key in keys {
        let verifier = match &key.secret {
            KeySecret::Plain(secret) => pepper.verifier(secret.expose_secret().as_bytes()),
            KeySecret::Sha256(digest) => pepper.verifier_of_sha256(digest),
        };
        rows.push(Row::Key(VirtualKey::new(
            KeyId::of_name(&key.owner.name),
            ProjectId::of_name(&key.owner.tenant),
            Credential::new(None, verifier, since),
            key.settings.clone(),
            since,
        )));
    }
    rows
}
