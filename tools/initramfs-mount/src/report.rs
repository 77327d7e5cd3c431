// SPDX-License-Identifier: GPL-2.0

//! A page with what all the programs came to, and what was measured: `build/report/index.html`.

use crate::{
    base::Base,
    cmd::{output, program},
    measure::{self, Measured, Way, SIZES},
    paths,
    programs::Outcome,
};
use anyhow::{ensure, Context, Result};
use maud::{html, Markup, PreEscaped, DOCTYPE};
use plotters::prelude::*;
use regex::Regex;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Wide enough for a table of a title and the four kernels, and for a phone one below the other.
const STYLE: &str = "
:root { color-scheme: light dark; --ok: #1a7f37; --bad: #b3261e; --line: #8885; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; font-weight: normal; }
thead th { font-weight: bold; }
th:first-child { width: 34%; }
a.ok { color: var(--ok); } a.bad { color: var(--bad); }
td small { display: block; }
svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
@media (max-width: 40rem) {
  tr { display: grid; grid-template-columns: repeat(4, 1fr); border-bottom: 1px solid var(--line); }
  th:first-child { grid-column: 1 / -1; width: auto; font-weight: 600; }
  thead th:first-child { display: none; }
  th, td { border: 0; }
}
";

const COLORS: [RGBColor; 3] = [
    RGBColor(179, 38, 30),
    RGBColor(190, 120, 0),
    RGBColor(20, 100, 200),
];

/// The folder that the report is in.
pub fn dir() -> PathBuf {
    paths::top().join("build/report")
}

/// Measures, and writes the report with what the programs came to.
pub fn write(bases: &[Base], outcomes: &[Outcome]) -> Result<PathBuf> {
    let dir = dir();
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("can't remove {}", dir.display()))?;
    }
    let mut plots = Vec::new();
    for base in bases {
        let logs = dir.join("logs").join(&base.name);
        fs::create_dir_all(&logs).with_context(|| format!("can't make {}", logs.display()))?;
        for outcome in outcomes.iter().filter(|outcome| outcome.base == base.name) {
            let name = outcome.log.file_name().context("a log has no name")?;
            // Without one it did not come to a boot, and the table says why.
            if outcome.log.is_file() {
                fs::copy(&outcome.log, logs.join(name))
                    .with_context(|| format!("can't copy {}", outcome.log.display()))?;
            }
        }
        let measured = measure::all(base)?;
        for mib in SIZES {
            let svg = memory(base, mib, &measured)?;
            fs::write(dir.join(format!("memory-{}-{mib}.svg", base.name)), &svg)?;
            plots.push((format!("memory-{}-{mib}", base.name), svg));
        }
        let svg = instructions(base, &measured)?;
        fs::write(dir.join(format!("instructions-{}.svg", base.name)), &svg)?;
        plots.push((format!("instructions-{}", base.name), svg));
        let csv: String = measured
            .iter()
            .map(|m| format!("{},{},{}\n", m.mib, m.way.title(), m.instructions))
            .collect();
        let name = format!("instructions-{}.csv", base.name);
        fs::write(dir.join(name), format!("MiB,way,instructions\n{csv}"))?;
    }
    fs::write(dir.join("table.md"), main_table(bases, outcomes))?;
    let page = page(bases, outcomes, &plots, &versions()?);
    let index = dir.join("index.html");
    fs::write(&index, page.into_string())
        .with_context(|| format!("can't write {}", index.display()))?;
    Ok(index)
}

/// The kernels: without the feature and with it.
fn columns(bases: &[Base]) -> Vec<(&Base, bool)> {
    bases
        .iter()
        .flat_map(|base| [(base, false), (base, true)])
        .collect()
}

fn column_name((base, on): &(&Base, bool)) -> String {
    format!("{} {}", base.name, if *on { "ours" } else { "stock" })
}

/// The programs that were run from this machine's packages, and the packages that have them.
const HOST_PACKAGES: &[&str] = &[
    "runc",
    "crun",
    "bubblewrap",
    "util-linux",
    "busybox-static",
    "klibc-utils",
    "qemu-system-x86",
];

