use super::*;

fn classified(status: u16, code: &str, message: &str) -> Classification {
    classify(&Signals::new(Some(status), Some(code), message))
}

#[test]
fn every_entry_of_the_catalogue_is_read() {
    let table = ErrorTable::embedded();
    assert_eq!(table.skipped(), 0);
    assert!(table.entries().len() >= 180);
}

#[test]
fn every_http_entry_classifies_as_itself_in_both_spellings_with_each_of_its_messages() {
    for entry in ErrorTable::embedded().entries() {
        if entry.surface != Surface::Http {
            continue;
        }
        for code in [&entry.code, &entry.compat_code].into_iter().flatten() {
            for message in &entry.messages {
                let message = message.replace("xxx", "7");
                let found = classify(&Signals::new(entry.status, Some(code.as_str()), &message));
                // Some messages are documented under several codes with one meaning each.
                let same_message = ErrorTable::embedded().entries().iter().any(|other| {
                    other.class == found.class
                        && (other.code == entry.code || other.compat_code == entry.compat_code)
                        && other
                            .messages
                            .iter()
                            .any(|m| m.replace("xxx", "7") == message)
                });
                assert!(
                    found.class == entry.class || same_message,
                    "{code} {message:?}: {:?} is not {:?}",
                    found.class,
                    entry.class
                );
            }
        }
    }
}

#[test]
fn insufficient_quota_is_a_token_throttle_when_the_link_or_the_text_says_so() {
    for message in [
        "You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit",
        "You exceeded your current quota, please check your plan and billing details.",
        "Allocated quota exceeded, please increase your quota limit.",
        "something new",
    ] {
        let found = classified(429, "insufficient_quota", message);
        assert_eq!(found.class, ErrorClass::RateLimitTokens, "{message}");
        assert!(found.retry.is_some());
    }
    let free = classified(429, "insufficient_quota", "Free allocated quota exceeded.");
    assert_eq!((free.class, free.retry), (ErrorClass::QuotaExhausted, None));
    let free = classified(
        429,
        "Throttling.AllocationQuota",
        "Free allocated quota exceeded, please increase your quota limit.",
    );
    assert_eq!((free.class, free.retry), (ErrorClass::QuotaExhausted, None));
    let plan = classified(429, "insufficient_quota", "hour allocated quota exceeded");
    assert_eq!((plan.class, plan.retry), (ErrorClass::QuotaExhausted, None));
}

#[test]
fn bills_with_status_429_are_never_retried() {
    for code in [
        "CommodityNotPurchased",
        "PrepaidBillOverdue",
        "PostpaidBillOverdue",
    ] {
        let found = classified(429, code, "whatever");
        assert_eq!(
            (found.class, found.retry),
            (ErrorClass::QuotaExhausted, None),
            "{code}"
        );
    }
}

#[test]
fn a_500_that_is_the_callers_fault_is_not_retried() {
    for message in [
        "Role must be in [user, assistant]",
        "list index out of range",
    ] {
        let found = classified(500, "InternalError.Algo", message);
        assert_eq!(
            (found.class, found.retry),
            (ErrorClass::InvalidRequest, None),
            "{message}"
        );
    }
    let real = classified(500, "InternalError.Algo", "inference internal error.");
    assert_eq!(real.class, ErrorClass::Server);
    assert!(real.retry.is_some());
    let renamed = classified(400, "InternalError.Algo.InvalidParameter", "any");
    assert_eq!(renamed.class, ErrorClass::InvalidRequest);
}

#[test]
fn a_wrapped_parameter_error_is_the_error_that_it_wraps() {
    let long = "InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]";
    let prefixed = format!("<400> {long}");
    for (status, code, message) in [
        (400, "InternalError.Algo.InvalidParameter", long),
        (400, "invalid_parameter_error", &prefixed),
        (500, "InternalError.Algo", long),
        (500, "internal_error", &prefixed),
        (500, "Brand.New", long),
    ] {
        let found = classified(status, code, message);
        assert_eq!(
            (found.class, found.subcase, found.retry),
            (ErrorClass::InvalidRequest, Some("context_length"), None),
            "{status} {code} {message}"
        );
    }
}

#[test]
fn a_family_speaks_for_a_new_code_only_where_it_is_of_one_mind_and_of_that_status() {
    for (status, code, class) in [
        (400, "InvalidFile.NewKind", ErrorClass::InvalidRequest),
        (400, "InvalidParameter.NewKind", ErrorClass::InvalidRequest),
        (403, "AccessDenied.NewKind", ErrorClass::Permission),
        (500, "InternalError.NewKind", ErrorClass::Server),
        (
            400,
            "InternalError.Algo.NewKind",
            ErrorClass::InvalidRequest,
        ),
        (500, "Model.NewKind", ErrorClass::Server),
        (429, "Model.NewKind", ErrorClass::RateLimitRequests),
        (500, "App.NewKind", ErrorClass::Server),
        (400, "Throttling.NewKind", ErrorClass::RateLimitRequests),
    ] {
        assert_eq!(classified(status, code, "").class, class, "{status} {code}");
    }
}

