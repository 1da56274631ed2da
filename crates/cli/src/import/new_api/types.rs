//! The numbers of channel types, as new-api and one-api have them.
//!
//! Both agree up to 25 but for 4; above, the same number means different things.

/// What is behind a type of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// The service.
    Service,
    /// OpenAI's protocol: the address by default, and what follows an address.
    OpenAi(&'static str, &'static str),
    /// OpenAI's protocol at an address that is written whole.
    Custom,
    /// Anthropic's protocol.
    Anthropic,
    /// Something else, with its name.
    Other(&'static str),
}

use Behind::{Anthropic, Custom, OpenAi, Other, Service};

/// What a number means; `is_one_api` says whose it is.
pub(super) fn behind(number: i64, is_one_api: bool) -> Behind {
    match (number, is_one_api) {
        (17, _) | (49, true) => Service,
        (1, _) => OpenAi("https://api.openai.com", "/v1"),
        (8, _) => Custom,
        (14, _) => Anthropic,
        (20, _) => OpenAi("https://openrouter.ai/api", "/v1"),
        (25, _) => OpenAi("https://api.moonshot.cn", "/v1"),
        (31, _) => OpenAi("https://api.lingyiwanwu.com", "/v1"),
        (4, false) | (30, true) => OpenAi("http://localhost:11434", "/v1"),
        (26, false) => OpenAi("https://open.bigmodel.cn", "/api/paas/v4"),
        (40, false) | (44, true) => OpenAi("https://api.siliconflow.cn", "/v1"),
        (42, false) | (28, true) => OpenAi("https://api.mistral.ai", "/v1"),
        (43, false) | (36, true) => OpenAi("https://api.deepseek.com", "/v1"),
        (45, false) | (40, true) => OpenAi("https://ark.cn-beijing.volces.com", "/api/v3"),
        (46, false) | (47, true) => OpenAi("https://qianfan.baidubce.com", "/v2"),
        // Only with an address of its own.
        (47, false) | (50, true) => OpenAi("", "/v1"),
        (48, false) | (45, true) => OpenAi("https://api.x.ai", "/v1"),
        (29, true) => OpenAi("https://api.groq.com/openai", "/v1"),
        (32, true) => OpenAi("https://api.stepfun.com", "/v1"),
        (3, _) => Other("Azure OpenAI"),
        (11 | 24, _) => Other("Google Gemini"),
        (15, _) => Other("Baidu"),
        (16, _) => Other("Zhipu"),
        (18, _) => Other("Xunfei"),
        (23, _) => Other("Tencent"),
        (33, _) => Other("AWS Bedrock"),
        (41, false) | (42, true) => Other("Vertex AI"),
        (2 | 5, false) => Other("Midjourney"),
        (36, false) => Other("Suno"),
        (37, false) => Other("Dify"),
        (38, false) => Other("Jina"),
        _ => Other("a type that is not known here"),
    }
}
