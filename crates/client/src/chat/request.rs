//! Writes a chat request as an HTTP request. Pure: no clock, no network.

use bailian_wire::Dialect;
use bailian_wire::chat::ChatRequest;
use bailian_wire::{native, openai};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::{Config, ConfigError, ConfigProblem};
use crate::error::Error;
use crate::options::RequestOptions;

const MULTIMODAL_PATH: &str = "/services/aigc/multimodal-generation/generation";
const AGENT: &str = concat!("bailian-rust/", env!("CARGO_PKG_VERSION"));

/// How the request is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) protocol: Dialect,
    pub(super) multimodal: bool,
    pub(super) stream: bool,
}

pub(super) fn build(
    config: &Config,
    options: &RequestOptions,
    request: &ChatRequest,
    form: Form,
) -> Result<http::Request<Bytes>, Error> {
    let body = match form.protocol {
        Dialect::Native => native::encode_request(request, form.stream, form.multimodal),
        Dialect::OpenAi => openai::encode_request(request, form.stream),
        Dialect::Anthropic => {
            return Err(refuse(
                "the anthropic protocol is not served yet by this client",
                "set DASHSCOPE_PROTOCOL to native or openai",
            ));
        }
    };
    let body = Bytes::from(serde_json::to_vec(&body).map_err(|error| {
        refuse(
            format!("the request cannot be written as JSON: {error}"),
            "correct its values",
        )
    })?);
    let uri = address(config, options, form)?;
    let headers = headers(config, options, form, &body)?;
    let mut http = http::Request::new(body);
    *http.method_mut() = Method::POST;
    *http.uri_mut() = uri;
    *http.headers_mut() = headers;
    Ok(http)
}

fn address(config: &Config, options: &RequestOptions, form: Form) -> Result<http::Uri, Error> {
    let Some(root) = config.endpoint.root(form.protocol) else {
        return Err(refuse(
            format!(
                "{} does not serve the {} protocol",
                config.endpoint.host(),
                form.protocol
            ),
            "set DASHSCOPE_PROTOCOL=openai, or use another base URL",
        ));
    };
    let path = if form.multimodal {
        MULTIMODAL_PATH
    } else {
        form.protocol.chat_path()
    };
    let mut address = format!("{root}{path}");
    if !options.query.is_empty() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&options.query);
        address.push('?');
        address.push_str(&query.finish());
    }
    address.parse().map_err(|_| {
        refuse(
            "the base URL makes no valid address",
            "correct DASHSCOPE_BASE_URL",
        )
    })
}

fn headers(
    config: &Config,
    options: &RequestOptions,
    form: Form,
    body: &[u8],
) -> Result<HeaderMap, Error> {
    let Some(key) = options.api_key.as_ref().or(config.api_key.as_ref()) else {
        return Err(refuse(
            "no API key is set",
            "set DASHSCOPE_API_KEY to a key from the Model Studio console (sk-…)",
        ));
    };
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| {
        refuse(
            "the API key cannot be sent in a header",
            "copy the key again",
        )
    })?;
    bearer.set_sensitive(true);
    let accept = if form.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    // A compressed stream comes in blocks, not in events.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if form.stream && form.protocol == Dialect::Native {
        headers.insert(name("x-dashscope-sse"), HeaderValue::from_static("enable"));
    }
    if let Some(workspace) = options.workspace.as_ref().or(config.workspace.as_ref())
        && let Ok(value) = HeaderValue::from_str(workspace.as_str())
    {
        headers.insert(name("x-dashscope-workspace"), value);
    }
    if has_string_with(body, b"\"oss://") {
        headers.insert(
            name("x-dashscope-ossresourceresolve"),
            HeaderValue::from_static("enable"),
        );
    }
    for (name, value) in &options.headers {
        headers.insert(name.clone(), value.clone());
    }
    Ok(headers)
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

/// Whether a JSON text has a string that begins like this. Only strings can: quotes are escaped
/// inside them.
fn has_string_with(body: &[u8], needle: &[u8]) -> bool {
    body.windows(needle.len()).any(|window| window == needle)
}

fn refuse(problem: impl Into<String>, fix: &str) -> Error {
    Error::Config(ConfigError::one(ConfigProblem::new(None, problem, fix)))
}
