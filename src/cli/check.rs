//! `latchd check`: the installer's file, or what came by command in its place. Owns which of the two is looked
//! at; must never change either. Invariant: nobody takes the installer's file for what is in force without
//! being told that it is not.

use std::{
    io::{Write as _, stderr, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    adapters::override_file::OverrideFile,
    config::{self, CheckOptions, Disk, Environment, Files as _, Instead, Purpose, trial::PutFile},
    wire::canonical::{hex, sha256},
};

pub fn run(path: &Path, options: CheckOptions, effective: bool) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    if !effective {
        let code = config::check_command(path, &environment, options, &mut stdout(), &mut stderr());
        if let Ok(Some((file, on_trial))) = put_file(path, &environment)
            && !options.machine
        {
            println!(
                "{}, is in force instead: see --effective, or edit this file to end that",
                described(&file, on_trial)
            );
        }
        return Ok(ExitCode::from(code));
    }
    let Some((file, on_trial)) = put_file(path, &environment)? else {
        let code = config::check_command(path, &environment, options, &mut stdout(), &mut stderr());
        return Ok(ExitCode::from(code));
    };
    let files = Instead { of: path, text: &file.toml };
    let code = config::check_files(&files, path, &environment, options, &mut stdout(), &mut stderr());
    if !options.machine {
        writeln!(stdout(), "This is {}.", described(&file, on_trial))?;
    }
    Ok(ExitCode::from(code))
}

/// What came by command in the place of the file at `path`.
fn put_file(path: &Path, environment: &Environment) -> anyhow::Result<Option<(PutFile, bool)>> {
    let Ok(text) = Disk.read(path) else { return Ok(None) };
    let loaded = config::load_from(&Instead { of: path, text: &text }, path, environment, Purpose::CheckWithoutFiles);
    let Some(site) = loaded.site else { return Ok(None) };
    let kept =
        OverrideFile::in_directory(&site.node.state_dir).load().context("what came by command cannot be read")?;
    let kept = kept.unwrap_or_default();
    Ok(kept.present(sha256(text.as_bytes())).map(|(file, on_trial)| (file.clone(), on_trial)))
}

fn described(file: &PutFile, on_trial: bool) -> String {
    let how = if on_trial { ", on trial" } else { "" };
    format!(
        "a configuration by command {} of operator {} (SHA-256 {}){how}",
        file.jti,
        file.operator,
        hex(&file.sha256())
    )
}
