//! `docs/configuration.md` is made from the schema;
//! `BLESS=1 cargo test -p bailian-gateway --lib reference` writes it anew.

use std::fmt::Write as _;

use super::super::describe::{self, SettingInfo};
use super::super::schema::{Setting, Shape, settings};
use super::super::unknown::joined;
use super::*;

const INTRODUCTION: &str = r#"# Configuration

<!-- Made from the code: `BLESS=1 cargo test -p bailian-gateway --lib reference` writes it anew. -->

One TOML file: `bailian serve --config gateway.toml`. [gateway.md](gateway.md) says what stands behind the settings; this is the list of all of them.

| command | |
|---|---|
| `bailian config check FILE` | every problem with its line, or a summary; nothing is started. Status 2 when the file cannot be used |
| `bailian config explain [SETTING] --config FILE` | what holds and why: the default, a line of the file, or a variable; `--json` for programs |
| `bailian config schema` | the JSON Schema (2020-12) of the file, for editors and checks |

**Unknown settings** stop the start, each with its line and what was probably meant: a typing error in a limit must not remove the limit.

**Variables** go before the file: `BAILIAN__` and the setting's path, with two underscores between levels; case does not matter. An entry of a list is reached by its number from 0, or by its `name` (or
`model`), dashes written as underscores: `BAILIAN__ACCOUNTS__0__REGION`, `BAILIAN__ACCOUNTS__BEIJING__REGION`. The next number adds an entry. Text is taken as it is, all else as TOML:
`BAILIAN__ACCOUNTS__0__API_KEYS='["env:A", "env:B"]'`. An empty variable counts as not set, an unknown one stops the start. They are read from the environment and from `.env` beneath it, hold when the
file is loaded again, and without a file, too.

