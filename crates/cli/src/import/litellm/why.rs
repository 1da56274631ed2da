//! What is said about settings that are not carried over.

/// Why a setting is not carried over.
pub(super) fn why(key: &str) -> &'static str {
    match key {
        "num_retries"
        | "max_retries"
        | "retry_policy"
        | "retry_after"
        | "model_group_retry_policy" => {
            "a target is asked once: what is throttled waits in its line, other errors lead to the \
             next target"
        }
        "allowed_fails" | "allowed_fails_policy" | "cooldown_time" | "disable_cooldowns" => {
            "the breaker's figures are fixed: five failures in a row, five seconds, doubled up to a \
             minute"
        }
        "routing_strategy_args" | "enable_tag_filtering" | "tags" | "tag_filtering_match_any" => {
            "targets are chosen by model, weight, prefix and by who has no line"
        }
        "timeout" | "stream_timeout" => "times hold for all targets: [timeouts]",
        "context_window_fallbacks" | "enable_pre_call_checks" => {
            "a request that is too long for its model is refused, and no other target is asked"
        }
        "cache" | "cache_params" | "cache_responses" | "client_ttl" => {
            "an import sets up no cache of answers"
        }
        "database_url"
        | "database_connection_pool_limit"
        | "store_model_in_db"
        | "database_connection_timeout"
        | "allow_requests_on_db_unavailable" => {
            "keys, teams and budgets of the database are not part of this file; docs/migration.md \
             says how they move"
        }
        "callbacks" | "success_callback" | "failure_callback" | "service_callbacks"
        | "callback_settings" | "alerting" | "alerting_threshold" => {
            "nothing is called back: /metrics and the log have the figures"
        }
        "input_cost_per_token" | "output_cost_per_token" => "prices are not part of this file",
        _ if key.starts_with("x-") => "is read only where an alias names a part of it",
        "include" => "included files are not read; import each by itself",
        "guardrails" => "there are no guardrails beside the service's own filter",
        "extra_headers" | "headers" | "organization" => "no fixed header lines are added",
        "max_tokens" | "temperature" | "top_p" | "extra_body" | "seed" | "stop" => {
            "no parameter is added that the caller did not write"
        }
        "max_parallel_requests" | "global_max_parallel_requests" => {
            "what runs at the same time is limited for each model: `running` of [[accounts.limits]]"
        }
        _ => "has no counterpart",
    }
}
