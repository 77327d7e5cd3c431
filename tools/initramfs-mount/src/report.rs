// SPDX-License-Identifier: GPL-2.0

//! A page with what all the programs came to, and a plot of memory: `build/report/index.html`.

use crate::{
    apt, arch,
    base::Base,
    cmd::{output, program},
    debian,
    files::{make_dir, read, write},
    measure::{Memory, ARCHIVE, WAYS},
    paths,
    programs::{heading, Outcome},
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

/// Wide enough for a table of a title and four kernels, and for a phone one below the other.
const STYLE: &str = "
:root { color-scheme: light dark; --ok: #1a7f37; --bad: #b3261e; --line: #8885; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; font-weight: normal; }
thead th, th[colspan] { font-weight: bold; }
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

const COLORS: [RGBColor; 3] =
    [RGBColor(179, 38, 30), RGBColor(190, 120, 0), RGBColor(20, 100, 200)];

/// The folder that the report is in.
fn dir() -> PathBuf {
    paths::top().join("build/report")
}

/// Writes the report with what the programs came to on these bases, and with memory as it was in use
/// on the first. Returns the page.
pub fn write_page(bases: &[Base], outcomes: &[Outcome], memory: &[Memory]) -> Result<PathBuf> {
    let dir = dir();
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("can't remove {}", dir.display()))?;
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.log.is_file()) {
        let to = dir.join(link(outcome));
        make_dir(to.parent().unwrap_or(&dir))?;
        fs::copy(&outcome.log, to)
            .with_context(|| format!("can't copy {}", outcome.log.display()))?;
    }
    let svg = plot(&bases[0], memory)?;
    write(&dir.join("memory.svg"), &svg)?;
    let columns: Vec<_> = bases.iter().flat_map(|base| [(base, false), (base, true)]).collect();
    let rows = rows(&columns, outcomes);
    write(&dir.join("table.md"), main_table(&columns, &rows))?;
    let expected = outcomes.iter().filter(|outcome| outcome.expected).count();
    let page = html! {
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
                    "The same programs on the same kernels, with "
                    code { "initramfs_mount=0" } " (stock) and " code { "initramfs_mount=1" }
                    " (ours). Each cell links to what was said in that boot. "
                    (expected) " of " (outcomes.len()) " came out as expected."
                }
                (table(&columns, &rows))
                h2 { "Memory" }
                p {
                    "To get a root that pivot_root(2) can leave, as people do it without the feature: "
                    "the whole image is copied to a tmpfs, or / is bound and moved over itself. All "
                    "then leave for a small disk with pivot_root and unmount the old root: the dot."
                }
                figure style="margin: 1rem 0" { (PreEscaped(svg)) }
                h2 { "Versions" }
                dl { @for (package, version) in versions()? { dt { (package) } dd { (version) } } }
            }
        }
    };
    let index = dir.join("index.html");
    write(&index, page.into_string())?;
    Ok(index)
}

/// Where a log is in the report.
fn link(outcome: &Outcome) -> String {
    let name = outcome.log.file_name().unwrap_or_default().to_string_lossy();
    format!("logs/{}/{name}", outcome.base)
}

/// The programs that were run from this machine's packages, and the packages that have them.
const HOST_PACKAGES: &[&str] = &[
    "runc",
    "crun",
    "bubblewrap",
    "charliecloud-runtime",
    "iproute2",
    "util-linux",
    "busybox-static",
    "klibc-utils",
];

/// Packages and their versions: of this machine, and of the small Debian.
fn versions() -> Result<Vec<(String, String)>> {
    let mut host = Command::new(program("dpkg-query", "dpkg")?);
    let host = output(host.arg("--show").args(HOST_PACKAGES).args(arch::current().qemu_packages))?;
    let of = |text: &str, place: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines.map(|(name, version)| (format!("{name}, {place}"), version.to_owned())).collect()
    };
    let mut all = of(&host, "in the small initramfs");
    let is_ours =
        |name: &str| debian::PACKAGES.contains(&name.split([',', ':']).next().unwrap_or_default());
    let debian = of(&debian::versions()?, &format!("in Debian {}", apt::codename()));
    all.extend(debian.into_iter().filter(|(name, _)| is_ours(name)));
    Ok(all)
}

type Columns<'a> = [(&'a Base, bool)];

/// What one thing came to on each of the kernels.
struct Row<'a> {
    group: &'a str,
    title: &'a str,
    cells: Vec<Option<&'a Outcome>>,
}

fn rows<'a>(columns: &Columns, outcomes: &'a [Outcome]) -> Vec<Row<'a>> {
    let mut rows = BTreeMap::new();
    for outcome in outcomes {
        let Outcome { group, title, base, on, .. } = outcome;
        let row = rows.entry(outcome.position).or_insert_with(|| Row {
            group,
            title,
            cells: vec![None; columns.len()],
        });
        if let Some(i) = columns.iter().position(|column| (&column.0.name, column.1) == (base, *on))
        {
            row.cells[i] = Some(outcome);
        }
    }
    rows.into_values().collect()
}

