// SPDX-License-Identifier: GPL-2.0

//! The patch series, as it is mailed.

use crate::{
    base::Base,
    cmd::output,
    paths,
    source::{self, Git, Patch, PRISTINE},
};
use anyhow::{ensure, Context, Result};
use clap::Args;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Args)]
pub struct Options {
    /// The version, from the second on
    #[arg(long)]
    reroll: Option<u32>,
    /// A file with what has changed since the version before, for the cover letter
    #[arg(long, requires = "reroll")]
    changelog: Option<PathBuf>,
    /// For comments, not to be merged
    #[arg(long)]
    rfc: bool,
    /// The same as before, once more
    #[arg(long)]
    resend: bool,
    /// Sign the patches off, which is for whoever sends them to do, and for nobody else
    #[arg(long)]
    signoff: bool,
    /// One more line at the end of each message, for instance "Assisted-by: LLM"
    #[arg(long)]
    trailer: Vec<String>,
    /// Only the fixes, which are of use without the rest
    #[arg(long)]
    fixes: bool,
}

/// Leaves a cover letter and the patches in `outgoing/<base>`, from the one who runs this.
pub fn write(base: &Base, options: &Options) -> Result<()> {
    let release = base
        .release
        .context("KDIR= has no series of ours: use BASE=")?;
    let who = source::identity(&paths::top()).context(source::NO_IDENTITY)?;
    source::prepare(base)?;
    let git = Git(&base.sources);
    let mut series = Patch::series(release)?;
    let mut name = base.name.clone();
    if options.fixes {
        series.retain(|patch| patch.message.contains("\nFixes: "));
        name.push_str("-fixes");
    }
    let mut trailers = options.trailer.clone();
    if options.signoff {
        trailers.push(format!("Signed-off-by: {} <{}>", who.0, who.1));
    }
    let commit = git.commit_series(&series, &who, Some(&trailers))?;

    let dir = paths::top().join("outgoing").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("can't empty {}", dir.display()))?;
    }
    let words = [(options.rfc, "RFC "), (options.resend, "RESEND ")];
    let words: String = words
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, word)| *word)
        .collect();
    let mut arguments = vec![
        "--cover-letter".to_owned(),
        format!("--subject-prefix={words}PATCH"),
    ];
    if let Some(reroll) = options.reroll {
        arguments.push(format!("--reroll-count={reroll}"));
    }
    let patches = format(&git, &commit, &dir, &who, &arguments)?;
    let cover = patches
        .first()
        .context("git format-patch has left nothing")?;
    let message = if options.fixes {
        message("cover-fixes")?
    } else {
        // What only concerns those who get it for this base is in a file of its own.
        let own = message(&format!("{}/cover", release.name()))?;
        message("cover")?.replace("@BASE@", own.trim_end())
    };
    let (subject, body) = message
        .split_once("\n\n")
        .context("the cover letter has no subject")?;
    let mut body = body.trim_end().to_owned();
    if let (Some(file), Some(version)) = (&options.changelog, options.reroll) {
        let changes = fs::read_to_string(file)
            .with_context(|| format!("can't read the changelog {}", file.display()))?;
        body += &format!("\n\nChanges in v{version}:\n{}", changes.trim_end());
    }
    let text = fs::read_to_string(cover)?;
    ensure!(
        text.contains("*** SUBJECT HERE ***"),
        "{} is no cover letter",
        cover.display()
    );
    let text = text
        .replace("*** SUBJECT HERE ***", subject)
        .replace("*** BLURB HERE ***", &body);
    fs::write(cover, text)?;
    for patch in &patches {
        println!("{}", patch.display());
    }
    if !options.signoff {
        println!("Not signed off: use --signoff, and --trailer for what else is to be said.");
    }
    println!(
        "Recipients: {}/scripts/get_maintainer.pl {}/*.patch",
        base.sources.display(),
        dir.display()
    );
    Ok(())
}

/// A text of the cover letter.
fn message(name: &str) -> Result<String> {
    let file = paths::top().join(format!("patches/{name}.msg"));
    fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))
}

/// Writes the commits of a series up to `commit` as mails, and returns their files in order.
pub fn format(
    git: &Git<'_>,
    commit: &str,
    dir: &Path,
    (name, email): &(String, String),
    options: &[String],
) -> Result<Vec<PathBuf>> {
    output(
        git.command()
            .args(["-c", &format!("user.name={name}")])
            .args(["-c", &format!("user.email={email}")])
            .args(["format-patch", "-q", "--no-base", "-o"])
            .arg(dir)
            .args(options)
            .arg(format!("{PRISTINE}..{commit}")),
    )?;
    let mut mails: Vec<_> = fs::read_dir(dir)?
        .flatten()
        .map(|file| file.path())
        .collect();
    mails.sort();
    Ok(mails)
}
