//! The one table of settings: variable names, file keys, meanings and defaults.

/// One setting that can come from the environment, a `.env` file or the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// The name in the environment and in `.env`.
    pub name: &'static str,
    /// Older names with the same meaning; [`name`](Self::name) wins where both are set.
    pub aliases: &'static [&'static str],
    /// The key in the configuration file.
    pub key: &'static str,
    /// What it sets, in one sentence.
    pub meaning: &'static str,
    /// The value used when it is not set, in words where there is none.
    pub default: &'static str,
    pub(crate) setting: Setting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    ApiKey,
    BaseUrl,
    Workspace,
    Region,
    Protocol,
    DefaultModel,
    Timeout,
    MaxRetries,
    RetryDelay,
    RequestsPerMinute,
    RequestsPerDay,
    EnableStreaming,
    MaxTokens,
    Temperature,
    TopP,
}

/// Names a file that holds nothing but the API key. Official SDKs use it; the default is
/// `~/.dashscope/api_key`.
pub const KEY_FILE_VARIABLE: &str = "DASHSCOPE_API_KEY_FILE_PATH";

const fn row(
    setting: Setting,
    name: &'static str,
    aliases: &'static [&'static str],
    key: &'static str,
    meaning: &'static str,
    default: &'static str,
) -> Variable {
    Variable {
        name,
        aliases,
        key,
        meaning,
        default,
        setting,
    }
}

/// Every variable that the client reads, in the order in which documentation lists them
/// (and [`KEY_FILE_VARIABLE`] besides).
pub const VARIABLES: &[Variable] = &[
    row(
        Setting::ApiKey,
        "DASHSCOPE_API_KEY",
        &[],
        "api_key",
        "The API key of the region that is called.",
        "none; required",
    ),
    row(
        Setting::BaseUrl,
        "DASHSCOPE_BASE_URL",
        &["DASHSCOPE_HTTP_BASE_URL"],
        "base_url",
        "Where to send requests: a host, or a URL that ends in /api/v1, /compatible-mode/v1 or /apps/anthropic. Wins over region and workspace host.",
        "from region and workspace",
    ),
    row(
        Setting::Workspace,
        "DASHSCOPE_WORKSPACE",
        &["DASHSCOPE_WORKSPACE_ID"],
        "workspace",
        "The workspace id; chooses the workspace's own host and is sent as X-DashScope-WorkSpace.",
        "the key's default workspace",
    ),
    row(
        Setting::Region,
        "DASHSCOPE_REGION",
        &["DASHSCOPE_API_REGION"],
        "region",
        "cn-beijing, ap-southeast-1, cn-hongkong, us-east-1, eu-central-1 or ap-northeast-1.",
        "cn-beijing",
    ),
    row(
        Setting::Protocol,
        "DASHSCOPE_PROTOCOL",
        &[],
        "protocol",
        "native, openai or anthropic.",
        "native",
    ),
    row(
        Setting::DefaultModel,
        "DASHSCOPE_DEFAULT_MODEL",
        &["DASHSCOPE_MODEL"],
        "default_model",
        "The model of requests that name none.",
        "none",
    ),
    row(
        Setting::Timeout,
        "DASHSCOPE_TIMEOUT",
        &[],
        "timeout",
        "Seconds of silence to accept: to the first byte of an answer and between two parts of a stream.",
        "300",
    ),
    row(
        Setting::MaxRetries,
        "DASHSCOPE_MAX_RETRIES",
        &[],
        "max_retries",
        "How often a failed request is repeated, 0 to 100.",
        "2",
    ),
    row(
        Setting::RetryDelay,
        "DASHSCOPE_RETRY_DELAY",
        &[],
        "retry_delay",
        "Seconds that the first repetition waits at most; doubles with each further one.",
        "0.5",
    ),
    row(
        Setting::RequestsPerMinute,
        "DASHSCOPE_REQUESTS_PER_MINUTE",
        &[],
        "requests_per_minute",
        "The client's own limit; requests above it wait.",
        "unlimited",
    ),
    row(
        Setting::RequestsPerDay,
        "DASHSCOPE_REQUESTS_PER_DAY",
        &[],
        "requests_per_day",
        "The client's own limit for 24 hours; requests above it wait.",
        "unlimited",
    ),
    row(
        Setting::EnableStreaming,
        "DASHSCOPE_ENABLE_STREAMING",
        &[],
        "enable_streaming",
        "Whether tools stream answers by default: true or false.",
        "the tool decides",
    ),
    row(
        Setting::MaxTokens,
        "DASHSCOPE_MAX_TOKENS",
        &[],
        "max_tokens",
        "max_tokens of requests that set none.",
        "not sent",
    ),
    row(
        Setting::Temperature,
        "DASHSCOPE_TEMPERATURE",
        &[],
        "temperature",
        "temperature of requests that set none, 0 to below 2.",
        "not sent",
    ),
    row(
        Setting::TopP,
        "DASHSCOPE_TOP_P",
        &[],
        "top_p",
        "top_p of requests that set none, above 0 to 1.",
        "not sent",
    ),
];

// === impl Setting ===

impl Setting {
    pub(crate) fn variable(self) -> &'static Variable {
        // The table lists the settings in the order of the enum, which a test below checks.
        VARIABLES.get(self as usize).unwrap_or(&VARIABLES[0])
    }

    pub(crate) fn by_key(key: &str) -> Option<Self> {
        VARIABLES
            .iter()
            .find(|variable| variable.key == key)
            .map(|variable| variable.setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_settings() {
        for (index, variable) in VARIABLES.iter().enumerate() {
            assert_eq!(variable.setting as usize, index);
            assert_eq!(variable.setting.variable(), variable);
        }
    }

    #[test]
    fn the_sample_file_shows_every_variable() {
        let sample = include_str!("../../../../.env.example");
        for name in VARIABLES
            .iter()
            .map(|variable| variable.name)
            .chain([KEY_FILE_VARIABLE])
        {
            assert!(
                sample.lines().any(|line| line
                    .trim_start_matches("# ")
                    .starts_with(&format!("{name}="))),
                "{name} is missing in .env.example"
            );
        }
    }
}
