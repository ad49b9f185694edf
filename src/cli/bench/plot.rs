//! A measurement over time, as a picture: throughput above, latency below.

use std::path::Path;

use plotters::prelude::*;

use super::super::Failure;
use crate::bench::BenchError;
use crate::bench::Interval;
use crate::bench::Report;

const SIZE: (u32, u32) = (960, 640);
const MARGIN: u32 = 12;
const LABELS: u32 = 64;

/// A line of points, what it is called, and its colour.
type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

/// Writes the picture.
pub(super) fn draw(report: &Report, path: &Path) -> Result<(), Failure> {
    let picture = picture(report)?;
    let written = std::fs::write(path, picture);
    Ok(written.map_err(BenchError::machine("write the plot", path))?)
}

fn picture(report: &Report) -> Result<String, Failure> {
    let mut svg = String::new();
    let failed = |error| BenchError::Plan(format!("draw the plot: {error}"));
    paint(report, &mut svg).map_err(failed)?;
    Ok(svg)
}

fn paint(report: &Report, svg: &mut String) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let (above, below) = area.split_vertically(SIZE.1 / 2);
    let points = |value: &dyn Fn(&Interval) -> f64| -> Vec<(f64, f64)> {
        report.intervals.iter().map(|interval| (interval.end.as_secs_f64(), value(interval))).collect()
    };
    let rate = points(&|interval| interval.useful as f64 / interval.length.as_secs_f64().max(1e-9));
    let of = report.throughput_of.unwrap_or_default();
    chart(&above, &format!("{of} per second"), &[("", BLUE, rate)])?;
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (points(&|interval| ms(interval.p50)), points(&|interval| ms(interval.p99)));
    let title = format!("latency {}, in ms", report.latency_of);
    chart(&below, &title, &[("p50", BLUE, p50), ("p99", RED, p99)])?;
    area.present().map_err(|error| error.to_string())
}

/// One set of axes with some lines. Both begin at zero: what looks steep is steep.
fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    lines: &[Line<'_>],
) -> Result<(), String> {
    let words = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    let points = || lines.iter().flat_map(|(_, _, points)| points);
    let largest = |axis: fn(&(f64, f64)) -> f64| points().map(axis).fold(0.0, f64::max);
    let (end, top) = (largest(|point| point.0).max(0.1), largest(|point| point.1).max(1e-6) * 1.1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(MARGIN)
        .x_label_area_size(LABELS / 2)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(words)?;
    chart.configure_mesh().x_desc("seconds").max_light_lines(0).draw().map_err(words)?;
    for (name, colour, points) in lines {
        let colour = *colour;
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), &colour)).map_err(words)?;
        if !name.is_empty() {
            drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
    }
    if lines.iter().any(|(name, ..)| !name.is_empty()) {
        let labels = &mut chart.configure_series_labels();
        labels.background_style(WHITE.mix(0.8)).border_style(BLACK).draw().map_err(words)?;
    }
    Ok(())
}
