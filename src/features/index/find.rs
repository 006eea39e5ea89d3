//! The content step: looks for the first index file and goes on inside with its path.

use crate::base::process_settings::Level;
use crate::http::Method;
use crate::net::error_log::OsError;
use crate::net::file::FileKind;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::file_path::FilePath;
use crate::pipeline::step::{Flow, Relocation, WaitingStep};
use crate::pipeline::template::Template;
use rustix::io::Errno;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;

/// Answers for directories.
pub(super) struct IndexFiles {
    /// The files, in the order they are tried.
    pub(super) files: Vec<Template>,
}

impl WaitingStep for IndexFiles {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        let reads = matches!(x.method(), Method::Get | Method::Head | Method::Post);
        if !reads || x.uri.last() != Some(&b'/') {
            return Box::pin(ready(Flow::Next));
        }
        Box::pin(
            async move { self.find(x).await.unwrap_or_else(|status| Flow::Answer(Answer::Status(status))) },
        )
    }
}

impl IndexFiles {
    async fn find(&self, x: &Exchange) -> Result<Flow, u16> {
        let mut path = FilePath::of(x)?;
        let folder_len = path.bytes().len();
        let mut folder_tested = false;
        for file in &self.files {
            // The file is looked at before the directory: what is right should cost least.
            path.bytes_mut().truncate(folder_len);
            file.write(x, path.bytes_mut());
            let name = path.bytes().get(folder_len..).unwrap_or_default();
            match name.first() {
                Some(b'/') => return Ok(inside(name.to_vec())),
                // A variable without a value names no file.
                None => continue,
                Some(_) => {}
            }
            match x.file_facts(path.bytes()).await {
                Ok(_) => {
                    let name = path.bytes().get(folder_len..).unwrap_or_default();
                    return Ok(inside([&x.uri, name].concat()));
                }
                Err(error) => {
                    let errno = Errno::from_io_error(&error);
                    if let Some(status) = refused(x, &path, errno, &error) {
                        return Err(status);
                    }
                    if !folder_tested {
                        test_folder(x, &path, folder_len).await?;
                        folder_tested = true;
                    }
                    if errno != Some(Errno::NOENT) {
                        return Err(fault(x, path.bytes(), &error));
                    }
                }
            }
        }
        // Somebody else may list the directory; else the walk says that nobody does.
        Ok(Flow::Next)
    }
}

/// The request goes on with this path and its own arguments.
fn inside(uri: Vec<u8>) -> Flow {
    Flow::Relocate(Relocation::Uri { uri, args: None })
}

/// The status, where the error tells all there is to know.
fn refused(x: &Exchange, path: &FilePath, errno: Option<Errno>, error: &io::Error) -> Option<u16> {
    match errno? {
        Errno::MLINK | Errno::LOOP => Some(403),
        Errno::ACCESS => {
            x.log(Level::Error, format_args!("\"{}\" is forbidden {}", path.shown(), OsError(error)));
            Some(403)
        }
        Errno::NOTDIR | Errno::NAMETOOLONG => Some(not_found(x, path, error)),
        _ => None,
    }
}

fn not_found(x: &Exchange, path: &FilePath, error: &io::Error) -> u16 {
    if x.here.settings.log_not_found {
        x.log(Level::Error, format_args!("\"{}\" is not found {}", path.shown(), OsError(error)));
    }
    404
}

/// An error of the disk, or of the file pool.
fn fault(x: &Exchange, path: &[u8], error: &io::Error) -> u16 {
    let path = String::from_utf8_lossy(path);
    x.log(Level::Crit, format_args!("stat() \"{path}\" failed {}", OsError(error)));
    if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::WouldBlock { 503 } else { 500 }
}

/// Tells a directory without index file from one that is not there.
async fn test_folder(x: &Exchange, path: &FilePath, folder_len: usize) -> Result<(), u16> {
    let folder = path.bytes().get(..folder_len).unwrap_or_default();
    // Without its last slash, a file of that name is found too. `alias` may have none.
    let folder = match folder {
        [front @ .., b'/'] if !front.is_empty() => front,
        whole => whole,
    };
    match x.file_facts(folder).await {
        Ok(facts) if facts.kind == FileKind::Directory => Ok(()),
        Ok(_) => {
            let shown = String::from_utf8_lossy(folder);
            x.log(Level::Alert, format_args!("\"{shown}\" is not a directory"));
            Err(500)
        }
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MLINK | Errno::LOOP) => Err(403),
            Some(Errno::NOENT) => Err(not_found(x, path, &error)),
            // Its files could be asked for, so it may be searched.
            Some(Errno::ACCESS) => Ok(()),
            _ => Err(fault(x, folder, &error)),
        },
    }
}
