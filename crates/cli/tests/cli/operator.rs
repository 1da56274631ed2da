//! Projects, changes, single requests and the audit log: the operator's other commands.

use serde_json::Value;

use crate::place::{Place, refused};

/// The fields that `show` prints, by their names.
fn shown(place: &Place, arguments: &[&str]) -> Vec<(String, String)> {
    let (out, _) = place.told(arguments);
    let fields = out.lines().take_while(|line| !line.is_empty());
    fields
        .map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            (name.to_owned(), value.trim().to_owned())
        })
        .collect()
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let field = fields.iter().find(|(field, _)| field == name);
    field.map(|(_, value)| value.as_str())
}

#[test]
fn a_project_is_made_shown_changed_and_deleted() {
    let place = Place::with_data();
    place.told(&["tenants", "create", "研发部", "--budget", "month=500CNY"]);
    let new = [
        "projects",
        "create",
        "客服",
        "--tenant",
        "研发部",
        "--priority",
        "low",
    ];
    let (id, said) = place.told(&new);
    let id = id.trim_end();
    assert!(id.starts_with("p_") && said.contains("bailian keys create"));
    let (listed, _) = place.told(&["projects", "list", "--tenant", "研发部"]);
    assert!(
        listed.contains(id) && listed.contains("default"),
        "{listed}"
    );

    let change = [
        "projects",
        "change",
        "客服",
        "--name",
        "客服二组",
        "--weight",
        "3",
        "--unset",
        "priority",
        "--metadata",
        "owner=王芳",
    ];
    let (out, said) = place.told(&change);
    assert!(out.is_empty(), "{out}");
    for line in [
        "name: 客服 → 客服二组",
        "weight: - → 3",
        "priority: low → -",
        "metadata: - → owner=王芳",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let fields = shown(&place, &["projects", "show", "客服二组"]);
    assert!(field(&fields, "tenant").unwrap().starts_with("研发部 (t_"));
    assert_eq!(field(&fields, "weight"), Some("3"));
    assert_eq!(field(&fields, "priority"), None);

    // Two tenants have a project of this name.
    let (code, said) = refused(place.command().args(["projects", "show", "default"]));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("give the id") && said.contains("tenant 研发部"),
        "{said}"
    );
    place.told(&["projects", "show", "default", "--tenant", "研发部"]);

    place.told(&["keys", "create", "app", "--project", id]);
    let delete = ["projects", "delete", "客服二组"];
    let (code, said) = refused(place.command().args(delete));
    assert_eq!(code, Some(2));
    assert!(said.contains("1 key ") && said.contains("--yes"), "{said}");
    let (_, said) = place.told(&[&delete[..], &["--yes"]].concat());
    assert!(said.contains("is deleted"), "{said}");
    let (_, said) = refused(place.command().args(["keys", "show", "app"]));
    assert!(said.contains("there is no key app"), "{said}");
    let (_, said) = refused(place.command().args(["projects", "show", id]));
    assert!(said.contains("bailian projects list"), "{said}");
}

#[test]
fn settings_of_a_key_are_changed_and_what_is_not_named_stays() {
    let place = Place::with_data();
    let new = [
        "keys",
        "create",
        "app",
        "--rpm",
        "60",
        "--models",
        "qwen*",
        "--budget",
        "day=0.00000001CNY",
        "--expires-at",
        "90d",
    ];
    let (key, _) = place.told(&new);
    let key = key.trim_end();
    assert_eq!(
        place.call(key),
        429,
        "the budget is smaller than any request"
    );
    let change = [
        "keys",
        "change",
        "app",
        "--budget",
        "day=5CNY",
        "--budget",
        "total=100000tokens",
        "--unset",
        "models,expires-at",
        "--ip-ranges",
        "127.0.0.1,::1",
        "--json",
    ];
    let (out, said) = place.told(&change);
    let changed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(changed["limits"]["rpm"], 60);
    assert_eq!(changed["budgets"][1]["tokens"], 100_000);
    assert!(changed["models"].is_null() && changed["expires_at"].is_null());
    assert!(said.contains("models: qwen* → -"), "{said}");
    assert_eq!(place.call(key), 200);
    let (out, _) = place.told(&["keys", "show", "app"]);
    let budget = out.lines().find(|line| line.contains("CNY a day")).unwrap();
    assert!(budget.contains("  5  "), "{out}");
    assert!(out.contains("tokens in total"), "{out}");
    assert!(!out.contains(key), "{out}");

    place.told(&["keys", "change", "app", "--disable"]);
    assert_eq!(place.call(key), 401);
    place.told(&["keys", "change", "app", "--enable"]);
    assert_eq!(place.call(key), 200);
}

