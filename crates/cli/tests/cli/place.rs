//! A simulator, a gateway that keeps its data in a folder, and the operator's commands.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::process::{Server, bailian, run, text};

const TOKEN: &str = "operator-token-0001";

/// Simulator and gateway.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    _simulator: Server,
    pub(crate) gateway: Server,
    pub(crate) url: String,
}

impl Place {
    pub(crate) fn new(more: &str) -> Self {
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

    pub(crate) fn with_data() -> Self {
        Self::new("[data]\nfolder = \"data\"\n")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = bailian(self.folder.path());
        command
            .env("BAILIAN_ADMIN_URL", &self.url)
            .env("BAILIAN_ADMIN_TOKEN", TOKEN);
        command
    }

    /// What a command says on standard output and standard error, if it did its work.
    pub(crate) fn told(&self, arguments: &[&str]) -> (String, String) {
        let output = run(self.command().args(arguments), "");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {err}");
        (out, err)
    }

    pub(crate) fn call(&self, key: &str) -> u16 {
        let body = r#"{"model":"qwen-plus","max_tokens":20,"messages":[{"role":"user","content":"你好"}]}"#;
        let path = "/v1/chat/completions";
        let answer = http::send(&self.url, "POST", path, Some(key), body);
        let status = answer.status;
        drop(answer.rest());
        status
    }

    /// The usage by tenant and model, when the ledger's store has caught up.
    pub(crate) fn settled(&self, requests: u64) -> Value {
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

pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output: Output = run(command, "");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code(), text(&output.stderr))
}
