//! Who is let in, and that nobody else learns why not.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use bailian_quota::Class;
use bailian_tenants::key::KeyText;
use bailian_tenants::model::{Changes, Credential, Revision, Row};
use bailian_tenants::{DenialReason, Denied, Directory, Level, NotAllowed};
use secrecy::ExposeSecret;
use serde_json::json;
use support::{KEY, Tree, at, directory, localhost, noon, pepper};

fn denied(directory: &Directory, key: &[u8]) -> Denied {
    directory
        .authenticate(key, noon(), localhost())
        .unwrap_err()
}

#[test]
fn a_key_leads_to_its_project_and_tenant() {
    let tree = Tree::new(
        json!({"name": "甲公司", "priority": "normal", "weight": 3}),
        json!({"name": "研发", "priority": "low"}),
        json!({"name": "ci", "priority": "high", "metadata": {"owner": "王"}}),
    );
    let caller = tree
        .directory()
        .authenticate(KEY, noon(), localhost())
        .unwrap();
    assert_eq!(caller.key_id(), tree.key.id);
    assert_eq!(caller.tenant().name(), "甲公司");
    assert_eq!(caller.project().name(), "研发");
    assert_eq!(caller.key().settings().metadata["owner"], "王");
    assert_eq!(
        caller.priority(),
        Class::Low,
        "the least urgent of all levels"
    );
    assert_eq!(caller.weight(), 3, "of the lowest level that says one");
}

#[test]
fn a_generated_key_is_found_by_its_public_part() {
    let text = KeyText::generate().unwrap();
    let mut tree = Tree::new(json!({}), json!({}), json!({}));
    let verifier = pepper().verifier(text.expose_secret().as_bytes());
    tree.key.credentials = vec![Credential::new(Some(text.public_id()), verifier, noon())];
    let directory = tree.directory();
    let caller = directory
        .authenticate(text.expose_secret().as_bytes(), noon(), localhost())
        .unwrap();
    assert_eq!(caller.public_id(), Some(text.public_id()));

    let mut wrong = text.expose_secret().to_owned();
    let last = if wrong.ends_with('a') { "b" } else { "a" };
    wrong.replace_range(wrong.len() - 1.., last);
    let denied = denied(&directory, wrong.as_bytes());
    assert_eq!(denied.reason(), DenialReason::WrongSecret);
    assert_eq!(
        denied.key(),
        Some(tree.key.id),
        "so that an operator sees which key is tried"
    );
}

#[test]
fn every_denial_looks_alike_outside() {
    let off = json!({"disabled": true});
    let old = json!({"expires_at": "2026-11-27T04:00:00Z"});
    let elsewhere = json!({"ip_ranges": ["10.0.0.0/8"]});
    let none = json!({});
    let case =
        |tenant: &serde_json::Value, project: &serde_json::Value, key: &serde_json::Value| {
            Tree::new(tenant.clone(), project.clone(), key.clone()).directory()
        };
    let mut rotated = Tree::new(none.clone(), none.clone(), none.clone());
    rotated.key.credentials[0].valid_until = Some(noon());
    let open = case(&none, &none, &none);
    let long = vec![b'x'; 100_000];
    let denials = [
        (denied(&open, b""), DenialReason::Missing),
        (denied(&open, b"sk-something-else"), DenialReason::Unknown),
        (denied(&open, b"bl-k7Qp2mXa-guess"), DenialReason::Unknown),
        (denied(&open, &long), DenialReason::Unknown),
        (
            denied(&open, "通义千问\0".as_bytes()),
            DenialReason::Unknown,
        ),
        (denied(&rotated.directory(), KEY), DenialReason::RotatedAway),
        (
            denied(&case(&off, &none, &none), KEY),
            DenialReason::Disabled(Level::Tenant),
        ),
        (
            denied(&case(&none, &off, &none), KEY),
            DenialReason::Disabled(Level::Project),
        ),
        (
            denied(&case(&none, &none, &off), KEY),
            DenialReason::Disabled(Level::Key),
        ),
        (
            denied(&case(&old, &none, &none), KEY),
            DenialReason::Expired(Level::Tenant),
        ),
        (
            denied(&case(&none, &none, &old), KEY),
            DenialReason::Expired(Level::Key),
        ),
        (
            denied(&case(&none, &elsewhere, &none), KEY),
            DenialReason::Address(Level::Project),
        ),
    ];
    for (denied, reason) in denials {
        assert_eq!(denied.to_string(), "the API key is not valid");
        assert_eq!(format!("{denied:?}"), "Denied { .. }");
        assert_eq!(denied.reason(), reason);
    }
}

