//! What every store does: round trips, races, the audit log, the first start.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a module of tests, in which a helper that fails is a test that fails"
)]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bailian_tenants::key::{KeyText, Pepper};
use bailian_tenants::model::{Project, Revision, Row, Tenant, VirtualKey};
use bailian_tenants::store::{Action, Actor, Store, StoreError};
use bailian_tenants::{
    Admin, AdminError, DenialReason, KeyId, Live, NodeId, Object, ObjectKind, Rates, TenantId,
};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::{at, input, localhost, noon, pepper, rates};

/// A database of one test.
pub trait Place: Send + Sync {
    /// Opens it, as each process does.
    fn open(&self, pepper: &Pepper, rates: Rates) -> Result<Arc<dyn Store>, StoreError>;
    /// Goes around the program; whether that was possible.
    fn execute(&self, sql: &str) -> bool;
    /// Says that the schema is another.
    fn write_schema(&self, number: u32);
}

/// A database and one process on it.
pub struct Installation {
    pub place: Box<dyn Place>,
    pub admin: Admin,
}

/// Runs each test on a place of its own.
macro_rules! on_every_place {
    ($place:expr, $($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            crate::suite::$name(&crate::suite::Installation::new(Box::new($place)));
        }
    )+};
}

/// All tests of stores.
macro_rules! suite {
    ($place:expr) => {
        crate::suite::on_every_place! {
            $place,
            the_first_start_makes_one_key_and_no_other_does,
            of_many_first_starts_at_once_one_prints_a_key,
            what_is_stored_is_what_is_read,
            a_changed_setting_is_seen_after_the_next_look,
            rotation_keeps_the_key_and_overlaps,
            a_revoked_key_is_told_to_all_with_its_open_streams,
            deleting_a_tenant_takes_everything_below_it,
            of_two_that_change_the_same_revision_one_is_told,
            names_keys_and_parents_are_checked,
            the_audit_log_tells_all_but_secrets_and_is_never_changed,
            a_replica_that_missed_too_much_reads_everything_again,
            what_a_newer_program_wrote_opens_nothing_and_stops_nothing,
            a_store_of_another_pepper_a_newer_program_or_a_lost_rate_is_not_used,
            readers_and_writers_of_many_processes_get_on,
            what_the_service_keeps_is_its_makers_until_it_is_forgotten,
        }
    };
}

pub(crate) use {on_every_place, suite};

impl Installation {
    pub fn new(place: Box<dyn Place>) -> Self {
        let admin = admin(&*place);
        Self { place, admin }
    }

    /// Another process on the same database.
    fn replica(&self) -> Admin {
        admin(&*self.place)
    }

    fn live(&self) -> Live {
        let store = self.place.open(&pepper(), rates()).unwrap();
        Live::load(store, pepper(), Vec::new()).unwrap()
    }

    /// A tenant, its project, and a key of that.
    pub fn tree(&self) -> (Tenant, Project, VirtualKey, KeyText) {
        let (admin, actor) = (&self.admin, &actor());
        let tenant = input(json!({"name": "甲公司"}));
        let tenant = admin.create_tenant(tenant, actor, noon()).unwrap();
        let project = input(json!({"name": "研发"}));
        let project = admin
            .create_project(tenant.id, project, actor, noon())
            .unwrap();
        let key = input(json!({"name": "ci", "limits": {"rpm": 5}}));
        let (key, text) = admin.create_key(project.id, key, actor, noon()).unwrap();
        (tenant, project, key, text)
    }
}

fn admin(place: &dyn Place) -> Admin {
    let store = place.open(&pepper(), rates()).unwrap();
    Admin::new(store, pepper(), rates())
}

pub fn actor() -> Actor {
    Actor::new("王芳", Some(localhost()))
}

fn opens(live: &Live, text: &KeyText) -> Result<KeyId, DenialReason> {
    let key = text.expose_secret().as_bytes();
    let caller = live.current().authenticate(key, noon(), localhost());
    caller
        .map(|it| it.key_id())
        .map_err(|denied| denied.reason())
}

pub fn the_first_start_makes_one_key_and_no_other_does(installation: &Installation) {
    let text = installation.admin.first_start(noon()).unwrap().unwrap();
    assert!(installation.admin.first_start(noon()).unwrap().is_none());
    assert!(
        installation
            .replica()
            .first_start(noon())
            .unwrap()
            .is_none()
    );
    let live = installation.live();
    let key = opens(&live, &text).unwrap();
    let caller = live.current().caller_of(key).unwrap();
    assert_eq!(
        (caller.tenant().name(), caller.project().name()),
        ("default", "default")
    );

    // Not even when everything was deleted since.
    let tenant = NodeId::Tenant(caller.tenant_id());
    installation
        .admin
        .delete(tenant, Revision(1), false, &actor(), noon())
        .unwrap();
    assert!(installation.admin.first_start(noon()).unwrap().is_none());
}