#[test]
fn a_change_that_cannot_be_made_says_what_is_wrong_and_changes_nothing() {
    let place = Place::new(
        "[data]\nfolder = \"data\"\n[[keys]]\nname = \"fixed\"\ntenant = \"文件\"\nkey = \"sk-bl-fixed-0001\"\n",
    );
    place.told(&["tenants", "create", "a"]);
    let new = ["keys", "create", "app", "--tenant", "a", "--weight", "2"];
    place.told(&new);
    for (arguments, parts) in [
        (
            &["--rpm", "0", "--weight", "0"][..],
            &["limits.rpm is 0", "weight is 0"][..],
        ),
        (&[], &["nothing is to be changed"]),
        (&["--budget", "month=500"], &["month=500CNY"]),
        (
            &["--budget", "month=500XYZ"],
            &["budgets[0].money.currency"],
        ),
        (&["--rpm", "5", "--unset", "rpm"], &["rpm is both"]),
        (&["--expires-at", "soon"], &["--expires-at", "90d"]),
        (&["--settings", "[]"], &["--settings is not a JSON object"]),
    ] {
        let arguments = [&["keys", "change", "app"][..], arguments].concat();
        let (code, said) = refused(place.command().args(&arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
    let late = ["keys", "change", "app", "--rpm", "5", "--revision", "1"];
    let (code, said) = refused(place.command().args(late));
    assert_eq!(code, Some(1));
    assert!(said.contains("changed meanwhile"), "{said}");
    let (_, said) = refused(
        place
            .command()
            .args(["keys", "change", "fixed", "--rpm", "5"]),
    );
    assert!(said.contains("stands in the configuration"), "{said}");
    // Its tenant stands there, too, and nothing else can be made in it or beside it by its name.
    let other = ["keys", "create", "other", "--tenant", "文件"];
    let (_, said) = refused(place.command().args(other));
    assert!(said.contains("bailian tenants create"), "{said}");
    for arguments in [
        ["tenants", "create", "文件"].as_slice(),
        &["tenants", "change", "a", "--name", "文件"],
    ] {
        let (code, said) = refused(place.command().args(arguments));
        assert_eq!(code, Some(1));
        assert!(said.contains("name is taken"), "{said}");
    }
    let fields = shown(&place, &["keys", "show", "app"]);
    assert_eq!(field(&fields, "weight"), Some("2"));
    assert_eq!(field(&fields, "rpm"), None);
}

#[test]
fn a_request_is_found_by_its_id_and_by_filters() {
    let place = Place::with_data();
    place.told(&["tenants", "create", "研发部"]);
    let (key, _) = place.told(&["keys", "create", "客服", "--tenant", "研发部"]);
    assert_eq!(place.call(key.trim_end()), 200);
    place.settled(1);
    let (json, _) = place.told(&["records", "--json"]);
    let records: Value = serde_json::from_str(&json).unwrap();
    let record = &records[0];
    assert_eq!(record["names"]["key"], "客服");
    for id in ["id", "upstream_request_id"] {
        let id = record[id].as_str().unwrap();
        let fields = shown(&place, &["records", id]);
        assert_eq!(field(&fields, "id"), record["id"].as_str());
        assert_eq!(field(&fields, "outcome"), Some("completed"));
        assert!(field(&fields, "tenant").unwrap().ends_with("(研发部)"));
        let (one, _) = place.told(&["records", id, "--json"]);
        let one: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(one["model"], "qwen-plus");
    }
    let fitting = [
        "records",
        "--key",
        "客服",
        "--model",
        "qwen-plus",
        "--outcome",
        "completed",
        "--since",
        "1h",
    ];
    let (table, _) = place.told(&fitting);
    assert!(
        table.contains("客服") && table.contains("qwen-plus"),
        "{table}"
    );
    for other in [
        ["records", "--model", "qwen-max"],
        ["records", "--outcome", "refused"],
        ["records", "--until", "2020-01-01"],
        ["records", "--limit", "0"],
    ] {
        let (out, said) = place.told(&other);
        assert!(out.is_empty() && said.contains("no such record"), "{said}");
    }
    let (code, said) = refused(place.command().args(["records", "--key", "没有"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no key 没有"), "{said}");
    let nowhere = "01a21eb5-2414-776e-b1b4-4115d0a79f26";
    let (code, said) = refused(place.command().args(["records", nowhere]));
    assert_eq!(code, Some(1));
    assert!(said.contains("x-request-id"), "{said}");
    let (code, said) = refused(place.command().args(["records", "--since", "soon"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("--since is not a moment"), "{said}");
}

#[test]
fn what_a_request_said_is_shown_where_its_tenant_wants_it_kept() {
    let place = Place::with_data();
    place.told(&["tenants", "create", "研发部", "--keep-content", "30"]);
    let fields = shown(&place, &["tenants", "show", "研发部"]);
    assert_eq!(field(&fields, "keep_content"), Some("30 days, redacted"));
    let (key, _) = place.told(&["keys", "create", "客服", "--tenant", "研发部"]);
    assert_eq!(place.call(key.trim_end()), 200);
    let new = [
        "keys",
        "create",
        "门店",
        "--tenant",
        "研发部",
        "--keep-content",
        "0",
    ];
    let (silent, _) = place.told(&new);
    assert_eq!(place.call(silent.trim_end()), 200);
    place.settled(2);
    let (json, _) = place.told(&["records", "--json"]);
    let records: Value = serde_json::from_str(&json).unwrap();
    for id in ["id", "upstream_request_id"] {
        let kept = records[1][id].as_str().unwrap();
        let (said, _) = place.told(&["records", kept, "--content"]);
        assert!(said.starts_with("--- request\n{"), "{said}");
        assert!(said.contains("\n--- answer\n{"), "{said}");
        let not_kept = records[0][id].as_str().unwrap();
        let (code, said) = refused(place.command().args(["records", not_kept, "--content"]));
        assert_eq!(code, Some(1));
        assert!(said.contains("nothing is kept"), "{said}");
    }
    let (log, _) = place.told(&["audit", "--action", "read_content"]);
    let read = format!("record: {}", records[1]["id"].as_str().unwrap());
    assert_eq!(log.matches(&read).count(), 2, "{log}");
}

#[test]
fn the_audit_log_says_who_changed_what() {
    let place = Place::with_data();
    place.told(&["tenants", "create", "研发部"]);
    let (secret, _) = place.told(&["keys", "create", "app", "--rpm", "60", "--tenant", "研发部"]);
    place.told(&["keys", "change", "app", "--rpm", "100"]);
    place.told(&["keys", "rotate", "app"]);
    place.told(&["keys", "delete", "app", "--yes"]);
    let (table, _) = place.told(&["audit", "app"]);
    let actions: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(5).unwrap())
        .collect();
    assert_eq!(actions, ["delete", "rotate", "update", "create"], "{table}");
    assert!(table.contains("rpm: 60 → 100"), "{table}");
    assert!(!table.contains(secret.trim_end()), "{table}");
    let (json, _) = place.told(&["audit", "--action", "create", "--limit", "1", "--json"]);
    let entries: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!(entries[0]["after"]["name"], "app");
    let (out, said) = place.told(&["audit", "nobody"]);
    assert!(out.is_empty() && said.contains("no such entry"), "{said}");
    let (out, _) = place.told(&["audit", "--since", "2099-01-01"]);
    assert!(out.is_empty(), "{out}");
}

#[test]
fn days_of_usage_begin_where_the_operator_says() {
    let place = Place::with_data();
    let (key, _) = place.told(&["keys", "create", "app"]);
    assert_eq!(place.call(key.trim_end()), 200);
    place.settled(1);
    let hour = |offset: &str| {
        let arguments = [
            "usage", "--by", "hour", "--since", "1h", "--format", "json", "--offset", offset,
        ];
        let (out, _) = place.told(&arguments);
        let usage: Value = serde_json::from_str(&out).unwrap();
        let hour = usage[0]["group"]["hour"].as_str().unwrap();
        hour[11..].parse::<i32>().unwrap()
    };
    let (utc, beijing, brazil) = (hour("Z"), hour("+08:00"), hour("-03:00"));
    assert_eq!((beijing - utc).rem_euclid(24), 8);
    assert_eq!((brazil - utc).rem_euclid(24), 21);
    let (code, said) = refused(place.command().args(["usage", "--offset", "CST"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("+08:00"), "{said}");
    let (code, said) = refused(place.command().args(["usage", "--tenant", "没有"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no tenant 没有"), "{said}");
}