#[test]
fn a_key_opens_until_the_moment_it_expires() {
    let tree = Tree::new(
        json!({}),
        json!({}),
        json!({"expires_at": "2026-12-31T16:00:00Z"}),
    );
    let directory = tree.directory();
    let opens = |text| directory.authenticate(KEY, at(text), localhost()).is_ok();
    assert!(opens("2026-12-31T15:59:59.999Z"));
    assert!(!opens("2026-12-31T16:00:00Z"));
}

#[test]
fn both_secrets_open_while_a_rotation_overlaps() {
    let mut tree = Tree::new(json!({}), json!({}), json!({}));
    tree.key.credentials[0].valid_until = Some(at("2026-11-28T04:00:00Z"));
    let verifier = pepper().verifier(b"sk-the-new-one");
    tree.key
        .credentials
        .push(Credential::new(None, verifier, noon()));
    let directory = tree.directory();
    let opens = |key: &[u8], text| directory.authenticate(key, at(text), localhost()).is_ok();
    assert!(opens(KEY, "2026-11-28T03:59:59Z"));
    assert!(!opens(KEY, "2026-11-28T04:00:00Z"));
    assert!(opens(b"sk-the-new-one", "2026-11-28T03:59:59Z"));
    assert!(opens(b"sk-the-new-one", "2027-11-28T04:00:00Z"));
}

#[test]
fn an_address_must_lie_in_the_ranges_of_every_level() {
    let tree = Tree::new(
        json!({"ip_ranges": ["10.0.0.0/8", "2001:db8::/32"]}),
        json!({}),
        json!({"ip_ranges": ["10.1.0.0/16", "2001:db8:1::/48"]}),
    );
    let directory = tree.directory();
    let opens = |ip: &str| {
        directory
            .authenticate(KEY, noon(), ip.parse().unwrap())
            .is_ok()
    };
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:1::7"] {
        assert!(opens(inside), "{inside}");
    }
    for outside in ["10.2.0.1", "127.0.0.1", "2001:db8:2::7", "::1"] {
        assert!(!opens(outside), "{outside}");
    }
}

#[test]
fn what_may_be_used_is_what_every_level_allows() {
    let tree = Tree::new(
        json!({"models": ["qwen*", "text-embedding-v4"]}),
        json!({}),
        json!({"models": ["qwen-plus", "qwen3-*", "deepseek-v3"], "endpoints": ["chat*"]}),
    );
    let caller = tree.caller();
    assert_eq!(caller.may_use("qwen-plus", "chat.openai"), Ok(()));
    assert_eq!(caller.may_use("qwen3-max", "chat.anthropic"), Ok(()));
    let model = |level| Err(NotAllowed::Model(level));
    assert_eq!(caller.may_use("qwen-max", "chat.openai"), model(Level::Key));
    assert_eq!(
        caller.may_use("deepseek-v3", "chat.openai"),
        model(Level::Tenant)
    );
    let endpoint = Err(NotAllowed::Endpoint(Level::Key));
    assert_eq!(caller.may_use("qwen-plus", "embeddings"), endpoint);
    assert_eq!(caller.may_call("files"), endpoint);
}