pub fn of_many_first_starts_at_once_one_prints_a_key(installation: &Installation) {
    let start = Barrier::new(8);
    let printed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (start, replica) = (&start, installation.replica());
                scope.spawn(move || {
                    start.wait();
                    replica.first_start(noon()).unwrap().iter().count()
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert_eq!(printed, 1);
}

pub fn what_is_stored_is_what_is_read(installation: &Installation) {
    let (tenant, project, ..) = installation.tree();
    let whole = json!({
        "name": "Robert'); DROP TABLE keys;--",
        "expires_at": "2026-12-31T16:00:00.123456789Z",
        "models": ["qwen*", "通义"],
        "ip_ranges": ["10.0.0.0/8"],
        "limits": {"rpm": 60},
        "priority": "low",
        "weight": 2,
        "budgets": [{"period": "day", "money": {"amount": "12.5", "currency": "USD"}, "tokens": 7}],
        "metadata": {"说明": "line\r\nbreak"},
    });
    let admin = &installation.admin;
    let (key, _) = admin
        .create_key(project.id, input(whole), &actor(), noon())
        .unwrap();
    let store = installation.replica().store().clone();
    assert_eq!(
        store.row(NodeId::Key(key.id)).unwrap(),
        Some(Row::Key(key.clone()))
    );
    let row = store.row(NodeId::Tenant(tenant.id)).unwrap();
    assert_eq!(row, Some(Row::Tenant(tenant.clone())));
    assert_eq!(
        store.row(NodeId::Tenant(TenantId::of_name("x"))).unwrap(),
        None
    );

    let names = |parent| -> Vec<String> {
        let rows = store.children(parent, None, 10).unwrap();
        rows.iter().map(|row| row.settings().name.clone()).collect()
    };
    assert_eq!(names(None), ["甲公司"]);
    assert_eq!(names(Some(NodeId::Tenant(tenant.id))), ["研发"]);
    let first = store
        .children(Some(NodeId::Project(project.id)), None, 1)
        .unwrap();
    let second = store
        .children(Some(NodeId::Project(project.id)), Some(first[0].id()), 9)
        .unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
}

pub fn a_changed_setting_is_seen_after_the_next_look(installation: &Installation) {
    let (_, _, key, text) = installation.tree();
    let live = installation.live();
    assert_eq!(live.refresh().unwrap(), None);
    let off = input(json!({"name": "ci", "disabled": true}));
    let id = NodeId::Key(key.id);
    let row = installation
        .admin
        .update(id, key.revision, off, &actor(), noon())
        .unwrap();
    assert!(opens(&live, &text).is_ok(), "not looked yet");
    let refreshed = live.refresh().unwrap().unwrap();
    assert_eq!(
        (refreshed.revision, refreshed.cut),
        (row.revision(), vec![])
    );
    assert!(refreshed.unusable.is_empty());
    assert!(matches!(
        opens(&live, &text),
        Err(DenialReason::Disabled(_))
    ));
    assert_eq!(live.refresh().unwrap(), None);
}

pub fn rotation_keeps_the_key_and_overlaps(installation: &Installation) {
    let (_, _, key, first) = installation.tree();
    let live = installation.live();
    let admin = &installation.admin;
    let hour = Duration::from_hours(1);
    let (key, second) = admin
        .rotate(key.id, key.revision, hour, &actor(), noon())
        .unwrap();
    live.refresh().unwrap();
    assert_eq!(opens(&live, &first), Ok(key.id));
    assert_eq!(opens(&live, &second), Ok(key.id));
    let (key, third) = admin
        .rotate(key.id, key.revision, Duration::ZERO, &actor(), noon())
        .unwrap();
    live.refresh().unwrap();
    assert!(
        opens(&live, &first).is_err() && opens(&live, &second).is_err(),
        "no overlap"
    );
    assert_eq!(opens(&live, &third), Ok(key.id));

    let days = Duration::from_hours(91 * 24);
    let result = admin.rotate(key.id, key.revision, days, &actor(), noon());
    assert!(matches!(result, Err(AdminError::Invalid(_))));
    let mut key = key;
    for _ in 0..3 {
        key = admin
            .rotate(key.id, key.revision, hour, &actor(), noon())
            .unwrap()
            .0;
    }
    let result = admin.rotate(key.id, key.revision, hour, &actor(), noon());
    assert!(
        matches!(result, Err(AdminError::Invalid(_))),
        "no more than four"
    );
    let later = at("2026-11-27T05:00:00Z");
    let (key, _) = admin
        .rotate(key.id, key.revision, hour, &actor(), later)
        .unwrap();
    assert_eq!(key.credentials.len(), 2, "those that have ended are gone");
}

pub fn a_revoked_key_is_told_to_all_with_its_open_streams(installation: &Installation) {
    let (_, project, key, text) = installation.tree();
    let live = [installation.live(), installation.live()];
    let admin = &installation.admin;
    let revoked = admin.revoke(key.id, false, &actor(), noon()).unwrap();
    for live in &live {
        assert_eq!(live.refresh().unwrap().unwrap().cut, []);
        assert_eq!(opens(live, &text), Err(DenialReason::Revoked));
    }
    let again = admin.revoke(key.id, false, &actor(), noon()).unwrap();
    assert_eq!(again, revoked, "nothing to do");
    admin.revoke(key.id, true, &actor(), noon()).unwrap();
    for live in &live {
        assert_eq!(live.refresh().unwrap().unwrap().cut, [key.id]);
    }

    // For ever: no update, no rotation.
    let row = admin.store().row(NodeId::Key(key.id)).unwrap().unwrap();
    let update = admin.update(row.id(), row.revision(), input(json!({})), &actor(), noon());
    assert!(matches!(update, Err(AdminError::Revoked(_))));
    let rotate = admin.rotate(key.id, row.revision(), Duration::ZERO, &actor(), noon());
    assert!(matches!(rotate, Err(AdminError::Revoked(_))));

    // Revoked with its streams and deleted between two looks.
    let (key, _) = admin
        .create_key(project.id, input(json!({})), &actor(), noon())
        .unwrap();
    live[0].refresh().unwrap();
    let key = admin.revoke(key.id, true, &actor(), noon()).unwrap();
    admin
        .delete(NodeId::Key(key.id), key.revision, false, &actor(), noon())
        .unwrap();
    assert_eq!(live[0].refresh().unwrap().unwrap().cut, [key.id]);
}

pub fn deleting_a_tenant_takes_everything_below_it(installation: &Installation) {
    let (tenant, project, key, text) = installation.tree();
    let live = installation.live();
    let admin = &installation.admin;
    let id = NodeId::Tenant(tenant.id);
    admin
        .delete(id, tenant.revision, true, &actor(), noon())
        .unwrap();
    for id in [id, NodeId::Project(project.id), NodeId::Key(key.id)] {
        assert_eq!(admin.store().row(id).unwrap(), None);
    }
    assert_eq!(live.refresh().unwrap().unwrap().cut, [key.id]);
    assert_eq!(opens(&live, &text), Err(DenialReason::Unknown));
    assert_eq!(live.current().nodes().count(), 0);
}

pub fn of_two_that_change_the_same_revision_one_is_told(installation: &Installation) {
    let (tenant, ..) = installation.tree();
    let id = NodeId::Tenant(tenant.id);
    let start = Barrier::new(8);
    let results: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (start, replica) = (&start, installation.replica());
                scope.spawn(move || {
                    let settings = input(json!({"name": format!("第 {number}")}));
                    start.wait();
                    match replica.update(id, tenant.revision, settings, &actor(), noon()) {
                        Ok(_) => true,
                        Err(AdminError::Store(StoreError::Conflict { .. })) => false,
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|is_done| **is_done).count(), 1);
    let updates = installation.admin.store().audit(None, 100).unwrap();
    let updates = updates
        .iter()
        .filter(|entry| entry.note.action == Action::Update);
    assert_eq!(updates.count(), 1, "what was refused is not in the log");
}

pub fn names_keys_and_parents_are_checked(installation: &Installation) {
    let (tenant, project, key, _) = installation.tree();
    let (admin, actor) = (&installation.admin, &actor());
    let again = || input(json!({"name": "甲公司"}));
    let result = admin.create_tenant(again(), actor, noon());
    assert!(matches!(
        result,
        Err(AdminError::Store(StoreError::NameTaken))
    ));
    let result = admin.create_key(project.id, input(json!({"name": "ci"})), actor, noon());
    assert!(matches!(
        result,
        Err(AdminError::Store(StoreError::NameTaken))
    ));
    let nowhere = TenantId::of_name("nowhere");
    let result = admin.create_project(nowhere, again(), actor, noon());
    assert!(matches!(
        result,
        Err(AdminError::Store(StoreError::ParentMissing))
    ));

    let chosen = |name: &str, text: &str| {
        let settings = input(json!({"name": name}));
        admin.create_chosen_key(project.id, settings, &text.into(), actor, noon())
    };
    assert!(chosen("one", "sk-we-chose-it").is_ok());
    let result = chosen("two", "sk-we-chose-it");
    assert!(matches!(
        result,
        Err(AdminError::Store(StoreError::KeyTaken))
    ));
    assert!(matches!(
        chosen("two", "short"),
        Err(AdminError::Invalid(_))
    ));
    let long = "x".repeat(1 << 20);
    for name in ["a\0b", "a\r\nb", &long] {
        assert!(matches!(
            chosen(name, "sk-another-one"),
            Err(AdminError::Invalid(_))
        ));
    }

    let missing = NodeId::Key(KeyId::of_name("nobody"));
    let result = admin.delete(missing, Revision(1), false, actor, noon());
    assert!(matches!(result, Err(AdminError::NotFound(id)) if id == missing));
    let result = admin.delete(NodeId::Key(key.id), Revision(1), false, actor, noon());
    assert!(matches!(
        result,
        Err(AdminError::Store(StoreError::Conflict { .. }))
    ));
    assert_eq!(
        admin
            .store()
            .row(NodeId::Tenant(tenant.id))
            .unwrap()
            .unwrap()
            .id(),
        NodeId::Tenant(tenant.id)
    );
}

pub fn the_audit_log_tells_all_but_secrets_and_is_never_changed(installation: &Installation) {
    let (tenant, _, key, first) = installation.tree();
    let admin = &installation.admin;
    let zero = Duration::ZERO;
    let (key, second) = admin
        .rotate(key.id, key.revision, zero, &actor(), noon())
        .unwrap();
    admin.revoke(key.id, true, &actor(), noon()).unwrap();
    let id = NodeId::Tenant(tenant.id);
    admin
        .delete(id, tenant.revision, false, &actor(), noon())
        .unwrap();

    let entries = admin.store().audit(None, 100).unwrap();
    let actions: Vec<Action> = entries.iter().map(|entry| entry.note.action).collect();
    let create = Action::Create;
    assert_eq!(
        actions,
        [
            Action::Delete,
            Action::Revoke,
            Action::Rotate,
            create,
            create,
            create
        ]
    );
    let rotated = &entries[2];
    assert_eq!(rotated.note.actor, actor());
    assert_eq!((rotated.at, rotated.revision), (noon(), Revision(4)));
    let after = rotated.note.after.as_ref().unwrap();
    let credential = &after["credentials"][0];
    assert_eq!(credential["public_id"], second.public_id().to_string());
    assert_eq!(rotated.note.before.as_ref().unwrap()["limits"]["rpm"], 5);
    assert!(entries[0].note.after.is_none());
    let older = admin.store().audit(Some(rotated.number), 2).unwrap();
    assert_eq!(older.len(), 2);
    assert_eq!(older[0].number, rotated.number - 1);

    // Nothing in the files is a secret, or what secrets are tried against in the log.
    let log = serde_json::to_string(&entries).unwrap();
    for text in [&first, &second] {
        let secret = &text.expose_secret()[12..];
        assert!(!log.contains(secret));
        let verifier = pepper().verifier(text.expose_secret().as_bytes());
        let bytes = serde_json::to_string(verifier.as_bytes()).unwrap();
        assert!(!log.contains(&bytes) && !log.contains("verifier"));
    }

    let place = &installation.place;
    assert!(!place.execute("UPDATE audit SET who = 'x'"));
    assert!(!place.execute("DELETE FROM audit"));
}

pub fn a_replica_that_missed_too_much_reads_everything_again(installation: &Installation) {
    let (_, project, key, text) = installation.tree();
    let live = installation.live();
    let admin = &installation.admin;
    admin
        .delete(NodeId::Key(key.id), key.revision, false, &actor(), noon())
        .unwrap();
    // The store no longer knows what was deleted.
    let place = &installation.place;
    assert!(place.execute("DELETE FROM deleted"));
    assert!(place.execute("INSERT INTO meta VALUES ('deletions_known_since', '4')"));
    let (_, other) = admin
        .create_key(project.id, input(json!({})), &actor(), noon())
        .unwrap();
    let refreshed = live.refresh().unwrap().unwrap();
    assert_eq!(
        refreshed.cut,
        [key.id],
        "what is gone is cut, since nobody knows how it went"
    );
    assert!(opens(&live, &text).is_err());
    assert!(opens(&live, &other).is_ok());
}

pub fn what_a_newer_program_wrote_opens_nothing_and_stops_nothing(installation: &Installation) {
    let (_, project, key, text) = installation.tree();
    let admin = &installation.admin;
    let settings = input(json!({"name": "another"}));
    let (other, other_text) = admin
        .create_key(project.id, settings, &actor(), noon())
        .unwrap();
    let live = installation.live();
    let place = &installation.place;
    let newer = r#"UPDATE keys SET settings = '{"name": "ci", "novel": 1}', revision = 5"#;
    assert!(place.execute(&format!("{newer} WHERE id = '{}'", key.id)));
    assert!(place.execute("UPDATE meta SET value = '5' WHERE name = 'revision'"));
    admin.revoke(other.id, true, &actor(), noon()).unwrap();
    let refreshed = live.refresh().unwrap().unwrap();
    assert_eq!(refreshed.cut, [other.id]);
    assert_eq!(refreshed.unusable[0].id, NodeId::Key(key.id));
    assert_eq!(refreshed.unusable[0].problems[0].path, "novel");
    assert_eq!(opens(&live, &text), Err(DenialReason::Unknown));
    assert_eq!(opens(&live, &other_text), Err(DenialReason::Revoked));
    assert_eq!(live.refresh().unwrap(), None);
}

pub fn a_store_of_another_pepper_a_newer_program_or_a_lost_rate_is_not_used(
    installation: &Installation,
) {
    let (_, project, ..) = installation.tree();
    let other = Pepper::from_bytes(&[1; 32]);
    let result = installation.place.open(&other, rates());
    assert!(matches!(result, Err(StoreError::WrongPepper)));

    let budget = json!({"period": "day", "money": {"amount": 1, "currency": "USD"}});
    let settings = input(json!({"budgets": [budget]}));
    installation
        .admin
        .create_key(project.id, settings, &actor(), noon())
        .unwrap();
    let store = installation
        .place
        .open(&pepper(), Rates::default())
        .unwrap();
    let error = Live::load(store, pepper(), Vec::new()).unwrap_err();
    let problem = "budgets[0].money.currency: there is no rate for USD";
    assert!(error.to_string().contains(problem), "{error}");

    installation.place.write_schema(99);
    let result = installation.place.open(&pepper(), rates());
    assert!(matches!(
        result,
        Err(StoreError::NewerSchema { found: 99, .. })
    ));
}

pub fn readers_and_writers_of_many_processes_get_on(installation: &Installation) {
    let (_, project, ..) = installation.tree();
    let live = installation.live();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let replica = installation.replica();
            scope.spawn(move || {
                for number in 0..10 {
                    let settings = input(json!({"name": format!("{writer}-{number}")}));
                    replica
                        .create_key(project.id, settings, &actor(), noon())
                        .unwrap();
                }
            });
        }
        for _ in 0..50 {
            live.refresh().unwrap();
        }
    });
    live.refresh().unwrap();
    assert_eq!(live.current().key_count(), 41);
    assert_eq!(live.current().revision(), Revision(43));
}

