//! Where a deployment is, and with which key: the account behind it.

use bailian::Dialect;

use super::super::draft::{self, Account, Kind, Secret};
use super::super::notes::Mistake;
use super::super::render;
use super::super::yaml::Node;
use super::Given;
use super::deployments::Reader;
use super::providers::Provider;

impl Reader<'_> {
    /// The account behind a deployment, made if it is new, and the dialect that is spoken there.
    pub(super) fn account(
        &mut self,
        provider: &Provider,
        params: &Node,
        named: &str,
    ) -> Result<Option<(usize, Option<Dialect>)>, Mistake> {
        let line = params.line;
        let written = ["api_base", "base_url"]
            .iter()
            .find_map(|name| params.get(name).filter(|node| !node.is_null()));
        let base = match written {
            None => None,
            Some(node) => {
                let place = format!("{named}.litellm_params.api_base");
                let Some(text) = node.text() else {
                    return Err(Mistake::at(node.line, &place, "is not a text"));
                };
                let Some(url) = self.variables.value(text) else {
                    let text = format!(
                        "{text} is not set here, so the address is unknown; left out: \
                                        set it and import again"
                    );
                    self.draft.notes.add(node.line, place, text);
                    return Ok(None);
                };
                Some(url.trim_end_matches('/').to_owned())
            }
        };
        let Some(place) = self.place(provider, base, line, named) else {
            return Ok(None);
        };
        let (kind, base_url, dialect) = place;
        let key = match params.get("api_key").filter(|key| !key.is_null()) {
            Some(node) => {
                let Some(text) = node.text() else {
                    let place = format!("{named}.litellm_params.api_key");
                    return Err(Mistake::at(node.line, &place, "is not a text"));
                };
                Some(Given::of(text))
            }
            None if kind == Kind::DashScope && dialect.is_none() => {
                let name = provider.variable.unwrap_or("DASHSCOPE_API_KEY");
                Some(Given::Variable(name.to_owned()))
            }
            None => provider
                .variable
                .map(|name| Given::Variable(name.to_owned())),
        };
        let known = self.draft.accounts.iter().zip(&self.keys);
        let known = known.enumerate().find(|(_, (account, its_key))| {
            account.kind == kind && account.base_url == base_url && **its_key == key
        });
        if let Some((index, _)) = known {
            return Ok(Some((index, dialect)));
        }
        let wish = account_name(kind, base_url.as_deref());
        let name = self.draft.free_name(&wish);
        let api_keys = match &key {
            Some(key) => vec![self.secret(key, &name, line, named)],
            None => Vec::new(),
        };
        let account = Account {
            name,
            kind,
            base_url,
            api_keys,
            lanes: Vec::new(),
            remarks: Vec::new(),
        };
        if let Err(problem) = draft::check(&account) {
            self.draft
                .notes
                .add(line, named, format!("left out: {problem}"));
            return Ok(None);
        }
        self.draft.accounts.push(account);
        self.keys.push(key);
        Ok(Some((self.draft.accounts.len() - 1, dialect)))
    }

    /// What is behind an address, the address as the configuration has it, and the dialect there.
    fn place(
        &mut self,
        provider: &Provider,
        base: Option<String>,
        line: usize,
        named: &str,
    ) -> Option<(Kind, Option<String>, Option<Dialect>)> {
        let is_service = base.as_deref().is_some_and(draft::is_service);
        let root = base.as_deref().and_then(draft::service_root);
        match (provider.name, base) {
            ("dashscope", None) => {
                let base = self.variables.value("os.environ/DASHSCOPE_API_BASE");
                if let Some(base) = base {
                    return self.place(provider, Some(base), line, named);
                }
                let text = "has no api_base, for which LiteLLM's releases take Beijing or \
                            Singapore; written as cn-beijing, so change it if the key is of \
                            ap-southeast-1";
                self.draft.notes.add(line, named, text);
                Some((Kind::DashScope, None, None))
            }
            ("dashscope", Some(_)) if root.is_some() => Some((Kind::DashScope, root, None)),
            ("anthropic", Some(_)) if is_service && root.is_some() => {
                Some((Kind::DashScope, root, Some(Dialect::Anthropic)))
            }
            ("anthropic", _) => {
                let text = "Anthropic's protocol is spoken to the service only; left out";
                self.draft.notes.add(line, named, text);
                None
            }
            (_, Some(_)) if is_service && root.is_some() => Some((Kind::DashScope, root, None)),
            (_, Some(base)) => {
                let base = match provider.below {
                    below if base.ends_with(below) => base,
                    below => format!("{base}{below}"),
                };
                Some((Kind::OpenAi, Some(base), None))
            }
            (_, None) => match provider.base {
                Some(base) => Some((
                    Kind::OpenAi,
                    Some(format!("{base}{}", provider.below)),
                    None,
                )),
                None => {
                    let text = format!("{} needs an api_base; left out", provider.name);
                    self.draft.notes.add(line, named, text);
                    None
                }
            },
        }
    }

    fn secret(&mut self, key: &Given, account: &str, line: usize, named: &str) -> Secret {
        let words = account.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let name = format!("KEY_{}", words.to_ascii_uppercase());
        let (name, value) = match key {
            Given::Variable(name) => match self.variables.of_file(name) {
                Some(value) => (name.clone(), value.as_str()),
                None => return Secret::Variable(name.clone()),
            },
            Given::Text(value) => (name, value.as_str()),
        };
        if !render::can_be_assigned(value) {
            let text = format!("the key has characters that no key has; set {name} yourself");
            let place = format!("{named}.litellm_params.api_key");
            self.draft.notes.add(line, place, text);
            return Secret::Variable(name);
        }
        Secret::literal(name, value)
    }
}

fn account_name(kind: Kind, base_url: Option<&str>) -> String {
    let url = base_url.and_then(|url| url::Url::parse(url).ok());
    let host = url.as_ref().and_then(url::Url::host_str);
    match (kind, host) {
        (Kind::DashScope, None | Some("dashscope.aliyuncs.com")) => "beijing".to_owned(),
        (Kind::DashScope, Some("dashscope-intl.aliyuncs.com")) => "singapore".to_owned(),
        (Kind::DashScope, Some("dashscope-us.aliyuncs.com")) => "virginia".to_owned(),
        (_, Some(host)) => {
            let port = url.as_ref().and_then(url::Url::port);
            port.map_or_else(|| host.to_owned(), |port| format!("{host}-{port}"))
        }
        (_, None) => "openai".to_owned(),
    }
}