#[test]
fn a_key_without_its_project_or_tenant_opens_nothing() {
    let tree = Tree::new(json!({}), json!({}), json!({}));
    for missing in 0..2 {
        let mut rows = tree.rows();
        rows.remove(missing);
        assert_eq!(
            denied(&directory(rows), KEY).reason(),
            DenialReason::Unknown
        );
    }
}

#[test]
fn changes_make_a_new_directory_and_leave_the_old_one() {
    let tree = Tree::new(json!({}), json!({}), json!({}));
    let before = tree.directory();
    let mut key = tree.key.clone();
    key.credentials[0] = Credential::new(None, pepper().verifier(b"sk-another-key"), noon());
    let mut changes = Changes::default();
    changes.revision = Revision(2);
    changes.rows = vec![Row::Key(key)];
    let after = before.with_changes(changes);
    assert_eq!(after.revision(), Revision(2));
    assert!(before.authenticate(KEY, noon(), localhost()).is_ok());
    assert_eq!(denied(&after, KEY).reason(), DenialReason::Unknown);
    assert!(
        after
            .authenticate(b"sk-another-key", noon(), localhost())
            .is_ok()
    );
}

#[test]
fn keys_of_the_configuration_stay_whatever_the_store_says() {
    let tree = Tree::new(json!({}), json!({}), json!({}));
    let directory = Directory::new(pepper(), tree.rows());
    assert!(directory.authenticate(KEY, noon(), localhost()).is_ok());
    let empty = Changes::whole(Revision(7), Vec::new());
    let directory = directory.with_changes(empty);
    assert!(directory.authenticate(KEY, noon(), localhost()).is_ok());
    assert_eq!(directory.key_count(), 1);
}

#[test]
fn debug_output_shows_no_key_and_no_digest() {
    let directory = Tree::new(json!({}), json!({}), json!({})).directory();
    let shown = format!("{directory:?}");
    assert_eq!(
        shown,
        "Directory { revision: Revision(1), tenants: 1, projects: 1, keys: 1, .. }"
    );
}

#[test]
fn content_is_kept_as_the_lowest_level_says_and_for_nobody_who_does_not_ask() {
    let kept = |tenant, project, key| {
        let tree = Tree::new(tenant, project, key);
        let caller = tree
            .directory()
            .authenticate(KEY, noon(), localhost())
            .unwrap();
        let keep = caller.keep_content();
        let ids = (caller.tenant_id(), caller.project_id(), caller.key_id());
        let directory = tree.directory();
        assert_eq!(directory.keep_content_of(ids.0, ids.1, ids.2), keep);
        keep.map(|keep| (keep.days, keep.redact))
    };
    let asks = json!({"keep_content": {"days": 30}});
    assert_eq!(kept(json!({}), json!({}), json!({})), None);
    assert_eq!(kept(asks.clone(), json!({}), json!({})), Some((30, true)));
    let project = json!({"keep_content": {"days": 7, "redact": false}});
    assert_eq!(
        kept(asks.clone(), project.clone(), json!({})),
        Some((7, false))
    );
    let refuses = json!({"keep_content": {"days": 0}});
    assert_eq!(kept(asks, project, refuses), None);
}

#[test]
fn what_is_left_of_the_tree_says_how_long_content_is_kept() {
    let tree = Tree::new(
        json!({"keep_content": {"days": 30}}),
        json!({}),
        json!({"keep_content": {"days": 0}}),
    );
    let (tenant, project) = (tree.tenant.id, tree.project.id);
    let gone = bailian_tenants::KeyId::of_name("gone");
    let days = |tenant, key| {
        let keep = tree.directory().keep_content_of(tenant, project, key);
        keep.map(|keep| keep.days)
    };
    assert_eq!(days(tenant, tree.key.id), None);
    assert_eq!(days(tenant, gone), Some(30));
    assert_eq!(days(bailian_tenants::TenantId::of_name("gone"), gone), None);
}
