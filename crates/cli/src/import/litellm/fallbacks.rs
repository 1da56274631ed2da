//! Fallbacks between groups, and names that stand for a group.

use std::rc::Rc;

use super::super::draft::Target;
use super::super::notes::Mistake;
use super::super::yaml::{Entry, Node};
use super::deployments::Deployment;
use super::settings::Settings;

impl Settings<'_> {
    /// Lists of `{group: [group, …]}`.
    pub(super) fn fallbacks(
        &mut self,
        entry: &Entry,
        place: &str,
        of_content: bool,
    ) -> Result<(), Mistake> {
        let Some(items) = entry.node.items() else {
            return Err(Mistake::at(entry.line, place, "is not a list"));
        };
        for pair in items.iter().flat_map(|item| item.entries()) {
            let names = names(&pair.node);
            if pair.key == "*" && !of_content {
                self.fall_back_to(&names, pair.line, place, None);
            } else if of_content {
                self.content_fallbacks(&pair.key, &names, pair.line, place);
            } else {
                self.fall_back_to(&names, pair.line, place, Some(&pair.key));
            }
        }
        Ok(())
    }

    pub(super) fn default_fallbacks(&mut self, root: &Node) {
        for section in ["router_settings", "litellm_settings"] {
            let Some(node) = root
                .get(section)
                .and_then(|section| section.get("default_fallbacks"))
            else {
                continue;
            };
            let place = format!("{section}.default_fallbacks");
            self.fall_back_to(&names(node), node.line, &place, None);
        }
    }

    /// Adds the named groups' targets behind those of `group`, or of every group without fallbacks.
    fn fall_back_to(
        &mut self,
        names: &[Option<String>],
        line: usize,
        place: &str,
        group: Option<&str>,
    ) {
        let mut added: Vec<Target> = Vec::new();
        for name in names {
            let targets = name.as_deref().and_then(|name| self.targets(name));
            match (targets, name) {
                (Some(targets), _) => added.extend(targets),
                (None, Some(name)) => {
                    let text = format!("`{name}` names no deployment that was carried over");
                    self.draft.notes.add(line, place, text);
                }
                (None, None) => {
                    let text = "a fallback with messages or parameters of its own is left out";
                    self.draft.notes.add(line, place, text);
                }
            }
        }
        let group = group.map(|name| self.group_of(name).to_owned());
        let mut is_there = false;
        for route in &mut self.draft.routes {
            let is_meant = match &group {
                Some(group) => route.model == *group,
                None => route.fallbacks.is_empty(),
            };
            is_there |= is_meant;
            if is_meant {
                for target in &added {
                    route.add_fallback(target);
                }
            }
        }
        if let (false, Some(group)) = (is_there, group) {
            let text = format!("`{group}` names no deployment that was carried over");
            self.draft.notes.add(line, place, text);
        }
    }

    /// Fallbacks for refused contents can only be the route's own.
    fn content_fallbacks(
        &mut self,
        group: &str,
        names: &[Option<String>],
        line: usize,
        place: &str,
    ) {
        let wanted: Vec<Target> = names
            .iter()
            .flatten()
            .filter_map(|name| self.targets(name))
            .flatten()
            .collect();
        let group = self.group_of(group).to_owned();
        let route = self
            .draft
            .routes
            .iter_mut()
            .find(|route| route.model == group);
        let Some(route) = route.filter(|_| !wanted.is_empty()) else {
            let text = format!("`{group}` and its fallbacks were not carried over");
            return self.draft.notes.add(line, place, text);
        };
        for target in &wanted {
            route.add_fallback(target);
        }
        route.on_content_filter = true;
        let text = "a route has one list of fallbacks: these are tried after other errors, too, and \
                    its other ones after refused contents";
        self.draft.notes.add(line, place, text);
    }

    /// The group behind a name that clients use.
    fn group_of<'b>(&'b self, name: &'b str) -> &'b str {
        let alias = self.aliases.iter().find(|(alias, ..)| alias == name);
        alias.map_or(name, |(_, group, _)| group)
    }

    /// The targets of a group or of one deployment.
    fn targets(&self, name: &str) -> Option<Vec<Target>> {
        let group = self.group_of(name);
        if let Some(route) = self.groups.iter().find(|route| route.model == group) {
            let all = route.targets.iter().chain(&route.fallbacks).cloned();
            // The name that the client used is another one.
            return Some(all.map(|target| under_its_name(target, group)).collect());
        }
        let is_it = |deployment: &&Deployment| deployment.id.as_deref() == Some(name);
        let deployment = self.deployments.iter().find(is_it)?;
        Some(vec![under_its_name(
            deployment.target.clone(),
            &deployment.group,
        )])
    }

    pub(super) fn add_aliases(&mut self) {
        for (alias, group, line) in &self.aliases {
            let place = format!("router_settings.model_group_alias.{alias}");
            let known = self.draft.routes.iter().find(|route| route.model == *group);
            let Some(route) = known else {
                let text = format!("`{group}` names no deployment that was carried over");
                self.draft.notes.add(*line, place, text);
                continue;
            };
            let mut route = route.clone();
            for target in &mut route.targets {
                *target = under_its_name(target.clone(), group);
            }
            route.model.clone_from(alias);
            match self
                .draft
                .routes
                .iter_mut()
                .find(|known| known.model == *alias)
            {
                Some(known) => {
                    let text = "is the name of deployments, too; the alias counts, as in LiteLLM";
                    self.draft.notes.add(*line, place, text);
                    *known = route;
                }
                None => self.draft.routes.push(route),
            }
        }
    }

    pub(super) fn note_hidden(&mut self, entry: &Entry, place: &str) {
        for alias in entry.node.entries() {
            let hidden = alias.node.get("hidden").and_then(Node::truth);
            if hidden == Some(true) {
                let place = format!("{place}.{}.hidden", alias.key);
                let text = "every route's name is listed under /v1/models";
                self.draft.notes.add(alias.line, place, text);
            }
        }
    }
}

/// A target that asks for what `group` means, whatever the client called it.
fn under_its_name(target: Target, group: &str) -> Target {
    let is_pattern = group.ends_with('*');
    let model = target
        .model
        .clone()
        .or_else(|| (!is_pattern).then(|| group.to_owned()));
    Target { model, ..target }
}

/// Aliases, their groups and lines.
pub(super) fn aliases(root: &Node) -> Vec<(String, String, usize)> {
    let section = root.get("router_settings");
    let list = section.and_then(|section| section.get("model_group_alias"));
    let entries = list.map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let node = &entry.node;
            let group = node.text().or_else(|| node.get("model")?.text())?;
            Some((entry.key.clone(), group.to_owned(), entry.line))
        })
        .collect()
}

/// The names of a list, or the one name; `None` for what is no name.
fn names(node: &Node) -> Vec<Option<String>> {
    let name = |node: &Node| node.text().map(str::to_owned);
    match node.items() {
        Some(items) => items.iter().map(|item: &Rc<Node>| name(item)).collect(),
        None => vec![name(node)],
    }
}