pub fn what_the_service_keeps_is_its_makers_until_it_is_forgotten(installation: &Installation) {
    let store = installation.admin.store().clone();
    let other_process = installation.replica().store().clone();
    let made = |owner: &str, account: &str, now| {
        Object::new(ObjectKind::Response, "resp_一", owner, account, now)
    };
    let get = |now| {
        let found = other_process.object(ObjectKind::Response, "resp_一", now);
        found.unwrap()
    };
    let mine = made("甲", "main", noon());
    store.put_object(&mine, noon()).unwrap();
    assert_eq!(get(noon()), Some(mine.clone()));
    let conversation = other_process.object(ObjectKind::Conversation, "resp_一", noon());
    assert_eq!(conversation.unwrap(), None);
    let quoted = other_process.object(ObjectKind::Response, "' OR ''='", noon());
    assert_eq!(quoted.unwrap(), None);

    // Another one's word changes nothing, its maker's makes it last.
    store
        .put_object(&made("乙", "other", noon()), noon())
        .unwrap();
    assert_eq!(get(noon()), Some(mine.clone()));
    let later = noon() + Duration::from_hours(24);
    store.put_object(&made("甲", "main", later), later).unwrap();
    assert!(get(later).unwrap().until > mine.until);

    let end = get(later).unwrap().until;
    assert_eq!(get(end), None);
    assert_eq!(store.forget_objects(later, 10).unwrap(), 0);
    assert_eq!(store.forget_objects(end, 10).unwrap(), 1);
    let next = made("乙", "other", end);
    store.put_object(&next, end).unwrap();
    assert_eq!(get(end), Some(next));
    store
        .delete_object(ObjectKind::Response, "resp_一")
        .unwrap();
    assert_eq!(get(end), None);
}
