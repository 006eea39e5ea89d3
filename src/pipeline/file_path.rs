//! Which file a request's path means: `root` and `alias` applied.

use super::exchange::Exchange;
use super::settings::Root;
use crate::base::limits::SCRATCH_KEEP_BYTES;
use crate::base::process_settings::Level;
use std::borrow::Cow;
use std::cell::Cell;

/// The path of a file, in memory that the thread's next path uses again.
#[derive(Debug)]
pub struct FilePath(Vec<u8>);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl FilePath {
    /// The file that the exchange's path means in its location.
    ///
    /// # Errors
    /// The status to refuse the request with, logged: the path leaves what `alias` allows.
    pub fn of(x: &Exchange) -> Result<FilePath, u16> {
        let mut path = FilePath::root_of(x)?;
        match &x.here.settings.root {
            Root::AliasWhole(_) if !x.uri_extends_alias => {}
            Root::Root(_) | Root::AliasWhole(_) => path.0.extend_from_slice(&x.uri),
            Root::Alias(_, replaced) => {
                let Some(rest) = x.uri.get(*replaced..) else { return Err(rewritten(x)) };
                path.append(x, rest)?;
            }
        }
        Ok(path)
    }

    /// What `root` or `alias` of the exchange's location is for this request.
    ///
    /// # Errors
    /// As [`FilePath::of`].
    pub fn root_of(x: &Exchange) -> Result<FilePath, u16> {
        let mut path = FilePath(SPARE.take());
        path.0.clear();
        let (directory, is_alias) = match &x.here.settings.root {
            Root::Root(root) => (root, false),
            Root::Alias(alias, _) | Root::AliasWhole(alias) => (alias, true),
        };
        if is_alias && !x.uri_is_located {
            return Err(rewritten(x));
        }
        directory.write(x, &mut path.0);
        Ok(path)
    }

    /// Appends a name to what [`FilePath::root_of`] gave.
    ///
    /// # Errors
    /// As [`FilePath::of`].
    pub fn append(&mut self, x: &Exchange, name: &[u8]) -> Result<(), u16> {
        // `location /files { alias /data/; }` would let `/files../x` out of /data. nginx lets it;
        // nobody means it.
        let is_alias = matches!(x.here.settings.root, Root::Alias(..));
        if is_alias && self.0.ends_with(b"/") && climbs(name) {
            let uri = String::from_utf8_lossy(&x.uri);
            x.log(Level::Error, format_args!("\"{uri}\" leaves the directory of \"alias\""));
            return Err(403);
        }
        self.0.extend_from_slice(name);
        Ok(())
    }

    /// The path itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path to build on: what is appended names a file below a directory.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The path for the log.
    pub fn shown(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl Drop for FilePath {
    fn drop(&mut self) {
        if self.0.capacity() <= SCRATCH_KEEP_BYTES {
            // The thread is ending when there is no spare: then the memory is simply freed.
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.0)));
        }
    }
}

/// An alias replaces the name of the location, which is not there any more.
fn rewritten(x: &Exchange) -> u16 {
    let name = &x.here.settings.name;
    x.log(
        Level::Alert,
        format_args!("\"alias\" cannot be used in location \"{name}\" where URI was rewritten"),
    );
    500
}

/// Whether the rest of a normalised path begins with a segment `..`; only its first segment can be
/// one, cut out of a longer name.
fn climbs(rest: &[u8]) -> bool {
    rest == b".." || rest.starts_with(b"../")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_segment_climbs() {
        for (rest, want) in
            [("..", true), ("../x", true), ("..x", false), (".../x", false), ("x/..y", false), ("", false)]
        {
            assert_eq!(climbs(rest.as_bytes()), want, "{rest}");
        }
    }
}
