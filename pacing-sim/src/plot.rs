//! Plots of an outcome, as SVG.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::outcome::{BUCKET, Minute, Outcome};

/// Minutes that one point of a long day stands for, so that files stay small.
const MOST_POINTS: usize = 300;

struct Line {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 120, 20);
const GREEN: RGBColor = RGBColor(44, 140, 44);
const RED: RGBColor = RGBColor(200, 40, 40);

/// Draws load, waits and refusals over the hours.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(outcome: &Outcome, folder: &Path, name: &str) -> anyhow::Result<()> {
    let step = outcome.minutes.len().div_ceil(MOST_POINTS).max(1);
    let minutes = step as f64 * BUCKET.as_secs_f64() / 60.0;
    let hours = |place: usize| place as f64 * minutes / 60.0;
    let groups: Vec<_> = outcome.minutes.chunks(step).collect();
    let series = |of: &dyn Fn(&[Minute]) -> f64| -> Vec<(f64, f64)> {
        let point = |(place, group): (usize, &&[Minute])| (hours(place), of(group));
        groups.iter().enumerate().map(point).collect()
    };
    let sums = |of: fn(&Minute) -> u64| {
        series(&|group| group.iter().map(of).sum::<u64>() as f64 / group.len() as f64)
    };
    let load = [
        Line {
            name: "offered",
            color: BLUE,
            points: sums(|minute| minute.offered),
        },
        Line {
            name: "answered",
            color: GREEN,
            points: sums(|minute| minute.admitted),
        },
        Line {
            name: "refused early",
            color: ORANGE,
            points: sums(|minute| minute.refused),
        },
        Line {
            name: "throttled by the service",
            color: RED,
            points: sums(|minute| minute.throttled),
        },
    ];
    chart(
        &folder.join(format!("{name}-load.svg")),
        "requests per minute",
        &load,
    )?;
    let waits = |class: usize| {
        series(&|group| {
            let waits = group.iter().filter_map(|minute| minute.wait(class, 0.99));
            f64::from(waits.fold(0.0, f32::max))
        })
    };
    let lines = [
        Line {
            name: "high, p99",
            color: RED,
            points: waits(0),
        },
        Line {
            name: "normal, p99",
            color: BLUE,
            points: waits(1),
        },
        Line {
            name: "low, p99",
            color: GREEN,
            points: waits(2),
        },
    ];
    chart(
        &folder.join(format!("{name}-waits.svg")),
        "seconds in line",
        &lines,
    )
}

fn chart(file: &Path, unit: &str, lines: &[Line]) -> anyhow::Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(0.1, f64::max);
    let top = points().map(|point| point.1).fold(1.0, f64::max) * 1.1;
    let area = SVGBackend::new(file, (900, 320)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", file.display());
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(55)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("hours")
        .y_desc(unit)
        .draw()
        .map_err(|error| failed(&error))?;
    for line in lines {
        let color = line.color;
        chart
            .draw_series(LineSeries::new(
                line.points.iter().copied(),
                color.stroke_width(1),
            ))
            .map_err(|error| failed(&error))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
