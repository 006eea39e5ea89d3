//! Where the request's files are: what `root` and `alias` come to.

use crate::base::process_settings::Level;
use crate::net::error_log::OsError;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::settings::Root;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(super) fn document_root(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let (Root::Root(path) | Root::Alias(path, _) | Root::AliasWhole(path)) = &x.here.settings.root;
    path.write(x, out);
    true
}

/// Asks the file system each time it is used, as in nginx; without a value when the folder is not
/// there.
pub(super) fn realpath_root(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    document_root(x, "", out);
    let root = out.split_off(start);
    match std::fs::canonicalize(OsStr::from_bytes(&root)) {
        Ok(path) => {
            out.extend_from_slice(path.as_os_str().as_bytes());
            true
        }
        Err(error) => {
            let shown = String::from_utf8_lossy(&root);
            x.log(Level::Crit, format_args!("realpath() \"{shown}\" failed {}", OsError(&error)));
            false
        }
    }
}

/// Without a value where no file can be meant: an `alias` whose path was rewritten.
pub(super) fn request_filename(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    match FilePath::of(x) {
        Ok(path) => {
            out.extend_from_slice(path.bytes());
            true
        }
        Err(_) => false,
    }
}