/// Packages and their versions: of this machine, and of the small Debian.
fn versions() -> Result<Vec<(String, String)>> {
    let mut host = Command::new(program("dpkg-query", "dpkg")?);
    let host = output(host.arg("--show").args(HOST_PACKAGES))?;
    let debian = crate::debian::versions()?;
    let lines = |text: &str, where_: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines
            .map(|(package, version)| (format!("{package}, {where_}"), version.to_owned()))
            .collect()
    };
    let mut all = lines(&host, "in the small initramfs");
    all.extend(
        lines(&debian, "in Debian")
            .into_iter()
            .filter(|(package, _)| {
                let name = package.split([',', ':']).next().unwrap_or_default();
                crate::debian::PACKAGES.contains(&name)
            }),
    );
    Ok(all)
}

fn page(
    bases: &[Base],
    outcomes: &[Outcome],
    plots: &[(String, String)],
    versions: &[(String, String)],
) -> Markup {
    let columns = columns(bases);
    let rows = rows(&columns, outcomes);
    let expected = outcomes.iter().filter(|outcome| outcome.expected).count();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "initramfs-mount" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "initramfs-mount: what people run in an initramfs, and what it comes to" }
                p {
                    "The same programs from Debian's packages, unchanged, on the same kernels, with "
                    code { "initramfs_mount=0" } " (stock) and " code { "initramfs_mount=1" }
                    " (ours). Each cell links to what was said in that boot. "
                    (expected) " of " (outcomes.len()) " came out as expected."
                }
                @for rows in rows.chunk_by(|a, b| a.group == b.group) {
                    h2 { (heading(rows[0].group)) }
                    (table(&columns, rows))
                }
                h2 { "What it takes" }
                p {
                    "To get a root that pivot_root(2) can leave, as people do it without the feature: "
                    "the whole image is copied to a tmpfs, or / is bound and moved over itself. All "
                    "then leave for a small disk with pivot_root and unmount the old root; the lines "
                    "go on for a moment there. Instructions are QEMU's count, of all that comes on top "
                    "of the same boot without any of it."
                }
                @for (name, svg) in plots {
                    figure id=(name) style="margin: 1rem 0" { (PreEscaped(svg)) }
                }
                h2 { "Versions" }
                dl {
                    @for (package, version) in versions {
                        dt { (package) } dd { (version) }
                    }
                }
            }
        }
    }
}

fn heading(group: &str) -> &str {
    match group {
        "container" => "Containers in a small initramfs, and what pivot_root is for",
        "leaving" => "Leaving for a disk",
        "debian" => "A whole Debian in its initramfs, systemd as /init",
        "image" => "Debian on a disk, with the images that its tools make",
        "virtme" => "virtme-ng",
        other => other,
    }
}

/// What one thing came to on each of the kernels.
struct Row<'a> {
    group: &'a str,
    title: &'a str,
    cells: Vec<Option<&'a Outcome>>,
}

fn rows<'a>(columns: &[(&Base, bool)], outcomes: &'a [Outcome]) -> Vec<Row<'a>> {
    let mut rows = BTreeMap::new();
    for outcome in outcomes {
        let row = rows.entry(outcome.position).or_insert_with(|| Row {
            group: outcome.group,
            title: outcome.title,
            cells: vec![None; columns.len()],
        });
        let column = columns
            .iter()
            .position(|(base, on)| (&base.name, *on) == (&outcome.base, outcome.on));
        if let Some(column) = column {
            row.cells[column] = Some(outcome);
        }
    }
    rows.into_values().collect()
}

