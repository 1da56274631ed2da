//! `model_list`: each deployment becomes an account, what it may use, and a target.

use bailian::Dialect;

use super::super::draft::{self, Account, Draft, Kind, Lane, Secret, Target};
use super::super::notes::Mistake;
use super::super::render;
use super::super::yaml::Node;
use super::providers::{self, Provider};
use super::settings::why;
use super::{Given, Variables};

/// One entry of `model_list` that can be reached.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The name that clients use.
    pub(super) group: String,
    /// `model_info.id`.
    pub(super) id: Option<String>,
    pub(super) order: Option<u64>,
    /// Its share as written.
    pub(super) weight: Option<f64>,
    /// Requests per minute, which are its share where nothing is written.
    pub(super) requests: Option<u64>,
    pub(super) target: Target,
    pub(super) line: usize,
}

/// What is understood of `litellm_params`.
const PARAMS: [&str; 10] = [
    "model",
    "custom_llm_provider",
    "api_key",
    "api_base",
    "base_url",
    "rpm",
    "tpm",
    "max_parallel_requests",
    "weight",
    "order",
];

/// Reads the list; accounts, limits and notes go into the draft.
pub(super) fn read(
    root: &Node,
    variables: &Variables<'_>,
    draft: &mut Draft,
) -> Result<Vec<Deployment>, Mistake> {
    let Some(list) = root.get("model_list") else {
        return Err(Mistake::new(None, "there is no model_list"));
    };
    let Some(items) = list.items() else {
        return Err(Mistake::at(list.line, "model_list", "is not a list"));
    };
    let mut reader = Reader {
        variables,
        draft,
        keys: Vec::new(),
    };
    let mut deployments = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = format!("model_list[{index}]");
        deployments.extend(reader.deployment(item, &place)?);
    }
    Ok(deployments)
}

struct Reader<'a> {
    variables: &'a Variables<'a>,
    draft: &'a mut Draft,
    /// The key of each account, to know it again.
    keys: Vec<Option<Given>>,
}

