//! Settings of telemetry: where traces and metrics are sent, as the file or OpenTelemetry's own
//! variables say.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Environment, Problem};
use crate::upstream::Origin;

/// The name of the service unless the operator gives another.
const SERVICE_NAME: &str = "bailian-gateway";

/// Where traces and metrics are sent, and what of them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// The collector's OTLP/HTTP address without `/v1/traces`, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// The part of requests that is traced, from 0 to 1. A caller's own decision goes before it.
    pub sample: f64,
    /// Whether upstream hears of the trace, as `traceparent`.
    pub propagate: bool,
    /// Attributes of the resource, `service.name` among them.
    pub resource: Vec<(String, String)>,
}

/// Where traces and metrics are sent, over OTLP/HTTP. OpenTelemetry's own variables
/// (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
/// `OTEL_SDK_DISABLED`) are read, too.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TelemetryFile {
    /// The collector's address without `/v1/traces`.
    #[schema(examples("http://127.0.0.1:4318"), extensions(("x-default" = json!("`OTEL_EXPORTER_OTLP_ENDPOINT`"))))]
    otlp: Option<String>,
    /// The part of requests that is traced. A caller's own decision goes before it.
    #[schema(minimum = 0, maximum = 1, default = json!(1.0))]
    sample: Option<f64>,
    /// Whether upstream hears of the trace, as `traceparent`.
    #[serde(default)]
    #[schema(default = false)]
    propagate: bool,
    /// The name under which the gateway is known to the collector.
    #[schema(extensions(("x-default" = json!("`OTEL_SERVICE_NAME`, else `bailian-gateway`"))))]
    service_name: Option<String>,
}

/// `None` where neither the file nor the environment names a collector.
pub(super) fn resolve(
    file: Option<TelemetryFile>,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<TelemetryConfig> {
    let is_asked_for = file.is_some();
    let file = file.unwrap_or_default();
    if environment
        .setting("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return None;
    }
    let (place, endpoint) = match file.otlp {
        Some(endpoint) => ("telemetry.otlp", Some(endpoint)),
        None => (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            environment.setting("OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
    };
    let Some(endpoint) = endpoint else {
        if is_asked_for {
            let problem = "is missing, and OTEL_EXPORTER_OTLP_ENDPOINT is not set; write the \
                           collector's address, such as \"http://127.0.0.1:4318\"";
            problems.push(Problem::new("telemetry.otlp", problem));
        }
        return None;
    };
    if let Err(error) = Origin::parse(&endpoint) {
        problems.push(Problem::new(place, error.to_string()));
    }
    let sample = file.sample.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        let problem = format!("is {sample}; write a part of all requests, from 0.0 to 1.0");
        problems.push(Problem::new("telemetry.sample", problem));
    }
    let mut resource = environment
        .setting("OTEL_RESOURCE_ATTRIBUTES")
        .map_or_else(Vec::new, |text| attributes(&text));
    let name = file
        .service_name
        .or_else(|| environment.setting("OTEL_SERVICE_NAME"));
    let is_named = resource.iter().any(|(key, _)| key == "service.name");
    if let Some(name) = name.or_else(|| (!is_named).then(|| SERVICE_NAME.to_owned())) {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    Some(TelemetryConfig {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        sample,
        propagate: file.propagate,
        resource,
    })
}

/// `key=value,key=value`, values percent-encoded (OpenTelemetry, resource SDK). What is no pair is
/// left out.
fn attributes(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn with(variables: &[(&str, &str)], file: Option<&str>) -> (Option<TelemetryConfig>, usize) {
        let environment: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut problems = Vec::new();
        let file = file.map(|text| toml::from_str(text).unwrap());
        let config = resolve(file, &environment, &mut problems);
        (config, problems.len())
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where() {
        assert_eq!(with(&[], None), (None, 0));
        assert_eq!(with(&[], Some("sample = 0.5")).1, 1);
        assert_eq!(with(&[], Some("otlp = \"nowhere\"")).1, 1);
        assert_eq!(with(&[], Some("otlp = \"http://a:1\"\nsample = 1.5")).1, 1);
        let off = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
            ("OTEL_SDK_DISABLED", "true"),
        ];
        assert_eq!(with(&off, None), (None, 0));
    }

    #[test]
    fn the_standard_variables_are_enough_and_the_file_goes_before_them() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_SERVICE_NAME", "网关"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=a%20b,x"),
        ];
        let (config, _) = with(&variables, None);
        let config = config.unwrap();
        assert_eq!(config.endpoint, "http://collector:4318");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [
            pair("deployment.environment", "a b"),
            pair("service.name", "网关"),
        ];
        assert_eq!(config.resource, expected);
        let (config, _) = with(
            &variables,
            Some("otlp = \"http://other:1\"\npropagate = true"),
        );
        let config = config.unwrap();
        assert_eq!(config.endpoint, "http://other:1");
        assert!(config.propagate);
    }
}