fn table(columns: &[(&Base, bool)], rows: &[Row]) -> Markup {
    html! {
        table {
            thead { tr {
                th {}
                @for column in columns { th { (column_name(column)) } }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.title) }
                        @for outcome in &row.cells {
                            td { @if let Some(outcome) = outcome { (cell(outcome)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What the feature makes a difference to, for the README.
fn main_table(bases: &[Base], outcomes: &[Outcome]) -> String {
    let columns = columns(bases);
    let names: Vec<_> = columns.iter().map(column_name).collect();
    let mut table = format!(
        "| | {} |\n|{}\n",
        names.join(" | "),
        "---|".repeat(columns.len() + 1)
    );
    for row in rows(&columns, outcomes) {
        let ok = |cell: &Option<&Outcome>| cell.is_some_and(|outcome| outcome.result.is_ok());
        if row.cells.chunks(2).all(|pair| ok(&pair[0]) == ok(&pair[1])) {
            continue;
        }
        let cells = row.cells.iter().map(|cell| match cell.map(|c| &c.result) {
            Some(Ok(_)) => "ok".to_owned(),
            Some(Err(e)) => brief(e),
            None => "not run".to_owned(),
        });
        let cells: Vec<_> = cells.collect();
        table += &format!("| {} | {} |\n", row.title, cells.join(" | "));
    }
    table
}

fn cell(outcome: &Outcome) -> Markup {
    let log = outcome
        .log
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let log = format!("logs/{}/{log}", outcome.base);
    let (class, text, detail) = match &outcome.result {
        Ok(detail) => ("ok", "ok".to_owned(), detail.clone()),
        Err(e) => ("bad", brief(e), String::new()),
    };
    html! {
        @if outcome.log.is_file() { a class=(class) href=(log) { (text) } } @else { (text) }
        @if !detail.is_empty() { small { (detail) } }
        @if !outcome.expected { small { b { "not as expected" } } }
    }
}

/// What of an error's first line tells what went wrong: runtimes say first what they did, in colors,
/// and quote other programs.
fn brief(e: &str) -> String {
    let line = e.lines().next().unwrap_or_default();
    let mut quoted = line.split("\\n");
    let line = quoted.find(|part| part.contains("pivot")).unwrap_or(line);
    let colors = Regex::new("\u{1b}\\[[0-9;]*m");
    let line = colors.map_or(line.into(), |colors| colors.replace_all(line, ""));
    let from = line.to_lowercase().find("pivot").unwrap_or(0);
    let line = line.get(from..).unwrap_or(&line);
    let end: &[char] = &['"', ' ', '.'];
    let line = line.trim_end_matches(end).trim_end_matches(": unknown");
    line.chars().take(120).collect()
}

/// In pixels; with letters of a size that a phone shows.
const SIZE: (u32, u32) = (760, 440);

struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    /// Those of them that have a dot.
    dots: Vec<(f64, f64)>,
}

fn plot(
    caption: &str,
    (x, y): (&str, &str),
    legend: SeriesLabelPosition,
    lines: &[Line],
) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most_x = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let most_y = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 24))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..most_x * 1.05, 0.0..most_y * 1.25)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(x)
            .y_desc(y)
            .label_style(("sans-serif", 18))
            .draw()?;
        for (line, color) in lines.iter().zip(COLORS) {
            let style = color.stroke_width(3);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
            let dots = line.dots.iter();
            chart.draw_series(dots.map(|at| Circle::new(*at, 5, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(legend)
            .label_font(("sans-serif", 18))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
    }
    Ok(svg.replacen("<svg ", "<svg role=\"img\" ", 1))
}

/// Memory in use over the boot. A dot is where the initramfs was left and unmounted.
fn memory(base: &Base, mib: usize, measured: &[Measured]) -> Result<String> {
    let these = measured.iter().filter(|m| m.mib == mib);
    let lines: Vec<_> = these
        .map(|m| {
            let left = m.memory.iter().find(|(at, _)| *at >= m.left);
            Line {
                label: m.way.title().to_owned(),
                points: m.memory.clone(),
                dots: left.copied().into_iter().collect(),
            }
        })
        .collect();
    plot(
        &format!("Memory in use, {} with an archive of {mib} MiB", base.name),
        ("seconds since the kernel started", "MiB"),
        SeriesLabelPosition::UpperRight,
        &lines,
    )
}

fn instructions(base: &Base, measured: &[Measured]) -> Result<String> {
    let lines = Way::ALL.map(|way| {
        let these = measured.iter().filter(|m| m.way == way);
        let points: Vec<_> = these
            .map(|m| (m.mib as f64, m.instructions as f64 / 1e6))
            .collect();
        let (mib, last) = points.last().copied().unwrap_or_default();
        Line {
            label: format!("{}: {last:.1} at {mib} MiB", way.title()),
            dots: points.clone(),
            points,
        }
    });
    plot(
        &format!("Instructions to a root that can be left, {}", base.name),
        ("MiB in the archive", "millions"),
        SeriesLabelPosition::UpperLeft,
        &lines,
    )
}

/// The lines of a table with what is ok in each. What an error says may change with a version.
fn what_is_ok<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Vec<bool>)> {
    let mut rows: Vec<_> = lines
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let title = cells.next().unwrap_or_default();
            (title, cells.map(|cell| cell == "ok").collect())
        })
        .collect();
    rows.sort();
    rows
}

/// Finds out if the README still has the main table of the last report.
pub fn agrees_with_readme() -> Result<()> {
    let table = fs::read_to_string(dir().join("table.md"))?;
    let readme = fs::read_to_string(paths::top().join("README.md"))?;
    let heading = table.lines().next().unwrap_or_default();
    let in_readme = readme.lines().skip_while(|line| *line != heading);
    let in_readme: Vec<_> = in_readme.take_while(|line| line.starts_with('|')).collect();
    ensure!(
        // The table of fewer kernels is not in it.
        in_readme.is_empty() || what_is_ok(in_readme.into_iter()) == what_is_ok(table.lines()),
        "README.md has another table than this:\n{table}"
    );
    Ok(())
}

/// How wide a phone is, in CSS pixels.
const PHONE: u32 = 390;

/// Opens the report in a browser without a screen, as wide as a phone, and finds out if all of it
/// is there, and if it asks for nothing from elsewhere.
pub fn check(index: &Path, outcomes: &[Outcome]) -> Result<()> {
    let text =
        fs::read_to_string(index).with_context(|| format!("can't read {}", index.display()))?;
    let dir = index.parent().unwrap_or(Path::new("."));
    let links = Regex::new(r#"(?:href|src)="([^"]*)""#)?;
    for link in links.captures_iter(&text) {
        let target = &link[1];
        ensure!(
            dir.join(target).is_file(),
            "the report links to {target}, which is not in {}",
            dir.display()
        );
    }
    let frame = dir.join("frame.html");
    let script = "const d = this.contentDocument; document.body.dataset.seen = \
        [d.documentElement.scrollWidth, d.querySelectorAll('td:not(:empty)').length, \
         d.querySelectorAll('svg').length, performance.getEntriesByType('resource').length + \
         this.contentWindow.performance.getEntriesByType('resource').length].join(' ')";
    let page = html! {
        (DOCTYPE)
        body { iframe src="index.html" style=(format!("width:{PHONE}px;height:800px;border:0"))
            onload=(script) {} }
    };
    fs::write(&frame, page.into_string())?;
    let profile = tempfile::tempdir()?;
    let mut chromium = Command::new(program("chromium", "chromium")?);
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", frame.display()));
    let dom = output(&mut chromium)?;
    fs::remove_file(&frame)?;
    let seen = Regex::new(r#"data-seen="(\d+) (\d+) (\d+) (\d+)""#)?;
    let seen = seen
        .captures(&dom)
        .with_context(|| format!("chromium did not show the report:\n{dom}"))?;
    let number = |i: usize| seen[i].parse::<usize>();
    let (width, cells, plots, resources) = (number(1)?, number(2)?, number(3)?, number(4)?);
    ensure!(
        width <= PHONE as usize,
        "on a phone, of {PHONE} pixels, the report is {width} wide"
    );
    ensure!(
        cells == outcomes.len(),
        "{cells} cells for {} outcomes",
        outcomes.len()
    );
    ensure!(plots % (SIZES.len() + 1) == 0 && plots > 0, "{plots} plots");
    // The frame itself is one of them.
    ensure!(resources <= 1, "the report loads {resources} resources");
    Ok(())
}