**Secrets** are written as `env:NAME` (a variable), `file:PATH` (a file's text without blanks around it), `credential:NAME` (a credential that systemd gives the service: `$CREDENTIALS_DIRECTORY/NAME`), or as
themselves. No message shows one.

**Durations** are text such as `"500ms"`, `"30s"`, `"5m"` or `"1h 30m"`.

**Takes effect**: *reload* settings hold for requests that begin after the file was [loaded again](gateway.md#changing-the-file-while-it-runs); *start* settings need a restart, and the log says so when they change.
"#;

/// Tables in the order of the page, each with an example. Together they are a configuration.
const SECTIONS: [(&str, &str); 15] = [
    (
        "tls",
        "[tls]                                         # or [[tls]] several times\n\
         certificate = \"file:/etc/bailian/gateway.crt\"\nkey = \"credential:gateway-key\"\n",
    ),
    (
        "accounts",
        "[[accounts]]\nname = \"beijing\"\nregion = \"cn-beijing\"\napi_keys = [\"credential:dashscope\"]\n\n\
         [[accounts.limits]]                           # of the account above\nmodel = \"qwen-plus\"\n\
         requests = [\"600/60s\", \"20/1s\"]\ntokens = [\"1000000/60s\"]\n",
    ),
    (
        "routes",
        "[[routes]]\nmodel = \"fast\"\ntargets = [{ account = \"beijing\", model = \"qwen-flash\" }]\n\
         fallbacks = [{ account = \"beijing\", model = \"qwen-plus\" }]\n",
    ),
    (
        "keys",
        "[[keys]]\nname = \"web\"\ntenant = \"team-web\"\nkey = \"env:WEB_KEY\"\n\n\
         [keys.settings]                               # of the key above\nmodels = [\"qwen-*\"]\n\
         limits = { rpm = 600 }\n",
    ),
    (
        "limits",
        "[limits]\nmax_body_bytes = 10000000\nmax_connections = 5000\n",
    ),
    ("timeouts", "[timeouts]\nidle = \"2m\"\ndrain = \"5m\"\n"),
    ("pacing", "[pacing]\nmax_wait = \"10s\"\n"),
    (
        "repairs",
        "[repairs]\nextra_body = false\nkeep_alive = \"20s\"\n",
    ),
    ("cache", "[cache]\nstore = \"memory\"\nttl = \"10m\"\n"),
    ("redis", "[redis]\nurl = \"redis://127.0.0.1:6379\"\n"),
    (
        "data",
        "[data]\nfolder = \"/var/lib/bailian\"\nkeep_days = 400\n\n\
         [[data.redact]]                               # beside what is always taken out\n\
         name = \"customer\"\npattern = \"KD-[0-9]{8}\"\n",
    ),
    (
        "tenants",
        "[[tenants]]\nname = \"team-web\"\n\
         budgets = [{ period = \"month\", money = { amount = \"500\", currency = \"CNY\" } }]\n\
         keep_content = { days = 30 }                  # prompts and answers, redacted; else nothing is kept\n",
    ),
    (
        "prices",
        "[prices]\nrates = { USD = \"7.2\" }\n\n[[prices.overrides]]\nmodel = \"qwen-plus\"\n\
         currency = \"CNY\"\neffective_from = 2026-10-01\nmultiplier = \"0.8\"\n",
    ),
    ("admin", "[admin]\ntoken = \"credential:admin\"\n"),
    (
        "telemetry",
        "[telemetry]\notlp = \"http://127.0.0.1:4318\"\nsample = 0.1\n",
    ),
];

/// Writes the page; a form that comes twice is listed once.
struct Page {
    text: String,
    written: Vec<(Vec<Setting>, String)>,
}

impl Page {
    fn table(&mut self, settings: &[Setting], place: &str) {
        // What a table has to have comes first, and names before all else.
        let mut settings = settings.to_vec();
        settings.sort_by_key(|setting| (!setting.is_required, setting.name != "name"));
        let rows = settings.iter().map(|setting| {
            let info = describe::info(setting, &joined(place, &setting.name));
            row(setting, &info)
        });
        let rows: String = rows.collect();
        self.text += "| setting | value | default | takes effect | |\n|---|---|---|---|---|\n";
        self.text += &rows;
        for setting in &settings {
            let place = joined(place, &setting.name);
            match &setting.shape {
                Shape::Table(inner) => self.inner(inner, setting, &place, false),
                Shape::List(item) => {
                    if let Shape::Table(inner) = &item.shape {
                        self.inner(inner, setting, &format!("{place}[0]"), true);
                    }
                }
                _ => {}
            }
        }
    }

    fn inner(&mut self, inner: &[Setting], setting: &Setting, place: &str, is_list: bool) {
        let name = heading(&describe::without_numbers(place), is_list);
        let description = &setting.description;
        write!(self.text, "\n### {name}\n{description}\n\n").unwrap();
        let before = self.written.iter().find(|(written, _)| written == inner);
        if let Some((_, other)) = before {
            writeln!(self.text, "The settings are those of {other}.").unwrap();
            return;
        }
        self.written.push((inner.to_vec(), name));
        self.table(inner, place);
    }
}

fn heading(path: &str, is_list: bool) -> String {
    if is_list {
        format!("`[[{path}]]`")
    } else {
        format!("`[{path}]`")
    }
}

/// A value as the file has it.
fn toml(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<String> = entries
                .map(|(name, value)| format!("{name} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}

fn row(setting: &Setting, info: &SettingInfo) -> String {
    let mut kind = info.kind.clone();
    if let Some(unit) = &info.unit {
        write!(kind, ", {unit}").unwrap();
    }
    match &info.bounds {
        (Some(least), Some(most)) => write!(kind, ", {least} to {most}").unwrap(),
        (Some(least), None) if least != 0 => write!(kind, ", {least} or more").unwrap(),
        _ => {}
    }
    let default = match &info.default {
        _ if info.is_required => "needed".to_owned(),
        Some(default) => default.replace("`\"", "`").replace("\"`", "`"),
        None => String::new(),
    };
    let effect = if info.at_next_start {
        "start"
    } else {
        "reload"
    };
    let examples: Vec<String> = info
        .examples
        .iter()
        .map(|it| format!("`{}`", toml(it)))
        .collect();
    let examples = if examples.is_empty() {
        String::new()
    } else {
        format!(" Such as {}.", examples.join(", "))
    };
    let description = info.description.replace('\n', " ").replace('|', "\\|");
    format!(
        "| `{}`<br>`{}` | {kind} | {default} | {effect} | {description}{examples} |\n",
        setting.name, info.variable
    )
}

fn page() -> String {
    let Shape::Table(root) = settings().shape else {
        panic!("a table")
    };
    let mut page = Page {
        text: INTRODUCTION.to_owned(),
        written: Vec::new(),
    };
    let is_section = |setting: &Setting| SECTIONS.iter().any(|(name, _)| *name == setting.name);
    let (sections, general): (Vec<Setting>, Vec<Setting>) = root.into_iter().partition(is_section);
    page.text += "\n## At the top of the file\n```toml\n";
    page.text += GENERAL;
    page.text += "```\n\n";
    page.table(&general, "");
    assert_eq!(sections.len(), SECTIONS.len());
    let parts = |name: &str| {
        let setting = sections.iter().find(|it| it.name == name).unwrap();
        let (inner, is_list) = match &setting.shape {
            Shape::Table(inner) => (inner, false),
            Shape::List(item) | Shape::OneOrMany(item) => match &item.shape {
                Shape::Table(inner) => (inner, true),
                _ => panic!("{name}"),
            },
            _ => panic!("{name}"),
        };
        (setting, inner, is_list)
    };
    for (name, _) in SECTIONS {
        let (_, inner, is_list) = parts(name);
        page.written.push((inner.clone(), heading(name, is_list)));
    }
    for (name, example) in SECTIONS {
        let (setting, inner, is_list) = parts(name);
        let title = heading(name, is_list);
        let description = &setting.description;
        write!(
            page.text,
            "\n## {title}\n{description}\n\n```toml\n{example}```\n\n"
        )
        .unwrap();
        let place = if is_list {
            format!("{name}[0]")
        } else {
            name.to_owned()
        };
        page.table(inner, &place);
    }
    page.text
}

const GENERAL: &str = "listen = \"0.0.0.0:8080\"\nthreads = 4\n";

#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = page();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is stale: run this test with BLESS=1"
    );
}

#[test]
fn the_references_examples_are_together_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway-key", "dashscope", "admin"] {
        std::fs::write(folder.path().join(name), "a-secret-of-systemd").unwrap();
    }
    let variables = [
        ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()),
        ("WEB_KEY", "web-key-0001"),
    ];
    let sections: String = SECTIONS.iter().map(|(_, example)| *example).collect();
    let text = format!("{GENERAL}{sections}");
    let config = Config::parse(&text, "the book", &environment(&variables)).unwrap();
    assert_eq!((config.threads, config.routes.len()), (4, 1));
}
