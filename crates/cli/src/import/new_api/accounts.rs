//! Where a channel is, and with which keys: the account behind it.

use bailian::Dialect;
use serde_json::Value;

use super::super::draft::{self, Account, Kind, Secret};
use super::super::notes::Mistake;
use super::super::render;
use super::row::Row;
use super::types::Behind;
use super::{ENABLED, Reader};

impl Reader {
    /// What is behind the channel, its address as the configuration has it, and the dialect there.
    pub(super) fn place(
        &mut self,
        behind: Behind,
        number: i64,
        base: Option<&str>,
        row: &Row,
    ) -> Option<(Kind, Option<String>, Option<Dialect>)> {
        let root = base.and_then(draft::service_root);
        let at_service = base.is_some_and(draft::is_service);
        let left_out = |reader: &mut Self, text: String| {
            reader
                .draft
                .notes
                .add(row.line, row.place(), format!("{text}; left out"));
            None
        };
        match behind {
            Behind::Service => match (base, root) {
                (None, _) => Some((Kind::DashScope, None, None)),
                (Some(_), Some(root)) => Some((Kind::DashScope, Some(root), None)),
                (Some(_), None) => {
                    left_out(self, "base_url leads to no place of the service".to_owned())
                }
            },
            Behind::Anthropic if at_service && root.is_some() => {
                Some((Kind::DashScope, root, Some(Dialect::Anthropic)))
            }
            Behind::Anthropic => {
                let text = "Anthropic's protocol is spoken to the service only";
                left_out(self, text.to_owned())
            }
            Behind::OpenAi(..) | Behind::Custom if at_service && root.is_some() => {
                Some((Kind::DashScope, root, None))
            }
            Behind::OpenAi(default, below) => {
                let base = base.unwrap_or(default);
                if base.is_empty() {
                    return left_out(self, "has no base_url".to_owned());
                }
                // An address with the path is a common slip, which those gateways mend, too.
                let base = base.strip_suffix(below).unwrap_or(base);
                Some((Kind::OpenAi, Some(format!("{base}{below}")), None))
            }
            Behind::Custom => {
                let Some(base) = base.filter(|base| !base.contains("{model}")) else {
                    let text = "a custom channel needs a base_url without `{model}`";
                    return left_out(self, text.to_owned());
                };
                let base = base.strip_suffix("/chat/completions").unwrap_or(base);
                let url = url::Url::parse(base).ok();
                let has_path = url.is_some_and(|url| url.path() != "/");
                let below = if has_path { "" } else { "/v1" };
                Some((Kind::OpenAi, Some(format!("{base}{below}")), None))
            }
            Behind::Other(name) => left_out(self, format!("type {number} is {name}")),
        }
    }

    /// The name of the account with the channel's keys, made if it is new.
    pub(super) fn account(
        &mut self,
        kind: Kind,
        base_url: Option<String>,
        row: &Row,
    ) -> Result<Option<String>, Mistake> {
        let keys = self.keys(row)?;
        let known = self
            .draft
            .accounts
            .iter()
            .zip(&self.keys)
            .find(|(account, its_keys)| {
                !keys.is_empty()
                    && account.kind == kind
                    && account.base_url == base_url
                    && **its_keys == keys
            });
        if let Some((account, _)) = known {
            return Ok(Some(account.name.clone()));
        }
        let number = row.number().replace(' ', "_").to_ascii_uppercase();
        let wish = match row.text("name")? {
            Some(name) => name.to_owned(),
            None => format!("channel-{}", row.number().replace(' ', "-")),
        };
        let mut api_keys = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let name = if keys.len() == 1 {
                format!("CHANNEL_{number}_KEY")
            } else {
                format!("CHANNEL_{number}_KEY_{}", index + 1)
            };
            if render::can_be_assigned(key) {
                api_keys.push(Secret::literal(name, key));
            } else {
                let text = format!(
                    "key {} has characters that no key has; set {name} yourself",
                    index + 1
                );
                self.draft.notes.add(row.line, row.place(), text);
                api_keys.push(Secret::Variable(name));
            }
        }
        if keys.is_empty() {
            let name = format!("CHANNEL_{number}_KEY");
            let text = format!(
                "the list has no key, as that of the API has none; set {name}, or import rows of \
                 the database"
            );
            self.draft.notes.add(row.line, row.place(), text);
            api_keys.push(Secret::Variable(name));
        } else if keys.len() > 1 && kind == Kind::DashScope {
            let text = format!(
                "its {} keys share one limit here; keys of different Alibaba Cloud accounts do \
                 not, so give those accounts of their own",
                keys.len()
            );
            self.draft.notes.add(row.line, row.place(), text);
        }
        let mut remarks = Vec::new();
        for name in ["tag", "remark"] {
            if let Some(text) = row.text(name)? {
                remarks.push(format!("{name}: {text}"));
            }
        }
        let account = Account {
            name: self.draft.free_name(&wish),
            kind,
            base_url,
            api_keys,
            lanes: Vec::new(),
            remarks,
        };
        if let Err(problem) = draft::check(&account) {
            let text = format!("left out: {problem}");
            self.draft.notes.add(row.line, row.place(), text);
            return Ok(None);
        }
        let name = account.name.clone();
        self.draft.accounts.push(account);
        self.keys.push(keys);
        Ok(Some(name))
    }

    /// The channel's keys, one to a line, without those that were switched off.
    fn keys(&mut self, row: &Row) -> Result<Vec<String>, Mistake> {
        let info = row.map("channel_info")?;
        let states = info.get("multi_key_status_list").and_then(Value::as_object);
        let mut keys = Vec::new();
        let lines = row.text("key")?.unwrap_or_default().lines();
        for (index, key) in lines.map(str::trim).enumerate() {
            let state = states.and_then(|states| states.get(&index.to_string())?.as_i64());
            if state.is_some_and(|state| state != ENABLED) {
                let text = format!("key {} was switched off; left out", index + 1);
                self.draft.notes.add(row.line, row.place(), text);
            } else if !key.is_empty() {
                keys.push(key.to_owned());
            }
        }
        Ok(keys)
    }
}
