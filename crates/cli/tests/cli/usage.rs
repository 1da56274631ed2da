//! The operator's commands against a gateway that keeps its data in a folder.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::process::{Server, bailian, run, text};

const TOKEN: &str = "operator-token-0001";

/// Simulator and gateway.
struct Place {
    folder: tempfile::TempDir,
    _simulator: Server,
    gateway: Server,
    url: String,
}

impl Place {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut simulator = bailian(folder.path());
        let simulator = Server::start(simulator.args(["sim", "--listen", "127.0.0.1:0"]));
        let config = folder.path().join("gateway.toml");
        let file = format!(
            "listen = \"127.0.0.1:0\"\nthreads = 1\n[admin]\ntoken = \"{TOKEN}\"\n[[accounts]]\n\
             api_keys = [\"sk-up-0001\"]\nbase_url = \"{}\"\nquota_api = false\n{more}",
            simulator.url()
        );
        std::fs::write(&config, file).unwrap();
        let mut gateway = bailian(folder.path());
        let gateway = Server::start(gateway.arg("serve").arg("--config").arg(&config));
        let url = gateway.url();
        Self {
            folder,
            _simulator: simulator,
            gateway,
            url,
        }
    }

    fn with_data() -> Self {
        Self::new("[data]\nfolder = \"data\"\n")
    }

    fn command(&self) -> Command {
        let mut command = bailian(self.folder.path());
        command
            .env("BAILIAN_ADMIN_URL", &self.url)
            .env("BAILIAN_ADMIN_TOKEN", TOKEN);
        command
    }

    /// What a command says on standard output and standard error, if it did its work.
    fn told(&self, arguments: &[&str]) -> (String, String) {
        let output = run(self.command().args(arguments), "");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {err}");
        (out, err)
    }

    fn call(&self, key: &str) -> u16 {
        let body = r#"{"model":"qwen-plus","max_tokens":20,"messages":[{"role":"user","content":"你好"}]}"#;
        let path = "/v1/chat/completions";
        let answer = http::send(&self.url, "POST", path, Some(key), body);
        let status = answer.status;
        drop(answer.rest());
        status
    }

    /// The usage by tenant and model, when the ledger's store has caught up.
    fn settled(&self, requests: u64) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let (out, _) = self.told(&["usage", "--by", "tenant,model,day", "--format", "json"]);
            let usage: Value = serde_json::from_str(&out).unwrap();
            if usage[0]["requests"] == requests && usage[0]["unsettled"] == 0 {
                return usage;
            }
            assert!(Instant::now() < deadline, "{usage}");
        }
    }
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output: Output = run(command, "");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code(), text(&output.stderr))
}

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
