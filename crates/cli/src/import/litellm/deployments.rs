//! `model_list`: each deployment becomes an account, what it may use, and a target.

use super::super::draft::{Draft, Lane, Target};
use super::super::notes::Mistake;
use super::super::yaml::Node;
use super::providers;
use super::why::why;
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

/// What a model is called upstream.
enum Upstream {
    /// As the client called it.
    AsAsked,
    Named(String),
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

pub(super) struct Reader<'a> {
    pub(super) variables: &'a Variables<'a>,
    pub(super) draft: &'a mut Draft,
    /// The key of each account, to know it again.
    pub(super) keys: Vec<Option<Given>>,
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
        let model = match self.model(group, model, line, &named) {
            Some(Upstream::Named(model)) => Some(model),
            // Under the name that the client used.
            Some(Upstream::AsAsked) => None,
            None => return Ok(None),
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

    /// The model's name upstream, `None` where it cannot be said.
    fn model(&mut self, group: &str, model: &str, line: usize, named: &str) -> Option<Upstream> {
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
        Some(if is_same {
            Upstream::AsAsked
        } else {
            Upstream::Named(model.to_owned())
        })
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