#[test]
fn unknown_codes_fall_back_to_family_and_status() {
    assert_eq!(
        classified(429, "Throttling.NewKind", "").class,
        ErrorClass::RateLimitRequests
    );
    assert_eq!(
        classified(429, "Brand.New", "").class,
        ErrorClass::RateLimitRequests
    );
    assert_eq!(
        classified(400, "InvalidFile.NewKind", "").class,
        ErrorClass::InvalidRequest
    );
    assert_eq!(
        classified(418, "Teapot", "").class,
        ErrorClass::InvalidRequest
    );
    assert_eq!(classified(599, "Teapot", "").class, ErrorClass::Server);
    assert_eq!(
        classified(529, "overloaded_error", "").class,
        ErrorClass::Unavailable
    );
}

#[test]
fn every_body_shape_gives_code_message_and_request_id() {
    for body in [
        r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","request_id":"r-1"}"#,
        r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","requestId":"r-1"}"#,
        r#"{"code":"Throttling.RateQuota","msg":"Requests rate limit exceeded, please try again later.","request_id":"r-1"}"#,
        r#"{"error":{"message":"You exceeded your current requests list.","type":"limit_requests","param":null,"code":"limit_requests"},"request_id":"r-1"}"#,
        r#"{"error":{"message":"You exceeded your current requests list.","type":"limit_requests","code":"limit_requests"},"id":"chatcmpl-r-1"}"#,
        "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.RateQuota\",\"message\":\"Requests rate limit exceeded, please try again later.\",\"request_id\":\"r-1\"}\n\n",
        "data: {\"error\":{\"code\":\"limit_requests\",\"message\":\"You exceeded your current requests list.\"},\"request_id\":\"r-1\"}",
    ] {
        let error = parse_error_body(429, body.as_bytes());
        assert_eq!(error.class(), ErrorClass::RateLimitRequests, "{body}");
        assert_eq!(error.native_code(), Some("Throttling.RateQuota"), "{body}");
        assert_eq!(error.request_id(), Some("r-1"), "{body}");
        assert!(
            error.message().to_lowercase().contains("requests"),
            "{body}"
        );
    }
}

#[test]
fn pages_and_plain_lines_become_short_messages() {
    let page = b"<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502</h1>\x1b[31m</body></html>";
    let error = parse_error_body(502, page);
    assert_eq!((error.status(), error.class()), (502, ErrorClass::Server));
    assert_eq!(error.message(), "502 Bad Gateway 502 [31m");
    assert_eq!(
        parse_error_body(504, b"").message(),
        "HTTP 504 without a message"
    );
    assert!(
        parse_error_body(500, &b"x".repeat(100_000))
            .message()
            .chars()
            .count()
            <= 300
    );
}

#[test]
fn an_error_inside_http_200_gets_the_status_its_code_is_documented_with() {
    let answer =
        serde_json::json!({ "code": "Arrearage", "message": "Access denied.", "request_id": "r" });
    let error = error_in_success(&answer).unwrap();
    assert_eq!(
        (error.status(), error.class()),
        (400, ErrorClass::QuotaExhausted)
    );
    assert!(error_in_success(&serde_json::json!({ "output": {}, "code": "" })).is_none());
    assert!(error_in_success(&serde_json::json!({ "choices": [] })).is_none());
}

#[test]
fn each_dialect_spells_the_same_error_its_own_way() {
    let mut view = ErrorView::new(401, "InvalidApiKey", "Invalid API-key provided.");
    view.request_id = Some("r-1");
    let (status, native) = encode_error(crate::Dialect::Native, &view);
    assert_eq!(
        (status, native["code"].as_str()),
        (401, Some("InvalidApiKey"))
    );
    let (status, openai) = encode_error(crate::Dialect::OpenAi, &view);
    assert_eq!(
        (status, openai["error"]["code"].as_str()),
        (401, Some("invalid_api_key"))
    );
    assert_eq!(openai["error"]["type"], "invalid_request_error");
    let (status, anthropic) = encode_error(crate::Dialect::Anthropic, &view);
    assert_eq!(
        (status, anthropic["error"]["type"].as_str()),
        (403, Some("authentication_error"))
    );
    for body in [native, openai, anthropic] {
        assert_eq!(body["request_id"], "r-1");
        assert_eq!(
            parse_error_body(status, body.to_string().as_bytes()).class(),
            ErrorClass::Authentication
        );
    }
}

#[test]
fn debug_output_leaves_the_body_out() {
    let error = parse_error_body(
        400,
        br#"{"code":"InvalidParameter","message":"m","prompt":"my secret prompt"}"#,
    );
    assert!(!format!("{error:?}").contains("secret prompt"));
}
