//! Where this client differs from the official ones on purpose.

/// One kind of difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// Where it shows.
    pub(super) place: &'static str,
    pub(super) reason: &'static str,
    pub(super) vectors: &'static [&'static str],
}

/// Vectors that are not called, by reason.
pub(super) const NOT_SERVED: &[(&str, &[&str])] = &[
    (
        "local files are uploaded first, and uploads are not served yet",
        &["ds2.native.multimodal_local_file"],
    ),
    (
        "a legacy service: customized_model_id stands in the input beside a prompt",
        &["ds1.gen.bailian_customized"],
    ),
];

/// Calls that the catalogue says the service refuses, by reason.
pub(super) const REFUSED: &[(&str, &[&str])] = &[];

const PROMPT: &str =
    "requests hold messages only: a prompt is a turn of the user, which the service treats alike";
const RESULT_FORMAT: &str = "the format is always asked for, because the service's default depends on the model and is changing";
const CUMULATIVE: &str = "what the official client leaves to the service's default is said, since the default depends on the model";

pub(super) const INTENDED: &[Difference] = &[
    Difference {
        place: "body/input/prompt",
        reason: PROMPT,
        vectors: &[
            "ds1.gen.prompt",
            "ds1.gen.history",
            "ds1.gen.stream_text_format",
        ],
    },
    Difference {
        place: "body/input/messages",
        reason: PROMPT,
        vectors: &[
            "ds1.gen.prompt",
            "ds1.gen.history",
            "ds1.gen.stream_text_format",
        ],
    },
    Difference {
        place: "body/input/history",
        reason: "the legacy history is written as messages, which every model takes",
        vectors: &["ds1.gen.history"],
    },
    Difference {
        place: "body/input/messages/0/content/0/type",
        reason: "native parts are named by their key; the documentation shows no type beside it",
        vectors: &["ds1.gen.cache_control"],
    },
    Difference {
        place: "body/parameters/result_format",
        reason: RESULT_FORMAT,
        vectors: &[
            "ds1.gen.prompt",
            "ds1.gen.history",
            "ds1.gen.messages_default_format",
            "ds1.gen.stream_text_format",
            "ds1.aiogen.workspace",
        ],
    },
    Difference {
        place: "body/parameters/incremental_output",
        reason: CUMULATIVE,
        vectors: &[
            "ds1.gen.stream_default",
            "ds1.gen.stream_text_format",
            "ds1.gen.stream_tools_cumulative",
        ],
    },
    Difference {
        place: "body/parameters/incremental_output",
        reason: "the caller's wish is sent; the official v2 client says true whatever it is told",
        vectors: &["ds2.native.stream_incremental_false"],
    },
    Difference {
        place: "result text",
        reason: "cumulative frames are joined once; the official v2 client repeats their text",
        vectors: &[
            "ds2.native.stream_incremental_false",
            "ds2.openai.stream_incremental_false",
        ],
    },
    Difference {
        place: "body/parameters/enable_search",
        reason: "a parameter that the caller set is sent, also when it is false",
        vectors: &["ds1.gen.enable_search_false_dropped_for_qwen"],
    },
    Difference {
        place: "result usage",
        reason: "reports are running totals of the request; the official client adds up its choices'",
        vectors: &["ds1.gen.stream_incremental_false_n2_merged"],
    },
    Difference {
        place: "header x-dashscope-sse",
        reason: "the model answers in streams only, so the call is streamed inside and joined",
        vectors: &["ds2.native.multimodal_audio_video"],
    },
    Difference {
        place: "body/parameters/incremental_output",
        reason: "the model answers in streams only, so the call is streamed inside and joined",
        vectors: &["ds2.native.multimodal_audio_video"],
    },
    Difference {
        place: "body/stream_options",
        reason: "usage is asked for unless the caller declines it, as the official v2 client does",
        vectors: &[
            "oai.stream",
            "oai.stream_1x",
            "oai.stream_utf8",
            "oai.stream_utf8_1x",
        ],
    },
    Difference {
        place: "body/messages/1/content",
        reason: "a turn of tool calls only has no content, in place of null",
        vectors: &["oai.tool_result_turn", "oai.tool_result_turn_1x"],
    },
];
