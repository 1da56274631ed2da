//! Numbers between bounds.

use serde_json::{Value, json};

/// Integers are kept where a float has them exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn bound(schema: &Value, name: &str) -> Option<f64> {
    schema.get(name)?.as_f64()
}

/// The closed range of `schema`; `step` keeps away from bounds that are excluded.
fn range(schema: &Value, step: f64) -> (f64, f64) {
    let beyond = |bound: f64, step: f64| {
        if step == 0.0 {
            bound
        } else {
            (bound / step).floor() * step
        }
    };
    let highest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
    let lowest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
    let above = bound(schema, "exclusiveMinimum").map(|bound| beyond(bound, step) + step);
    let below = bound(schema, "exclusiveMaximum").map(|bound| -beyond(-bound, step) - step);
    match (
        highest(bound(schema, "minimum"), above),
        lowest(bound(schema, "maximum"), below),
    ) {
        (Some(least), Some(most)) => (least, most),
        (Some(least), None) => (least, least + 100.0),
        (None, Some(most)) => (most - 100.0, most),
        (None, None) => (1.0, 100.0),
    }
}

/// An integer within the bounds, a multiple where one is asked for.
pub(super) fn integer(schema: &Value, rng: &mut fastrand::Rng) -> Value {
    let (least, most) = range(schema, 1.0);
    let multiple = bound(schema, "multipleOf")
        .filter(|multiple| *multiple >= 1.0)
        .unwrap_or(1.0);
    let least = (least / multiple).ceil().clamp(-EXACT, EXACT);
    let most = (most / multiple).floor().clamp(-EXACT, EXACT);
    let chosen = chosen(least, most, rng) * multiple;
    #[expect(clippy::cast_possible_truncation, reason = "bounds are exact integers")]
    let chosen = chosen as i64;
    json!(chosen)
}

/// A number within the bounds, a multiple where one is asked for.
pub(super) fn float(schema: &Value, rng: &mut fastrand::Rng) -> Value {
    let excluded = ["exclusiveMinimum", "exclusiveMaximum"]
        .iter()
        .any(|name| schema.get(name).is_some());
    if let Some(multiple) = bound(schema, "multipleOf").filter(|multiple| *multiple > 0.0) {
        let (least, most) = range(schema, if excluded { multiple } else { 0.0 });
        return json!(chosen((least / multiple).ceil(), (most / multiple).floor(), rng) * multiple);
    }
    let (least, most) = range(schema, 0.0);
    let halves = chosen((least * 2.0).ceil(), (most * 2.0).floor(), rng) / 2.0;
    let on_a_bound = |number: f64| {
        bound(schema, "exclusiveMinimum") == Some(number)
            || bound(schema, "exclusiveMaximum") == Some(number)
    };
    // A narrow range may have no round number in it; its middle always fits.
    if (least..=most).contains(&halves) && !on_a_bound(halves) {
        json!(halves)
    } else {
        json!(f64::midpoint(least, most))
    }
}

/// A whole number of the range; its beginning when the range is empty.
fn chosen(least: f64, most: f64, rng: &mut fastrand::Rng) -> f64 {
    let steps = (most - least).clamp(0.0, 1_000_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let steps = steps as u64;
    least + rng.u64(..=steps) as f64
}