fn column_name((base, on): &(&Base, bool)) -> String {
    format!("{} {}", base.name, if *on { "ours" } else { "stock" })
}

fn table(columns: &Columns, rows: &[Row]) -> Markup {
    html! {
        table {
            thead { tr { th {} @for column in columns { th { (column_name(column)) } } } }
            tbody {
                @for rows in rows.chunk_by(|a, b| a.group == b.group) {
                    tr { th colspan=(columns.len() + 1) { (heading(rows[0].group)) } }
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
}

fn cell(outcome: &Outcome) -> Markup {
    let (class, text, detail) = match &outcome.result {
        Ok(detail) => ("ok", "ok".to_owned(), detail.as_str()),
        Err(e) => ("bad", brief(e), ""),
    };
    html! {
        @if outcome.log.is_file() { a class=(class) href=(link(outcome)) { (text) } }
        @else { (text) }
        @if !detail.is_empty() { small { (detail) } }
        @if !outcome.expected { small { b { "not as expected" } } }
    }
}

/// What the feature makes a difference to, for `Documentation/programs.md`.
fn main_table(columns: &Columns, rows: &[Row]) -> String {
    let names: Vec<_> = columns.iter().map(column_name).collect();
    let line = "---|".repeat(columns.len() + 1);
    let mut table = format!("| | {} |\n|{line}\n", names.join(" | "));
    for row in rows {
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

/// Memory in use over the boot. A dot is where the initramfs was left and unmounted.
pub fn plot(base: &Base, memory: &[Memory]) -> Result<String> {
    let points = || memory.iter().flat_map(|memory| &memory.samples);
    let most_x = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let most_y = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        // In pixels; with letters of a size that a phone shows.
        let root = SVGBackend::with_string(&mut svg, (760, 440)).into_drawing_area();
        root.fill(&WHITE)?;
        let caption = format!("Memory in use, {} with an archive of {ARCHIVE} MiB", base.name);
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 24))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..most_x * 1.05, 0.0..most_y * 1.25)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("seconds since the kernel started")
            .y_desc("MiB")
            .label_style(("sans-serif", 18))
            .draw()?;
        for ((memory, (_, title)), color) in memory.iter().zip(WAYS).zip(COLORS) {
            let style = color.stroke_width(3);
            chart
                .draw_series(LineSeries::new(memory.samples.iter().copied(), style))?
                .label(title)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
            let left = memory.samples.iter().find(|(at, _)| *at >= memory.left);
            chart.draw_series(left.map(|at| Circle::new(*at, 5, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 18))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
    }
    Ok(svg.replacen("<svg ", "<svg role=\"img\" ", 1))
}

/// Finds out if the documentation still has the main table of the last report. What an error says may
/// change with a version, and does not count.
pub fn agrees_with_documentation() -> Result<()> {
    let table = read(&dir().join("table.md"))?;
    let page = read(&paths::top().join("Documentation/programs.md"))?;
    let ok = |text: &str| {
        let mut rows: Vec<(String, Vec<bool>)> = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("| ")) {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let title = cells.next().unwrap_or_default().to_owned();
            rows.push((title, cells.map(|cell| cell == "ok").collect()));
        }
        rows.sort();
        rows
    };
    ensure!(ok(&page) == ok(&table), "Documentation/programs.md has another table than:\n{table}");
    Ok(())
}

/// How wide a phone is, in CSS pixels.
const PHONE: u32 = 390;

/// Opens the report in a browser without a screen, as wide as a phone, and finds out if all of it
/// is there, and if it asks for nothing from elsewhere.
pub fn check(index: &Path, outcomes: &[Outcome]) -> Result<()> {
    let dir = dir();
    let links = Regex::new(r#"(?:href|src)="([^"]*)""#)?;
    for link in links.captures_iter(&read(index)?) {
        let is_there = dir.join(&link[1]).is_file();
        ensure!(is_there, "the report links to {}, which is not in {}", &link[1], dir.display());
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
    write(&frame, page.into_string())?;
    let profile = tempfile::tempdir()?;
    let mut chromium = Command::new(program("chromium", "chromium")?);
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", frame.display()));
    let dom = output(&mut chromium)?;
    fs::remove_file(&frame)?;
    let seen = Regex::new(r#"data-seen="(\d+) (\d+) (\d+) (\d+)""#)?;
    let seen = seen.captures(&dom);
    let seen = seen.with_context(|| format!("chromium did not show the report:\n{dom}"))?;
    let number = |i: usize| seen[i].parse::<usize>();
    let (width, cells, plots, resources) = (number(1)?, number(2)?, number(3)?, number(4)?);
    ensure!(width <= PHONE as usize, "on a phone, of {PHONE} pixels, the report is {width} wide");
    let expected = outcomes.len();
    ensure!(cells == expected, "the report shows {cells} outcomes of {expected}: see {index:?}");
    ensure!(plots == 1, "the report shows {plots} plots, and not one: see {index:?}");
    // The frame itself is one of them.
    ensure!(resources <= 1, "the report loads {resources} resources: see {index:?}");
    Ok(())
}
