//! The call of an official client as a call of ours.

use bailian::{ChatRequest, RequestOptions};
use serde_json::{Map, Value, json};

/// The equivalent call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: ChatRequest,
    pub(super) options: RequestOptions,
    pub(super) stream: bool,
    /// The workspace that the official client was constructed with.
    pub(super) client_workspace: Option<String>,
}

impl Call {
    pub(super) fn of(vector: &Value) -> Self {
        let mut args = vector["call"]["args"].as_object().unwrap().clone();
        let module_api = vector["client"].as_str().unwrap().contains("1.x classes");
        let mut options = RequestOptions::new().validate(false);
        let stream = args.remove("stream") == Some(Value::Bool(true));
        for name in ["extra_headers", "headers"] {
            if let Some(Value::Object(headers)) = args.remove(name) {
                for (name, value) in &headers {
                    options = options.header(name, value.as_str().unwrap());
                }
            }
        }
        if let Some(Value::Object(query)) = args.remove("extra_query") {
            for (name, value) in query {
                options = options.query(name, value.as_str().unwrap());
            }
        }
        if let Some(Value::String(workspace)) = args.remove("workspace") {
            options = options.workspace(&workspace);
        }
        if let Some(Value::String(key)) = args.remove("api_key") {
            options = options.api_key(&key);
        }
        if let Some(plugins) = args.remove("plugins") {
            // The official client writes this parameter as a header.
            options = options.header("X-DashScope-Plugin", &plugins.to_string());
        }
        // Time limits and the client's name are not part of the request.
        for name in ["request_timeout", "timeout", "user_agent"] {
            args.remove(name);
        }
        for name in ["extra_body", "parameters"] {
            if let Some(Value::Object(extra)) = args.remove(name) {
                args.extend(extra);
            }
        }
        write_prompt_as_message(&mut args);
        write_parts(&mut args);
        if module_api && stream {
            choose_increments(&mut args);
        }
        options = constructed_headers(vector, options);
        let client_workspace = header(vector, "X-DashScope-WorkSpace")
            .filter(|_| vector["id"].as_str().unwrap().ends_with("client_workspace"));
        let request = serde_json::from_value(Value::Object(args)).unwrap();
        Self {
            request,
            options,
            stream,
            client_workspace,
        }
    }
}

fn header(vector: &Value, name: &str) -> Option<String> {
    let headers = vector["request"]["headers"].as_object().unwrap();
    let found = headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str().unwrap().to_owned())
}

/// Our requests hold messages only; a prompt is a turn of the user.
fn write_prompt_as_message(args: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = args.get("messages") {
        let turn = json!([{ "role": "user", "content": text }]);
        args.insert("messages".to_owned(), turn);
    }
    if let Some(prompt) = args.remove("prompt") {
        if let Some(Value::Array(turns)) = args.remove("history") {
            let spoken = |turn: &Value| {
                [("user", "user"), ("assistant", "bot")]
                    .map(|(role, name)| json!({ "role": role, "content": turn[name] }))
            };
            let messages = turns.iter().flat_map(spoken).collect();
            args.insert("messages".to_owned(), messages);
        }
        let messages = args.entry("messages").or_insert_with(|| json!([]));
        messages
            .as_array_mut()
            .unwrap()
            .push(json!({ "role": "user", "content": prompt }));
    }
}

/// The v2 client has names of its own for media parts; ours are those of the OpenAI protocol.
fn write_parts(args: &mut Map<String, Value>) {
    let messages = args["messages"].as_array_mut().unwrap();
    let contents = messages
        .iter_mut()
        .filter_map(|message| message.get_mut("content")?.as_array_mut());
    for part in contents.flatten() {
        if part["type"] == "image" {
            let object = part.as_object_mut().unwrap();
            let url = object.remove("url");
            object.insert("type".to_owned(), json!("image_url"));
            object.insert("image_url".to_owned(), json!({ "url": url }));
        } else if part["type"] == "audio" {
            let (data, format) = (
                part["data"].as_str().unwrap(),
                part["format"].as_str().unwrap(),
            );
            let url = format!("data:audio/{format};base64,{data}");
            *part = json!({ "type": "input_audio", "input_audio": { "data": url } });
        } else if part["type"] == "video" {
            *part = json!({ "type": "video", "video": part["frames"], "fps": part["fps"] });
        }
    }
}

/// The module API streams cumulatively by the service's default, and joins increments by itself
/// when told not to want them; ours asks for increments unless told otherwise.
fn choose_increments(args: &mut Map<String, Value>) {
    let model = args["model"].as_str().unwrap().to_owned();
    match args.get("incremental_output") {
        None => {
            args.insert("incremental_output".to_owned(), Value::Bool(false));
        }
        Some(Value::Bool(false)) if model != "qwen-deep-research" => {
            args.remove("incremental_output");
        }
        Some(_) => {}
    }
}

/// Headers that were given to the constructor, whose arguments the vectors do not hold.
fn constructed_headers(vector: &Value, mut options: RequestOptions) -> RequestOptions {
    if vector["id"]
        .as_str()
        .unwrap()
        .contains("org_project_default_headers")
    {
        for name in ["x-custom", "openai-organization", "openai-project"] {
            options = options.header(name, &header(vector, name).unwrap());
        }
    }
    options
}