impl Reader<'_> {
    fn deployment(&mut self, item: &Node, place: &str) -> Result<Option<Deployment>, Mistake> {
        let line = item.line;
        let Some(group) = item.get("model_name").and_then(Node::text) else {
            return Err(Mistake::at(line, place, "has no model_name"));
        };
        let Some(params) = item.get("litellm_params").filter(|params| params.is_map()) else {
            return Err(Mistake::at(line, place, "has no litellm_params"));
        };
        let Some(model) = params.get("model").and_then(Node::text) else {
            return Err(Mistake::at(
                params.line,
                place,
                "has no litellm_params.model",
            ));
        };
        let named = format!("{place} ({group})");
        self.note_others(item, params, &named);
        let custom = params.get("custom_llm_provider").and_then(Node::text);
        let model = self
            .variables
            .value(model)
            .unwrap_or_else(|| model.to_owned());
        let Some((provider, model)) = providers::of(&model, custom) else {
            let text = format!(
                "`{model}` is not of the service and not known to speak OpenAI's protocol; left out"
            );
            self.draft.notes.add(line, named, text);
            return Ok(None);
        };
        let Some(model) = self.model(group, model, line, &named) else {
            return Ok(None);
        };
        let Some((account, dialect)) = self.account(provider, params, &named)? else {
            return Ok(None);
        };
        self.lane(account, model.as_deref(), params, &named)?;
        let info = item.get("model_info");
        Ok(Some(Deployment {
            group: group.to_owned(),
            id: info
                .and_then(|info| info.get("id")?.text())
                .map(str::to_owned),
            order: whole(params, "order", &named)?,
            weight: number(params, "weight", &named)?,
            requests: whole(params, "rpm", &named)?,
            target: Target {
                account: self.draft.accounts[account].name.clone(),
                // Under the name that the client used, where both are the same.
                model,
                dialect,
                weight: None,
            },
            line,
        }))
    }

    /// Notes every setting of a deployment that is not understood.
    fn note_others(&mut self, item: &Node, params: &Node, named: &str) {
        for entry in params.entries() {
            if !PARAMS.contains(&entry.key.as_str()) && !entry.node.is_null() {
                let place = format!("{named}.litellm_params.{}", entry.key);
                self.draft.notes.add(entry.line, place, why(&entry.key));
            }
        }
        for entry in item.entries() {
            match entry.key.as_str() {
                "model_name" | "litellm_params" => {}
                "model_info" => {
                    let others: Vec<&str> = entry
                        .node
                        .entries()
                        .iter()
                        .map(|entry| entry.key.as_str())
                        .filter(|key| *key != "id")
                        .collect();
                    if !others.is_empty() {
                        let text = format!(
                            "{} describe the model; the catalogue does here",
                            others.join(", ")
                        );
                        let place = format!("{named}.model_info");
                        self.draft.notes.add(entry.line, place, text);
                    }
                }
                key => {
                    let place = format!("{named}.{key}");
                    self.draft.notes.add(entry.line, place, why(key));
                }
            }
        }
    }

    /// The model's name upstream: `Some(None)` where it is the client's, `None` where it cannot
    /// be said.
    fn model(
        &mut self,
        group: &str,
        model: &str,
        line: usize,
        named: &str,
    ) -> Option<Option<String>> {
        let is_pattern = model.contains('*');
        let stars = group.matches('*').count();
        if stars > 1 || (stars == 1 && !group.ends_with('*')) {
            let text = "a name may have one `*`, at its end; left out";
            self.draft.notes.add(line, named, text);
            return None;
        }
        if is_pattern && group != model && group != "*" {
            let text = format!(
                "clients say `{group}` where upstream says `{model}`, and names are not rewritten \
                 by patterns; left out: write a route for each name, or let clients use the \
                 service's names"
            );
            self.draft.notes.add(line, named, text);
            return None;
        }
        if is_pattern && model != "*" && group == "*" {
            let text = format!("`{model}` is asked for every model here, whatever its name");
            self.draft.notes.add(line, named, text);
        }
        let is_same = is_pattern || group == model;
        Some((!is_same).then(|| model.to_owned()))
    }

    /// The account behind a deployment, made if it is new, and the dialect that is spoken there.
    fn account(
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

    /// What the deployment may use becomes what the account may use of the model.
    fn lane(
        &mut self,
        account: usize,
        model: Option<&str>,
        params: &Node,
        named: &str,
    ) -> Result<(), Mistake> {
        let mut figure = |name: &str| -> Result<Option<u64>, Mistake> {
            let figure = whole(params, name, named)?;
            if figure == Some(0) {
                let place = format!("{named}.litellm_params.{name}");
                self.draft
                    .notes
                    .add(params.line, place, "0 would admit nothing; left out");
            }
            Ok(figure.filter(|figure| *figure > 0))
        };
        let lane = Lane {
            model: String::new(),
            requests_per_minute: figure("rpm")?,
            tokens_per_minute: figure("tpm")?,
            running: figure("max_parallel_requests")?,
        };
        if lane
            .requests_per_minute
            .or(lane.tokens_per_minute)
            .or(lane.running)
            .is_none()
        {
            return Ok(());
        }
        let group = params_model(params).filter(|model| !model.contains('*'));
        let Some(model) = model.or(group) else {
            let text = "rpm, tpm and max_parallel_requests of a pattern would count all its models \
                        together; left out";
            self.draft.notes.add(params.line, named, text);
            return Ok(());
        };
        let lane = Lane {
            model: model.to_owned(),
            ..lane
        };
        let account = &mut self.draft.accounts[account];
        let Some(known) = account.lanes.iter_mut().find(|known| known.model == model) else {
            account.lanes.push(lane);
            return Ok(());
        };
        if *known != lane {
            known.requests_per_minute = known.requests_per_minute.max(lane.requests_per_minute);
            known.tokens_per_minute = known.tokens_per_minute.max(lane.tokens_per_minute);
            known.running = known.running.max(lane.running);
            let text = format!(
                "another deployment of `{model}` with the same key has other limits; they are the \
                 account's here, and the larger ones are written"
            );
            self.draft.notes.add(params.line, named, text);
        }
        Ok(())
    }
}

/// The model without its provider.
fn params_model(params: &Node) -> Option<&str> {
    let model = params.get("model")?.text()?;
    let custom = params.get("custom_llm_provider").and_then(Node::text);
    Some(providers::of(model, custom)?.1)
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

/// A whole number that is not negative.
fn whole(params: &Node, name: &str, named: &str) -> Result<Option<u64>, Mistake> {
    let number = number(params, name, named)?;
    // Formatting rounds as no cast does.
    Ok(number.and_then(|number| format!("{number:.0}").parse().ok()))
}

fn number(params: &Node, name: &str, named: &str) -> Result<Option<f64>, Mistake> {
    let Some(node) = params.get(name).filter(|node| !node.is_null()) else {
        return Ok(None);
    };
    node.number().map(Some).ok_or_else(|| {
        let place = format!("{named}.litellm_params.{name}");
        Mistake::at(node.line, &place, "is not a number")
    })
}
