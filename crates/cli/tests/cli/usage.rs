//! The operator's commands against a gateway that keeps its data in a folder.

use crate::place::{Place, refused};

#[test]
fn a_key_is_made_used_seen_in_the_usage_rotated_and_revoked() {
    let place = Place::with_data();
    let (tenant, said) = place.told(&["tenants", "create", "研发部"]);
    assert!(said.contains("bailian keys create"), "{said}");
    let (listed, _) = place.told(&["tenants", "list"]);
    assert!(listed.contains(tenant.trim()) && listed.contains("研发部"));

    let new = [
        "keys",
        "create",
        "客服",
        "--tenant",
        "研发部",
        "--rpm",
        "100",
    ];
    let (first, said) = place.told(&new);
    let first = first.trim_end();
    assert!(first.starts_with("bl-") && !first.contains('\n'), "{first}");
    assert!(said.contains("客服") && !said.contains(first), "{said}");
    assert_eq!((place.call(first), place.call(first)), (200, 200));

    let usage = place.settled(2);
    assert_eq!(usage[0]["names"]["tenant"], "研发部");
    let cost = usage[0]["cost"]["CNY"].as_str().unwrap();
    let (table, _) = place.told(&["usage", "--by", "tenant,model,day"]);
    let row = table.lines().nth(1).unwrap();
    for part in ["研发部", "qwen-plus", cost, "████████████████████"]
    {
        assert!(row.contains(part), "{part}: {table}");
    }
    let (csv, _) = place.told(&["usage", "--by", "tenant,model", "--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("tenant,tenant_name,model,requests,"));
    assert!(lines[0].ends_with("cost_CNY,estimated_cost_CNY"), "{csv}");
    let begin = format!("{},研发部,qwen-plus,2,0,", tenant.trim());
    assert!(
        lines[1].starts_with(&begin) && lines[1].contains(cost),
        "{csv}"
    );
    let (none, said) = place.told(&["usage", "--to", "2020-01-01"]);
    assert!(
        none.is_empty() && said.contains("nothing was used"),
        "{said}"
    );

    let (second, _) = place.told(&["keys", "rotate", "客服", "--overlap", "0s"]);
    let second = second.trim_end();
    assert_eq!((place.call(first), place.call(second)), (401, 200));
    let (listed, _) = place.told(&["keys", "list", "--tenant", "研发部"]);
    assert!(
        listed.contains("客服") && listed.contains("active"),
        "{listed}"
    );
    assert!(!listed.contains(second), "{listed}");
    let (out, said) = place.told(&["keys", "revoke", "客服"]);
    assert!(out.is_empty() && said.contains("is revoked"), "{said}");
    assert_eq!(place.call(second), 401);
    let (listed, _) = place.told(&["keys", "list", "--json"]);
    assert!(listed.contains("revoked"), "{listed}");
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let place = Place::with_data();
    let mut wrong = place.command();
    wrong.args(["usage", "--token", "not-the-token"]);
    let (code, said) = refused(&mut wrong);
    assert_eq!(code, Some(1));
    assert!(said.contains("does not take this token"), "{said}");
    assert!(!said.contains("not-the-token"), "{said}");

    let (code, said) = refused(
        place
            .command()
            .env_remove("BAILIAN_ADMIN_TOKEN")
            .arg("usage"),
    );
    assert_eq!(code, Some(2));
    assert!(said.contains("set BAILIAN_ADMIN_TOKEN"), "{said}");

    let (_, said) = refused(place.command().args(["usage", "--by", "colour"]));
    assert!(
        said.contains("group_by") && said.contains("tenant"),
        "{said}"
    );
    let (_, said) = refused(place.command().args(["keys", "revoke", "没有"]));
    assert!(said.contains("there is no key 没有"), "{said}");
    let nobody = ["keys", "create", "a", "--tenant", "没有"];
    let (_, said) = refused(place.command().args(nobody));
    assert!(said.contains("bailian tenants create"), "{said}");
}

#[test]
fn a_gateway_that_keeps_nothing_or_is_away_is_told_apart() {
    let mut place = Place::new("[[keys]]\nname = \"app\"\nkey = \"sk-bl-usage-0001\"\n");
    let (code, said) = refused(place.command().arg("usage"));
    assert_eq!(code, Some(1));
    assert!(said.contains("BAILIAN_DATA"), "{said}");
    // What answers here is no admin API.
    let mut elsewhere = place.command();
    let (_, said) = refused(elsewhere.args(["usage", "--url", &format!("{}/v1", place.url)]));
    assert!(said.contains("admin API"), "{said}");
    // The same address when the gateway has ended.
    place.gateway.terminate();
    assert!(place.gateway.ended().success());
    let (code, said) = refused(place.command().arg("usage"));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("bailian serve") && said.contains("--url"),
        "{said}"
    );
}
