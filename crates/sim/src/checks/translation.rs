//! Translations: what the models of that kind need (compat.md §2.11, http-native.md §4.5).

use bailian_wire::Dialect;
use serde_json::Value;

use super::Checked;
use super::media::by_model;
use crate::call::Call;
use crate::rejection::Rejection;

/// Checks a request to a model that translates; others pass.
pub(super) fn check(call: &Call) -> Checked {
    if !call.translates() {
        return Ok(());
    }
    let options = call.parameters.get("translation_options");
    let place = match call.dialect {
        Dialect::Native => "parameters.translation_options",
        _ => "translation_options",
    };
    let Some(options) = options.and_then(Value::as_object) else {
        return Err(Rejection::parameter(format!("Field required: {place}")));
    };
    for name in ["source_lang", "target_lang"] {
        let given = options.get(name).and_then(Value::as_str);
        if given.is_none_or(str::is_empty) {
            return Err(Rejection::parameter(format!(
                "Field required: {place}.{name}"
            )));
        }
    }
    for name in ["terms", "tm_list"] {
        let pairs = match options.get(name) {
            None | Some(Value::Null) => continue,
            Some(pairs) => pairs.as_array(),
        };
        let are_pairs = pairs.is_some_and(|pairs| {
            let is_text = |pair: &Value, name: &str| pair.get(name).is_some_and(Value::is_string);
            pairs
                .iter()
                .all(|pair| is_text(pair, "source") && is_text(pair, "target"))
        });
        if !are_pairs {
            return Err(Rejection::parameter(format!(
                "Input should be a valid list of source and target: {place}.{name}"
            )));
        }
    }
    let roles = call.messages.iter().map(|message| &message["role"]);
    if roles.clone().any(|role| role == "system") {
        let message = "Role must be in [user, assistant]";
        return Err(by_model(message, message));
    }
    if roles.count() != 1 || call.last()["role"] != "user" {
        let message = "The messages should be exactly one message of the user.";
        return Err(by_model(message, message));
    }
    Ok(())
}
