// SPDX-License-Identifier: GPL-2.0

//! What others get: the series as it is mailed, and what distributions and build systems take.

use crate::{
    base::{git, Base, PRISTINE},
    cmd::output,
    files::{files, make_dir, read, write},
    paths,
    series::{self, Identity, Patch, NO_IDENTITY},
    tree,
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
pub fn series(base: &Base, options: &Options) -> Result<()> {
    ensure!(!base.own, "KDIR= has no series of ours: use BASE=");
    let who = Identity::of(&paths::top()).context(NO_IDENTITY)?;
    let changes = options.changelog.as_deref().map(read).transpose()?;
    tree::prepare(base)?;
    let mut series = Patch::series(base)?;
    let mut name = base.name.clone();
    let message = |name: &str| read(&paths::top().join(format!("patches/{name}.msg")));
    let mut cover = if options.fixes {
        series.retain(|patch| patch.message.contains("\nFixes: "));
        name += "-fixes";
        message("cover-fixes")?
    } else {
        // What only concerns those who get it for this base is in a file of its own.
        let own = message(&format!("{}/cover", base.name))?;
        message("cover")?.replace("@BASE@", own.trim_end())
    };
    if let (Some(changes), Some(version)) = (changes, options.reroll) {
        cover = format!("{}\n\nChanges in v{version}:\n{changes}", cover.trim_end());
    }
    let mut trailers = options.trailer.clone();
    if options.signoff {
        trailers.push(format!("Signed-off-by: {} <{}>", who.0, who.1));
    }
    let commit = series::commit(base, &series, &who, Some(&trailers))?;
    let dir = fresh(&paths::top().join("outgoing").join(name))?;
    let (rfc, resend) =
        (if options.rfc { "RFC " } else { "" }, if options.resend { "RESEND " } else { "" });
    let mut arguments = vec![
        "--cover-letter".to_owned(),
        "--cover-from-description=subject".to_owned(),
        format!("--subject-prefix={rfc}{resend}PATCH"),
    ];
    arguments.extend(options.reroll.map(|reroll| format!("--reroll-count={reroll}")));
    base.git(&["config", "branch.mailed.description", cover.trim_end()])?;
    for mail in format(base, &commit, &dir, &who, &arguments)? {
        println!("{}", mail.display());
    }
    if !options.signoff {
        println!("Not signed off: use --signoff, and --trailer for what else is to be said.");
    }
    println!(
        "The next `make series` writes all of them anew: change texts in patches/*.msg and patches/{}/cover.msg.",
        base.name
    );
    let (sources, dir) = (base.sources.display(), dir.display());
    // The cover letter is no patch.
    println!(
        "Recipients: cd {sources} && ls {dir}/*.patch | grep -v cover-letter | xargs \
         scripts/get_maintainer.pl --no-git --no-git-fallback --norolestats"
    );
    Ok(())
}

/// Writes the commits of a series up to `commit` as mails, and returns their files in order.
pub fn format(
    base: &Base,
    commit: &str,
    dir: &Path,
    who: &Identity,
    options: &[String],
) -> Result<Vec<PathBuf>> {
    // git takes the cover letter from a branch's description.
    base.git(&["branch", "-q", "-f", "mailed", commit])?;
    output(
        git(&base.sources)
            .args(["-c", &format!("user.name={}", who.0)])
            .args(["-c", &format!("user.email={}", who.1)])
            // Others' settings would sign mails off, or call their files otherwise.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["format-patch", "-q", "--no-base", "-o"])
            .arg(dir)
            .args(options)
            .arg(format!("{PRISTINE}..mailed")),
    )?;
    let mut mails = files(dir)?;
    mails.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    Ok(mails)
}

/// A folder for what is made here, without what was made before. Others' files are left alone.
fn fresh(dir: &Path) -> Result<PathBuf> {
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_made = file.path().extension().is_some_and(|extension| extension == "patch");
        if is_made || file.file_name() == "series" {
            fs::remove_file(file.path())
                .with_context(|| format!("can't remove {}", file.path().display()))?;
        }
    }
    make_dir(dir)?;
    Ok(dir.to_owned())
}

/// What a kernel's configuration needs.
const CONFIG: &str = "CONFIG_RUST=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_INITRAMFS_MOUNT=y\n";

/// Leaves in `dist/`, for each base, one file with the series and a folder for quilt; and a
/// configuration, and a page for each distribution.
pub fn distribute() -> Result<()> {
    ensure!(paths::given("KDIR").is_none(), "KDIR= has no series of ours: leave it out");
    let who = Identity::of(&paths::top()).context(NO_IDENTITY)?;
    let dist = paths::top().join("dist");
    let put = |path: PathBuf, text: &str| {
        println!("{}", path.display());
        write(&path, text)
    };
    for base in Base::all()? {
        tree::prepare(&base)?;
        let commit = series::commit(&base, &Patch::series(&base)?, &who, Some(&[]))?;
        let quilt = fresh(&dist.join(format!("quilt-{}", base.name)))?;
        let no_numbers = ["--no-numbered".to_owned(), "--zero-commit".to_owned()];
        let (mut list, mut all) = (String::new(), String::new());
        for mail in format(&base, &commit, &quilt, &who, &no_numbers)? {
            all += &read(&mail)?;
            list += &format!("{}\n", mail.file_name().unwrap_or_default().to_string_lossy());
        }
        put(quilt.join("series"), &list)?;
        put(dist.join(format!("initramfs-mount-{}.patch", base.name)), &all)?;
    }
    put(dist.join("initramfs-mount.config"), CONFIG)?;
    for page in files(&paths::tool("pages"))? {
        put(dist.join(page.file_name().unwrap_or_default()), &read(&page)?)?;
    }
    Ok(())
}
