//! Trees of tenants, projects and keys for the tests.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses a part, and a helper that fails is a test that fails"
)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bailian_tenants::budget::{Estimate, Spent};
use bailian_tenants::key::Pepper;
use bailian_tenants::model::{Changes, Credential, Project, Revision, Row, Tenant, VirtualKey};
use bailian_tenants::settings::{Settings, SettingsInput};
use bailian_tenants::{
    Caller, Cost, Currency, Directory, KeyId, Money, Now, ProjectId, Rates, TenantId,
};
use jiff::Timestamp;
use serde_json::Value;

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn noon() -> Timestamp {
    at("2026-11-27T04:00:00Z")
}

pub fn now(wall: Timestamp) -> Now {
    Now {
        wall,
        monotonic: Instant::now(),
    }
}

pub fn later(now: Now, by: Duration) -> Now {
    Now {
        wall: now.wall + by,
        monotonic: now.monotonic + by,
    }
}

pub fn localhost() -> IpAddr {
    "127.0.0.1".parse().unwrap()
}

pub fn rates() -> Rates {
    Rates::new(Currency::CNY, [(Currency::USD, "7.1".parse().unwrap())]).unwrap()
}

/// Settings of JSON, with a name when there is none.
pub fn settings(json: Value) -> Settings {
    input(json).check(&rates()).unwrap()
}

pub fn input(mut json: Value) -> SettingsInput {
    let fields = json.as_object_mut().unwrap();
    fields.entry("name").or_insert_with(|| "测试".into());
    SettingsInput::from_json(json.to_string().as_bytes()).unwrap()
}

pub fn pepper() -> Pepper {
    Pepper::from_bytes(&[9; 32])
}

/// A tenant with one project with one key, `sk-chosen-key`.
pub struct Tree {
    pub tenant: Tenant,
    pub project: Project,
    pub key: VirtualKey,
}

pub const KEY: &[u8] = b"sk-chosen-key";

impl Tree {
    /// Settings of tenant, project and key.
    pub fn new(tenant: Value, project: Value, key: Value) -> Self {
        let tenant = Tenant::new(TenantId::of_name("t"), settings(tenant), noon());
        let project_id = ProjectId::of_name("p");
        let project = Project::new(project_id, tenant.id, settings(project), noon());
        let credential = Credential::new(None, pepper().verifier(KEY), noon());
        let key_id = KeyId::of_name("k");
        let key = VirtualKey::new(key_id, project.id, credential, settings(key), noon());
        Self {
            tenant,
            project,
            key,
        }
    }

    /// Another key of the project.
    pub fn sibling(&self, name: &str, key: Value) -> VirtualKey {
        let credential = Credential::new(None, pepper().verifier(name.as_bytes()), noon());
        let id = KeyId::of_name(name);
        VirtualKey::new(id, self.project.id, credential, settings(key), noon())
    }

    pub fn rows(&self) -> Vec<Row> {
        vec![
            Row::Tenant(self.tenant.clone()),
            Row::Project(self.project.clone()),
            Row::Key(self.key.clone()),
        ]
    }

    pub fn directory(&self) -> Directory {
        directory(self.rows())
    }

    pub fn caller(&self) -> Caller {
        let caller = self.directory().caller_of(self.key.id);
        caller.unwrap()
    }
}

pub fn directory(rows: Vec<Row>) -> Directory {
    Directory::new(pepper(), Vec::new()).with_changes(Changes::whole(Revision(1), rows))
}

/// Yuan in millionths.
pub fn yuan(micros: u64) -> Cost {
    let money = Money::from_nanos(micros * 1_000, Currency::CNY);
    rates().cost([money]).unwrap()
}

pub fn spent(micros: u64, tokens: u64) -> Spent {
    Spent {
        cost: yuan(micros),
        tokens,
    }
}

pub fn request(micros: u64, tokens: u64) -> Estimate {
    Estimate::of_request(spent(micros, tokens))
}
