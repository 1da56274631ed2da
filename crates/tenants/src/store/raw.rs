//! What databases hold, as rows: the same checks for all of them.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use super::{Action, Actor, AuditEntry, AuditNote, StoreError};
use crate::key::{PublicId, Verifier};
use crate::model::{Credential, Deleted, Project, Revision, Revocation, Row, Tenant, VirtualKey};
use crate::money::Rates;
use crate::settings::{Settings, SettingsInput};

/// The columns that tenants, projects and keys have alike.
pub(super) struct RawNode {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) created_at: i64,
    pub(super) settings: String,
}

/// The columns that only keys have.
pub(super) struct RawKey {
    pub(super) project: String,
    pub(super) revoked_at: Option<i64>,
    pub(super) cut_streams: bool,
    pub(super) credentials: Vec<Credential>,
}

pub(super) struct RawCredential {
    pub(super) verifier: Vec<u8>,
    pub(super) public_id: Option<String>,
    pub(super) created_at: i64,
    pub(super) valid_until: Option<i64>,
}

pub(super) struct RawAudit {
    pub(super) number: i64,
    pub(super) revision: i64,
    pub(super) at: i64,
    pub(super) who: String,
    pub(super) address: Option<String>,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl RawNode {
    pub(super) fn tenant(self, rates: &Rates) -> Result<Row, StoreError> {
        Ok(Row::Tenant(Tenant {
            id: parse(&self.id)?,
            revision: to_revision(self.revision)?,
            created_at: to_time(self.created_at)?,
            settings: self.settings(rates)?,
        }))
    }

    pub(super) fn project(self, tenant: &str, rates: &Rates) -> Result<Row, StoreError> {
        Ok(Row::Project(Project {
            id: parse(&self.id)?,
            tenant: parse(tenant)?,
            revision: to_revision(self.revision)?,
            created_at: to_time(self.created_at)?,
            settings: self.settings(rates)?,
        }))
    }

    pub(super) fn key(self, key: RawKey, rates: &Rates) -> Result<Row, StoreError> {
        let cut_streams = key.cut_streams;
        let revoked = key.revoked_at.map(|at| {
            let at = to_time(at)?;
            Ok::<_, StoreError>(Revocation { at, cut_streams })
        });
        Ok(Row::Key(VirtualKey {
            id: parse(&self.id)?,
            project: parse(&key.project)?,
            revision: to_revision(self.revision)?,
            created_at: to_time(self.created_at)?,
            credentials: key.credentials,
            revoked: revoked.transpose()?,
            settings: self.settings(rates)?,
        }))
    }

    /// Settings are checked again, since the configuration may have changed since they were stored.
    fn settings(&self, rates: &Rates) -> Result<Settings, StoreError> {
        let input = SettingsInput::from_json(self.settings.as_bytes());
        let checked = input.and_then(|input| input.check(rates));
        checked.map_err(|problems| StoreError::Unusable {
            what: self.id.clone(),
            problems,
        })
    }
}

impl RawCredential {
    pub(super) fn check(self) -> Result<Credential, StoreError> {
        let wrong = || unusable("a credential");
        let public_id = self
            .public_id
            .map(|text| PublicId::parse(&text).ok_or_else(wrong));
        let verifier = self.verifier.try_into().map_err(|_| wrong())?;
        Ok(Credential {
            public_id: public_id.transpose()?,
            verifier: Verifier::from_bytes(verifier),
            created_at: to_time(self.created_at)?,
            valid_until: self.valid_until.map(to_time).transpose()?,
        })
    }
}

impl RawAudit {
    pub(super) fn check(self) -> Result<AuditEntry, StoreError> {
        let wrong = || unusable(&format!("audit entry {}", self.number));
        let address = self.address.as_deref().map(str::parse).transpose();
        let json = |text: Option<&String>| -> Result<Option<Value>, StoreError> {
            let value = text.map(|text| serde_json::from_str(text)).transpose();
            value.map_err(|_| wrong())
        };
        Ok(AuditEntry {
            number: u64::try_from(self.number).map_err(|_| wrong())?,
            revision: to_revision(self.revision)?,
            at: to_time(self.at)?,
            note: AuditNote {
                action: Action::parse(&self.action).ok_or_else(wrong)?,
                target: parse(&self.target)?,
                before: json(self.before.as_ref())?,
                after: json(self.after.as_ref())?,
                actor: Actor {
                    from: address.map_err(|_| wrong())?,
                    who: self.who,
                },
            },
        })
    }
}

pub(super) fn deleted(id: &str, cut_streams: bool) -> Result<Deleted, StoreError> {
    Ok(Deleted {
        id: parse(id)?,
        cut_streams,
    })
}

/// The name, which is unique by itself, and all settings as JSON.
pub(super) fn stored(settings: &Settings) -> Result<(&str, String), StoreError> {
    let json = serde_json::to_string(settings);
    let json = json.map_err(|error| StoreError::Database(Box::new(error)))?;
    Ok((&settings.name, json))
}

/// A number that is kept as text; 0 where there is none.
pub(super) fn number(name: &str, text: Option<&str>) -> Result<u64, StoreError> {
    let number = text.map_or(Ok(0), str::parse);
    number.map_err(|_| unusable(&format!("the number `{name}`")))
}

/// Databases have signed numbers only; revisions count changes and stay far below the end of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unusable(what: &str) -> StoreError {
    StoreError::Unusable {
        what: what.to_owned(),
        problems: Vec::new(),
    }
}

fn parse<T: FromStr>(id: &str) -> Result<T, StoreError> {
    id.parse().map_err(|_| unusable("an id"))
}

pub(super) fn to_revision(number: i64) -> Result<Revision, StoreError> {
    let number = u64::try_from(number).map_err(|_| unusable("a revision"))?;
    Ok(Revision(number))
}

pub(super) fn to_time(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| unusable("a time"))
}
