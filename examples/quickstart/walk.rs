//! The files of a folder and of the folders in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the walk comes upon.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File(PathBuf),
    /// A folder, or a part of one, that could not be listed.
    Unlisted(PathBuf, io::Error),
}

/// Says what is wrong with the folder that the user named, before anything is started.
pub(crate) fn check_folder(folder: &Path) -> Result<(), String> {
    let name = folder.display();
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{name} is not a folder")),
        Err(error) => Err(format!("the folder {name} cannot be used: {error}")),
    }
}

/// Names every regular file under `folder`, until `found` says that nobody listens any more.
///
/// Symbolic links are not followed, so the walk always ends. Folders that are still to be listed wait on a list and not on
/// the stack, so a deep tree is no danger. No order is promised.
pub(crate) fn walk(folder: PathBuf, mut found: impl FnMut(Found) -> bool) {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                if found(Found::Unlisted(folder, error)) {
                    continue;
                }
                return;
            }
        };
        for entry in entries {
            // The type of an entry is that of the link itself, where it is one.
            let next = match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok((kind, path)) if kind.is_dir() => {
                    folders.push(path);
                    continue;
                }
                Ok((kind, path)) if kind.is_file() => Found::File(path),
                Ok(_) => continue,
                Err(error) => Found::Unlisted(folder.clone(), error),
            };
            if !found(next) {
                return;
            }
        }
    }
}
