// SPDX-License-Identifier: GPL-2.0

//! The patch series, as it is mailed.

use crate::{
    base::Base,
    paths,
    source::{self, Git, Patch, PRISTINE},
};
use anyhow::{ensure, Context, Result};
use clap::Args;
use std::fs;

#[derive(Args)]
pub struct Options {
    /// The version, from the second on
    #[arg(long)]
    reroll: Option<u32>,
    /// For comments, not to be merged
    #[arg(long)]
    rfc: bool,
    /// The same as before, once more
    #[arg(long)]
    resend: bool,
}

/// Leaves a cover letter and the patches in `outgoing/<base>`, from the one who runs this.
pub fn write(base: &Base, options: &Options) -> Result<()> {
    let release = base
        .release
        .context("KDIR= has no series of ours: use BASE=")?;
    let (name, email) = source::identity().context(
        "git does not know who you are: run `git config --global user.name 'Your Name'` and \
         `git config --global user.email you@example.org`",
    )?;
    source::prepare(base)?;
    let git = Git(&base.sources);
    let commit = git.commit_series(
        &Patch::series(release)?,
        &(name.clone(), email.clone()),
        true,
    )?;

    let dir = paths::top().join("outgoing").join(&base.name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("can't empty {}", dir.display()))?;
    }
    let mut format = git.command();
    format
        .args([
            "-c",
            &format!("user.name={name}"),
            "-c",
            &format!("user.email={email}"),
        ])
        .args(["format-patch", "-q", "--cover-letter", "--no-base", "-o"])
        .arg(&dir);
    let words = [(options.rfc, "RFC"), (options.resend, "RESEND")];
    let words: Vec<_> = words
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, word)| *word)
        .collect();
    format.arg(format!(
        "--subject-prefix={}",
        [&words[..], &["PATCH"]].concat().join(" ")
    ));
    if let Some(reroll) = options.reroll {
        format.args(["-v", &reroll.to_string()]);
    }
    crate::cmd::output(format.arg(format!("{PRISTINE}..{commit}")))?;

    let mut patches: Vec<_> = fs::read_dir(&dir)?
        .flatten()
        .map(|file| file.path())
        .collect();
    patches.sort();
    let cover = patches
        .first()
        .context("git format-patch has left nothing")?;
    let message = paths::top().join("patches/0000-cover.msg");
    let message = fs::read_to_string(&message)
        .with_context(|| format!("can't read {}", message.display()))?;
    let (subject, body) = message
        .split_once("\n\n")
        .context("the cover letter has no subject")?;
    let text = fs::read_to_string(cover)?;
    ensure!(
        text.contains("*** SUBJECT HERE ***"),
        "{} is no cover letter",
        cover.display()
    );
    let text = text
        .replace("*** SUBJECT HERE ***", subject)
        .replace("*** BLURB HERE ***", body.trim_end());
    fs::write(cover, text)?;
    for patch in &patches {
        println!("{}", patch.display());
    }
    println!(
        "Recipients: {}/scripts/get_maintainer.pl {}/*.patch",
        base.sources.display(),
        dir.display()
    );
    Ok(())
}
