//! LiteLLM's `config.yaml` (its page "All settings").

mod accounts;
mod deployments;
mod fallbacks;
mod providers;
mod settings;
mod why;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::draft::{Account, Draft, Kind, Route, Target};
use super::notes::Mistake;
use super::yaml::Node;
use deployments::Deployment;

/// What LiteLLM replaces by an environment variable.
const VARIABLE: &str = "os.environ/";

/// A value as the file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    /// The name of an environment variable.
    Variable(String),
    Text(String),
}

impl Given {
    fn of(text: &str) -> Self {
        match text.strip_prefix(VARIABLE) {
            Some(name) => Self::Variable(name.to_owned()),
            None => Self::Text(text.to_owned()),
        }
    }
}

/// Environment variables: those that the file sets, and those of this process.
struct Variables<'a> {
    file: HashMap<String, String>,
    /// Those of the file that something asked for.
    used: RefCell<BTreeSet<String>>,
    process: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// What the file itself sets; it holds the value.
    fn of_file(&self, name: &str) -> Option<&String> {
        let value = self.file.get(name)?;
        self.used.borrow_mut().insert(name.to_owned());
        Some(value)
    }

    /// The text itself, or what the variable holds that it names.
    fn value(&self, text: &str) -> Option<String> {
        match Given::of(text) {
            Given::Text(text) => Some(text),
            Given::Variable(name) => {
                let of_file = self.of_file(&name).cloned();
                of_file.or_else(|| (self.process)(&name))
            }
        }
    }
}

/// Reads the file's text; `process` answers for variables that addresses are written with.
pub(super) fn convert(
    text: &str,
    process: &dyn Fn(&str) -> Option<String>,
) -> Result<Draft, Mistake> {
    let root = Node::parse(text)?;
    if !root.is_map() {
        return Err(Mistake::new(root.line, "the file is not a map of settings"));
    }
    let mut draft = Draft::default();
    let variables = Variables {
        file: settings::variables(&root),
        used: RefCell::default(),
        process,
    };
    let deployments = deployments::read(&root, &variables, &mut draft)?;
    note_shared_addresses(&mut draft);
    draft.routes = routes(&deployments, &mut draft);
    settings::apply(&root, &variables, &deployments, &mut draft)?;
    draft.sort_routes();
    Ok(draft)
}

/// One route for each name that clients use: the deployments of the lowest order first.
fn routes(deployments: &[Deployment], draft: &mut Draft) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for deployment in deployments {
        if routes.iter().any(|route| route.model == deployment.group) {
            continue;
        }
        let mut group: Vec<&Deployment> = deployments
            .iter()
            .filter(|other| other.group == deployment.group)
            .collect();
        group.sort_by_key(|deployment| deployment.order.unwrap_or(u64::MAX));
        let first = group.first().and_then(|deployment| deployment.order);
        let (first, later): (Vec<&Deployment>, Vec<&Deployment>) = group
            .into_iter()
            .partition(|deployment| deployment.order == first);
        let mut route = Route {
            model: deployment.group.clone(),
            targets: weighed(&first, draft),
            fallbacks: Vec::new(),
            on_content_filter: false,
        };
        for deployment in later {
            route.add_fallback(&deployment.target);
        }
        routes.push(route);
    }
    routes
}

/// The targets with their shares. As LiteLLM's `simple-shuffle` does, they are the weights, else the
/// requests per minute if all have them, else the same for all.
fn weighed(group: &[&Deployment], draft: &mut Draft) -> Vec<Target> {
    let is_weighed = group.iter().any(|deployment| deployment.weight.is_some());
    let mut targets: Vec<(Target, u64)> = Vec::new();
    for deployment in group {
        let share = if is_weighed {
            if deployment.weight.is_none() || deployment.weight == Some(0.0) {
                let text = "has no weight beside others that have one; written with a small one, \
                            since LiteLLM would not choose it";
                let place = format!("deployment of {}", deployment.group);
                draft.notes.add(deployment.line, place, text);
            }
            // A thousandth is the smallest share that is kept; formatting rounds as no cast does.
            let share = deployment.weight.unwrap_or(0.0) * 1000.0;
            format!("{share:.0}").parse().unwrap_or(1).max(1)
        } else {
            let all = group.iter().all(|deployment| deployment.requests > Some(0));
            deployment.requests.filter(|_| all).unwrap_or(1)
        };
        let known = targets
            .iter_mut()
            .find(|(target, _)| target.is_like(&deployment.target));
        match known {
            Some((_, sum)) => *sum = sum.saturating_add(share),
            None => targets.push((deployment.target.clone(), share)),
        }
    }
    let shares: Vec<u64> = targets.iter().map(|(_, share)| *share).collect();
    let divisor = shares
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let is_even = shares.iter().all(|share| share == &shares[0]);
    targets
        .into_iter()
        .map(|(target, share)| Target {
            weight: (!is_even).then(|| u32::try_from(share / divisor).unwrap_or(u32::MAX)),
            ..target
        })
        .collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Whether two keys belong to one account of the service, only their owner knows.
fn note_shared_addresses(draft: &mut Draft) {
    let mut seen: Vec<(&Option<String>, Vec<&str>)> = Vec::new();
    let of_service = |account: &&Account| account.kind == Kind::DashScope;
    for account in draft.accounts.iter().filter(of_service) {
        let known = seen.iter_mut().find(|(url, _)| **url == account.base_url);
        match known {
            Some((_, names)) => names.push(&account.name),
            None => seen.push((&account.base_url, vec![&account.name])),
        }
    }
    let shared: Vec<String> = seen
        .into_iter()
        .filter(|(_, names)| names.len() > 1)
        .map(|(_, names)| names.join(", "))
        .collect();
    for names in shared {
        let text = "have one address and different keys; keys of one Alibaba Cloud account share \
                    its limits, so put such keys together into one account";
        draft.notes.add(None, format!("accounts {names}"), text);
    }
}
