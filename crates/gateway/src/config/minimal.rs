//! A configuration without a file: what a few variables, or arguments, say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::document::Document;
use super::secret::Environment;
use super::{Config, ConfigError, Problem};

/// Upstream's key.
const API_KEY: &str = "DASHSCOPE_API_KEY";

/// One account and one virtual key, with where they come from.
struct Minimal<'a> {
    account: DeTable<'a>,
    key: DeTable<'a>,
    table: DeTable<'a>,
    sources: BTreeMap<String, String>,
}

impl<'a> Minimal<'a> {
    fn new() -> Self {
        let mut key = DeTable::new();
        set(&mut key, "name", text("default"));
        Self {
            account: DeTable::new(),
            key,
            table: DeTable::new(),
            sources: BTreeMap::new(),
        }
    }

    fn source(&mut self, path: &str, name: &str) {
        self.sources.insert(path.to_owned(), name.to_owned());
    }

    fn document(mut self) -> Document<'a> {
        for (name, only) in [("accounts", self.account), ("keys", self.key)] {
            let mut list = DeArray::new();
            list.push(spanned(DeValue::Table(only)));
            set(&mut self.table, name, DeValue::Array(list));
        }
        Document::of_variables(self.table, self.sources)
    }
}

/// What the variables say that are enough without a file.
pub(super) fn of_environment(environment: &dyn Environment) -> Document<'static> {
    let mut minimal = Minimal::new();
    let api_key = environment.setting(API_KEY);
    // Where it is not set, that is what is wrong.
    let api_key = api_key.unwrap_or_else(|| format!("env:{API_KEY}"));
    set(&mut minimal.account, "api_keys", list_of(api_key));
    minimal.source("accounts[0].api_keys[0]", API_KEY);
    for (setting, names) in [
        (
            "base_url",
            ["DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"],
        ),
        ("region", ["DASHSCOPE_REGION", "DASHSCOPE_API_REGION"]),
        (
            "workspace",
            ["DASHSCOPE_WORKSPACE", "DASHSCOPE_WORKSPACE_ID"],
        ),
    ] {
        let found = names
            .into_iter()
            .find_map(|name| Some((name, environment.setting(name)?)));
        if let Some((name, value)) = found {
            set(&mut minimal.account, setting, text(value));
            minimal.source(&format!("accounts[0].{setting}"), name);
        }
    }
    if let Some(key) = environment.setting("BAILIAN_API_KEY") {
        set(&mut minimal.key, "key", text(key));
        minimal.source("keys[0].key", "BAILIAN_API_KEY");
    }
    for (table, setting, name) in [
        ("redis", "url", "BAILIAN_REDIS_URL"),
        ("admin", "token", "BAILIAN_ADMIN_TOKEN"),
    ] {
        if let Some(value) = environment.setting(name) {
            let mut inner = DeTable::new();
            set(&mut inner, setting, text(value));
            set(&mut minimal.table, table, DeValue::Table(inner));
            minimal.source(&format!("{table}.{setting}"), name);
        }
    }
    minimal.document()
}

/// Gives the one virtual key its text, where none is said.
pub(super) fn complete(document: &mut Document<'_>, make_key: impl FnOnce() -> SecretString) {
    let Some(DeValue::Array(keys)) = document.table.get_mut("keys").map(Spanned::get_mut) else {
        return;
    };
    if let Some(DeValue::Table(key)) = keys.first_mut().map(Spanned::get_mut)
        && !key.contains_key("key")
        && !key.contains_key("key_sha256")
    {
        set(key, "key", text(make_key().expose_secret().to_owned()));
    }
}

/// Checks what the variables say.
pub(super) fn config(
    document: &Document<'_>,
    environment: &dyn Environment,
) -> Result<Config, ConfigError> {
    let mut result = document.config(environment);
    if let Err(ConfigError::Invalid(problems)) = &mut result
        && environment.setting(API_KEY).is_none()
        && let Some(problem) = problems.iter_mut().find(|it| it.place == API_KEY)
    {
        let text = "is not set; get a key in the Model Studio console and set it, or try \
                    `bailian demo`, which needs none";
        *problem = Problem::of_variable(API_KEY, text);
    }
    result
}

/// One upstream root and one virtual key, all else by default.
pub(super) fn for_base_url(
    base_url: &str,
    api_key: &SecretString,
    virtual_key: &SecretString,
) -> Result<Config, ConfigError> {
    let mut minimal = Minimal::new();
    let api_key = api_key.expose_secret().to_owned();
    set(&mut minimal.account, "api_keys", list_of(api_key));
    set(&mut minimal.account, "base_url", text(base_url.to_owned()));
    let virtual_key = virtual_key.expose_secret().to_owned();
    set(&mut minimal.key, "key", text(virtual_key));
    minimal.source("accounts[0].api_keys[0]", "api_key");
    minimal.source("accounts[0].base_url", "base_url");
    minimal.source("keys[0].key", "virtual_key");
    minimal.document().config(&|_: &str| None)
}

fn set<'a>(table: &mut DeTable<'a>, name: &'static str, value: DeValue<'a>) {
    table.insert(spanned(Cow::Borrowed(name)), spanned(value));
}

fn text<'a>(text: impl Into<Cow<'a, str>>) -> DeValue<'a> {
    DeValue::String(text.into())
}

fn list_of<'a>(only: String) -> DeValue<'a> {
    let mut list = DeArray::new();
    list.push(spanned(text(only)));
    DeValue::Array(list)
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
