//! LiteLLM's providers that a gateway can reach, by the name before the model's.
//!
//! Addresses and variables are LiteLLM's defaults (its provider pages).

/// A provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// Where it is when a deployment says nothing.
    pub(super) base: Option<&'static str>,
    /// What follows the address that a deployment names.
    pub(super) below: &'static str,
    /// The variable that holds the key when a deployment names none.
    pub(super) variable: Option<&'static str>,
}

const fn provider(
    name: &'static str,
    base: Option<&'static str>,
    variable: Option<&'static str>,
) -> Provider {
    Provider {
        name,
        base,
        below: "",
        variable,
    }
}

const OLLAMA: Option<&str> = Some("http://localhost:11434");

/// The service, and what speaks OpenAI's protocol.
const PROVIDERS: [Provider; 18] = [
    provider("dashscope", None, Some("DASHSCOPE_API_KEY")),
    provider(
        "openai",
        Some("https://api.openai.com/v1"),
        Some("OPENAI_API_KEY"),
    ),
    provider("custom_openai", None, None),
    provider("anthropic", None, Some("ANTHROPIC_API_KEY")),
    provider("hosted_vllm", None, None),
    provider("litellm_proxy", None, None),
    provider("lm_studio", None, None),
    provider("llamafile", Some("http://127.0.0.1:8080/v1"), None),
    provider("xinference", Some("http://127.0.0.1:9997/v1"), None),
    Provider {
        name: "ollama",
        base: OLLAMA,
        below: "/v1",
        variable: None,
    },
    Provider {
        name: "ollama_chat",
        base: OLLAMA,
        below: "/v1",
        variable: None,
    },
    provider(
        "deepseek",
        Some("https://api.deepseek.com/v1"),
        Some("DEEPSEEK_API_KEY"),
    ),
    provider(
        "moonshot",
        Some("https://api.moonshot.ai/v1"),
        Some("MOONSHOT_API_KEY"),
    ),
    provider(
        "openrouter",
        Some("https://openrouter.ai/api/v1"),
        Some("OPENROUTER_API_KEY"),
    ),
    provider(
        "groq",
        Some("https://api.groq.com/openai/v1"),
        Some("GROQ_API_KEY"),
    ),
    provider(
        "mistral",
        Some("https://api.mistral.ai/v1"),
        Some("MISTRAL_API_KEY"),
    ),
    provider("xai", Some("https://api.x.ai/v1"), Some("XAI_API_KEY")),
    provider(
        "volcengine",
        Some("https://ark.cn-beijing.volces.com/api/v3"),
        Some("VOLCENGINE_API_KEY"),
    ),
];

/// The provider of a model and the model's name there.
pub(super) fn of<'a>(model: &'a str, custom: Option<&str>) -> Option<(&'static Provider, &'a str)> {
    let by_name = |name: &str| PROVIDERS.iter().find(|provider| provider.name == name);
    if let Some(custom) = custom {
        let rest = model.strip_prefix(custom);
        let rest = rest.and_then(|rest| rest.strip_prefix('/'));
        return Some((by_name(custom)?, rest.unwrap_or(model)));
    }
    if let Some((prefix, rest)) = model.split_once('/') {
        return Some((by_name(prefix)?, rest));
    }
    // The one family that LiteLLM knows without a provider and that is reached in this way.
    let is_openai = ["gpt-", "chatgpt-", "o1", "o3", "o4"]
        .iter()
        .any(|start| model.starts_with(start));
    is_openai
        .then(|| by_name("openai"))
        .flatten()
        .map(|provider| (provider, model))
}
